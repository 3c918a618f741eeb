"""The account of an event says why, and what would have changed it, in numbers that are true."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import pytest

from edge_sim.analysis.explain import account_of, origin_text, where_text
from edge_sim.analysis.what_if import counterfactuals_of, state_at, sum_counterfactual
from edge_sim.core.events import state_changed
from edge_sim.core.types import UNKNOWN, Observation, Score, UnknownReason
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.rules import Rules
from edge_sim.decision.thresholds import DecisionState, Memory, Settings, learned
from edge_sim.gallery.gallery import CalibratedLevel
from edge_sim.runtime.explanations import Explanation, from_event
from tests.analysis.logs import ORIGIN, SETTINGS, looks, seen


def explained(observations: list[Observation], settings: Settings = SETTINGS) -> Explanation:
    """Return the explanation of the last event that the looks give."""
    decider = AdaptiveDecider.following(settings)
    found = None
    for look in observations:
        change = decider.observe(look)
        if change is not None:
            found = Explanation(
                event=state_changed(change, ORIGIN),
                cause=look,
                settings=settings,
                standing=decider.standing,
                drifts=learned(decider.snapshot().drifts),
            )
    assert found is not None
    return found


def numbers(sentence: str) -> list[float]:
    return [float(text) for text in re.findall(r"\d+\.\d+", sentence)]


def test_a_change_of_state_names_lead_score_and_reference() -> None:
    account = account_of(explained(looks("ooosss")))
    assert account.headline == "gate: open -> shut"
    lead, score, nearest = account.why_state
    assert "probability 0.960, 0.920 ahead of the runner-up open" in lead
    assert numbers(score)[:2] == [0.8, pytest.approx(0.8 - numbers(score)[2], abs=2e-3)]
    assert nearest == (
        "The reference of shut most like it is shut-1: cosine 0.900, structural similarity 0.800."
    )


def test_the_moment_is_reported_by_votes_and_evidence() -> None:
    votes, evidence = account_of(explained(looks("ooosss"))).why_then
    assert votes == "The last 5 observations were 3 shut and 2 open: 3 of 5 had to agree."
    stood, needed = numbers(evidence)
    assert stood > needed > 0.0


def test_a_first_decision_a_return_and_unknown_need_votes_only() -> None:
    assert account_of(explained(looks("ooo"))).why_then[-1].startswith("It is the first decision")
    back = account_of(explained(looks("ooonnnooo")))
    assert back.headline == "gate: unknown (novel) -> open"
    assert back.why_then[-1] == "It is the state named last, so votes alone bring it back."
    assert not any("evidence" in sentence.lower() for sentence in back.what_if)
    lost = account_of(explained(looks("ooonnn")))
    assert lost.why_then[-1] == "A change to unknown needs votes only."


def test_doubts_of_the_rules_are_reported() -> None:
    settings = replace(SETTINGS, rules=Rules(allowed={"open": ("ajar",)}))
    account = account_of(explained(looks("ooosssssss"), settings))
    assert account.why_then[0].endswith("all 5 had to agree.")
    assert "implausible (not_allowed)" in account.why_then[1]


def test_what_counts_as_one_is_said_where_votes_differ() -> None:
    account = account_of(explained(looks("ooonnd")))
    assert "unknown (ambiguous)" in account.headline
    assert account.why_then[0].endswith("novel, ambiguous and camera_moved count as one.")


def test_a_picture_that_no_state_explains_says_by_how_much() -> None:
    account = account_of(explained(looks("ooonnn")))
    assert account.headline == "gate: open -> unknown (novel)"
    score, short, level = numbers(account.why_state[0])
    assert score == 0.2
    assert short == pytest.approx(level - score, abs=1.1e-3)
    assert "leave level" in account.why_state[0]  # it would have stayed
    assert account.what_if[0].startswith("The score of open")


def test_two_states_that_fit_alike_say_how_close() -> None:
    account = account_of(explained(looks("oooddd")))
    assert account.headline == "gate: open -> unknown (ambiguous)"
    best, second, lead, needed = numbers(account.why_state[0])
    assert (best, second, lead) == (0.54, 0.46, 0.08)
    assert needed > lead


@pytest.mark.parametrize("reason", list(UnknownReason))
def test_every_reason_of_unknown_has_words(reason: UnknownReason) -> None:
    base = explained(looks("ooonnn"))
    event = msgspec.structs.replace(base.event, reason=reason.value)
    account = account_of(msgspec.structs.replace(base, event=event))
    assert account.why_state
    assert all(sentence.endswith((".", ").")) for sentence in account.why_state)
    assert "{" not in "".join(account.why_state)


def test_an_impediment_is_explained_by_its_readings_and_asks_no_threshold() -> None:
    account = account_of(explained(looks("oooNNN")))
    assert account.headline == "gate: open -> unknown (dark)"
    assert account.why_state == ("It was too dark to tell: mean level 120.0 of 255.",)
    assert account.what_if[0].startswith("No threshold")


def test_an_impediment_that_a_familiar_picture_refutes_says_how_familiar() -> None:
    moved = [
        replace(look, impediment=UnknownReason.CAMERA_MOVED) if place >= 3 else look
        for place, look in enumerate(looks("ooonnn"))
    ]
    explanation = explained(moved)
    account = account_of(explanation)
    assert account.headline == "gate: open -> unknown (camera_moved)"
    higher, needed = numbers(account.what_if[0])
    assert higher == pytest.approx(needed - 0.2, abs=1e-3)
    match = explanation.cause.match
    assert match is not None
    for combined, reason in ((needed, None), (needed - 0.01, UnknownReason.CAMERA_MOVED)):
        states = (replace(match.best, score=Score(0.9, 0.8, combined)), *match.states[1:])
        decider = AdaptiveDecider.following(SETTINGS)
        decider.restore(Memory("open"))
        decider.observe(replace(explanation.cause, match=replace(match, states=states)))
        assert decider.standing.votes[-1].state.reason is reason


def test_the_turn_of_sensitivity_is_where_the_decider_turns() -> None:
    explanation = explained([replace(look, match=seen(0.53, 0.97)) for look in looks("ooo")])
    below, above = counterfactuals_of(explanation)
    assert below is None
    assert above is not None
    assert above.vote is not None
    assert above.vote.reason is UnknownReason.NOVEL
    settings = explanation.settings
    assert settings is not None
    for sensitivity, after in ((above.sensitivity, UNKNOWN), (above.sensitivity - 0.01, "open")):
        decider = AdaptiveDecider.following(replace(settings, sensitivity=sensitivity))
        decider.observe(explanation.cause)
        assert decider.standing.votes[-1].state.name == after
    text = " ".join(account_of(explanation).what_if)
    assert f"A sensitivity of {above.sensitivity:.2f}, where" in text


def test_the_distance_to_a_level_is_where_the_observation_turns() -> None:
    explanation = explained(looks("ooosss"))
    account = account_of(explanation)
    away = numbers(account.what_if[0])[0]
    match = explanation.cause.match
    assert match is not None
    settings = explanation.settings
    assert settings is not None
    for less, expected in ((away + 2e-3, UNKNOWN), (away - 2e-3, "shut")):
        score = Score(0.9, 0.8, match.best.score.combined - less)
        states = (replace(match.best, score=score), *match.states[1:])
        decider = AdaptiveDecider.following(settings)
        decider.restore(Memory("open"))
        decider.observe(replace(explanation.cause, match=replace(match, states=states)))
        assert decider.standing.votes[-1].state.name == expected


def test_the_evidence_turns_where_more_is_needed_than_there_was() -> None:
    row = looks("o" * 60)
    doubtful = seen(0.8, 0.7, "shut")  # so little each that the sum has just become enough
    explanation = explained([*row[:3], *(replace(look, match=doubtful) for look in row[3:])])
    short = sum_counterfactual(explanation, "shut")
    assert short is not None
    assert explanation.standing is not None
    stood = explanation.standing.evidence["shut"]
    assert state_at(explanation, short).evidence_needed > stood
    assert state_at(explanation, short + 0.01).evidence_needed <= stood


def test_an_event_alone_tells_what_it_holds_and_says_what_it_does_not() -> None:
    event = explained(looks("ooosss")).event
    explanation = from_event(event)
    account = account_of(explanation)
    assert account.why_then == (
        "Only the event is known: votes and evidence were not kept with it.",
    )
    assert [row.state for row in account.states] == ["shut", "open"]
    assert account.states[0].evidence is None
    assert counterfactuals_of(explanation) == (None, None)
    assert sum_counterfactual(explanation, "shut") is None
    with pytest.raises(ValueError, match="not known"):
        state_at(explanation, 0.5)


def test_an_empty_gallery_is_explained() -> None:
    observations = [replace(look, match=None) for look in looks("ooo")]
    account = account_of(explained(observations, Settings()))
    assert account.headline == "gate: start -> unknown (no_references)"
    assert account.states == ()
    assert "gallery of the watch is empty" in account.why_state[0]


def test_where_and_with_what_it_was_decided_fits_one_line() -> None:
    explanation = explained(looks("ooo"))
    assert where_text(explanation) == f"frame 2 of cam, light day, event {explanation.event.id}"
    text = origin_text(explanation)
    assert text.startswith(f"Decided with model {ORIGIN.model}, gallery revision 3")
    assert "sensitivity 0.5, confirm 3 of 5" in text


def test_a_standing_without_votes_is_explained() -> None:
    bare = msgspec.structs.replace(explained(looks("ooo")), standing=DecisionState())
    assert account_of(bare).why_then


def test_levels_that_were_calibrated_say_when_and_on_what() -> None:
    origin = "calibrated 2026-01-31 for precision at least 0.9 on 40 references of gate"
    levels = {
        state: replace(level, calibrated=CalibratedLevel(0.6, 20, origin))
        for state, level in SETTINGS.levels.items()
    }
    settings = replace(SETTINGS, levels=levels)
    explanation = explained(looks("ooosss"), settings)
    assert origin_text(explanation).count(f"levels {origin}") == 1
    again = msgspec.json.decode(msgspec.json.encode(explanation), type=Explanation)
    assert again.settings == settings


def novel_with(**facts: object) -> Explanation:
    explanation = explained(looks("ooonnn"))
    event = msgspec.structs.replace(explanation.event, **facts)
    return msgspec.structs.replace(explanation, event=event)


def test_the_parts_that_no_reference_shows_are_named() -> None:
    one = account_of(novel_with(regions=((0.5, 0.25, 0.1, 0.2),))).why_state
    assert (
        "No reference of open shows this part of the frame: 10% x 20% at 55% from the left and "
        "35% from the top." in one
    )
    two = account_of(novel_with(regions=((0.5, 0.25, 0.1, 0.2), (0.0, 0.0, 0.1, 0.1)))).why_state
    assert any(
        "these parts of the frame: 10% x 20% at 55% from the left and 35% from the top; 10% x" in s
        for s in two
    )


def test_an_event_without_parts_says_nothing_of_them() -> None:
    why = account_of(explained(looks("ooonnn"))).why_state
    assert not any("of the frame" in sentence for sentence in why)


def test_a_light_without_references_is_named_with_its_states() -> None:
    novel = account_of(novel_with(untaught=("open", "shut"), condition="ir")).why_state
    assert any("There is no reference of open and shut" in sentence for sentence in novel)
    untaught = novel_with(untaught=("shut",), reason="untaught_light")
    cause = replace(untaught.cause, condition="ir")
    why = account_of(msgspec.structs.replace(untaught, cause=cause)).why_state
    assert why[0].startswith(
        "It is most like open, but there is no reference of shut at night in infrared light"
    )
    assert why[0].endswith("One confirmed picture of it in this light will do.")
