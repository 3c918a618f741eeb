"""Streams and files decoded by PyAV give the frames that OpenCV gives, and convert regions only."""

from __future__ import annotations

import io
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_sim.core.raw_pictures import PlanarPicture, RawFrame, region_of
from edge_sim.core.types import BgrImage, Frame, Roi
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.reader import CaptureSource
from edge_sim.io.sources.synthetic.source import render
from tests.io.sources.devices import PATIENCE_S
from tests.io.sources.rtsp_camera import rtsp_camera, transport_stream
from tests.io.sources.test_http import site, stream
from tests.io.sources.test_rtsp import all_of_it, is_first

OPENCV = SourceOptions(
    open_timeout_s=PATIENCE_S, read_timeout_s=PATIENCE_S, name="gate", threaded=False
)
PYAV = SourceOptions(
    open_timeout_s=PATIENCE_S,
    read_timeout_s=PATIENCE_S,
    name="gate",
    threaded=False,
    decoder="pyav",
)
FRAMES = 30


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("av", reason="the extra `video` is not installed")
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    codec = int.from_bytes(b"mp4v", "little")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 5.0, (322, 242))
    assert writer.isOpened()
    for index in range(FRAMES):
        picture = cv2.resize(render("gate", "open" if index % 10 < 5 else "closed"), (322, 242))
        writer.write(np.asarray(picture, np.uint8))
    writer.release()
    return path


def all_frames(uri: str, options: SourceOptions) -> list[Frame]:
    with closing(open_source(uri, options)) as source:
        return list(iter(source.read, None))


def test_a_file_has_the_frames_and_times_that_opencv_gives(clip: Path) -> None:
    found, wanted = all_frames(str(clip), PYAV), all_frames(str(clip), OPENCV)
    assert len(found) == len(wanted) == FRAMES
    for frame, other in zip(found, wanted, strict=True):
        assert isinstance(frame, RawFrame)
        assert isinstance(frame.picture, PlanarPicture)
        assert frame.pixels.shape == other.pixels.shape
        assert frame.captured_at_s == pytest.approx(other.captured_at_s, abs=2e-3)
        assert np.abs(frame.pixels.astype(int) - other.pixels).mean() < 2.0


def test_only_the_region_is_converted(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(picture: PlanarPicture) -> BgrImage:
        raise AssertionError("the whole picture is converted")

    frame = all_frames(str(clip), PYAV)[0]
    roi = Roi(0.25, 0.25, 0.75, 0.75)
    whole = frame.pixels
    monkeypatch.setattr(PlanarPicture, "pixels", refused)
    frame = all_frames(str(clip), PYAV)[0]
    region = region_of(frame, roi, 96)
    top, left = round(0.25 * 242), round(0.25 * 322)
    np.testing.assert_array_equal(region, whole[top:, left:][: region.shape[0], : region.shape[1]])


def test_pictures_stay_as_they_are_while_later_ones_are_decoded(clip: Path) -> None:
    with closing(open_source(str(clip), PYAV)) as source:
        first = source.read()
        assert isinstance(first, RawFrame)
        assert isinstance(first.picture, PlanarPicture)
        kept = first.picture.luma.copy()
        assert len(list(iter(source.read, None))) == FRAMES - 1
    np.testing.assert_array_equal(first.picture.luma, kept)


def test_frames_are_turned_as_asked(clip: Path) -> None:
    turned = SourceOptions(name="gate", decoder="pyav", rotate=90)
    frame, upright = all_frames(str(clip), turned)[0], all_frames(str(clip), PYAV)[0]
    np.testing.assert_array_equal(frame.pixels, np.rot90(upright.pixels, -1))


def test_key_frames_alone_are_some_of_the_frames(clip: Path) -> None:
    options = SourceOptions(name="gate", decoder="pyav", key_frames_only=True)
    keys, every = all_frames(str(clip), options), all_frames(str(clip), PYAV)
    assert 0 < len(keys) < len(every)
    times = {round(frame.captured_at_s, 3) for frame in every}
    assert {round(frame.captured_at_s, 3) for frame in keys} <= times


def test_key_frames_only_needs_the_decoder_that_can() -> None:
    with pytest.raises(ConfigError, match="key_frames_only needs decoder: pyav"):
        SourceOptions(key_frames_only=True)


def test_without_pyav_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"\0" * 500)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SourceError, match=r"needs PyAV; install PyAV \(pip install 'edge_sim"):
        open_source(str(clip), PYAV)


def test_what_is_no_video_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the extra `video` is not installed")
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(SourceError, match=r"a\.mp4\): not a video that FFmpeg can read \(Invalid"):
        open_source(str(path), PYAV)


def test_an_rtsp_stream_is_read_until_the_camera_ends_it() -> None:
    pytest.importorskip("av", reason="the extra `video` is not installed")
    with (
        rtsp_camera(play=all_of_it) as camera,
        closing(open_source(f"rtsp://{camera.at}/live", PYAV)) as source,
    ):
        frame = source.read()
        assert isinstance(frame, RawFrame)
        assert is_first(frame)
        with pytest.raises(SourceError, match="the camera ended the stream"):
            list(iter(source.read, None))


def test_video_of_an_http_camera_is_read_and_a_lost_packet_is_passed_over() -> None:
    pytest.importorskip("av", reason="the extra `video` is not installed")
    whole = transport_stream()
    torn = whole[: 188 * 30] + b"\x47" + b"\xff" * 187 + whole[188 * 31 :]
    with site({"/v": stream(torn, "video/mp2t")}) as camera:
        source = open_source(f"http://{camera.at}/v", PYAV)
        frame = source.read()
        assert frame is not None
        assert is_first(frame)
        source.close()


def between_others() -> bytes:
    """Return 60 pictures as MPEG-TS, two of three of which no other picture needs."""
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    target = io.BytesIO()
    with av.open(target, "w", format="mpegts") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.max_b_frames = 2
        for level in range(60):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 50 + level, np.uint8))
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return target.getvalue()


def grabbed(uri: str, wanted_in_s: float) -> int:
    """Return the number of frames that come while none is wanted for so long."""
    source = open_source(uri, PYAV)
    assert isinstance(source, CaptureSource)
    source.wanted_at_s = time.monotonic() + wanted_in_s
    count = 0
    with closing(source), suppress(SourceError):  # the camera ends the stream
        while True:
            source.grab()
            count += 1
    return count


def test_frames_that_no_other_needs_are_left_out_until_one_is_wanted() -> None:
    with site({"/v": stream(between_others(), "video/mp2t")}) as camera:
        uri = f"http://{camera.at}/v"
        every = grabbed(uri, 0.1)  # soon: frames come some packets after their own
        assert every >= 58
        assert 18 <= grabbed(uri, 1e6) <= every / 2
