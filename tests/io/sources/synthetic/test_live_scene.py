"""A drawn scene in the place of a camera: in real time, and without an end."""

from __future__ import annotations

from contextlib import closing

import pytest

from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources import is_live, open_source
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.synthetic.source import (
    LiveSyntheticSource,
    SyntheticSource,
    SyntheticSpec,
)


class Time:
    """Clock that goes on by 10 s at each reading: no frame is waited for."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 10.0
        return self.now_s


def test_a_scene_in_real_time_has_no_end_and_the_times_of_the_clocks() -> None:
    spec = SyntheticSpec("lamp", seed=1, frames=5, fps=5.0)
    clock = Time()
    with closing(LiveSyntheticSource(spec, "yard", clock=clock, now=lambda: 1.8e9)) as source:
        frames = [source.read() for _ in range(12)]
    assert [frame.index for frame in frames if frame] == list(range(12))
    times = [frame.captured_at_s for frame in frames if frame]
    assert times == sorted(set(times))
    assert {frame.unix_time_s for frame in frames if frame} == {1.8e9}
    with pytest.raises(SourceError, match="read after close"):
        source.read()


@pytest.mark.parametrize(
    ("uri", "real_time", "live"),
    [
        ("synthetic:bowl", False, False),
        ("synthetic:bowl", True, True),
        ("synthetic:bowl?live=1", False, True),
        ("synthetic:bowl?live=0", True, False),
        ("video:a.mp4", True, False),
    ],
)
def test_the_uri_decides_or_else_who_opens_it(uri: str, real_time: bool, live: bool) -> None:
    assert is_live(uri, real_time=real_time) is live
    if uri.startswith("synthetic"):
        source = open_source(uri, SourceOptions(real_time=real_time))
        assert type(source) is (LiveSyntheticSource if live else SyntheticSource)


def test_a_switch_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="live must be 1 or 0, got 'maybe'"):
        open_source("synthetic:bowl?live=maybe")
