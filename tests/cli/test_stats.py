"""`edge-sim stats`, and the score log that `run` writes for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from tests.devices import make_device

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a device, its gallery, and the log of a run."""
    folder = tmp_path_factory.mktemp("device")
    config = make_device(folder)
    log = ["--score-log", str(folder / "scores.jsonl"), "--score-every", "0.5"]
    assert main(["run", "-c", str(config), *log]) == 0
    return folder


def test_the_log_of_a_run_is_summed_up(device: Path, capsys: Captured) -> None:
    capsys.readouterr()
    log = str(device / "scores.jsonl")
    assert main(["stats", log, "--gallery", str(device / "gallery.db"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (lamp,) = found["watches"]
    assert lamp["watch"] == "lamp"
    assert lamp["observations"] == found["lines"] > 10
    assert sum(lamp["states"].values()) == lamp["observations"]
    assert (found["bad_lines"], found["schema"]) == (0, 1)
    assert main(["stats", log]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"lamp: {lamp['observations']} observations and at least ")
    assert "states: " in printed


@pytest.mark.parametrize("every_s", ["0", "0.5", "20"])
def test_changes_are_counted_without_an_event_file(
    tmp_path: Path, capsys: Captured, every_s: str
) -> None:
    config = make_device(tmp_path)
    log = str(tmp_path / "scores.jsonl")
    assert main(["run", "-c", str(config), "--score-log", log, "--score-every", every_s]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    changes = [event for event in events if event["type"] == "state_changed"]
    assert len(changes) > 3
    assert main(["stats", log, "--json"]) == 0
    (lamp,) = json.loads(capsys.readouterr().out)["watches"]
    if every_s == "0":
        assert (lamp["changes"], lamp["sampled"]) == (len(changes), False)
    else:
        assert lamp["sampled"]
        assert 0 < lamp["changes"] <= len(changes)
    assert main(["stats", log]) == 0
    printed = capsys.readouterr()
    assert ("at least" in printed.out) == ("--score-every 0" in printed.err) == (every_s != "0")


def test_a_watch_can_be_chosen(device: Path, capsys: Captured) -> None:
    assert main(["stats", str(device / "scores.jsonl"), "--watch", "lamp"]) == 0
    assert "lamp: " in capsys.readouterr().out
    assert main(["stats", str(device / "scores.jsonl"), "--watch", "lamb"]) == 1
    assert "no watch 'lamb' (did you mean 'lamp'?)" in capsys.readouterr().err


def test_scores_are_drawn(device: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plot.html"
    assert main(["stats", str(device / "scores.jsonl"), "--plot", str(plot)]) == 0
    assert "lamp: " in plot.read_text()


def test_a_file_of_which_no_line_can_be_read_is_an_error(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "s.jsonl").write_text("nonsense\n")
    assert main(["stats", str(tmp_path / "s.jsonl")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "no line is one of an event file or a score log, such as " in printed.err


def test_lines_that_cannot_be_read_are_told_on_the_side(
    device: Path, tmp_path: Path, capsys: Captured
) -> None:
    lines = (device / "scores.jsonl").read_text()
    (tmp_path / "s.jsonl").write_text("nonsense\n" + lines)
    assert main(["stats", str(tmp_path / "s.jsonl")]) == 0
    assert "lines cannot be read, such as " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.jsonl"], "cannot be read"),
        (["."], "cannot be read"),
        (["s.jsonl", "--gallery", "no.db"], "no gallery at no.db"),
        (["s.jsonl", "--plot", "x.png"], "ends in .html"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.jsonl").touch()
    assert main(["stats", *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1


def test_a_score_log_that_cannot_be_written_stops_the_run_before_it_starts(
    tmp_path: Path, capsys: Captured
) -> None:
    config = make_device(tmp_path)
    assert main(["run", "-c", str(config), "--score-log", str(tmp_path / "no" / "s")]) == 1
    assert "cannot append" in capsys.readouterr().err
