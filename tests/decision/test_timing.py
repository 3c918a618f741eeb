"""Time in a state is the time between looks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.types import State
from edge_sim.decision.rules import TimeInState

OPEN, CLOSED = State("open"), State("closed")


def test_it_tells_how_long_the_state_before_lasted() -> None:
    time = TimeInState()
    found = [time.follow(said, at_s) for said, at_s in [(OPEN, 5.0), (OPEN, 9.0), (CLOSED, 12.0)]]
    assert found == [0.0, 4.0, 7.0]
    assert time.follow(CLOSED, 20.0) == 8.0


def test_it_goes_on_from_what_was_before_a_restart() -> None:
    time = TimeInState(OPEN, 100.0)
    assert time.follow(OPEN, 5000.0) == 100.0
    assert time.follow(CLOSED, 5003.0) == 103.0


@given(steps=st.lists(st.floats(-1e6, 1e6), max_size=30))
def test_time_that_runs_backwards_counts_as_none(steps: list[float]) -> None:
    time = TimeInState()
    at_s, expected = 0.0, 0.0
    time.follow(OPEN, at_s)
    for step_s in steps:
        before_s, at_s = at_s, at_s + step_s
        expected += max(at_s - before_s, 0.0)
        assert time.follow(OPEN, at_s) == expected
