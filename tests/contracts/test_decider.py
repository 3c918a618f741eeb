"""Promises of every decider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from comparing.fixed_decider import FixedDecider

from edge_sim.core.protocols import Decider
from edge_sim.core.types import UNKNOWN, Match, State, UnknownReason
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.gallery.gallery import Gallery
from tests.builders import match, observation, reference

GALLERY = Gallery(
    [reference(f"{state}-{at}", state, 1.0, 0.0) for state in ("open", "closed") for at in range(6)]
)
OPEN: Match = match(("open", 0.97), ("closed", 0.03))
CLOSED: Match = match(("closed", 0.97), ("open", 0.03))


def adaptive() -> Decider:
    return AdaptiveDecider((OPEN,) * 6 + (CLOSED,) * 6, GALLERY)


def fixed() -> Decider:
    return FixedDecider()


def holding() -> Decider:
    return FixedDecider(holds=True)


@pytest.fixture(params=[adaptive, fixed, holding], ids=lambda make: make.__name__)
def decider(request: pytest.FixtureRequest) -> Decider:
    make: Callable[[], Decider] = request.param
    return make()


def test_it_says_unknown_before_it_has_looked(decider: Decider) -> None:
    assert decider.state == State(UNKNOWN, UnknownReason.STARTING)
    assert not decider.pending


def test_a_state_seen_long_enough_is_said_once(decider: Decider) -> None:
    changes = [decider.observe(observation(OPEN, index=at)) for at in range(20)]
    reported = [change for change in changes if change is not None]
    assert [change.after for change in reported] == [State("open")]
    assert reported[0].before is None
    assert decider.state == State("open")


def test_a_change_is_pending_until_it_is_said(decider: Decider) -> None:
    for at in range(20):
        decider.observe(observation(OPEN, index=at))
    assert not decider.pending
    assert decider.observe(observation(CLOSED, index=20)) is None
    assert decider.pending
    for at in range(21, 41):
        decider.observe(observation(CLOSED, index=at))
    assert decider.state == State("closed")
    assert not decider.pending


def test_one_look_changes_nothing(decider: Decider) -> None:
    for at in range(20):
        decider.observe(observation(OPEN, index=at))
    assert decider.observe(observation(CLOSED, index=20)) is None
    assert decider.observe(observation(OPEN, index=21)) is None
    assert decider.state == State("open")


def test_resuming_says_the_state_without_a_change(decider: Decider) -> None:
    decider.resume(State("closed"))
    assert decider.state == State("closed")
    assert all(decider.observe(observation(CLOSED, index=at)) is None for at in range(10))


def test_thresholds_name_only_states(decider: Decider) -> None:
    assert set(decider.thresholds) <= {"open", "closed"}
    assert all(0.0 <= level.leave <= level.enter <= 1.0 for level in decider.thresholds.values())


def test_only_differences_of_time_matter(decider: Decider) -> None:
    for at in range(20):
        look = observation(OPEN, index=at)
        decider.observe(replace(look, captured_at_s=look.captured_at_s - 1e7))
    assert decider.state == State("open")
