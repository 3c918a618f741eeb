"""Promises of every source of frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_sim.core.protocols import FrameSource
from edge_sim.core.types import Frame
from edge_sim.errors import SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.cameras import open_camera
from edge_sim.io.sources.csi import open_csi
from edge_sim.io.sources.options import SourceOptions
from tests.io.sources.devices import (
    Picamera2Module,
    V4l2Layer,
    network_camera,
    write_video,
)
from tests.outside import fading_source

PICTURES = 6
Make = Callable[[Path, ExitStack], FrameSource]


def synthetic(folder: Path, stack: ExitStack) -> FrameSource:
    return open_source(f"synthetic:bowl?frames={PICTURES}&nuisances=noise")


def video(folder: Path, stack: ExitStack) -> FrameSource:
    path = str(folder / "clip.avi")
    write_video(path, PICTURES)
    return open_source(path)


def pictures(folder: Path, stack: ExitStack) -> FrameSource:
    for index in range(PICTURES):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((5, 7, 3), index, np.uint8))
    return open_source(str(folder))


def timed_pictures(folder: Path, stack: ExitStack) -> FrameSource:
    rows = ["frame,time"]
    for index in range(PICTURES):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((5, 7, 3), index, np.uint8))
        rows.append(f"{index}.png,2026-03-04 05:{index * 7 % 6:02}:00")
    (folder / "times.csv").write_text("\n".join(rows))
    return open_source(f"folder:{folder}?times=times.csv")


def v4l2(folder: Path, stack: ExitStack) -> FrameSource:
    device = folder / "video0"
    device.touch()
    return open_camera(str(device), SourceOptions(), video_capture=V4l2Layer())


def csi(folder: Path, stack: ExitStack) -> FrameSource:
    return open_csi("0", SourceOptions(width=8, height=6), picamera2=Picamera2Module())


def stream(folder: Path, stack: ExitStack) -> FrameSource:
    return open_source(stack.enter_context(network_camera()).uri)


def registered(folder: Path, stack: ExitStack) -> FrameSource:
    assert fading_source.FadingSource.__module__.startswith("tests.outside")
    return open_source(f"fading:{PICTURES}")


FINITE = [synthetic, video, pictures, timed_pictures, registered]
LIVE = [v4l2, csi, stream]


@pytest.fixture(params=[*FINITE, *LIVE], ids=lambda make: make.__name__)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FrameSource]:
    make: Make = request.param
    with ExitStack() as stack:
        yield stack.enter_context(closing(make(tmp_path, stack)))


@pytest.fixture(params=FINITE, ids=lambda make: make.__name__)
def finite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FrameSource]:
    make: Make = request.param
    with ExitStack() as stack:
        yield stack.enter_context(closing(make(tmp_path, stack)))


def read_some(source: FrameSource) -> list[Frame]:
    frames = [source.read() for _ in range(PICTURES)]
    assert None not in frames
    return [frame for frame in frames if frame is not None]


def test_frames_are_pictures_that_carry_the_name_of_their_source(source: FrameSource) -> None:
    for frame in read_some(source):
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.ndim == 3
        assert frame.source == source.name


def test_the_index_increases_and_time_never_decreases(source: FrameSource) -> None:
    frames = read_some(source)
    for before, after in pairwise(frames):
        assert after.index > before.index
        assert after.captured_at_s >= before.captured_at_s
        assert after.unix_time_s >= before.unix_time_s


def test_a_frame_stays_as_it_is_while_later_ones_are_read_and_changed(source: FrameSource) -> None:
    first = source.read()
    assert first is not None
    kept = first.pixels.copy()
    for _ in range(PICTURES - 1):
        later = source.read()
        assert later is not None
        later.pixels[:] = 7
    assert np.array_equal(first.pixels, kept)


def test_read_after_close_raises(source: FrameSource) -> None:
    source.close()
    with pytest.raises(SourceError, match="read after close"):
        source.read()


def test_close_twice_is_safe(source: FrameSource) -> None:
    source.read()
    source.close()
    source.close()


def test_the_name_never_holds_a_password(source: FrameSource) -> None:
    assert source.name
    assert "s3cret" not in source.name


def test_after_the_last_frame_read_gives_none_again_and_again(finite: FrameSource) -> None:
    read_some(finite)
    assert [finite.read() for _ in range(3)] == [None, None, None]
