"""What the rules of a watch tell, over rows of looks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.events import EventDraft, StateOverdue, StateOverdueCleared
from edge_sim.core.types import UNKNOWN, Doubt, State, StateChange, UnknownReason
from edge_sim.decision.rules import RuleFollower, RuleMemory, Rules
from tests.builders import change, observation
from tests.drafts import implausible, overdue, overdue_cleared, too_long, too_short

UNSURE = State(UNKNOWN, UnknownReason.AMBIGUOUS)
OPEN, CLOSED = State("open"), State("closed")
EPOCH_S = 1_700_000_000.0


def play(
    follower: RuleFollower, said: Sequence[State], *, start_s: float = 0.0, step_s: float = 60.0
) -> list[tuple[int, EventDraft]]:
    """Notices with the number of the look."""
    found = []
    for at, state in enumerate(said):
        look = observation(index=at, at_s=start_s + at * step_s)
        found += [(at, notice) for notice in follower.follow(look, state, None)]
    return found


def test_an_overdue_state_is_told_once_and_cleared_when_it_is_left() -> None:
    follower = RuleFollower(Rules(overdue_s={"open": 600.0}))
    found = play(follower, [CLOSED] * 3 + [OPEN] * 20 + [CLOSED] * 3)
    since_s = EPOCH_S + 180.0
    assert found == [
        (13, overdue("open", since_s, 600.0, 600.0, 1)),
        (23, overdue_cleared("open", since_s, 1200.0)),
    ]


def test_an_overdue_state_is_told_again_if_asked_for() -> None:
    follower = RuleFollower(Rules(overdue_s={"open": 600.0}, repeat_s=300.0))
    found = play(follower, [OPEN] * 26)
    assert [(at, item.facts["number"]) for at, item in found if item.kind is StateOverdue] == [
        (10, 1),
        (15, 2),
        (20, 3),
        (25, 4),
    ]


def test_unknown_interrupts_no_state_but_nothing_is_told_meanwhile() -> None:
    follower = RuleFollower(Rules(overdue_s={"open": 600.0}))
    found = play(follower, [OPEN] * 5 + [UNSURE] * 20 + [OPEN] * 2)
    assert [at for at, _ in found] == [25]


def test_a_state_that_lasts_longer_than_it_can_is_told_once() -> None:
    follower = RuleFollower(Rules(max_duration_s={"open": 600.0}))
    found = play(follower, [OPEN] * 30)
    assert found == [(11, too_long("open", EPOCH_S, 660.0, 600.0))]


def test_a_change_against_the_rules_is_told_with_what_it_broke() -> None:
    follower = RuleFollower(Rules(allowed={"open": ()}, min_duration_s={"open": 300.0}))
    play(follower, [OPEN, OPEN])
    doubted = StateChange(
        OPEN, CLOSED, change(OPEN, CLOSED).cause, {}, 0.9, (Doubt.NOT_ALLOWED, Doubt.TOO_SHORT)
    )
    assert follower.follow(observation(at_s=120.0), CLOSED, doubted) == [
        implausible("open", "closed"),
        too_short("open", "closed", EPOCH_S, 120.0, 300.0),
    ]


def test_without_rules_nothing_is_told() -> None:
    assert play(RuleFollower(Rules()), [OPEN, CLOSED, UNSURE, OPEN] * 50) == []


def test_time_in_a_state_goes_on_after_a_restart() -> None:
    rules = Rules(overdue_s={"open": 600.0})
    before = RuleFollower(rules)
    play(before, [OPEN] * 6)
    kept = msgspec.json.decode(msgspec.json.encode(before.snapshot()), type=RuleMemory)
    after = RuleFollower(rules)
    after.restore(kept)
    found = play(after, [OPEN] * 7, start_s=5000.0)
    assert found == [(5, overdue("open", EPOCH_S, 600.0, 600.0, 1))]


def test_what_was_told_before_a_restart_is_not_told_again_and_is_cleared() -> None:
    rules = Rules(overdue_s={"open": 600.0})
    before = RuleFollower(rules)
    play(before, [OPEN] * 12)
    after = RuleFollower(rules)
    after.restore(before.snapshot())
    assert after.is_overdue
    assert play(after, [OPEN] * 5 + [CLOSED]) == [(5, overdue_cleared("open", EPOCH_S, 960.0))]


def test_a_rule_that_is_taken_away_is_cleared() -> None:
    before = RuleFollower(Rules(overdue_s={"open": 600.0}))
    play(before, [OPEN] * 12)
    after = RuleFollower(Rules())
    after.restore(before.snapshot())
    assert play(after, [OPEN] * 3) == [(0, overdue_cleared("open", EPOCH_S, 660.0))]
    assert not after.is_overdue


def test_time_that_runs_backwards_counts_as_none() -> None:
    follower = RuleFollower(Rules(overdue_s={"open": 600.0}))
    play(follower, [OPEN] * 5, start_s=1e6)
    play(follower, [OPEN] * 5, start_s=0.0)
    assert follower.snapshot().in_state_s == 480.0


@given(
    said=st.lists(st.sampled_from([OPEN, CLOSED, UNSURE]), max_size=60),
    repeat_s=st.none() | st.floats(30.0, 500.0),
)
def test_every_overdue_state_is_cleared_before_the_next_is_told(
    said: list[State], repeat_s: float | None
) -> None:
    rules = Rules(overdue_s={"open": 200.0, "closed": 100.0}, repeat_s=repeat_s)
    told: str | None = None
    for _, notice in play(RuleFollower(rules), said):
        if notice.kind is StateOverdue:
            assert told in (None, notice.facts["state"])
            assert (notice.facts["number"] == 1) == (told is None) or notice.facts["number"] > 1
            told = notice.facts["state"]
        else:
            assert notice.kind is StateOverdueCleared
            assert told == notice.facts["state"]
            told = None
