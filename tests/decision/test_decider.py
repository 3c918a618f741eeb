"""AdaptiveDecider on replayed observations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.types import (
    UNKNOWN,
    Doubt,
    Match,
    Observation,
    Score,
    State,
    StateChange,
    StateScore,
    UnknownReason,
)
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.rules import Rules
from edge_sim.decision.thresholds import Drift, Level, Memory, level_from, levels_of, threshold_of
from edge_sim.gallery.gallery import Gallery
from tests.builders import observation, reference

NOVEL = State(UNKNOWN, UnknownReason.NOVEL)
EMPTY = State(UNKNOWN, UnknownReason.NO_REFERENCES)
AMBIGUOUS = State(UNKNOWN, UnknownReason.AMBIGUOUS)


def seen(*states: tuple[str, float, float]) -> Match:
    """A match of (state, combined, probability)."""
    return Match(
        tuple(
            StateScore(name, f"{name}-1", Score(0.9, None, combined), probability)
            for name, combined, probability in states
        )
    )


OPEN = seen(("open", 0.8, 0.95), ("closed", 0.3, 0.05))
CLOSED = seen(("closed", 0.8, 0.95), ("open", 0.3, 0.05))
TORN = seen(("closed", 0.7, 0.52), ("open", 0.7, 0.48))
STRANGE = seen(("closed", 0.12, 0.9), ("open", 0.1, 0.1))
LOOKS = {"o": OPEN, "c": CLOSED, "t": TORN, "s": STRANGE}
REFERENCES = Gallery(
    [reference(f"{state}-{at}", state, 1.0, 0.0) for state in ("open", "closed") for at in range(6)]
)
LEFT_OUT = (OPEN,) * 6 + (CLOSED,) * 6


def decider(**options: float | Rules) -> AdaptiveDecider:
    return AdaptiveDecider(LEFT_OUT, REFERENCES, **options)  # type: ignore[arg-type]


def looks(text: str, *, start: int = 0, step_s: float = 1.0) -> list[Observation]:
    """One observation per letter: open, closed, torn, strange, dark, . for an empty gallery."""
    made = []
    for place, letter in enumerate(text):
        look = observation(LOOKS.get(letter), index=start + place, at_s=(start + place) * step_s)
        if letter == "d":
            look = replace(look, impediment=UnknownReason.DARK, match=OPEN)
        made.append(look)
    return made


def told(changes: Iterable[StateChange | None]) -> list[tuple[int, State]]:
    return [(change.cause.frame_index, change.after) for change in changes if change is not None]


def run(subject: AdaptiveDecider, observations: Sequence[Observation]) -> list[tuple[int, State]]:
    return told([subject.observe(look) for look in observations])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("ooo", [(2, State("open"))], id="three agree"),
        pytest.param("oo", [], id="two are too few"),
        pytest.param("oooccc", [(2, State("open")), (5, State("closed"))], id="a change"),
        pytest.param("ooococo", [(2, State("open"))], id="flicker"),
        pytest.param("ooococc", [(2, State("open")), (6, State("closed"))], id="three of five"),
        pytest.param("ooosss", [(2, State("open")), (5, NOVEL)], id="novel"),
        pytest.param("ooottt", [(2, State("open")), (5, AMBIGUOUS)], id="ambiguous"),
        pytest.param("ooostt", [(2, State("open")), (5, AMBIGUOUS)], id="unlike either way"),
        pytest.param("ooossoo", [(2, State("open"))], id="a hand passes"),
        pytest.param(
            "oooddd",
            [(2, State("open")), (5, State(UNKNOWN, UnknownReason.DARK))],
            id="dark",
        ),
        pytest.param(
            "oooddssddd",
            [(2, State("open")), (7, State(UNKNOWN, UnknownReason.DARK))],
            id="dark and strange are told apart",
        ),
        pytest.param(
            "dddooo",
            [(2, State(UNKNOWN, UnknownReason.DARK)), (5, State("open"))],
            id="dark at first",
        ),
    ],
)
def test_a_row_of_looks_gives_these_changes(text: str, expected: list[tuple[int, State]]) -> None:
    assert run(decider(), looks(text)) == expected


def test_before_the_first_decision_it_is_starting() -> None:
    subject = decider()
    assert subject.state == State(UNKNOWN, UnknownReason.STARTING)
    subject.observe(looks("o")[0])
    assert subject.state == State(UNKNOWN, UnknownReason.STARTING)
    assert subject.pending


def test_the_first_decision_comes_from_nothing_and_carries_what_decided() -> None:
    subject = decider()
    changes = [subject.observe(look) for look in looks("ooo")]
    change = changes[-1]
    assert change is not None
    assert change.before is None
    assert change.after == subject.state == State("open")
    assert change.confidence == pytest.approx(0.95)
    assert set(change.thresholds) == {"open", "closed"}
    assert not subject.pending


def test_an_empty_gallery_says_so() -> None:
    subject = AdaptiveDecider((), Gallery())
    assert subject.state == State(UNKNOWN, UnknownReason.STARTING)
    assert run(subject, looks("...")) == [(2, EMPTY)]
    assert subject.state == EMPTY
    assert subject.thresholds == {}


def test_an_empty_gallery_that_was_told_is_not_told_again() -> None:
    subject = AdaptiveDecider((), Gallery())
    subject.resume(EMPTY)
    assert run(subject, looks("......")) == []


def test_the_first_state_after_an_empty_gallery_follows_what_was_said() -> None:
    subject = decider()
    subject.resume(EMPTY)
    change = [subject.observe(look) for look in looks("ooo")][-1]
    assert change is not None
    assert (change.before, change.after) == (EMPTY, State("open"))


def test_unknown_is_never_confident() -> None:
    subject = decider()
    changes = [subject.observe(look) for look in looks("ooosss")]
    change = changes[-1]
    assert change is not None
    assert change.confidence == 0.0


@given(
    text=st.text("octsd", max_size=30),
    offset_s=st.floats(-1e6, 1e9),
)
def test_when_the_clock_started_does_not_matter(text: str, offset_s: float) -> None:
    plain = looks(text)
    moved = [replace(look, captured_at_s=look.captured_at_s + offset_s) for look in plain]
    assert run(decider(), plain) == run(decider(), moved)


@given(text=st.text("octsd", max_size=40))
def test_a_change_always_changes_and_pending_tells_it_before(text: str) -> None:
    subject = decider()
    before = None
    for look in looks(text):
        change = subject.observe(look)
        if change is not None:
            assert change.before == before
            assert change.after != before
            before = change.after
        assert subject.state == (before or State(UNKNOWN, UnknownReason.STARTING))


def test_looks_before_a_pause_of_a_day_do_not_confirm_those_after_it() -> None:
    subject = decider()
    run(subject, looks("oooooooocc"))
    assert run(subject, looks("c", start=86_400)) == []
    assert run(subject, looks("cc", start=86_401)) == [(86_402, State("closed"))]


def test_looks_fifteen_minutes_apart_confirm_each_other() -> None:
    assert run(decider(), looks("oooccc", step_s=900.0)) == [
        (2, State("open")),
        (5, State("closed")),
    ]


def test_time_that_runs_backwards_starts_the_confirmation_anew() -> None:
    subject = decider()
    run(subject, looks("ooooocc", start=100))
    assert run(subject, looks("c")) == []
    assert subject.state == State("open")
    assert run(subject, looks("cc", start=1)) == [(2, State("closed"))]


def test_a_restart_goes_on_where_it_stopped() -> None:
    first = decider()
    run(first, looks("o" * 400))
    memory = first.snapshot()
    assert memory.state == "open"
    second = decider()
    second.restore(memory)
    assert second.state == State("open")
    assert second.thresholds == first.thresholds
    assert run(second, looks("ooo")) == []


def test_a_memory_of_states_that_are_gone_is_ignored() -> None:
    subject = decider()
    subject.restore(Memory("ajar", None, {("ajar", "day"): Drift(0.1, 0.1, 5)}))
    assert subject.state == State(UNKNOWN, UnknownReason.STARTING)
    assert subject.snapshot().drifts == {}


def test_doubtful_looks_need_more_of_them_to_change_a_state() -> None:
    doubtful = seen(("closed", 0.7, 0.7), ("open", 0.6, 0.3))
    subject = decider()
    run(subject, looks("ooo"))
    rows = [observation(doubtful, index=at) for at in range(3, 20)]
    # log(0.71 / 0.31) - 0.5 = 0.33 a look, and 2.4 are needed: the eighth look.
    assert run(subject, rows) == [(10, State("closed"))]


def test_doubt_between_two_states_says_unknown_and_not_the_other_one() -> None:
    leaning = seen(("closed", 0.7, 0.62), ("open", 0.7, 0.38))
    subject = decider()
    run(subject, looks("ooo"))
    rows = [observation(leaning, index=at) for at in range(3, 60)]
    assert State("closed") not in [state for _, state in run(subject, rows)]


def test_resuming_unknown_keeps_its_reason() -> None:
    subject = decider()
    subject.resume(NOVEL)
    assert subject.state == NOVEL
    subject.resume(State(UNKNOWN, UnknownReason.STARTING))
    assert subject.state == NOVEL


def fading(levels: Iterable[float]) -> list[Observation]:
    return [
        observation(seen(("open", level, 0.95), ("closed", 0.1, 0.05)), index=at)
        for at, level in enumerate(levels)
    ]


def test_thresholds_follow_slow_drift_of_the_scores() -> None:
    subject = decider()
    start = subject.thresholds["open"].leave
    changes = run(subject, fading(0.8 - 0.2 * min(at / 600, 1.0) for at in range(1500)))
    assert changes == [(2, State("open"))]
    assert subject.thresholds["open"].leave < start - 0.02


def test_however_slow_a_fade_is_the_state_is_left_in_the_end() -> None:
    changes = run(decider(), fading(max(0.8 - at / 4000, 0.05) for at in range(4000)))
    assert changes[-1][1] == NOVEL


def test_a_sudden_change_is_reported_before_it_is_learned() -> None:
    subject = decider()
    run(subject, looks("o" * 50))
    before = subject.snapshot().drifts
    changes = run(subject, looks("sssss", start=50))
    assert changes == [(52, NOVEL)]
    assert subject.snapshot().drifts == before


def test_conditions_learn_apart() -> None:
    subject = decider()
    run(subject, looks("ooo"))
    night = [replace(look, condition="ir") for look in fading([0.6] * 200)]
    run(subject, night)
    assert {key[1] for key in subject.snapshot().drifts} == {"ir"}
    assert subject.thresholds["open"] != decider().thresholds["open"]
    subject.observe(fading([0.8])[0])
    assert subject.thresholds["open"] == decider().thresholds["open"]


def test_more_sensitivity_asks_for_less() -> None:
    blunt, middle, keen = (decider(sensitivity=value) for value in (0.0, 0.5, 1.0))
    leaves = [one.thresholds["open"].leave for one in (blunt, middle, keen)]
    assert leaves == sorted(leaves)
    assert leaves[0] < leaves[2]
    doubtful = [
        observation(seen(("open", 0.8, 0.58), ("closed", 0.5, 0.42)), index=i) for i in range(3)
    ]
    assert run(keen, doubtful) == [(2, State("open"))]
    assert run(decider(), doubtful) == [(2, AMBIGUOUS)]


@pytest.mark.parametrize(
    "options", [{"sensitivity": 1.5}, {"sensitivity": float("nan")}, {"matches": 0}, {"of": 2}]
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"sensitivity|confirmation"):
        decider(**options)


def test_levels_say_how_many_references_they_were_learned_from() -> None:
    learned = {state: level.references for state, level in levels_of(REFERENCES, LEFT_OUT).items()}
    assert learned == {state: len(REFERENCES.of_state(state)) for state in REFERENCES.states}
    few = Gallery([reference("a", "open", 1.0, 0.0)])
    level = levels_of(few, (None,))["open"]
    assert level.references == 0


@given(
    own=st.lists(st.floats(0.0, 1.0), max_size=12),
    others=st.lists(st.floats(0.0, 1.0), max_size=12),
    shift=st.floats(-0.2, 0.2),
    sensitivity=st.floats(0.0, 1.0),
)
def test_thresholds_are_in_order_and_in_range(
    own: list[float], others: list[float], shift: float, sensitivity: float
) -> None:
    found = threshold_of(level_from(own, others), Drift(shift, 0.05, 10), sensitivity)
    assert 0.0 < found.leave <= found.enter <= 1.0


def test_the_leave_level_lies_between_other_and_own_states() -> None:
    level = Level(centre=0.8, spread=0.03, others=0.2, references=20)
    found = threshold_of(level, Drift(), 0.5)
    assert 0.2 < found.leave < 0.5


@given(st.lists(st.floats(-1.0, 1.0), max_size=500))
def test_drift_stays_within_its_bounds(residuals: list[float]) -> None:
    drift = Drift()
    for residual in residuals:
        drift = drift.after(residual)
    assert abs(drift.shift) <= 0.2
    assert drift.observations == len(residuals)


DOOR = Rules(allowed={"open": ()}, min_duration_s={"open": 10.0})


def test_a_change_against_the_rules_needs_all_votes_and_is_marked() -> None:
    subject = decider(rules=DOOR)
    changes = [subject.observe(look) for look in looks("o" * 20 + "c" * 8)]
    told = [(at, change.doubts) for at, change in enumerate(changes) if change is not None]
    assert told == [(2, ()), (24, (Doubt.NOT_ALLOWED,))]


def test_a_change_against_the_rules_needs_twice_the_evidence() -> None:
    subject = decider(rules=DOOR)
    for look in looks("o" * 20 + "c"):
        subject.observe(look)
    assert subject.standing.doubts == (Doubt.NOT_ALLOWED,)
    assert subject.standing.evidence_needed == pytest.approx(2 * decider_needs())


def decider_needs() -> float:
    subject = decider()
    subject.observe(looks("o")[0])
    return subject.standing.evidence_needed


def test_a_flicker_that_the_rules_forbid_is_not_told_where_it_would_be_without_them() -> None:
    text = "o" * 20 + "cccc" + "o" * 10
    assert [state.name for _, state in run(decider(), looks(text))] == ["open", "closed", "open"]
    assert [state.name for _, state in run(decider(rules=DOOR), looks(text))] == ["open"]


def test_a_state_left_too_soon_is_held_until_it_may_be_over_or_the_evidence_is_strong() -> None:
    rules = Rules(min_duration_s={"open": 4.0})
    assert run(decider(rules=rules), looks("oooccccc"))[1] == (6, State("closed"))
    strict = decider(rules=Rules(min_duration_s={"open": 60.0}))
    changes = [subject for look in looks("oooccccc") if (subject := strict.observe(look))]
    assert [item.doubts for item in changes] == [(), (Doubt.TOO_SHORT,)]
    assert changes[1].cause.frame_index == 7


def test_after_darkness_no_change_is_implausible() -> None:
    changes = [
        change
        for subject in [decider(rules=DOOR)]
        for look in looks("o" * 20 + "d" * 6 + "c" * 4)
        if (change := subject.observe(look))
    ]
    assert [item.after.name for item in changes] == ["open", UNKNOWN, "closed"]
    assert changes[-1].doubts == ()


def test_after_a_restart_no_change_is_implausible_until_the_state_was_seen_again() -> None:
    subject = decider(rules=DOOR)
    subject.restore(Memory("open"))
    changes = [change for look in looks("c" * 4) if (change := subject.observe(look))]
    assert [item.doubts for item in changes] == [()]
    subject = decider(rules=DOOR)
    subject.restore(Memory("open"))
    changes = [change for look in looks("oo" + "c" * 5) if (change := subject.observe(look))]
    assert [item.doubts for item in changes] == [(Doubt.NOT_ALLOWED,)]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (UnknownReason.CAMERA_MOVED, State("closed")),
        (UnknownReason.NOVEL, State("closed")),
        (UnknownReason.OVEREXPOSED, State("closed")),
        (UnknownReason.BLURRED, State("closed")),
        (UnknownReason.COVERED, State(UNKNOWN, UnknownReason.COVERED)),
        (UnknownReason.DARK, State(UNKNOWN, UnknownReason.DARK)),
        (UnknownReason.FROZEN, State(UNKNOWN, UnknownReason.FROZEN)),
    ],
)
def test_a_familiar_picture_refutes_what_could_not_look_familiar(
    reason: UnknownReason, expected: State
) -> None:
    subject = decider()
    hindered = [replace(look, impediment=reason) for look in looks("ccc", start=3)]
    assert run(subject, [*looks("ooo"), *hindered]) == [(2, State("open")), (5, expected)]


def test_a_view_that_is_lost_votes_for_no_state() -> None:
    subject = decider()
    odd = seen(("closed", 0.4, 0.99), ("open", 0.2, 0.01))
    lost = [
        replace(look, match=odd, impediment=UnknownReason.NOVEL) for look in looks("cc", start=3)
    ]
    moved = [
        replace(look, match=odd, impediment=UnknownReason.CAMERA_MOVED)
        for look in looks("c", start=5)
    ]
    told_of = run(subject, [*looks("ooo"), *lost, *moved])
    assert told_of == [(2, State("open")), (5, State(UNKNOWN, UnknownReason.CAMERA_MOVED))]


NAN = float("nan")


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(seen(("open", NAN, 0.95), ("closed", 0.3, 0.05)), id="familiarity"),
        pytest.param(seen(("open", 0.8, NAN), ("closed", 0.3, NAN)), id="probability"),
        pytest.param(seen(("open", NAN, NAN), ("closed", NAN, NAN)), id="both"),
    ],
)
def test_scores_that_are_no_numbers_say_unknown_and_leave_nothing_behind(broken: Match) -> None:
    subject = decider()
    run(subject, looks("c" * 12))
    before = subject.snapshot()
    told_of = run(subject, [observation(broken, index=at) for at in range(12, 32)])
    assert [state.name for _, state in told_of] == [UNKNOWN]
    assert subject.snapshot().drifts == before.drifts
    assert run(subject, looks("ooooo", start=32)) == [(34, State("open"))]


def test_a_day_without_a_frame_keeps_the_state_and_asks_for_three_looks_again() -> None:
    subject = decider()
    run(subject, looks("ooo"))
    assert run(subject, looks("cc", start=86_400)) == []
    assert subject.state == State("open")
    assert run(subject, looks("c", start=86_402)) == [(86_402, State("closed"))]


def test_the_same_moment_again_and_again_is_one_row_of_looks() -> None:
    subject = decider()
    still = [replace(look, captured_at_s=5.0) for look in looks("ooo")]
    assert run(subject, still) == [(2, State("open"))]


def test_a_drifting_level_stays_above_the_pictures_of_other_states() -> None:
    subject = decider()
    level = subject.levels["open"]
    run(subject, fading(0.8 - 0.55 * min(at / 3000, 1.0) for at in range(4000)))
    floor = level.others + 0.1 * (level.centre - level.others)
    lowest = min(floor, level.centre - 2.6 * level.spread)
    assert subject.thresholds["open"].leave >= lowest - 1e-6


def unlike(times: float, *, state: str = "open") -> Match:
    """A match that is familiar as a whole, and novel by so many margins."""
    level = AdaptiveDecider(NOVEL_LEFT_OUT, REFERENCES).levels[state].novel
    assert level is not None
    best = seen((state, 0.8, 0.95), ("closed" if state == "open" else "open", 0.3, 0.05)).best
    novelty = level.usual + times * level.margin
    return Match((replace(best, score=replace(best.score, novelty=novelty)), *OPEN.states[1:]))


def with_novelty(match: Match, novelty: float) -> Match:
    states = tuple(
        replace(item, score=replace(item.score, novelty=novelty if at == 0 else -0.5))
        for at, item in enumerate(match.states)
    )
    return Match(states)


NOVEL_LEFT_OUT = tuple(
    with_novelty(item, -2.0 - 0.1 * (at % 6)) for at, item in enumerate(LEFT_OUT)
)


@pytest.mark.parametrize(
    ("times", "sensitivity", "expected"),
    [
        pytest.param([0.2] * 8, 0.5, [(2, State("open"))], id="usual"),
        pytest.param([0.2] * 3 + [3.0] + [0.2] * 4, 0.5, [(2, State("open"))], id="one look"),
        pytest.param(
            [0.2] * 3 + [1.5] * 6, 0.5, [(2, State("open")), (8, NOVEL)], id="a part that stays"
        ),
        pytest.param([0.2] * 3 + [1.2] * 9, 0.5, [(2, State("open")), (8, NOVEL)], id="weak"),
        pytest.param([0.2] * 3 + [1.5] * 6, 0.0, [(2, State("open"))], id="blunt"),
        pytest.param([0.2] * 3 + [0.8] * 6, 1.0, [(2, State("open")), (8, NOVEL)], id="keen"),
        pytest.param([1.5] * 6, 0.5, [(5, NOVEL)], id="from the start"),
        pytest.param(
            [0.2] * 3 + [1.5] * 4 + [0.2] * 4, 0.5, [(2, State("open"))], id="a part that passes by"
        ),
        pytest.param([1.2] * 2, 0.5, [], id="a single look needs more"),
    ],
)
def test_a_part_that_no_reference_shows_is_novel_once_it_stays(
    times: list[float], sensitivity: float, expected: list[tuple[int, State]]
) -> None:
    subject = AdaptiveDecider(NOVEL_LEFT_OUT, REFERENCES, sensitivity=sensitivity)
    observations = [observation(unlike(value), index=at) for at, value in enumerate(times)]
    assert run(subject, observations) == expected


def test_a_decider_that_follows_settings_finds_the_same_novel() -> None:
    subject = AdaptiveDecider(NOVEL_LEFT_OUT, REFERENCES)
    again = AdaptiveDecider.following(subject.settings)
    observations = [observation(unlike(0.2 if at < 4 else 1.5), index=at) for at in range(10)]
    assert run(subject, observations) == run(again, observations)
