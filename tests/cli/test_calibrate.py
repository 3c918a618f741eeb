"""`edge-sim calibrate` from a user's seat."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_sim.cli.main import main
from edge_sim.core.types import BgrImage
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.decision.thresholds import levels_of
from edge_sim.gallery.calibrations import kept_calibrations
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.pictures import read_picture
from tests.gallery.pictures import saved, scene

Captured = pytest.CaptureFixture[str]
ROWS = "0.95,1\n.92,1\n.88,yes\n.83,0\n.78,TRUE\n.65,0\n.55,no\n.40,false\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.csv").write_text("score,same\n" + ROWS)
    for layout, state in enumerate(("open", "shut"), start=1):
        for noise in range(1, 4):
            lit = scene(layout, noise=noise, light=0.5 + 0.15 * noise)
            saved(tmp_path / "in" / state, f"{noise}.png", lit)
    return tmp_path


def answer(capsys: Captured, *arguments: str) -> Any:
    capsys.readouterr()
    assert main(["calibrate", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    return found["calibration"]


def mistake(capsys: Captured, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["calibrate", *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def enrol() -> None:
    names = ["--watch", "gate", "--model", "thumbnail", "--force"]
    assert main(["gallery", "import", "in", *names]) == 0


def test_the_known_answer_comes_from_a_table(here: Path, capsys: Captured) -> None:
    found = answer(capsys, "--pairs", "pairs.csv", "--precision", "0.9")
    (threshold,) = found["thresholds"]
    assert (threshold["threshold"], threshold["recall"]["value"]) == (0.88, 0.75)
    assert (found["aim"], found["value"], found["sample"]) == (
        "precision",
        0.9,
        "8 pairs of pairs.csv",
    )
    assert main(["calibrate", "--pairs", "pairs.csv"]) == 0
    printed = capsys.readouterr().out
    assert "0.8800" in printed
    assert "0.750 (0.301 to 0.954)" in printed


def test_pictures_of_a_table_are_compared(here: Path, capsys: Captured) -> None:
    rows = ["open/1,open/2,1", "shut/1,shut/3,1", "open/1,shut/1,0", "open/3,shut/2,0"]
    lines = [",".join(f"{x}.png" if "/" in x else x for x in row.split(",")) for row in rows]
    Path("in/pairs.csv").write_text("a,b,same\n" + "\n".join(lines) + "\n")
    found = answer(capsys, "--pairs", "in/pairs.csv", "--model", "thumbnail", "--fpr", "0")
    (threshold,) = found["thresholds"]
    assert threshold["recall"]["value"] == 1.0
    assert found["model"].startswith("thumbnail")


def test_a_folder_per_class_is_compared_with_all_its_pairs(here: Path, capsys: Captured) -> None:
    (here / "in" / "open" / "bad.png").write_text("nonsense")
    found = answer(capsys, "--folder", "in", "--model", "thumbnail")
    (threshold,) = found["thresholds"]
    assert (threshold["same"], threshold["different"]) == (6, 9)
    assert threshold["precision"]["value"] == 1.0
    assert main(["calibrate", "--folder", "in", "--model", "thumbnail"]) == 0
    assert "not read: in/open/bad.png" in capsys.readouterr().err


def test_a_gallery_keeps_thresholds_and_where_they_come_from(here: Path, capsys: Captured) -> None:
    enrol()
    by_state = answer(capsys, "--gallery", "gallery.db", "--score", "state", "--write")
    assert [item["name"] for item in by_state["thresholds"]] == ["open", "shut"]
    answer(capsys, "--gallery", "gallery.db", "--recall", "0.9", "--write")
    answer(capsys, "--gallery", "gallery.db", "--watch", "gate", "--fpr", "0", "--write")
    kept = kept_calibrations("gallery.db")
    assert [(item.score, item.aim, item.revision) for item in kept] == [
        ("cosine", "fpr", 1),
        ("state", "precision", 1),
    ]
    assert kept[1].sample == "6 references of gate"
    assert main(["gallery", "stats"]) == 0
    assert "calibrated gate by state for precision 0.9: open " in capsys.readouterr().out
    assert main(["gallery", "verify"]) == 0
    assert main(["gallery", "undo"]) == 0  # pictures go, measurements stay
    assert kept_calibrations("gallery.db") == kept


def test_nothing_is_kept_unless_asked(here: Path, capsys: Captured) -> None:
    enrol()
    answer(capsys, "--gallery", "gallery.db")
    assert kept_calibrations("gallery.db") == ()


def test_the_curves_are_drawn(here: Path, capsys: Captured) -> None:
    assert main(["calibrate", "--pairs", "pairs.csv", "--plot", "plot.html"]) == 0
    text = Path("plot.html").read_text()
    assert "ROC" in text
    assert "Precision over recall" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pairs", "none.csv"], "No such file"),
        (["--pairs", "in"], "Is a directory"),
        (["--pairs", "pairs.csv", "--precision", "2"], "between 0 and 1"),
        (["--pairs", "pairs.csv", "--watch", "gate"], "--watch goes with --gallery"),
        (["--pairs", "pairs.csv", "--write"], "--write goes with --gallery"),
        (["--pairs", "pairs.csv", "--score", "state"], "goes with --gallery"),
        (["--pairs", "pairs.csv", "--plot", "x.png"], "ends in .html"),
        (["--pairs", "pairs.csv", "--plot", "no/x.html"], "no folder"),
        (["--folder", "none"], "No such file"),
        (["--folder", "in/open"], "no folders with pictures"),
        (["--gallery", "gallery.db"], "no gallery"),
        (["--gallery", "gallery.db", "--model", "thumbnail"], "has its own"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(
    here: Path, capsys: Captured, arguments: list[str], words: str
) -> None:
    assert words in mistake(capsys, *arguments)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no rows"),
        ("score,same\n", "no rows"),
        ("value,same\n1,1\n", "needs the columns"),
        ("score\n1\n", "needs the columns"),
        ("score,same\n0.5,maybe\n", "row 2: same is 'maybe'"),
        ("score,same\n0.5,1\nx,0\n", "row 3: score 'x'"),
        ("score,same\n0.5,1\nnan,0\n", "NaN"),
        ("score,same\n0.5,1\n", "is different"),
        ("a,b,same\nno.png,no.png,1\n", "row 2: there is no picture 'no.png'"),
        ("a,b,same\n,,1\n", "row 2: there is no picture ''"),
        ('score,same\n"0.5', "no CSV table"),
        ("score,same\n\xff\n", "no CSV table"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_by_its_row(
    here: Path, capsys: Captured, content: str, words: str
) -> None:
    Path("pairs.csv").write_bytes(content.encode("latin-1"))
    assert words in mistake(capsys, "--pairs", "pairs.csv")


def test_a_gallery_of_one_state_or_one_picture_says_what_is_missing(
    here: Path, capsys: Captured
) -> None:
    names = ["--watch", "gate", "--model", "thumbnail"]
    main(["gallery", "add", "in/open/1.png", *names, "--state", "open"])
    line = mistake(capsys, "--gallery", "gallery.db")
    assert "taken in one moment, or are too few" in line
    assert "--from-watched" in line
    main(["gallery", "add", "in/shut/1.png", *names, "--state", "shut"])
    line = mistake(capsys, "--gallery", "gallery.db", "--score", "state")
    assert "state 'open' has one reference" in line
    main(["gallery", "add", "in/shut/1.png", *names[2:], "--watch", "door", "--state", "shut"])
    assert "name one with --watch; it has door, gate" in mistake(capsys, "--gallery", "gallery.db")
    assert "no watch 'x'" in mistake(capsys, "--gallery", "gallery.db", "--watch", "x")


@pytest.mark.parametrize("arguments", [[], ["--pairs", "a", "--folder", "b"], ["--fpr", "x"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["calibrate", *arguments])
    assert stopped.value.code == 2


def copies(here: Path) -> None:
    """Three pictures, each in a folder with its brighter and its smaller copy."""
    for number in range(1, 4):
        pixels = read_picture(here / "in" / "open" / "1.png") if number == 1 else scene(number + 3)
        for name, copy in (("a", pixels), ("b", pixels // 8 * 7), ("c", pixels[::2, ::2])):
            saved(here / "copies" / str(number), f"{name}.png", np.ascontiguousarray(copy))


def test_the_likeness_of_near_duplicates_is_calibrated_for_an_index(
    here: Path, capsys: Captured
) -> None:
    copies(here)
    place = ["--index", "x.index", "--write"]
    build = ["index", "build", "copies", "--out", "x.index", "--model", "thumbnail"]
    assert main(build) == 0
    found = answer(capsys, "--folder", "copies", "--score", "likeness", "--recall", "0.9", *place)
    (threshold,) = found["thresholds"]
    assert (found["score"], threshold["same"], threshold["different"]) == ("likeness", 9, 27)
    capsys.readouterr()
    assert main(["duplicates", "x.index", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["threshold"] == threshold["threshold"]
    assert "calibrated 20" in printed.err
    assert "for recall at least 0.9" in printed.err
    assert main(["duplicates", "x.index", "--json", "--threshold", "0.9"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == 0.9


def test_without_a_calibration_duplicates_take_the_usual_threshold(
    here: Path, capsys: Captured
) -> None:
    assert main(["duplicates", "in", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == 0.82


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--pairs", "pairs.csv", "--index", "x"], "--score likeness and --write"),
        (["--pairs", "pairs.csv", "--score", "likeness", "--write"], "likeness and --index"),
        (["--folder", "in", "--score", "likeness", "--model", "thumbnail"], "needs no --model"),
        (["--gallery", "g.db", "--score", "likeness"], "--pairs and --folder"),
        (["--folder", "in", "--score", "likeness", "--index", "none", "--write"], "index build"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_likeness_goes_with_an_index_only(
    here: Path, capsys: Captured, options: list[str], words: str
) -> None:
    assert words in mistake(capsys, *options)


def test_a_damaged_calibration_of_an_index_says_how_to_make_it_anew(
    here: Path, capsys: Captured
) -> None:
    assert main(["index", "build", "in", "--out", "x.index", "--model", "thumbnail"]) == 0
    with closing(sqlite3.connect("x.index/index.db")) as file, file:
        file.execute("INSERT INTO settings VALUES ('calibration', '{')")
    capsys.readouterr()
    assert main(["duplicates", "x.index"]) == 1
    assert "its calibration is damaged" in capsys.readouterr().err


@pytest.fixture
def line(here: Path) -> Path:
    """Ten good products, twenty watched ones of which the last is not normal, and two bad ones."""
    for number in range(30):
        folder = here / ("good/ok" if number < 10 else "watched")
        saved(folder, f"{number:02}.png", product(number, bad=number == 29))
    for number in range(2):
        saved(here / "bad", f"{number}.png", product(40 + number, bad=True))
    names = ["--watch", "line", "--model", "thumbnail", "--gallery", "line.db", "--force"]
    assert main(["gallery", "import", "good", *names]) == 0
    return here


def product(seed: int, *, bad: bool = False) -> BgrImage:
    """A drawn scene in light of its own; a bad one has a dark spot."""
    pixels = scene(3, noise=seed + 1, light=0.75 + 0.05 * (seed % 7))
    shadow = 11 * (seed % 10)
    pixels[:, shadow : shadow + 50] //= 2
    if bad:
        pixels[40:90, 60:120] //= 8
    return pixels


WATCHED = ("--gallery", "line.db", "--model", "thumbnail", "--from-watched", "watched")


def test_the_most_novel_of_the_watched_pictures_are_shown_and_nothing_is_kept(
    line: Path, capsys: Captured
) -> None:
    capsys.readouterr()
    assert main(["calibrate", *WATCHED, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shown = found["most_novel"]
    assert len(shown) == 12
    assert shown[0]["picture"].endswith("29.png")
    assert [item["number"] for item in shown] == list(range(1, 13))
    assert not found["written"]
    assert kept_calibrations(line / "line.db") == ()
    assert main(["calibrate", *WATCHED]) == 0
    assert "--all-normal" in capsys.readouterr().out


def test_a_person_says_which_watched_picture_is_not_normal_and_the_level_follows(
    line: Path, capsys: Captured
) -> None:
    assert main(["calibrate", *WATCHED, "--not-normal", "1", "--write"]) == 0
    (kept,) = kept_calibrations(line / "line.db")
    (threshold,) = kept.thresholds
    assert (kept.score, threshold.same, threshold.different) == ("novelty", 19, 1)
    with GalleryStore.open(line / "line.db") as store:
        gallery = store.gallery("line")
    level = levels_of(gallery, GalleryScorer(gallery).leave_one_out())["ok"].novel
    assert level is not None
    everything = answer(capsys, *WATCHED, "--all-normal")
    assert everything["thresholds"][0]["threshold"] > threshold.threshold


def test_one_state_is_calibrated_from_its_references_and_from_a_few_bad_pictures(
    line: Path, capsys: Captured
) -> None:
    alone = answer(capsys, "--gallery", "line.db")
    assert alone["thresholds"][0]["same"] == 10
    bad = answer(capsys, "--gallery", "line.db", "--model", "thumbnail", "--bad", "bad")
    (threshold,) = bad["thresholds"]
    assert (threshold["same"], threshold["different"]) == (10, 2)
    assert threshold["fpr"]["value"] == 0.0


def test_where_no_bad_picture_stands_out_the_next_steps_are_named(
    line: Path, capsys: Captured
) -> None:
    """The bad pictures are good ones here."""
    options = ("--gallery", "line.db", "--model", "thumbnail")
    capsys.readouterr()
    assert main(["calibrate", *options, "--bad", "good/ok"]) == 0
    shown = capsys.readouterr().out
    assert "none of the 10 bad pictures stands out from ok: " in shown
    assert "`edge-sim compare GOOD BAD --map map.png`" in shown
    assert main(["calibrate", *options, "--bad", "bad"]) == 0
    assert "stands out" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([*WATCHED, "--not-normal", "13"], "numbers of 1 to 12"),
        ([*WATCHED, "--not-normal", "one"], "numbers of 1 to 12"),
        ([*WATCHED, "--write"], "look at the list without --write"),
        (["--gallery", "line.db", "--all-normal"], "--from-watched"),
        (["--gallery", "line.db", "--from-watched", "none"], "no such score log or folder"),
        (["--gallery", "line.db", "--from-watched", "log.jsonl"], "no observation of 'line'"),
        (["--gallery", "line.db", "--from-watched", "watched"], "name it with --model"),
        (["--gallery", "line.db", "--precision", "0.9"], "has one state"),
        (["--gallery", "line.db", "--fpr", "0"], "has one state"),
        ([*WATCHED, "--fpr", "0"], "take no target"),
        (["--folder", "good", "--bad", "bad"], "go with --gallery"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_calibrated_of_one_state_is_said(
    line: Path, capsys: Captured, options: list[str], words: str
) -> None:
    (line / "log.jsonl").write_text("")
    assert words in mistake(capsys, *options)
