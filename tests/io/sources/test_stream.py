from __future__ import annotations

import socket
from contextlib import closing
from typing import TypeVar

import numpy as np
import pytest

from edge_sim.core.protocols import FrameSource
from edge_sim.core.types import Frame
from edge_sim.errors import SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.options import SourceOptions
from tests.io.sources.devices import PATIENCE_S, network_camera

OPTIONS = SourceOptions(
    open_timeout_s=PATIENCE_S, read_timeout_s=PATIENCE_S, reconnect_s=(0.01,), name="gate"
)


Outcome = TypeVar("Outcome")


def outcome(source: FrameSource, kind: type[Outcome]) -> Outcome:
    """Read until that comes which is awaited: a frame or an error."""
    for _ in range(10_000):
        try:
            seen: object = source.read()
        except SourceError as error:
            assert "s3cret" not in str(error)  # noqa: PT017 (every error on the way)
            seen = error
        if isinstance(seen, kind):
            return seen
    raise AssertionError(f"no {kind.__name__}")


def test_a_network_camera_is_read_cut_off_and_found_again() -> None:
    with network_camera() as camera, closing(open_source(camera.uri, OPTIONS)) as source:
        first = source.read()
        assert first is not None
        assert first.pixels.shape == (120, 160, 3)
        camera.on.clear()
        assert "gate" in str(outcome(source, SourceError))
        camera.on.set()
        found = outcome(source, Frame)
        assert found.index > first.index
        assert np.array_equal(found.pixels, first.pixels)
        assert camera.connections >= 2


def test_a_stream_that_nobody_serves_is_one_line_without_the_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody else can have it, and it does not listen
        uri = f"http://viewer:s3cret@127.0.0.1:{taken.getsockname()[1]}/stream.mjpg"
        with pytest.raises(SourceError) as caught:
            open_source(uri, OPTIONS)
    assert str(caught.value).startswith("gate (http://viewer:***@127.0.0.1:")
    assert "the stream does not open" in str(caught.value)
