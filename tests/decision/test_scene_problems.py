"""Trouble with the picture is told when it lasts, once, and when it is over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.events import EventDraft, SceneCleared, SceneImpaired, SceneProblem
from edge_sim.core.types import UNKNOWN, State, UnknownReason
from edge_sim.decision.scene_problems import (
    PROBLEM_OF,
    USUAL,
    ProblemMemory,
    ReportingPolicy,
    SceneHealth,
)
from tests.builders import observation
from tests.drafts import cleared, impaired

EPOCH_S = 1_700_000_000.0
LOOKS = {
    ".": None,
    "c": UnknownReason.COVERED,
    "m": UnknownReason.CAMERA_MOVED,
    "d": UnknownReason.DARK,
    "l": UnknownReason.LIGHTING,
    "f": UnknownReason.FROZEN,
    "n": UnknownReason.NO_SIGNAL,
}
PATIENT = ReportingPolicy(
    report=tuple(SceneProblem), raise_after_s=10.0, clear_after_s=30.0, min_interval_s=600.0
)


def play(
    health: SceneHealth, text: str, *, start_s: float = 0.0, step_s: float = 5.0
) -> list[tuple[int, EventDraft]]:
    """Notices with the number of the look, one letter each."""
    found = []
    for at, letter in enumerate(text):
        reason = LOOKS[letter]
        said = State("open") if reason is None else State(UNKNOWN, reason)
        look = replace(observation(index=at, at_s=start_s + at * step_s), impediment=reason)
        found += [(at, notice) for notice in health.follow(look, said, None)]
    return found


def told(found: Iterable[tuple[int, EventDraft]]) -> list[tuple[int, str]]:
    return [
        (at, ("+" if item.kind is SceneImpaired else "-") + item.facts["problem"].value)
        for at, item in found
        if item.kind in (SceneImpaired, SceneCleared)
    ]


def test_a_problem_that_lasts_is_told_and_cleared_with_its_duration() -> None:
    found = play(SceneHealth(PATIENT), ".." + "c" * 10 + "." * 10)
    since_s = EPOCH_S + 10.0
    assert found == [
        (4, impaired(SceneProblem.COVERED, since_s, 10.0)),
        (18, cleared(SceneProblem.COVERED, since_s, 50.0)),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("cc" + "." * 20, [], id="a hand"),
        pytest.param("." + "n" * 4, [(3, "+no_signal")], id="a camera without a signal"),
        pytest.param("cc.cc.cc.cc.", [], id="a row of hands"),
        pytest.param("ccc" + "....c" * 10, [(2, "+covered")], id="not over while it comes back"),
        pytest.param("l" + "." * 9, [], id="a light goes on"),
        pytest.param("mmmddddddd", [(2, "+camera_moved"), (5, "+dark")], id="night hides a move"),
        pytest.param(
            "mmm" + "d" * 20 + "." * 8,
            [(2, "+camera_moved"), (5, "+dark"), (29, "-camera_moved"), (29, "-dark")],
            id="both are over when a good look says so",
        ),
        pytest.param(
            "ccc" + "m" * 8,
            [(2, "+covered"), (5, "+camera_moved"), (9, "-covered")],
            id="a view that can be read is not covered",
        ),
        pytest.param(
            "ccc" + "d" * 8,
            [(2, "+covered"), (5, "+dark"), (9, "-covered")],
            id="one look cannot be both dark and covered",
        ),
        pytest.param(
            "fff" + "c" * 30,
            [(2, "+frozen"), (5, "+covered")],
            id="a covered picture may still be frozen",
        ),
    ],
)
def test_these_looks_tell_this(text: str, expected: list[tuple[int, str]]) -> None:
    assert sorted(told(play(SceneHealth(PATIENT), text))) == expected


def test_a_problem_that_comes_and_goes_is_told_at_most_every_so_often() -> None:
    text = ("c" * 4 + "." * 8) * 60
    found = told(play(SceneHealth(PATIENT), text))
    raised = [at for at, name in found if name == "+covered"]
    assert len(raised) >= 4
    assert all(5.0 * (b - a) >= 600.0 for a, b in pairwise(raised))
    assert [name for _, name in found] == ["+covered", "-covered"] * len(raised)


def test_what_is_still_there_when_it_may_be_told_again_is_told_then() -> None:
    text = "c" * 4 + "." * 8 + "c" * 200
    found = told(play(SceneHealth(PATIENT), text))
    assert found == [(2, "+covered"), (10, "-covered"), (122, "+covered")]


def test_few_looks_are_never_enough_however_far_apart() -> None:
    assert told(play(SceneHealth(PATIENT), "cc..", step_s=3600.0)) == []


def test_only_what_is_worth_telling_is_told() -> None:
    usual = SceneHealth()
    assert told(play(usual, "d" * 50 + "l" * 50 + "c" * 5)) == [(102, "+covered")]
    assert not SceneHealth(ReportingPolicy(report=())).can_report
    assert told(play(SceneHealth(ReportingPolicy(report=())), "c" * 50)) == []


def test_a_familiar_picture_is_no_moved_camera_whatever_the_alignment_says() -> None:
    health = SceneHealth(PATIENT)
    for at in range(20):
        look = replace(observation(index=at, at_s=5.0 * at), impediment=UnknownReason.CAMERA_MOVED)
        assert health.follow(look, State("open"), None) == []


def test_a_restart_neither_repeats_nor_forgets_a_problem() -> None:
    before = SceneHealth(PATIENT)
    play(before, "c" * 10)
    kept = msgspec.json.decode(
        msgspec.json.encode(before.snapshot()), type=tuple[ProblemMemory, ...]
    )
    after = SceneHealth(PATIENT)
    after.restore(kept)
    assert set(after.reported) == {SceneProblem.COVERED}
    found = play(after, "c" * 10 + "." * 8, start_s=1e6)
    assert found == [(16, cleared(SceneProblem.COVERED, EPOCH_S, 95.0))]


def test_a_restart_does_not_let_a_problem_be_told_sooner_again() -> None:
    before = SceneHealth(PATIENT)
    play(before, "c" * 4 + "." * 8)
    after = SceneHealth(PATIENT)
    after.restore(before.snapshot())
    assert told(play(after, "c" * 30)) == []


def test_a_problem_that_is_not_worth_telling_any_more_is_cleared() -> None:
    before = SceneHealth(PATIENT)
    play(before, "c" * 10)
    after = SceneHealth(ReportingPolicy(report=()))
    after.restore(before.snapshot())
    assert told(play(after, "ccc")) == [(0, "-covered")]
    assert after.reported == {}


def test_every_problem_has_a_reason_that_shows_it() -> None:
    of_region = SceneProblem.REGION_MOVED  # a fact of the configuration, not of a picture
    assert {*PROBLEM_OF.values(), of_region} == set(SceneProblem)
    assert set(USUAL) <= set(SceneProblem)


@pytest.mark.parametrize("name", ["raise_after_s", "clear_after_s", "min_interval_s"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_duration_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        ReportingPolicy(**{name: value})  # type: ignore[arg-type]


@given(
    text=st.text(st.sampled_from("..cmdlf"), max_size=120),
    step_s=st.sampled_from([0.0, 1.0, 5.0, 60.0, -3.0]),
)
def test_whatever_is_seen_a_problem_is_told_and_cleared_in_turns(text: str, step_s: float) -> None:
    lasting: set[SceneProblem] = set()
    health = SceneHealth(PATIENT)
    for _, notice in play(health, text, step_s=step_s):
        problem = notice.facts["problem"]
        assert notice.facts["lasted_s"] >= 0.0
        assert notice.kind is (SceneCleared if problem in lasting else SceneImpaired)
        lasting ^= {problem}
    assert set(health.reported) == lasting
