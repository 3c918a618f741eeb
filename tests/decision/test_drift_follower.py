"""Drift of a running watch is told when scores fall by so much that it matters, and once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from edge_sim.core.events import ScoresDrifted
from edge_sim.core.types import UNKNOWN, State, UnknownReason
from edge_sim.decision.drift import DriftFollower, DriftMemory, baseline_of
from tests.builders import change, match, observation

OPEN = State("open")
BASELINES = {("open", "day"): baseline_of(np.random.default_rng(1).normal(0.8, 0.05, 60))}


def follower(every_s: float | None = 60.0) -> DriftFollower:
    made = DriftFollower(every_s)
    made.compare_with(BASELINES)
    return made


def scores(seed: int, mean: float, number: int) -> list[float]:
    return [float(x) for x in np.random.default_rng(seed).normal(mean, 0.05, number)]


def play(
    subject: DriftFollower, values: Sequence[float], *, start: int = 0, step_s: float = 60.0
) -> list[tuple[int, SimpleNamespace]]:
    found = []
    for at, value in enumerate(values, start=start):
        look = observation(match(("open", value), ("closed", 0.1)), index=at, at_s=at * step_s)
        for notice in subject.follow(look, OPEN, None):
            assert notice.kind is ScoresDrifted
            found.append((at, SimpleNamespace(**notice.facts)))
    return found


def test_scores_that_lie_where_they_did_tell_nothing() -> None:
    assert play(follower(), scores(2, 0.8, 600)) == []


def test_scores_that_fall_are_told_once_with_what_to_do() -> None:
    found = play(follower(), scores(3, 0.65, 300))
    assert len(found) == 1
    ((at, notice),) = found
    assert 19 <= at <= 40
    assert (notice.state, notice.condition, notice.direction) == ("open", "day", "fall")
    assert notice.mean < 0.7 < 0.78 < (notice.expected or 0.0)
    assert "look at the lens" in notice.action


def test_a_rise_and_a_fall_that_decides_nothing_are_not_told() -> None:
    assert play(follower(), scores(4, 0.95, 300)) == []
    assert play(follower(), scores(4, 0.77, 300)) == []


def test_a_handful_of_looks_tells_nothing_however_low() -> None:
    assert play(follower(), [0.1] * 19) == []


def test_what_calmed_down_and_fell_again_is_told_again() -> None:
    subject = follower()
    first = play(subject, scores(3, 0.6, 60))
    calm = play(subject, scores(4, 0.82, 1500), start=60)
    again = play(subject, scores(5, 0.5, 400), start=1560)
    assert [len(first), len(calm), len(again)] == [1, 0, 1]


def test_a_look_counts_only_every_so_often() -> None:
    subject = follower(every_s=600.0)
    play(subject, scores(3, 0.6, 100))
    assert [item.observations for item in subject.readings] == [10]


def test_only_looks_that_the_watch_stands_by_count() -> None:
    subject = follower()
    seen = observation(match(("open", 0.2), ("closed", 0.1)))
    assert subject.follow(seen, State("closed"), None) == []
    assert subject.follow(seen, State(UNKNOWN, UnknownReason.NOVEL), None) == []
    assert subject.follow(seen, OPEN, change(None, OPEN)) == []
    assert subject.follow(replace(seen, impediment=UnknownReason.DARK), OPEN, None) == []
    assert subject.follow(observation(None), OPEN, None) == []
    assert subject.readings == ()


def test_without_an_interval_nothing_is_followed() -> None:
    subject = follower(every_s=None)
    assert play(subject, scores(3, 0.4, 100)) == []
    assert subject.readings == ()


def test_a_restart_neither_repeats_nor_forgets() -> None:
    before = follower()
    assert len(play(before, scores(3, 0.6, 50))) == 1
    kept = msgspec.json.decode(msgspec.json.encode(before.snapshot()), type=DriftMemory)
    after = follower()
    after.restore(kept)
    assert after.readings == before.readings
    assert play(after, scores(6, 0.6, 50)) == []


def test_references_that_were_replaced_begin_anew() -> None:
    subject = follower()
    play(subject, scores(3, 0.6, 50))
    others = {("open", "day"): baseline_of(np.random.default_rng(9).normal(0.6, 0.05, 60))}
    subject.compare_with(others)
    assert subject.readings == ()
    assert play(subject, scores(7, 0.6, 200)) == []
    assert len(play(subject, scores(8, 0.4, 200), start=200)) == 1


def test_a_light_without_enough_references_is_followed_and_not_judged() -> None:
    subject = DriftFollower(60.0)
    assert play(subject, scores(3, 0.1, 100)) == []
    (reading,) = subject.readings
    assert (reading.observations, reading.psi) == (100, None)
    assert "too few pictures" in reading.action


@pytest.mark.parametrize("step_s", [-60.0, 0.5])
def test_time_that_runs_backwards_counts_as_due(step_s: float) -> None:
    subject = follower()
    play(subject, [0.8] * 10, step_s=step_s)
    assert [item.observations for item in subject.readings] == [10 if step_s < 0 else 1]
