"""`embed` writes one row per readable picture, in order, and says which were not."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.cli.main import main
from edge_sim.core.images import decode
from edge_sim.vision.embedders import open_embedder
from tests.models import write_verified
from tests.vision.embedders.tiny_models import grid_model


def write_picture(path: Path, level: int) -> Path:
    pixels = np.full((20, 30, 3), level, np.uint8)
    pixels[:, 10:] = (10, level, 250 - level)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for level, name in ((50, "b.png"), (100, "a.png"), (150, "deeper/c.JPG")):
        write_picture(tmp_path / "pictures" / name, level)
    (tmp_path / "pictures" / "notes.txt").write_text("not a picture")
    return tmp_path / "pictures"


def thumbnail_of(path: Path) -> NDArray[np.float32]:
    return open_embedder("thumbnail").embed(decode(path.read_bytes())).vector


def embed(*arguments: object) -> int:
    return main(["embed", "--model", "thumbnail", *(str(argument) for argument in arguments)])


def test_a_folder_gives_a_row_per_picture_in_the_order_of_the_sidecar(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.npy"
    assert embed(folder, "--out", out) == 0
    rows = np.load(out)
    sidecar = json.loads(out.with_suffix(".json").read_text())
    names = [Path(name).relative_to(folder).as_posix() for name in sidecar["names"]]
    assert names == ["a.png", "b.png", "deeper/c.JPG"]
    assert sidecar["model_id"] == "thumbnail@builtin/p2"
    assert rows.dtype == np.float32
    for row, name in zip(rows, sidecar["names"], strict=True):
        np.testing.assert_array_equal(row, thumbnail_of(Path(name)))
    captured = capsys.readouterr()
    assert captured.out == f"{out}: 3 x 289 float32 by thumbnail@builtin/p2\n"
    assert captured.err == ""


def test_unreadable_pictures_are_named_skipped_and_turn_the_exit_code(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.npy"
    (folder / "aa.png").write_bytes(b"\x89PNG not really")
    assert embed(folder, tmp_path / "missing.png", "--out", out, "--json") == 1
    captured = capsys.readouterr()
    assert "aa.png: skipped: not a picture" in captured.err
    assert "missing.png: skipped: No such file" in captured.err
    summary = json.loads(captured.out)
    assert summary["pictures"] == len(np.load(out)) == 3
    assert [Path(entry["path"]).name for entry in summary["failed"]] == ["aa.png", "missing.png"]


def test_cells_are_written_on_request(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npy"
    assert embed(folder, "--out", out, "--spatial") == 0
    assert np.load(tmp_path / "x.spatial.npy").shape == (3, 4, 4, 18)


def test_cells_that_a_model_does_not_have_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_verified(tmp_path / "m.tflite", grid_model("float32", outputs=(2,)))
    out = tmp_path / "x.npy"
    assert main(["embed", str(folder), "--model", str(model), "--out", str(out), "--spatial"]) == 1
    assert "has no spatial output; leave --spatial out" in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_without_pictures_is_reported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert embed(folder, empty, "--out", tmp_path / "x.npy") == 1
    assert f"{empty}: skipped: no picture in this folder" in capsys.readouterr().err


def test_nothing_is_written_when_nothing_could_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed(tmp_path / "missing.png", "--out", tmp_path / "x.npy") == 1
    assert "edge-sim: no picture could be read" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "message"),
    [("x.csv", "--out must end in .npy"), ("nowhere/x.npy", "there is no folder")],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, message: str
) -> None:
    assert embed(folder, "--out", tmp_path / out) == 1
    assert message in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.npy"
    out.mkdir()
    assert embed(folder, "--out", out) == 1
    assert f"edge-sim: {out}: cannot write (Is a directory)" in capsys.readouterr().err
