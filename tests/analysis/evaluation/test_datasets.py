"""Labelled folders: what is read, and one line for each thing that is wrong."""

from __future__ import annotations

import json
import tarfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from edge_sim.analysis.evaluation.datasets import read_labelled, read_set
from edge_sim.analysis.evaluation.tars import read_labelled_picture
from edge_sim.errors import DataError
from tests.analysis.evaluation.folders import START, write_set, write_tar

FEW = ["left", "right", "transition", "left"]


def table(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text)
    return folder


def test_frames_come_in_the_order_of_the_table_with_their_dates(tmp_path: Path) -> None:
    found = read_set(write_set(tmp_path / "shelf", FEW, step=timedelta(minutes=15)))
    assert found.name == "shelf"
    assert [frame.state for frame in found.frames] == FEW
    assert [frame.is_clean for frame in found.frames] == [True, True, False, True]
    assert found.frames[1].time_s - START.timestamp() == 900.0
    assert found.is_dated
    assert found.is_ordered
    assert found.states == ("left", "right")


def test_without_dates_the_order_is_the_time(tmp_path: Path) -> None:
    found = read_set(write_set(tmp_path / "shelf", FEW))
    assert [frame.time_s for frame in found.frames] == [0.0, 1.0, 2.0, 3.0]
    assert not found.is_dated
    assert found.is_ordered


def test_a_note_that_the_order_is_not_known_is_believed(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "shelf", FEW)
    (folder / "META.json").write_text(json.dumps({"temporal_order": "not known"}))
    assert not read_set(folder).is_ordered


def test_a_frame_on_a_boundary_is_not_clean(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "dial", ["left", "right"])
    rows = "frame,state,nuisance\n0000.png,left,boundary;white_balance\n0001.png,right,haze\n"
    assert [frame.is_clean for frame in read_set(table(folder, rows)).frames] == [False, True]


def test_one_state_can_be_judged_against_the_rest(tmp_path: Path) -> None:
    found = read_set(write_set(tmp_path / "line", ["left", "right", "empty", "transition"]))
    assert found.against_rest("left").states == ("left", "not_left")
    assert found.against_rest("ajar") == found
    pair = read_set(write_set(tmp_path / "gate", ["left", "right"]))
    assert pair.against_rest("left") == pair


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("frame,state\n9999.png,left\n", r"line 2.*9999\.png", id="missing picture"),
        pytest.param("frame,label\n0000.png,left\n", "no column 'state'", id="missing column"),
        pytest.param("frame,state\n", "empty", id="no rows"),
        pytest.param("frame,state\n0000.png,\n", "line 2: no state", id="no state"),
        pytest.param("frame,state\n,left\n", "line 2", id="no name"),
        pytest.param("frame,state\n0000.png,  \n", "line 2: no state", id="blank state"),
        pytest.param("frame,state\n0000.png,Unknown\n", "line 2.*reserved", id="reserved"),
        pytest.param("frame,state\n0000.png,a\n0000.png,a\n", "3.*in line 2", id="twice"),
        pytest.param("frame,state,state\n0000.png,a,b\n", "two columns", id="columns twice"),
        pytest.param("frame,state\n0000.png,a,b\n", "line 2: more fields", id="too many fields"),
        pytest.param("frame,state\n.,a\n", "no picture", id="a folder"),
        pytest.param("frame,state\n0000.png,transition\n", "no frame shows", id="no clean frame"),
    ],
)
def test_a_table_that_is_wrong_is_reported_with_its_line(
    tmp_path: Path, text: str, words: str
) -> None:
    folder = table(write_set(tmp_path / "shelf", ["left"]), text)
    with pytest.raises(DataError, match=words):
        read_set(folder)


def test_a_folder_that_is_not_there_or_has_no_table_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_set(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"neither labels\.csv"):
        read_set(tmp_path)


def test_bytes_that_are_no_text_are_reported(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "shelf", ["left"])
    (folder / "labels.csv").write_bytes(b"\xff\xfe\x00frame")
    with pytest.raises(DataError, match="cannot be read"):
        read_set(folder)


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_broken_note_is_reported(tmp_path: Path, text: str) -> None:
    folder = write_set(tmp_path / "shelf", ["left"])
    (folder / "META.json").write_text(text)
    with pytest.raises(DataError, match="META"):
        read_set(folder)


def dated(folder: Path, *moments: str) -> Path:
    rows = [f"{at:04}.png,left,{moment}" for at, moment in enumerate(moments)]
    return table(folder, "\n".join(["frame,state,timestamp", *rows]))


def test_dated_frames_come_in_the_order_of_time(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "shelf", ["left"] * 3)
    found = read_set(dated(folder, "20260103-0000", "20260101-0000", "20260102-0000"))
    assert [frame.path.name for frame in found.frames] == ["0001.png", "0002.png", "0000.png"]
    assert found.is_dated


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param(("1", "2", "3"), id="counted"),
        pytest.param(("0.5", "1.5", "2.5"), id="seconds of a clip"),
        pytest.param(("nan", "nan", "nan"), id="not a number"),
        pytest.param(("", "", ""), id="blank"),
    ],
)
def test_a_column_without_dates_dates_nothing(tmp_path: Path, moments: tuple[str, ...]) -> None:
    found = read_set(dated(write_set(tmp_path / "shelf", ["left"] * 3), *moments))
    assert not found.is_dated
    assert [frame.time_s for frame in found.frames] == [0.0, 1.0, 2.0]


def test_dates_run_together_and_unix_times_are_dates(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "shelf", ["left"] * 2)
    found = read_set(dated(folder, "20260101000000", "1767225601"))
    assert [frame.time_s for frame in found.frames] == [1767225600.0, 1767225601.0]


@pytest.mark.parametrize("wrong", ["nan", "", "soon", "7"])
def test_a_line_without_a_date_among_dates_is_reported(tmp_path: Path, wrong: str) -> None:
    folder = write_set(tmp_path / "shelf", ["left"] * 3)
    with pytest.raises(DataError, match="line 3: no date under 'timestamp'"):
        read_set(dated(folder, "20260101-0000", wrong, "20260102-0000"))


def test_a_tar_gives_classes_and_pictures(tmp_path: Path) -> None:
    found = list(read_labelled(write_tar(tmp_path / "a.tar", ["left", "right"], 2)))
    assert [item.label for item in found] == ["left", "left", "right", "right"]
    assert found[0].name == str(tmp_path / "a.tar" / "left" / "0.png")
    assert found[0].pixels.shape == (96, 96, 3)


def class_folders(folder: Path) -> Path:
    """The pictures of a tar of two classes, unpacked."""
    with tarfile.open(write_tar(folder.with_suffix(".tar"), ["left", "right"], 2)) as archive:
        archive.extractall(folder)
    return folder


def test_folders_of_pictures_are_a_set_without_an_order(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "shelf")
    (folder / "left" / "notes.txt").write_text("no picture")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.png").write_bytes(b"no picture")
    found = read_set(folder)
    assert [(frame.state, frame.path.name) for frame in found.frames] == [
        ("left", "0.png"),
        ("left", "1.png"),
        ("right", "0.png"),
        ("right", "1.png"),
    ]
    assert (found.is_ordered, found.is_dated) == (False, False)


def test_a_tar_its_folder_and_a_table_give_the_same_pictures(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "shelf")
    by_folder = list(read_labelled(folder))
    by_tar = list(read_labelled(tmp_path / "shelf.tar"))
    rows = [f"{item.label}/{Path(item.name).name},{item.label}" for item in by_folder]
    (folder / "labels.csv").write_text("\n".join(["frame,state", *rows]) + "\n")
    by_table = list(read_labelled(folder))
    for found in (by_tar, by_table):
        assert [item.label for item in found] == [item.label for item in by_folder]
        for one, other in zip(found, by_folder, strict=True):
            assert np.array_equal(one.pixels, other.pixels)


def test_a_folder_without_classes_and_a_reserved_one_are_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"neither labels\.csv .* nor folders of pictures"):
        read_set(tmp_path / "empty")
    folder = class_folders(tmp_path / "shelf")
    (folder / "left").rename(folder / "unknown")
    with pytest.raises(DataError, match="'unknown' is reserved; call the folder otherwise"):
        read_set(folder)


def test_a_tar_that_is_none_or_empty_is_reported(tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(b"no tar")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_labelled(tmp_path / "b.tar"))
    with pytest.raises(DataError, match=r"neither labels\.csv .* nor folders of pictures"):
        list(read_labelled(write_tar(tmp_path / "c.tar", [], 0)))
    with pytest.raises(DataError, match="no such folder or tar"):
        read_set(tmp_path / "nowhere.tar")


def tarred(folder: Path, mode: str = "w", suffix: str = ".tar") -> Path:
    """A tar of a folder, hidden files and all, under a folder of its own name."""
    path = folder.parent / (folder.name + suffix)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, folder.name)
    return path


@pytest.mark.parametrize(("mode", "suffix"), [("w", ".tar"), ("w:gz", ".tar.gz"), ("w:xz", ".txz")])
def test_a_tar_with_a_table_is_the_set_of_its_folder(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    folder = write_set(
        tmp_path / "shelf", ["left", "right", "transition", "left"], step=timedelta(minutes=1)
    )
    (folder / "META.json").write_text('{"temporal_order": "not known"}')
    whole, packed = read_set(folder), read_set(tarred(folder, mode, suffix))
    assert packed.name == "shelf"
    assert (packed.is_dated, packed.is_ordered) == (whole.is_dated, whole.is_ordered)
    for one, other in zip(packed.frames, whole.frames, strict=True):
        assert (one.state, one.is_clean, one.time_s) == (other.state, other.is_clean, other.time_s)
        assert np.array_equal(read_labelled_picture(one.path), read_labelled_picture(other.path))


def test_an_order_that_a_tar_calls_not_known_is_not(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "shelf", ["left", "right"])
    (folder / "META.json").write_text('{"temporal_order": "not known"}')
    assert not read_set(tarred(folder)).is_ordered
    (folder / "META.json").write_text("[]")
    with pytest.raises(DataError, match=r"shelf\.tar/shelf/META\.json: must hold an object"):
        read_set(tarred(folder))


def test_faults_of_a_table_in_a_tar_are_named_with_its_line(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "shelf", ["left", "right"])
    (folder / "0001.png").unlink()
    with pytest.raises(
        DataError, match=r"shelf\.tar/shelf/labels\.csv, line 3: .*shelf/0001\.png$"
    ):
        read_set(tarred(folder))


def test_hidden_files_in_a_tar_are_no_pictures(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "shelf")
    (folder / "left" / "._0.png").write_bytes(b"attributes of another system")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.png").write_bytes(b"no picture")
    assert len(list(read_labelled(tarred(folder, suffix=".hidden.tar")))) == 4


def test_thumbnails_of_network_drives_are_no_class(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "shelf")
    (folder / "@eaDir").mkdir()
    (folder / "@eaDir" / "0.png").write_bytes((folder / "left" / "0.png").read_bytes())
    for place in (folder, tarred(folder, suffix=".all.tar")):
        assert read_set(place).states == ("left", "right")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_damaged_tar_is_read_or_reported(tmp_path: Path, mode: str) -> None:
    whole = tarred(class_folders(tmp_path / "shelf"), mode, ".tar.any").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, len(whole), 4):
            data[at % 512 if number % 2 else at] = rng.integers(256)  # headers, and anywhere
        path = tmp_path / f"{number}.tar"
        path.write_bytes(data)
        with suppress(DataError):  # any other error would be a traceback
            list(read_labelled(path))


@pytest.mark.parametrize(
    "size",
    [b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\xff" * 11 + b"\0", b"7" * 12, b"x" * 12],
    ids=["beyond offsets", "minus one", "minus 256", "64 GiB", "no number"],
)
def test_a_tar_with_an_impossible_size_is_one_line(tmp_path: Path, size: bytes) -> None:
    path = write_tar(tmp_path / "a.tar", ["left", "right"], 1)
    data = bytearray(path.read_bytes())
    data[124:136] = size
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])  # so that the checksum holds
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"^\S+a\.tar: the tar cannot be read: [^\n]+$"):
        list(read_labelled(path))


def test_a_tar_that_was_cut_off_is_reported(tmp_path: Path) -> None:
    whole = tarred(class_folders(tmp_path / "shelf"), "w:gz", ".tgz")
    whole.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"shelf\.tgz.*cannot be read"):
        list(read_labelled(whole))


def test_a_tar_that_is_written_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    assert len(read_set(write_tar(path, ["left", "right"], 1)).frames) == 2
    assert len(read_set(write_tar(path, ["left", "right"], 9)).frames) == 18
