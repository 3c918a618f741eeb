"""A decider says what it goes by and where it stands: enough to decide the same again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.types import UNKNOWN, Observation, State, Threshold, UnknownReason
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.thresholds import Settings, Vote, agree
from tests.analysis.logs import LEVELS, SETTINGS, looks, random_looks

UNIT = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sensitivity": 1.1},
        {"sensitivity": float("nan")},
        {"matches": 0},
        {"matches": 6},
        {"of": 10**20},
        {"enter": -0.1},
        {"leave": 2.0},
        {"enter": 0.3, "leave": 0.4},
        {"enter": float("nan")},
    ],
)
def test_settings_that_contradict_themselves_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be|needs|above"):
        replace(SETTINGS, **wrong)  # type: ignore[arg-type]


@given(UNIT, UNIT, st.none() | UNIT, st.none() | UNIT)
def test_fixed_levels_hold_and_the_other_gives_way(
    a: float, b: float, enter: float | None, leave: float | None
) -> None:
    if enter is not None and leave is not None and leave > enter:
        enter, leave = leave, enter
    settings = Settings(LEVELS, enter=enter, leave=leave)
    imposed = settings.imposed_on(Threshold(max(a, b), min(a, b)))
    assert imposed.enter == (max(max(a, b), imposed.leave) if enter is None else enter)
    assert imposed.leave == (min(min(a, b), imposed.enter) if leave is None else leave)


@given(random_looks())
def test_the_standing_is_that_of_the_last_look(observations: list[Observation]) -> None:
    decider = AdaptiveDecider.following(SETTINGS)
    for look in observations:
        change = decider.observe(look)
        standing = decider.standing
        assert len(standing.votes) <= SETTINGS.of
        assert all(value >= 0.0 for value in standing.evidence.values())
        if change is not None:
            assert standing.votes[-1].state == change.after
            agreeing = [v for v in standing.votes if agree(v.state, change.after)]
            assert len(agreeing) >= SETTINGS.matches
            mean = sum(v.probability for v in agreeing) / len(agreeing)
            assert change.confidence == pytest.approx(mean)


def test_the_evidence_of_a_change_is_still_there_after_it() -> None:
    decider = AdaptiveDecider.following(SETTINGS)
    changes = [decider.observe(look) for look in looks("ooosss")]
    assert changes[-1] is not None
    standing = decider.standing
    assert standing.evidence["shut"] >= standing.evidence_needed > 0.0
    assert standing.votes[-1] == Vote(State("shut"), 0.96)


def test_a_look_in_changing_light_is_told_to_have_waited() -> None:
    decider = AdaptiveDecider.following(SETTINGS)
    for look in looks("oo"):
        decider.observe(look)
    decider.observe(replace(looks("ooo")[2], impediment=UnknownReason.LIGHTING))
    assert decider.standing.waited
    assert len(decider.standing.votes) == 2


def test_pictures_unlike_every_reference_agree_whatever_the_word_for_it() -> None:
    novel, ambiguous, dark = (
        State(UNKNOWN, reason)
        for reason in (UnknownReason.NOVEL, UnknownReason.AMBIGUOUS, UnknownReason.DARK)
    )
    assert agree(novel, ambiguous)
    assert not agree(novel, dark)
    assert not agree(State("open"), State("shut"))
    assert not agree(State("open"), None)
