"""The soak tool finds what it is there to find."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from edge_sim.domain import State
from edge_sim.events import Origin, StateChanged, state_changed, to_json_line
from tests.builders import change

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))
soak = importlib.import_module("soak")
Sample, growth, main = soak.Sample, soak.growth, soak.main
problems_of, svg = soak.problems_of, soak.svg

ORIGIN = Origin("shed", "yard", "gate", "fake@1", 1)


def line(before: str | None, after: str, index: int) -> bytes:
    event: StateChanged = state_changed(
        change(None if before is None else State(before), State(after), index=index), ORIGIN
    )
    return to_json_line(event)


GOOD = [line(None, "open", 1), line("open", "closed", 2), line("closed", "open", 3)]


def test_a_chain_without_gaps_is_fine_even_if_some_came_twice() -> None:
    assert problems_of(GOOD) == []
    assert problems_of([GOOD[0], GOOD[0], *GOOD[1:], GOOD[2]]) == []


def test_a_lost_event_is_found() -> None:
    (problem,) = problems_of([GOOD[0], GOOD[2]])
    assert "gate was open, not closed" in problem


def test_an_event_told_twice_with_another_id_is_found() -> None:
    assert problems_of([*GOOD[:2], line("open", "closed", 9)]) != []


def test_growth_is_that_of_the_last_two_thirds() -> None:
    flat = [Sample(at, 50.0 if at > 30 else at, 10, 5) for at in range(100)]
    assert growth(flat, "rss_mb") == pytest.approx(0.0, abs=1e-6)
    leaking = [Sample(at, 50.0 + at, 10, 5) for at in range(90)]
    assert growth(leaking, "rss_mb") == pytest.approx(59.0)
    assert svg(leaking).startswith("<svg ")


def test_a_short_run_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "soak"
    assert main(["--frames", "240", "--out", str(out)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == []
    assert report["events"] >= 4
    assert (out / "report.svg").exists()
