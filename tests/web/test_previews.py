"""A source can be seen before it is configured, if it is no file, and as long as somebody looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_sim.core.images import decode
from edge_sim.core.types import Frame, Roi
from edge_sim.errors import CommandError, ConfigError, SourceError
from edge_sim.io.sources.options import SourceOptions
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import FrameFeatures, Mask, Region
from edge_sim.web.previews import PreviewSessions, check_address, jpeg_of, model_png
from tests.builders import flat_frame


class Source:
    """A source of numbered frames."""

    def __init__(self, uri: str, options: SourceOptions, frames: int = 100) -> None:
        self.name = str(options.name)
        self.closed = False
        self._left = [flat_frame(100 + index % 50, index=index) for index in range(frames)]

    def read(self) -> Frame | None:
        return self._left.pop(0) if self._left else None

    def close(self) -> None:
        self.closed = True


class Bench:
    """Previews whose time a test sets."""

    def __init__(self, frames: int = 100) -> None:
        self.now_s = 0.0
        self.opened: list[Source] = []
        self._frames = frames
        self.previews = PreviewSessions(self._open, clock=lambda: self.now_s, most=2)

    def _open(self, uri: str, options: SourceOptions) -> Source:
        self.opened.append(Source(uri, options, self._frames))
        return self.opened[-1]


def test_a_preview_gives_the_newest_frame_until_it_is_closed() -> None:
    bench = Bench(frames=3)
    info = bench.previews.open("rtsp://me:secret-word@192.0.2.1/1")
    assert (info.width, info.height, info.light) == (32, 24, "ir")
    assert info.uri == "rtsp://me:***@192.0.2.1/1"
    assert bench.previews.frame(info.id).index == 0
    bench.now_s = 1.0
    assert bench.previews.frame(info.id).index == 1
    bench.now_s = 5.0
    bench.previews.frame(info.id)
    bench.now_s = 9.0
    assert bench.previews.frame(info.id).index == 2, "the last one stays at the end"
    bench.previews.close(info.id)
    assert bench.opened[0].closed
    with pytest.raises(CommandError, match="not open any more"):
        bench.previews.frame(info.id)


def test_what_nobody_looks_at_is_closed_and_the_number_is_bounded() -> None:
    bench = Bench()
    first = bench.previews.open("csi:0")
    bench.now_s = 20.0
    second = bench.previews.open("csi:1")
    bench.now_s = 40.0
    bench.previews.close_idle()
    assert [item.closed for item in bench.opened] == [True, False]
    bench.now_s = 41.0
    bench.previews.open("csi:2")
    bench.previews.open("csi:3")
    assert len(bench.previews) == 2
    assert [item.closed for item in bench.opened] == [True, True, False, False]
    for gone in (first, second):
        with pytest.raises(CommandError):
            bench.previews.frame(gone.id)
    bench.previews.close_all()
    assert all(item.closed for item in bench.opened)


def test_a_source_without_a_picture_is_an_error_and_leaves_nothing_open() -> None:
    bench = Bench(frames=0)
    with pytest.raises(SourceError, match="before its first picture"):
        bench.previews.open("csi:0")
    assert bench.opened[0].closed
    assert len(bench.previews) == 0


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/etc/passwd",
        "video:/etc/passwd",
        "folder:/etc",
        "../config.yaml",
        "v4l2:/etc/passwd",
        "/dev/../etc/passwd",
        "/dev/sda",
        "/dev/v4l/by-id/../../../etc/passwd",
        "file:///etc/passwd",
        "gopher://host/",
        "rtsp:/nothing",
        "README.md",
        "a" * 5000,
    ],
)
def test_no_address_of_a_page_reaches_a_file(uri: str) -> None:
    bench = Bench()
    with pytest.raises((ConfigError, SourceError)):
        bench.previews.open(uri)
    assert bench.opened == []


def test_addresses_of_cameras_and_scenes_are_taken() -> None:
    for uri in ("0", "/dev/video12", "/dev/v4l/by-id/usb-046d_C920-video-index0", "csi:0"):
        check_address(uri)
    check_address("http://192.0.2.7/mjpeg")
    check_address("synthetic:bowl?seed=3")


def test_a_lost_camera_is_an_error_in_plain_words() -> None:
    with pytest.raises(SourceError, match=r"127\.0\.0\.1"):
        PreviewSessions().open("http://viewer:pass-word@127.0.0.1:9/video.mjpg")


def test_the_picture_of_the_model_is_the_one_of_the_loop() -> None:
    rng = np.random.default_rng(1)
    frame = Frame(rng.integers(0, 255, (120, 160, 3), np.uint8), 0.0, 0.0, 0, "test")
    plane = np.full((10, 10), 255, np.uint8)
    plane[:, :4] = 0
    embedder = open_embedder("thumbnail")
    for mask in (None, Mask(plane)):
        region = Region(Roi(0.1, 0.2, 0.7, 0.9), mask)
        expected = FrameFeatures(frame, embedder).of(region).model_pixels
        assert np.array_equal(decode(model_png(frame.pixels, region, embedder)), expected)


def test_a_picture_is_not_wider_than_asked(tmp_path: Path) -> None:
    picture = np.zeros((400, 800, 3), np.uint8)
    for width, expected in ((None, 800), (320, 320), (1, 16), (99999, 800)):
        assert decode(jpeg_of(picture, width)).shape[1] == expected
