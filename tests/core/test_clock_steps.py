"""Times that were noted before the clock was set are corrected; durations never depend on it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.clock_steps import ClockSteps, corrected
from edge_sim.core.events import SceneProblem
from edge_sim.core.types import State, UnknownReason
from edge_sim.decision.rules import RuleFollower, Rules
from edge_sim.decision.scene_problems import ReportingPolicy, SceneHealth
from edge_sim.io.sinks.mqtt.topics import moved_since
from tests.builders import observation

TRUE_S = 1_790_000_000.0


@given(
    offset=st.floats(-2e9, 2e9),
    gaps=st.lists(st.floats(0.0, 1e6), min_size=1, max_size=20),
)
def test_a_clock_that_runs_with_the_other_never_steps(offset: float, gaps: list[float]) -> None:
    steps, at_s = ClockSteps(), 0.0
    for gap_s in gaps:
        at_s += gap_s
        assert steps.step_s(at_s, at_s + offset) == 0.0


def test_a_step_is_reported_once() -> None:
    steps = ClockSteps()
    assert [steps.step_s(5.0, 12.0), steps.step_s(6.0, TRUE_S), steps.step_s(7.0, TRUE_S + 1)] == [
        0.0,
        TRUE_S - 13.0,
        0.0,
    ]


def test_of_the_times_before_a_restart_only_those_that_cannot_be_right_are_corrected() -> None:
    assert corrected(20.0, TRUE_S, is_own=False) == TRUE_S + 20.0
    assert corrected(TRUE_S, TRUE_S, is_own=False) == TRUE_S
    assert corrected(TRUE_S, -3600.0, is_own=True) == TRUE_S - 3600.0


def test_the_start_of_a_state_that_began_before_the_clock_was_set_is_corrected() -> None:
    follower, state = RuleFollower(Rules(overdue_s={"open": 60.0})), State("open")
    follower.follow(replace(observation(at_s=10.0), unix_time_s=30.0), state, None)
    drafts = follower.follow(replace(observation(at_s=80.0), unix_time_s=TRUE_S), state, None)
    assert drafts[0].facts["in_state_s"] == 70.0
    assert str(drafts[0].facts["since"]).startswith("2026-09-21T14:12:10")
    assert follower.snapshot().since_unix_s == TRUE_S - 70.0


def test_the_start_of_a_problem_that_began_before_the_clock_was_set_is_corrected() -> None:
    health = SceneHealth(ReportingPolicy(raise_after_s=2.0))
    covered = State("unknown", UnknownReason.COVERED)
    for index, unix_s in enumerate((40.0, 41.0, 42.0, 43.0, TRUE_S)):
        seen = observation(index=index)
        seen = replace(seen, unix_time_s=unix_s, impediment=UnknownReason.COVERED)
        health.follow(seen, covered, None)
    assert health.reported == {SceneProblem.COVERED: TRUE_S - 4.0}


def test_the_attributes_of_a_state_move_with_the_clock() -> None:
    attributes = msgspec.json.encode({"since": "1970-01-01T00:00:30.000Z", "margin": 0.5})
    moved = msgspec.json.decode(moved_since(attributes, TRUE_S - 100.0, is_own=True))
    assert moved == {"since": "2026-09-21T14:12:10.000Z", "margin": 0.5}
