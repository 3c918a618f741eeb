"""`edge-sim replay`: what other settings would have made of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_sim.cli.main import main
from tests.devices import make_device

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the log of a run, every look in it, and its events."""
    folder = tmp_path_factory.mktemp("device")
    sinks = f"sinks: [{{kind: file, path: '{folder}/events.jsonl'}}]\n"
    config = make_device(folder, extra=sinks)
    log = ["--score-log", str(folder / "scores.jsonl"), "--score-every", "0"]
    assert main(["run", "-c", str(config), *log]) == 0
    return folder


def replayed(device: Path, capsys: Captured, *options: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["replay", "--from-scores", str(device / "scores.jsonl"), "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_the_settings_of_then_give_the_events_of_then(device: Path, capsys: Captured) -> None:
    found = replayed(device, capsys)
    (lamp,) = found["watches"]
    events = (device / "events.jsonl").read_text().splitlines()
    changes = [line for line in events if json.loads(line)["type"] == "state_changed"]
    assert lamp["watch"] == "lamp"
    assert lamp["logged"] == lamp["decided"] == lamp["same"] == len(changes) > 0
    assert (lamp["moved"], lamp["gained"], lamp["lost"], found["sweep"]) == ([], [], [], [])
    log = found["log"]
    assert isinstance(log, dict)
    assert (log["exact"], log["observations"], log["bad_lines"]) == (True, 120, 0)
    assert main(["replay", "--from-scores", str(device / "scores.jsonl")]) == 0
    assert "with the original settings exactly the same" in capsys.readouterr().out


def test_other_settings_list_what_is_gained_moved_and_lost(device: Path, capsys: Captured) -> None:
    options = ["--confirm", "1/1", "--enter", "0.9", "--leave", "0.85", "--sensitivity", "0.5"]
    found = replayed(device, capsys, *options)
    assert found["overrides"] == {
        "sensitivity": 0.5,
        "matches": 1,
        "of": 1,
        "enter": 0.9,
        "leave": 0.85,
    }
    (lamp,) = found["watches"]
    assert lamp["same"] + len(lamp["moved"]) + len(lamp["gained"]) == lamp["decided"]
    assert lamp["same"] + len(lamp["moved"]) + len(lamp["lost"]) == lamp["logged"]
    assert main(["replay", "--from-scores", str(device / "scores.jsonl"), *options]) == 0
    out = capsys.readouterr().out
    assert f"{lamp['logged']} events at the time; with sensitivity 0.5, matches 1," in out
    assert out.count("\nmoved") == len(lamp["moved"])


def test_a_sweep_counts_events_per_sensitivity(device: Path, capsys: Captured) -> None:
    found = replayed(device, capsys, "--sweep")
    rows = found["sweep"]
    assert isinstance(rows, list)
    assert [row["sensitivity"] for row in rows] == [step / 10 for step in range(11)]
    (lamp,) = found["watches"]
    assert rows[5]["events"] == rows[5]["same"] == lamp["logged"]
    for row in rows:
        assert row["same"] + row["moved"] + row["gained"] == row["events"]
        assert row["same"] + row["moved"] + row["lost"] == lamp["logged"]
    assert main(["replay", "--from-scores", str(device / "scores.jsonl"), "--sweep"]) == 0
    assert capsys.readouterr().out.count("\nlamp ") == 11


def test_both_runs_are_drawn(device: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plot.html"
    log = str(device / "scores.jsonl")
    assert main(["replay", "--from-scores", log, "--sensitivity", "0.9", "--plot", str(plot)]) == 0
    text = plot.read_text()
    assert "lamp as it was" in text
    assert "lamp as replayed" in text


def test_a_watch_that_is_not_in_the_log_is_one_line(device: Path, capsys: Captured) -> None:
    log = str(device / "scores.jsonl")
    assert main(["replay", "--from-scores", log, "--watch", "lamp"]) == 0
    assert main(["replay", "--from-scores", log, "--watch", "door"]) == 1
    assert "there is no observation of a watch 'door'" in capsys.readouterr().err


def test_a_log_of_summaries_says_how_to_write_a_whole_one(tmp_path: Path, capsys: Captured) -> None:
    config = make_device(tmp_path)
    log = str(tmp_path / "s.jsonl")
    assert main(["run", "-c", str(config), "--score-log", log, "--score-every", "1"]) == 0
    assert main(["replay", "--from-scores", log]) == 1
    assert "write it with --score-every 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no observations to decide; write it with"),
        ("nonsense\n", "holds no observations to decide (such as "),
        (
            '{"type":"source_lost","id":"a","device":"d","source":"s","at":"x","error":"e"}\n',
            "no observations",
        ),
    ],
)
def test_a_foreign_log_is_one_line(
    tmp_path: Path, capsys: Captured, content: str, message: str
) -> None:
    (tmp_path / "s.jsonl").write_text(content)
    assert main(["replay", "--from-scores", str(tmp_path / "s.jsonl")]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_torn_line_is_told_on_the_side(device: Path, tmp_path: Path, capsys: Captured) -> None:
    torn = tmp_path / "s.jsonl"
    torn.write_bytes((device / "scores.jsonl").read_bytes()[:-100])
    assert main(["replay", "--from-scores", str(torn)]) == 0
    assert "1 lines cannot be read, such as " in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--sensitivity", "1.5"],
        ["--sensitivity", "nan"],
        ["--enter", "high"],
        ["--confirm", "3"],
        ["--confirm", "5/3"],
        ["--confirm", "0/3"],
    ],
)
def test_numbers_that_cannot_be_are_a_usage_error(
    device: Path, options: list[str], capsys: Captured
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["replay", "--from-scores", str(device / "scores.jsonl"), *options])
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_levels_that_contradict_each_other_are_one_line(device: Path, capsys: Captured) -> None:
    log = str(device / "scores.jsonl")
    assert main(["replay", "--from-scores", log, "--enter", "0.2", "--leave", "0.4"]) == 1
    assert "leave 0.4 lies above enter 0.2" in capsys.readouterr().err


def test_a_plot_of_an_unknown_kind_is_refused_first(device: Path, capsys: Captured) -> None:
    plot = str(device / "plot.pdf")
    assert main(["replay", "--from-scores", str(device / "no.jsonl"), "--plot", plot]) == 1
    assert "ends in .html" in capsys.readouterr().err
