from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge_sim.core.images import encode_jpeg
from edge_sim.core.protocols import FrameSource
from edge_sim.core.types import Frame
from edge_sim.errors import SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.video import VideoFile
from tests.io.sources.devices import ClipLayer, write_video


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    write_video(str(path), 20)
    return path


def play(source: FrameSource, into: list[Frame]) -> None:
    """Read to the end; what came before an error is kept in `into`."""
    while (frame := source.read()) is not None:
        into.append(frame)


def all_frames(source: FrameSource) -> list[Frame]:
    return list(iter(source.read, None))


def test_frames_come_in_order_at_the_times_of_the_file(clip: Path) -> None:
    with closing(open_source(f"video:{clip}", SourceOptions(start_unix_s=1000.0))) as source:
        frames = all_frames(source)
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose([f.captured_at_s for f in frames], np.arange(20) / 5, atol=1e-6)
    assert frames[5].unix_time_s == pytest.approx(1001.0)
    levels = [float(frame.pixels.mean()) for frame in frames]
    np.testing.assert_allclose(levels, np.arange(20) * 10, atol=3)


def test_a_truncated_file_is_played_as_far_as_it_goes_and_then_reported(clip: Path) -> None:
    write_video(str(clip), 20, grain=200)
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    played: list[Frame] = []
    with closing(open_source(str(clip))) as source:
        with pytest.raises(SourceError) as caught:
            play(source, played)
        assert 0 < len(played) < 20
        assert f"clip.avi: the file ends early: {len(played)} of 20 frames" in str(caught.value)
        assert source.read() is None


@pytest.mark.parametrize("content", [b"", b"hello" * 1000], ids=["empty", "text"])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.avi"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"notes\.avi: not a video"):
        open_source(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.mp4: no such file"):
        open_source(str(tmp_path / "nothing.mp4"))
    with pytest.raises(SourceError, match="is a folder"):
        open_source(f"video:{tmp_path}")


def test_a_looping_file_starts_again_while_time_and_index_go_on(clip: Path) -> None:
    with closing(open_source(str(clip), SourceOptions(loop=True))) as source:
        frames = [source.read() for _ in range(45)]
    times = [frame.captured_at_s for frame in frames if frame is not None]
    np.testing.assert_allclose(times, np.arange(45) / 5, atol=1e-6)
    last = frames[44]
    assert last is not None
    assert last.index == 44


def test_frames_are_turned_as_asked(clip: Path) -> None:
    with closing(open_source(str(clip), SourceOptions(rotate=270))) as source:
        frame = source.read()
    assert frame is not None
    assert frame.pixels.shape == (64, 48, 3)


def test_a_file_without_times_is_played_at_a_steady_rate(tmp_path: Path) -> None:
    path = tmp_path / "raw.mjpeg"
    pictures = [np.full((48, 64, 3), level, np.uint8) for level in range(0, 200, 20)]
    path.write_bytes(b"".join(encode_jpeg(picture) for picture in pictures))
    with closing(open_source(str(path))) as source:
        frames = all_frames(source)
    assert len(frames) == 10
    steps = np.diff([frame.captured_at_s for frame in frames])
    assert (steps > 0).all()
    np.testing.assert_allclose(steps, steps[0], atol=1e-6)


NAN = float("nan")


@pytest.mark.parametrize(
    ("fps", "times_ms", "expected"),
    [
        (10.0, [0.0, 0.0, 0.0], [0.0, 0.1, 0.2]),
        (10.0, [0.0, 300.0, 200.0], [0.0, 0.3, 0.4]),
        (10.0, [NAN, NAN, NAN], [0.0, 0.1, 0.2]),
        (0.0, [0.0, 0.0, 0.0], [0.0, 0.25, 0.5]),
        (NAN, [0.0, 0.0, 0.0], [0.0, 0.25, 0.5]),
        (90_000.0, [0.0, 0.0, 0.0], [0.0, 0.25, 0.5]),
        (10.0, [0.0, 40.0, 500.0], [0.0, 0.04, 0.5]),
    ],
    ids=["still", "back", "nan", "no rate", "nan rate", "clock for a rate", "uneven"],
)
def test_times_go_on_at_the_frame_rate_where_the_file_has_none(
    clip: Path, fps: float, times_ms: list[float], expected: list[float]
) -> None:
    layer = ClipLayer(3, fps=fps, times_ms=times_ms)
    source = VideoFile(str(clip), SourceOptions(fps=4.0), video_capture=layer)
    assert [frame.captured_at_s for frame in all_frames(source)] == pytest.approx(expected)


def test_a_frame_count_that_was_only_estimated_is_no_cut_where_the_time_was_reached(
    clip: Path,
) -> None:
    # Half the frames that header and mean rate promise, but spread over the whole time.
    times_ms = [index * 200.0 for index in range(50)]
    layer = ClipLayer(50, fps=10.0, times_ms=times_ms, promised=100.0)
    assert len(all_frames(VideoFile(str(clip), SourceOptions(), video_capture=layer))) == 50


def test_a_file_of_which_no_frame_decodes_is_an_error(clip: Path) -> None:
    data = clip.read_bytes()
    clip.write_bytes(data[: data.find(b"movi") + 4])
    with closing(open_source(str(clip))) as source, pytest.raises(SourceError, match="no frame"):
        source.read()


def test_a_frame_that_is_no_picture_is_an_error_that_names_it(clip: Path) -> None:
    layer = ClipLayer(1, fps=5.0, times_ms=[0.0])
    layer.picture = np.zeros((4, 4, 7), np.uint8)
    with pytest.raises(SourceError, match=r"clip\.avi: frame 0: a picture needs"):
        VideoFile(str(clip), SourceOptions(), video_capture=layer).read()
