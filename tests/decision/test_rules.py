"""Rules that cannot be are refused; the rest is a table."""

from __future__ import annotations

import pytest

from edge_sim.decision.rules import NO_RULES, Rules


def test_a_state_without_a_rule_may_be_followed_by_any() -> None:
    rules = Rules(allowed={"closed": ("open",)})
    assert rules.allows("closed", "open")
    assert not rules.allows("closed", "gone")
    assert rules.allows("open", "gone")
    assert NO_RULES.allows("closed", "gone")


def test_a_state_is_too_short_below_its_least_duration() -> None:
    rules = Rules(min_duration_s={"open": 5.0})
    assert rules.is_too_short("open", 4.9)
    assert not rules.is_too_short("open", 5.0)
    assert not rules.is_too_short("closed", 0.0)


def test_the_states_of_the_rules_are_all_that_they_name() -> None:
    rules = Rules(
        allowed={"a": ("b",)},
        min_duration_s={"c": 1.0},
        max_duration_s={"d": 1.0},
        overdue_s={"e": 1},
    )
    assert rules.states == {"a", "b", "c", "d", "e"}


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("table", ["min_duration_s", "max_duration_s", "overdue_s"])
def test_a_duration_is_above_zero(table: str, seconds: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Rules(**{table: {"open": seconds}})  # type: ignore[arg-type]


def test_a_repetition_is_above_zero() -> None:
    with pytest.raises(ValueError, match="for repeat"):
        Rules(repeat_s=0.0)


def test_a_state_cannot_last_longer_at_least_than_at_most() -> None:
    with pytest.raises(ValueError, match="open cannot last"):
        Rules(min_duration_s={"open": 60.0}, max_duration_s={"open": 30.0})
