"""`search --min-score calibrated` goes by what was calibrated, and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_sim.cli.main import main
from tests.gallery.pictures import saved, scene

Captured = pytest.CaptureFixture[str]
SEARCH = ["search", "--query", "in/open/1.png", "--model", "thumbnail"]
HERE = [*SEARCH, "--gallery", "gallery.db", "--min-score", "calibrated"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery of three pictures of each of two states."""
    monkeypatch.chdir(tmp_path)
    for layout, state in enumerate(("open", "shut"), start=1):
        for noise in range(1, 4):
            lit = scene(layout, noise=noise, light=0.5 + 0.15 * noise)
            saved(tmp_path / "in" / state, f"{noise}.png", lit)
    names = ["--watch", "gate", "--model", "thumbnail", "--force"]
    assert main(["gallery", "import", "in", *names]) == 0


def calibrated(watch: str = "gate") -> float:
    options = ["--gallery", "gallery.db", "--watch", watch, "--recall", "0.5", "--write"]
    assert main(["calibrate", *options]) == 0
    from edge_sim.gallery.calibrations import kept_calibrations

    (kept,) = (item for item in kept_calibrations("gallery.db") if item.watch == watch)
    return kept.thresholds[0].threshold


def mistake(capsys: Captured, arguments: list[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_only_what_reaches_the_calibrated_cosine_is_found(capsys: Captured) -> None:
    level = calibrated()
    capsys.readouterr()
    assert main([*HERE, "--json"]) == 0
    printed = capsys.readouterr()
    found: Any = json.loads(printed.out)
    assert "for recall at least 0.5 on 6 references of gate" in printed.err
    assert found["hits"]
    assert all(hit["score"] >= level - 1e-6 for hit in found["hits"])
    capsys.readouterr()
    assert main([*SEARCH, "--gallery", "gallery.db", "--json", "--min-score", str(level)]) == 0
    assert json.loads(capsys.readouterr().out)["hits"] == found["hits"]


def test_without_a_calibration_it_is_said_how_to_make_one(capsys: Captured) -> None:
    assert "calibrate --gallery gallery.db --write" in mistake(capsys, HERE)


def test_of_two_watches_one_must_be_named(capsys: Captured) -> None:
    names = ["--watch", "door", "--model", "thumbnail", "--force"]
    assert main(["gallery", "import", "in", *names]) == 0
    calibrated()
    calibrated("door")
    assert "calibrated for door, gate; name one" in mistake(capsys, HERE)
    assert main([*HERE, "--watch", "gate"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*HERE, "--metric", "ssim"], "goes with --metric cosine"),
        ([*HERE, "--scale", "both"], "goes with --metric cosine"),
        ([*SEARCH, "--index", "x", "--min-score", "calibrated"], "goes with --gallery"),
    ],
)
def test_what_was_not_calibrated_is_refused(
    capsys: Captured, arguments: list[str], words: str
) -> None:
    assert words in mistake(capsys, arguments)


def test_a_score_that_is_no_number_is_wrong_usage(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*SEARCH, "--gallery", "gallery.db", "--min-score", "high"])
    assert stopped.value.code == 2
    assert "`calibrated`" in capsys.readouterr().err
