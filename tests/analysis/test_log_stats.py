"""A log is summed up by watch, and drift in it is found."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sim.analysis.log_stats import log_stats
from edge_sim.core.events import (
    EventOrigin,
    SceneProblem,
    SourceLost,
    StateChanged,
    state_changed,
    utc_text,
)
from edge_sim.core.types import State
from edge_sim.decision.drift import baseline_of
from edge_sim.runtime.score_log import BadLine, ScoreLine
from tests.builders import change
from tests.drafts import cleared, impaired
from tests.io.outbox.events import told

BASELINES = {"gate": {("open", "day"): baseline_of(np.random.default_rng(1).normal(0.8, 0.05, 60))}}


def line(number: int, combined: float | None = 0.8, **other: str | None) -> ScoreLine:
    fields: dict[str, str | None] = {"state": "open", "reason": None, "best": "open", **other}
    return ScoreLine(
        at=utc_text(1.7e9 + 60.0 * number),
        watch="gate",
        state=str(fields["state"]),
        reason=fields["reason"],
        condition="day",
        best=fields["best"],
        combined=combined,
        probability=0.9,
        gallery_revision=1,
    )


def event(after: str = "open") -> StateChanged:
    return state_changed(change(None, State(after)), EventOrigin("d", "cam", "gate", "m@1", 1))


def drawn(seed: int, mean: float, number: int, start: int = 0) -> list[ScoreLine]:
    values = np.random.default_rng(seed).normal(mean, 0.05, number)
    return [line(start + row, float(value)) for row, value in enumerate(values)]


def test_looks_changes_and_reasons_are_counted() -> None:
    unknown = [line(9, 0.2, state="unknown", reason="novel")] * 3
    lost = SourceLost("1", "d", "cam", "2026-01-31T12:00:00.000Z", "gone")
    found, _ = log_stats(
        [*drawn(2, 0.8, 7), *unknown, event(), lost, lost, BadLine("f:1", "x")], {}
    )
    (gate,) = found.watches
    assert (gate.observations, gate.changes) == (10, 1)
    assert gate.states == {"open": 7, "unknown": 3}
    assert gate.reasons == {"novel": 3}
    assert (found.sources_lost, found.lines, found.bad_lines) == ({"cam": 2}, 14, 1)
    assert found.faults == ("f:1: x",)
    (score,) = gate.scores
    assert (score.observations, score.expected, score.drifted) == (7, None, False)
    assert score.low <= score.median <= score.high


def test_only_scores_of_what_the_watch_says_count() -> None:
    lines = [line(0), line(1, 0.1, best="shut"), line(2, None, best=None)]
    found, traces = log_stats(lines, {})
    assert traces["gate"].scores == {("open", "day"): [0.8]}
    assert found.watches[0].observations == 3


def test_drift_is_found_with_its_beginning() -> None:
    steady, _ = log_stats(drawn(2, 0.8, 300), BASELINES)
    assert steady.watches[0].drift_began is None
    lines = [*drawn(2, 0.8, 300), *drawn(3, 0.7, 200, start=300)]
    moved, _ = log_stats(lines, BASELINES)
    (gate,) = moved.watches
    assert gate.drift_began is not None
    assert lines[300].at < gate.drift_began < lines[400].at
    (score,) = gate.scores
    assert (score.drifted, score.direction) == (True, "fall")
    assert score.expected == pytest.approx(0.8, abs=0.02)


def test_events_alone_give_scores_where_there_is_no_score_log() -> None:
    found, _ = log_stats([event(), event()], {})
    assert [(item.state, item.observations) for item in found.watches[0].scores] == [("open", 2)]
    beside, _ = log_stats([event(), line(1)], {})
    assert [(item.state, item.observations) for item in beside.watches[0].scores] == [("open", 1)]


def test_an_empty_log_says_nothing() -> None:
    found, traces = log_stats([], BASELINES)
    assert (found.watches, found.lines, traces) == ((), 0, {})


def test_other_events_of_a_watch_are_counted_by_type() -> None:
    raised = told(impaired(SceneProblem.COVERED, 0.0, 10.0))
    over = told(cleared(SceneProblem.COVERED, 0.0, 60.0))
    found, _ = log_stats([raised, over, raised, event()], {})
    (gate,) = found.watches
    assert gate.other_events == {"scene_impaired": 2, "scene_cleared": 1}
    assert gate.changes == 1
