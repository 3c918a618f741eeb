from __future__ import annotations

import logging
import struct
import zlib
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_sim.core.protocols import FrameSource
from edge_sim.core.types import Frame
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.pictures import (
    MAX_FILE_BYTES,
    PictureFolder,
    natural_key,
    open_pictures,
    read_picture,
)


def save(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((5, 7, 3), level, np.uint8))


def all_frames(source: FrameSource) -> list[Frame]:
    with closing(source):
        return list(iter(source.read, None))


def levels(source: FrameSource) -> list[int]:
    return [int(frame.pixels[0, 0, 0]) for frame in all_frames(source)]


def png_that_claims(width: int, height: int) -> bytes:
    """Return a small file whose header promises a picture of that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


def test_pictures_come_in_natural_order_one_second_apart(tmp_path: Path) -> None:
    for number in (10, 9, 1, 2):
        save(tmp_path / f"frame{number}.png", number)
    frames = all_frames(open_source(str(tmp_path)))
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [1, 2, 9, 10]
    assert [frame.captured_at_s for frame in frames] == [0.0, 1.0, 2.0, 3.0]


def test_a_glob_picks_pictures_and_a_picture_can_stand_alone(tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path / f"a{number}.png", number)
    assert levels(open_source(str(tmp_path / "a?.png"))) == list(range(10))
    assert levels(open_source(str(tmp_path / "a7.png"))) == [7]


def test_the_rate_comes_from_the_uri_or_the_options(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", number)
    options = SourceOptions(fps=10, start_unix_s=500.0)
    frames = all_frames(open_source(str(tmp_path), options))
    assert [frame.captured_at_s for frame in frames] == [0.0, 0.1, 0.2]
    assert [frame.unix_time_s for frame in frames] == [500.0, 500.1, 500.2]
    frames = all_frames(open_source(f"folder:{tmp_path}?fps=4", options))
    assert [frame.captured_at_s for frame in frames] == [0.0, 0.25, 0.5]


def test_an_unreadable_picture_is_skipped_counted_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 3):
        save(tmp_path / f"{number}.png", number)
    (tmp_path / "2.png").write_bytes(b"no picture")
    source = open_source(str(tmp_path), SourceOptions(loop=True))
    assert isinstance(source, PictureFolder)
    with caplog.at_level(logging.WARNING):
        frames = [source.read() for _ in range(6)]
    assert [frame and frame.index for frame in frames] == list(range(6))
    assert source.skipped == 1
    assert caplog.text.count("2.png") == 1


def test_a_skipped_picture_leaves_a_gap_in_time(tmp_path: Path) -> None:
    save(tmp_path / "1.png", 1)
    (tmp_path / "2.png").write_bytes(b"")
    save(tmp_path / "3.png", 3)
    assert [frame.captured_at_s for frame in all_frames(open_source(str(tmp_path)))] == [0.0, 2.0]


def test_a_folder_without_a_usable_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no pictures"):
        open_source(str(tmp_path))
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"none of 1 pictures can be read.*a\.jpg"):
        all_frames(open_source(str(tmp_path)))
    with pytest.raises(SourceError, match="no such file or folder"):
        open_source(f"folder:{tmp_path}/nowhere")
    with pytest.raises(SourceError, match="no pictures"):
        open_source(str(tmp_path / "*.png"))


def test_a_looping_folder_starts_again_while_time_and_index_go_on(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", number)
    with closing(open_source(str(tmp_path), SourceOptions(loop=True, fps=2))) as source:
        frames = [source.read() for _ in range(7)]
    assert [frame and frame.captured_at_s for frame in frames] == [i / 2 for i in range(7)]


def test_times_and_order_come_from_a_table(tmp_path: Path) -> None:
    save(tmp_path / "on" / "0001.png", 1)
    save(tmp_path / "off" / "0002.png", 2)
    save(tmp_path / "on" / "0003.png", 3)
    (tmp_path / "labels.csv").write_text(
        "frame,state,timestamp_utc\n"
        "on/0003.png,on,2023-06-13 03:11:46\n"
        "on/0001.png,on,2023-06-13T03_11_40\n"
        "off/0002.png,off,2023-06-13 03:11:43\n"
    )
    frames = all_frames(open_source(f"folder:{tmp_path}?times=labels.csv"))
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [1, 2, 3]
    assert [frame.captured_at_s for frame in frames] == [0.0, 3.0, 6.0]
    assert frames[0].unix_time_s == 1686625900.0


def test_a_glob_can_have_a_table_whose_names_start_at_its_fixed_part(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"day{number}" / "a.png", number)
    (tmp_path / "t.csv").write_text("frame,time\nday2/a.png,1\nday1/a.png,2\nday0/a.png,3\n")
    assert levels(open_source(f"folder:{tmp_path}/day[12]/*.png?times=t.csv")) == [2, 1]


def test_a_table_of_plain_seconds_counts_from_the_first_picture(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", number)
    (tmp_path / "t.csv").write_text("file,seconds\n0.png,5\n1.png,5.5\n2.png,7\n")
    options = SourceOptions(start_unix_s=1e9)
    frames = all_frames(open_source(f"folder:{tmp_path}?times=t.csv&column=seconds", options))
    assert [frame.captured_at_s for frame in frames] == [0.0, 0.5, 2.0]
    assert frames[2].unix_time_s == 1e9 + 2.0


def test_rows_without_picture_and_pictures_without_row_are_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", number)
    (tmp_path / "t.csv").write_text("frame,time\n0.png,1\n1.png,2\n\n,\ngone.png,3\n")
    with caplog.at_level(logging.WARNING):
        assert levels(open_source(f"folder:{tmp_path}?times=t.csv")) == [0, 1]
    assert "gone.png" in caplog.text
    assert "2.png" in caplog.text


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("", "is empty"),
        ("frame,state\n0.png,on\n", "no column whose name contains 'time'; there are frame, state"),
        ("frame,time\n0.png,noon\n", "line 2: not a time: 'noon'"),
        ("frame,time\n0.png\n", "line 2: too few columns"),
        ("frame,time\nother.png,1\n", "names none of the 1 pictures"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, table: str, complaint: str) -> None:
    save(tmp_path / "0.png", 0)
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(SourceError, match=complaint):
        open_source(f"folder:{tmp_path}?times=t.csv")


def test_a_missing_table_and_an_unknown_setting_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "0.png", 0)
    with pytest.raises(SourceError, match=r"nothing\.csv: the table of times cannot be read"):
        open_source(f"folder:{tmp_path}?times=nothing.csv")
    with pytest.raises(ConfigError, match="no setting named 'rate'"):
        open_source(f"folder:{tmp_path}?rate=3")
    with pytest.raises(ConfigError, match="fps must be a number above 0, got '0'"):
        open_source(f"folder:{tmp_path}?fps=0")


@pytest.mark.parametrize(
    "raw",
    [
        np.full((3, 4), 200, np.uint8),
        np.dstack([np.full((3, 4, 3), 200, np.uint8), np.full((3, 4), 255, np.uint8)]),
        np.full((3, 4), 200 * 257, np.uint16),
        np.full((3, 4, 3), 200 * 257, np.uint16),
        np.full((1, 1, 3), 200, np.uint8),
    ],
    ids=["grey", "bgra", "grey 16 bit", "colour 16 bit", "1x1"],
)
def test_every_usual_picture_is_read_as_bgr(
    tmp_path: Path, raw: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> None:
    path = tmp_path / "a.png"
    assert cv2.imwrite(str(path), raw)
    pixels = read_picture(path)
    assert pixels.shape == (*raw.shape[:2], 3)
    assert (pixels == 200).all()


def test_fifty_megapixels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    picture = np.zeros((5000, 10_000), np.uint8)
    assert cv2.imwrite(str(path), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert read_picture(path).shape == (5000, 10_000, 3)


def test_a_file_that_would_unpack_to_gigabytes_is_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_that_claims(60_000, 60_000))
    with pytest.raises(SourceError, match=r"bomb\.png: 60000 x 60000 pixels are more than"):
        read_picture(path)


def test_a_file_too_large_for_any_picture_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # a hole: takes no space
    with pytest.raises(SourceError, match=r"huge\.png: \d+ bytes are more than"):
        read_picture(path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.png: No such file"):
        read_picture(tmp_path / "gone.png")


def test_numbers_in_names_sort_by_value_and_equal_ones_by_text() -> None:
    names = ["b1", "a10", "a9", "a09", "A8"]
    ordered = sorted((Path(name) for name in names), key=natural_key)
    assert [path.name for path in ordered] == ["A8", "a09", "a9", "a10", "b1"]


def test_a_home_relative_folder_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "p" / "0.png", 4)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert levels(open_pictures("~/p", SourceOptions())) == [4]
