"""Names that are no text, too long, or look like something else end in results or in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.gallery.enrolment import encoded_crop
from tests.pictures import picture

LATIN = os.fsdecode(b"caf\xe9")
LONG = "x" * 300


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_picture_whose_name_is_no_text_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    Path(LATIN).mkdir()
    Path(LATIN, f"{LATIN}.png").write_bytes(encoded_crop(picture(1)))
    assert main(["capture", f"{LATIN}/{LATIN}.png", "--out", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == r"caf\udce9/caf\udce9.png"
    assert main(["capture", LATIN, "--out", f"out{LATIN}"]) == 0
    assert r"outcaf\udce9" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["capture", f"{LONG}.mp4", "--out", "out"],
        ["capture", "synthetic:bowl", "--out", LONG],
        ["index", "info", LONG],
        ["duplicates", LONG],
        ["stats", LONG],
        ["gallery", "list", "--gallery", LONG],
        ["calibrate", "--pairs", LONG],
        ["check", "-c", LONG],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_name_that_is_too_long_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) in (1, 78)
    error = capsys.readouterr().err
    assert error.startswith("edge-sim: ")
    assert error.count("\n") == 1
    assert LONG in error


def test_a_numbered_name_names_the_glob(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capture", "img_%06d.png", "--out", "out"]) == 78
    assert "named by a glob: img_*.png" in capsys.readouterr().err


def test_a_pipe_in_the_place_of_a_picture_is_named_and_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    out = str(tmp_path / "out.npy")
    assert main(["embed", "--model", "thumbnail", "--out", out, str(tmp_path)]) == 1
    assert "pipe.png: skipped: not a regular file" in capsys.readouterr().err
