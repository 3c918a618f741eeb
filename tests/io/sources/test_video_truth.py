"""Video files that are complete, cut, interlaced, mistimed or nothing at all."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.core.protocols import FrameSource
from edge_sim.core.types import Frame
from edge_sim.errors import SourceError
from edge_sim.io.sources import interlaced, open_source
from edge_sim.io.sources.containers import completeness_of
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.video import VideoFile
from tests.io.sources.devices import ClipLayer, write_video
from tests.malformed import box, jpeg_header, moov

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="the program ffmpeg is not installed")


def all_frames(source: FrameSource) -> list[Frame]:
    return list(iter(source.read, None))


def read_all(path: Path) -> list[Frame]:
    with closing(open_source(str(path))) as source:
        return all_frames(source)


def encoded(path: Path, *options: str, frames: int = 40) -> Path:
    """Write a moving bright bar on grey with the program ffmpeg."""
    pictures = np.full((frames, 96, 128, 3), 90, np.uint8)
    for index in range(frames):
        pictures[index, :, index * 2 : index * 2 + 20] = 230
    command = [str(FFMPEG), "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24"]
    command += ["-s", "128x96", "-r", "5", "-i", "pipe:0", *options, "-pix_fmt", "yuv420p"]
    subprocess.run([*command, str(path)], input=pictures.tobytes(), check=True)
    return path


H264_FIELDS = ("-c:v", "libx264", "-x264opts", "tff=1:interlaced=1")
MPEG2_FIELDS = ("-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-top", "1", "-r", "25")


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.flv"])
def test_interlaced_h264_has_its_pictures(tmp_path: Path, name: str) -> None:
    path = encoded(tmp_path / name, *H264_FIELDS)
    assert interlaced.may_be_interlaced(path)
    frames = read_all(path)
    assert len(frames) == 40
    np.testing.assert_allclose(np.diff([f.captured_at_s for f in frames]), 0.2, atol=1e-3)
    for index in (0, 20, 39):
        bar = frames[index].pixels[:, index * 2 + 4 : index * 2 + 16].mean()
        assert bar > 200
        assert frames[index].pixels.mean() > 90


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mpg", "a.ts"])
def test_interlaced_mpeg2_has_its_pictures(tmp_path: Path, name: str) -> None:
    path = encoded(tmp_path / name, *MPEG2_FIELDS)
    assert interlaced.may_be_interlaced(path)
    assert min(frame.pixels.mean() for frame in read_all(path)) > 90


@needs_ffmpeg
def test_progressive_video_is_known_as_such(tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "libx264"), ("a.ts", "libx264"), ("b.mpg", "mpeg2video")):
        rate = ("-r", "25") if codec == "mpeg2video" else ()
        assert not interlaced.may_be_interlaced(encoded(tmp_path / name, "-c:v", codec, *rate))


@needs_ffmpeg
def test_interlaced_video_that_nothing_here_can_decode_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encoded(tmp_path / "a.mp4", *H264_FIELDS)
    monkeypatch.setattr(interlaced, "_PYAV", "no_such_package")
    monkeypatch.setattr(interlaced, "_PROGRAM", "no_such_program")
    if interlaced.deinterlaced_by_opencv():
        assert min(frame.pixels.mean() for frame in read_all(path)) > 90
        return
    with pytest.raises(SourceError, match=r"a\.mp4: interlaced video.*install PyAV"):
        read_all(path)


def test_a_video_of_zeros_is_no_dark_scene(tmp_path: Path) -> None:
    layer = ClipLayer(5, fps=5.0, times_ms=[0.0, 200.0, 400.0, 600.0, 800.0])
    layer.picture = np.zeros((4, 6, 3), np.uint8)
    (tmp_path / "a.avi").touch()
    source = VideoFile(str(tmp_path / "a.avi"), SourceOptions(), video_capture=layer)
    with pytest.raises(SourceError, match=r"every byte of its 5 frames is 0"):
        all_frames(source)


@pytest.mark.parametrize(
    ("times_s", "expected"),
    [
        ([0, 0.2, 0.4, 7200.6, 0.8, 1.0], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([7200, 0.2, 0.4, 0.6, 0.8, 1.0], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([0, 0.2, 7200, 7200.2, 0.8, 1.0], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([0, 0.2, 1e9, 0.6, 1e9, 1.0], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([0, 0.2, -7200, 0.6, 0.8, 1.0], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([0, 0.2, 30, 30.2, 30.4, 30.6], [0, 0.2, 30, 30.2, 30.4, 30.6]),
        ([0, 0.2, 0.4, 0.6, 0.8, 60], [0, 0.2, 0.4, 0.6, 0.8, 60]),
    ],
    ids=["ahead", "first", "two", "twice", "behind", "a real gap", "a real gap at the end"],
)
def test_a_time_that_no_neighbour_bears_out_counts_for_nothing(
    tmp_path: Path, times_s: list[float], expected: list[float]
) -> None:
    layer = ClipLayer(6, fps=5.0, times_ms=[at_s * 1000 for at_s in times_s])
    (tmp_path / "a.avi").touch()
    frames = all_frames(VideoFile(str(tmp_path / "a.avi"), SourceOptions(), video_capture=layer))
    assert [frame.captured_at_s for frame in frames] == pytest.approx(expected)
    assert [frame.index for frame in frames] == list(range(6))


def iso(samples: int, *, shown_ms: int | None = None, cut: int = 0) -> bytes:
    """Return an MP4 of `samples` frames of 200 ms, `shown_ms` of it shown, the end cut off."""
    data = box(b"ftyp", b"isom\0\0\0\0isom") + moov(samples, shown_ms) + box(b"mdat", bytes(1000))
    return data[: len(data) - cut]


@pytest.mark.parametrize(
    ("data", "breaks_off", "ends_at_s"),
    [
        (iso(300), False, 59.8),
        (iso(300, shown_ms=40_000), False, 39.8),
        (iso(300, shown_ms=90_000), False, 59.8),
        (iso(300, cut=1), True, 59.8),
        (iso(300) + b"\0\0\0\0", False, 59.8),
        (iso(300) + bytes(500), False, 59.8),
        (b"\x1aE\xdf\xa3\x80" + b"\x18\x53\x80\x67\x84abcd", True, None),
        (b"\x1aE\xdf\xa3\x80" + b"\x18\x53\x80\x67\x86\x1f\x43\xb6\x75\x81a", False, None),
        (b"\x1aE\xdf\xa3\x80" + b"\x18\x53\x80\x67\x87\x1f\x43\xb6\x75\x81a", True, None),
        (b"\x1aE\xdf\xa3\x80" + b"\x18\x53\x80\x67\xff\x1f\x43\xb6\x75\xffabc", False, None),
        (b"RIFF\x04\0\0\0AVI ", False, None),
        (b"RIFF\xff\0\0\0AVI ", True, None),
        (b"G" + bytes(1000), False, None),
    ],
    ids=[
        "complete",
        "edited",
        "edit list longer than the film",
        "one byte short",
        "zeros behind it",
        "many zeros behind it",
        "matroska with damaged parts",
        "matroska",
        "matroska one byte short",
        "matroska written live",
        "avi",
        "short avi",
        "stream",
    ],
)
def test_the_structure_of_a_file_tells_whether_it_breaks_off(
    tmp_path: Path, data: bytes, breaks_off: bool, ends_at_s: float | None
) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    found = completeness_of(path)
    assert found.breaks_off == breaks_off
    assert found.ends_at_s == (None if ends_at_s is None else pytest.approx(ends_at_s))


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov"])
def test_a_cut_file_is_reported_whatever_its_container(tmp_path: Path, name: str) -> None:
    front = ("-movflags", "+faststart") if name[2:] in ("mp4", "mov") else ()
    path = encoded(tmp_path / name, "-c:v", "libx264", "-g", "5", *front)
    assert len(read_all(path)) == 40
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(SourceError, match=r"ends early|cut off too early"):
        read_all(path)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_sound_that_lasts_longer_is_no_early_end(tmp_path: Path, name: str) -> None:
    sound = ("-f", "lavfi", "-i", "sine=duration=20", "-c:a", "aac", "-c:v", "libx264")
    assert len(read_all(encoded(tmp_path / name, *sound))) == 40


def jpegs(samplings: list[int]) -> tuple[bytes, list[NDArray[np.uint8]]]:
    pictures = []
    data = b""
    for index, sampling in enumerate(samplings):
        picture = np.full((48, 64, 3), (20 * index, 40, 250 - 20 * index), np.uint8)
        settings = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        data += cv2.imencode(".jpg", picture, settings)[1].tobytes()
        pictures.append(picture)
    return data, pictures


def test_colours_are_right_where_the_sampling_changes(tmp_path: Path) -> None:
    kinds = [0x221111, 0x111111, 0x211111]
    data, pictures = jpegs([kind for kind in kinds for _ in range(4)])
    (tmp_path / "a.mjpeg").write_bytes(data)
    for frame, picture in zip(read_all(tmp_path / "a.mjpeg"), pictures, strict=True):
        assert np.abs(frame.pixels.astype(int) - picture).mean() < 2


def test_a_stream_of_huge_jpegs_is_refused_before_they_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.mjpeg").write_bytes(jpeg_header(16_000, 16_000) * 3)
    with pytest.raises(SourceError, match=r"more than|not a video|can decode"):
        read_all(tmp_path / "a.mjpeg")


NAMES = [
    os.fsdecode(b"caf\xe9.avi"),
    "2023-01-01T12:00.avi",
    "a%06d.avi",
    "größe 開.avi",
    "a b'c\".avi",
    "http:x.avi",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_only_a_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video("plain.avi", 3)
    Path("plain.avi").rename(name)
    with closing(open_source(name)) as source:
        assert len(all_frames(source)) == 3
        source.name.encode()


def test_a_heic_behind_a_name_of_a_video_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(struct.pack(">I", 24) + b"ftypavif\0\0\0\0avifmif1")
    with pytest.raises(SourceError, match="AVIF pictures are not read"):
        read_all(tmp_path / "a.mp4")
    with pytest.raises(SourceError, match=r"is a picture \(AVIF\), not a video"):
        open_source(f"video:{tmp_path / 'a.mp4'}")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"not a video \(it is empty\)"),
        (b"hello", r"not a video \(text\)"),
        (bytes(4000), r"not a video \(only zeros\)"),
        (b"PK\3\4" + bytes(600), r"not a video \(a zip archive\)"),
        (b"ID3" + bytes(600), r"not a video \(sound\)"),
        (box(b"ftyp", b"isom", bytes(4)) + b"\0\1\0\0mdat", "cut off too early, after 24 bytes"),
        (b"\xfe\xdc\xba" * 200, "not a video that FFmpeg can read"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_that_is_no_video_is_called_what_it_is(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(SourceError, match=reason):
        open_source(str(tmp_path / "a.mp4"))


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:1,\nhttp://{at}/x.ts\n",
        "ffconcat version 1.0\nfile 'http://{at}/x.ts'\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>http://{at}/"
        "</BaseURL><Period><AdaptationSet mimeType='video/mp4'><Representation id='1'>"
        "<SegmentList><SegmentURL media='x.mp4'/></SegmentList></Representation></AdaptationSet>"
        "</Period></MPD>",
        "[InternetShortcut]\nURL=http://{at}/\n",
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.ffconcat", "a.mpd"])
def test_a_file_that_names_an_address_connects_nowhere(
    tmp_path: Path, text: str, name: str
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.setblocking(False)
        at = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / name).write_text(text.replace("{at}", at))
        with pytest.raises(SourceError):
            open_source(str(tmp_path / name)).read()
        with pytest.raises(BlockingIOError):
            server.accept()
