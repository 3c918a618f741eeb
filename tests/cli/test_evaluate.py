"""`edge-sim evaluate` as a user calls it."""

from __future__ import annotations

import importlib.util
import json
import tarfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_sim.cli.main import main
from tests.analysis.evaluation.folders import write_set, write_tar
from tests.pictured import picture

FIFTEEN_MINUTES = timedelta(minutes=15)
NO_MODEL = ["--model", "thumbnail"]


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return write_set(tmp_path / "shelf", ["empty", "left", "right"] * 8)


def clip(folder: Path) -> Path:
    labels = ["empty"] * 9 + ["left"] * 9 + ["empty"] * 9
    return write_set(folder, labels, step=FIFTEEN_MINUTES)


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["evaluate", *arguments, *NO_MODEL, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_states_are_reported_as_json(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "states", str(shelf), "--draws", "2", "--references", "3")
    assert (found["schema"], found["kind"]) == (1, "states")
    [one] = found["sets"]
    assert one["name"] == "shelf"
    assert one["frames"] == 24
    assert 0.0 <= one["balanced_accuracy"] <= 1.0
    assert set(one["open_set"]) == {"auroc", "unknown_recall", "found", "false_unknown"}
    mean = found["mean"]
    assert mean["balanced_accuracy"] == one["balanced_accuracy"]


def test_the_table_marks_the_worst_set(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hard = write_set(tmp_path / "hard", ["left", "transition", "right"] * 8)
    flipped = (hard / "labels.csv").read_text().replace("0000.png,left", "0000.png,right")
    (hard / "labels.csv").write_text(flipped.replace("0003.png,left", "0003.png,right"))
    arguments = ["--draws", "2", "--references", "4", "--no-open-set", *NO_MODEL]
    assert main(["evaluate", "states", str(shelf), str(hard), *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["set", "shelf", "hard", "mean", "picture"]
    assert [line.endswith("worst") for line in lines[:4]] == [False, False, True, False]
    assert any("0003.png" in line for line in lines[5:])


def test_states_and_events_are_measured_in_a_tar_as_in_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = clip(tmp_path / "gate")
    with tarfile.open(tmp_path / "gate.tar", "w") as archive:
        archive.add(folder, "gate")
    for kind in ("states", "events"):
        options = ("--draws", "2", "--references", "3")
        by_folder = report(capsys, kind, str(folder), *options)
        by_tar = report(capsys, kind, str(tmp_path / "gate.tar"), *options)
        assert without_files(by_folder) == without_files(by_tar)


def without_files(result: object) -> object:
    """The figures without the names of files, which differ."""
    if isinstance(result, dict):
        return {name: without_files(value) for name, value in result.items() if name != "file"}
    return [without_files(item) for item in result] if isinstance(result, list) else result


def test_a_clip_plays_with_references_drawn_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(
        capsys, "events", str(clip(tmp_path / "gate")), "--draws", "2", "--references", "3"
    )
    [one] = found["sets"]
    assert one["true_changes"] == 3
    assert one["f1"] == pytest.approx(1.0)


def test_a_clip_of_one_state_enrols_its_first_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path / "road", ["empty"] * 30)
    [one] = report(capsys, "events", str(folder))["sets"]
    assert one["frames"] == 22
    assert one["false_events"] == 0


def test_references_can_come_from_another_set_of_the_same_view(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_set(tmp_path / "other", ["empty"] * 40 + ["left"] * 40, step=timedelta(hours=1))
    played = clip(tmp_path / "gate")
    rows = (played / "labels.csv").read_text().replace("2026-03-01", "2026-03-02")
    (played / "labels.csv").write_text(rows)
    [one] = report(capsys, "events", str(played), "--references-from", str(other))["sets"]
    assert one["f1"] == pytest.approx(1.0)


def test_states_without_references_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_set(tmp_path / "other", ["empty"] * 40 + ["left"] * 40, step=timedelta(hours=1))
    played = clip(tmp_path / "gate")
    rows = (played / "labels.csv").read_text().replace("2026-03-01", "2026-03-02")
    (played / "labels.csv").write_text(rows.replace(",left,", ",Left,"))
    arguments = ["events", str(played), "--references-from", str(other), *NO_MODEL]
    assert main(["evaluate", *arguments]) == 0
    told = capsys.readouterr().err
    assert "gate: no references of Left; the gallery has empty, left" in told


def test_retrieval_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tar = write_tar(tmp_path / "things.tar", ["left", "right", "empty"], 5)
    [one] = report(capsys, "retrieval", str(tar))["sets"]
    assert one["pictures"] == 15
    assert one["hit_rate_at_1"] > 0.8


def indexed(tmp_path: Path, *options: str) -> tuple[Path, Path]:
    """Folders of pictures, three classes of five, and an index of them."""
    folder, index = tmp_path / "things", tmp_path / "i"
    with tarfile.open(write_tar(tmp_path / "t.tar", ["left", "right", "empty"], 5)) as archive:
        archive.extractall(folder)
    arguments = ["index", "build", str(folder), "--out", str(index), "--json", *options]
    assert main([*arguments, *NO_MODEL]) == 0
    return folder, index


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["evaluate", "retrieval", *arguments, "--json"]) == 0
    [one] = json.loads(capsys.readouterr().out)["sets"]
    return dict(one)


@pytest.mark.parametrize("options", [(), ("--regions",)], ids=["whole", "regions"])
def test_an_index_is_measured_from_the_file_to_the_answer(
    options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, index = indexed(tmp_path, *options)
    one = evaluated(capsys, str(folder), "--index", str(index))
    assert (one["pictures"], one["classes"], one["kind"]) == (15, 3, "exact")
    assert one["recall_at_100"] == 1.0  # all others are among fourteen answers
    assert 0.0 < one["search_p50_ms"] <= one["latency_p50_ms"] <= one["latency_p95_ms"]
    plain = evaluated(capsys, str(folder), "--no-centring", *NO_MODEL)
    if not options:
        for name in ("hit_rate_at_1", "recall_at_5", "precision_at_10"):
            assert one[name] == pytest.approx(plain[name])
        assert len(one["wrong"]) == len(plain["wrong"])


def test_pictures_that_are_not_in_the_index_are_searched_for_by_the_names_of_their_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, index = indexed(tmp_path)
    one = evaluated(capsys, str(tmp_path / "t.tar"), "--index", str(index))
    assert one["hit_rate_at_1"] == 1.0  # each finds its copy
    strange = write_tar(tmp_path / "s.tar", ["top"], 2)
    assert main(["evaluate", "retrieval", str(strange), "--index", str(index)]) == 1
    assert "no other picture of its classes" in capsys.readouterr().err


def test_wrong_answers_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, index = indexed(tmp_path)
    (folder / "left" / "0.png").rename(folder / "right" / "9.png")  # a wrong label
    for options in (NO_MODEL, ["--index", str(index)]):
        if options is not NO_MODEL:
            assert main(["index", "add", str(index)]) == 0
        capsys.readouterr()
        page = tmp_path / f"{len(options)}.html"
        shown = ["--report", str(page)]
        assert main(["evaluate", "retrieval", str(folder), *options, *shown]) == 0
        assert page.read_text().count("data:image/jpeg") == 2, "the picture and its nearest"
        lines = capsys.readouterr().out.splitlines()
        (wrong,) = (line.split() for line in lines if "9.png" in line.split()[0])
        assert (wrong[1], wrong[3]) == ("right", "left")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["retrieval", ".", "--index", "nowhere"], "no index", id="no index"),
        pytest.param(["states", "nowhere"], "no such folder", id="no folder"),
        pytest.param(["retrieval", "nowhere.tar"], "there is no such folder or tar", id="no tar"),
        pytest.param(["states", ".", "--draws", "0"], "1 or more", id="no draws"),
        pytest.param(["states", ".", "--seed", "-1"], "--seed", id="negative seed"),
        pytest.param(["events", ".", "--sensitivity", "nan"], "0 to 1", id="sensitivity NaN"),
        pytest.param(["events", ".", "--watch", "gate"], "--config", id="watch of nothing"),
    ],
)
def test_a_mistake_ends_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments, *NO_MODEL]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert len(err.splitlines()) == 1


def test_an_unordered_set_is_not_played(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shelf / "META.json").write_text('{"temporal_order": "not known"}')
    assert main(["evaluate", "events", str(shelf), *NO_MODEL]) == 1
    assert "order" in capsys.readouterr().err


def test_a_plot_without_matplotlib_names_the_extra_and_with_it_is_a_picture(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plot.png"
    arguments = ["states", str(shelf), "--draws", "1", "--plot", str(out), *NO_MODEL]
    installed = importlib.util.find_spec("matplotlib") is not None
    assert main(["evaluate", *arguments]) == (0 if installed else 1)
    assert out.is_file() == installed
    assert ("edge_sim[plot]" in capsys.readouterr().err) != installed


def test_a_clip_that_asks_for_nothing_is_not_perfect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write_set(tmp_path / "flicker", ["left", "right"] * 8))
    assert main(["evaluate", "events", folder, "--references", "1", *NO_MODEL]) == 1
    assert "flicker: no state lasts 3 frames" in capsys.readouterr().err


def test_states_in_several_lights_are_told_by_light(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path / "shelf", ["left", "right"] * 6)
    for at in (0, 2):
        cv2.imwrite(
            str(folder / f"{at:04}.png"), cv2.cvtColor(picture("left", at), cv2.COLOR_BGR2GRAY)
        )
    assert main(["evaluate", "states", str(folder), "--draws", "1", *NO_MODEL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].split() == [
        "set",
        "state,",
        "accuracy",
        "by",
        "light",
        "day",
        "dusk",
        "ir",
        "dark",
    ]
    assert "of 2" in lines[-2]
    [one] = report(capsys, "states", str(folder), "--draws", "1")["sets"]
    assert one["conditions"]["left"]["ir"]["frames"] == 2


@pytest.mark.parametrize("kind", ["states", "events", "retrieval"])
def test_what_cannot_be_plotted_is_told_before_the_work(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    for name, words in (("a.mp4", "cannot be such a file"), ("none/a.png", "no folder")):
        out = str(tmp_path / name)
        assert main(["evaluate", kind, "nowhere", "--plot", out, *NO_MODEL]) == 1
        assert words in capsys.readouterr().err


def test_wrong_pictures_are_named_with_what_they_were_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path / "gate", ["empty"] * 12 + ["left"] * 12)
    table = (folder / "labels.csv").read_text().splitlines()
    at = next(number for number, line in enumerate(table) if ",left," in line)
    table[at] = table[at].replace(",left,", ",empty,")  # a wrong label
    (folder / "labels.csv").write_text("\n".join(table) + "\n")
    page = tmp_path / "wrong.html"
    [one] = report(capsys, "states", str(folder), "--draws", "4", "--report", str(page))["sets"]
    worst = one["wrong"][0]
    assert worst["file"].endswith(table[at].split(",")[0])
    assert (worst["state"], set(worst["reported"])) == ("empty", {"left"})
    assert "data:image/jpeg;base64" in page.read_text()
