"""Drift is told when scores move, and not when they merely vary."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.types import Match, Score, StateScore
from edge_sim.decision.drift import (
    ALARM,
    LEAST_BASELINE,
    NOTABLE_PSI,
    Baseline,
    DriftReading,
    DriftSnapshot,
    PageHinkley,
    ScoreDrift,
    baseline_of,
    baselines_of,
    counted,
    psi,
    psi_limit,
)
from edge_sim.gallery.gallery import Gallery
from tests.builders import reference

KEY = ("food", "day")
rng = np.random.default_rng


def scores(seed: int, number: int, mean: float = 0.8) -> list[float]:
    return [float(value) for value in rng(seed).normal(mean, 0.05, number)]


def baseline(number: int = 60) -> Baseline:
    return baseline_of(scores(1, number))


def fed(drift: ScoreDrift, values: list[float]) -> list[DriftReading]:
    told = (drift.observe(*KEY, value) for value in values)
    return [reading for reading in told if reading is not None]


def test_the_index_of_known_shares_is_that_of_the_books() -> None:
    expected = np.array([0.25, 0.25, 0.25, 0.25])
    found = np.array([0.40, 0.30, 0.20, 0.10])
    by_hand = (
        0.15 * np.log(0.40 / 0.25)
        + 0.05 * np.log(0.30 / 0.25)
        - 0.05 * np.log(0.20 / 0.25)
        - 0.15 * np.log(0.10 / 0.25)
    )
    assert psi(expected, found) == pytest.approx(by_hand)
    assert psi(expected, expected) == 0.0


def test_an_empty_bin_leaves_the_index_finite() -> None:
    assert psi(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(18.419, abs=1e-3)


shares = st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4).filter(lambda v: sum(v) > 0.01)


@given(a=shares, b=shares)
def test_the_index_is_symmetric_and_never_negative(a: list[float], b: list[float]) -> None:
    one, two = (np.array(v) / sum(v) for v in (a, b))
    assert psi(one, two) >= 0.0
    assert psi(one, two) == pytest.approx(psi(two, one))


def test_bins_hold_equal_shares_of_the_baseline() -> None:
    made = baseline(100)
    assert len(made.shares) == 10
    np.testing.assert_allclose(made.shares, 0.1, atol=1e-9)
    assert len(baseline(12).shares) == 2  # five references a bin


def test_scores_that_are_all_alike_still_make_a_baseline() -> None:
    made = baseline_of([0.5] * 20)
    assert made.shares.sum() == 1.0
    assert made.deviation > 0
    below = counted(made.edges, np.array([0.4] * 5))
    assert psi(made.shares, below / 5) > NOTABLE_PSI


@pytest.mark.parametrize("values", [[], [float("nan")], [float("inf")]])
def test_a_baseline_needs_finite_scores(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        baseline_of(values)


def test_the_limit_widens_for_small_samples() -> None:
    assert psi_limit(10, 20, 20) > psi_limit(10, 200, 200) >= NOTABLE_PSI
    assert psi_limit(10, 1e6, 1e6) == NOTABLE_PSI


def test_the_limit_holds_where_nothing_drifts() -> None:
    generator = rng(5)
    beyond = 0
    for _ in range(400):
        made = baseline_of(generator.normal(size=50))
        found = counted(made.edges, generator.normal(size=50)) / 50
        beyond += psi(made.shares, found, floor=0.01) > psi_limit(len(made.shares), 50, 50)
    assert beyond == 0


def test_steady_scores_tell_nothing_for_a_year() -> None:
    drift = ScoreDrift({KEY: baseline()})
    told = fed(drift, scores(2, 10_000))
    assert told == []
    (reading,) = drift.readings()
    assert (reading.drifted, reading.action, reading.observations) == (False, "", 10_000)


def test_a_fall_is_told_once_with_what_to_do() -> None:
    drift = ScoreDrift({KEY: baseline()})
    assert fed(drift, scores(2, 300)) == []
    told = fed(drift, scores(3, 300, mean=0.72))
    assert len(told) == 1
    assert (told[0].state, told[0].condition) == KEY
    (now,) = drift.readings()
    assert now.direction == "fall"
    assert "look at the lens" in now.action


def test_a_moved_mean_is_found_within_looks_not_months() -> None:
    test = PageHinkley()
    looks = 0
    while test.direction is None:
        test = test.after(-1.5, prior=60)
        looks += 1
    assert 20 <= looks <= 40
    assert test.direction == "fall"
    assert test.fall > ALARM


def test_a_rise_and_a_wider_spread_are_drift_too() -> None:
    up = ScoreDrift({KEY: baseline()})
    assert fed(up, scores(3, 200, mean=0.9))[0].mean > 0.8
    assert up.readings()[0].direction == "rise"
    assert "calibrate" in up.readings()[0].action
    wide = ScoreDrift({KEY: baseline()})
    values = [float(value) for value in rng(4).normal(0.8, 0.15, 300)]
    assert fed(wide, values)
    reading = wide.readings()[0]
    assert reading.psi is not None
    assert reading.limit is not None
    assert reading.psi > reading.limit


def test_a_hair_s_breadth_is_no_drift_however_alike_the_references_are() -> None:
    narrow = baseline_of([0.993 + 0.0001 * (row % 3) for row in range(20)])
    drift = ScoreDrift({KEY: narrow})
    assert fed(drift, [0.991] * 300) == []
    (reading,) = drift.readings()
    assert reading.psi is not None
    assert reading.limit is not None
    assert reading.psi > reading.limit  # another distribution, to be sure
    assert fed(drift, [0.93] * 300) != []


def test_a_light_without_references_cannot_be_judged_and_says_so() -> None:
    drift = ScoreDrift({KEY: baseline()})
    assert drift.observe("food", "ir", 0.4) is None
    reading = next(item for item in drift.readings() if item.condition == "ir")
    assert (reading.expected, reading.psi, reading.drifted) == (None, None, False)
    assert "too few pictures of 'food' in the light 'ir'" in reading.action


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        ScoreDrift({KEY: baseline()}).observe(*KEY, score)


def test_a_restart_forgets_nothing() -> None:
    straight, first = (ScoreDrift({KEY: baseline()}) for _ in range(2))
    values = scores(3, 90, mean=0.74)
    told = fed(straight, values)
    before = fed(first, values[:40])
    kept = msgspec.json.decode(msgspec.json.encode(first.snapshot()), type=DriftSnapshot)
    second = ScoreDrift({KEY: baseline()}, kept)
    assert len(before + fed(second, values[40:])) == len(told) == 1
    assert second.readings() == straight.readings()


def test_what_was_seen_against_another_baseline_is_forgotten() -> None:
    drift = ScoreDrift({KEY: baseline()})
    fed(drift, scores(3, 50))
    assert ScoreDrift({KEY: baseline_of(scores(9, 40))}, drift.snapshot()).readings() == ()
    assert ScoreDrift({}, drift.snapshot()).readings() == ()


def test_baselines_come_from_references_left_out_by_state_and_condition() -> None:
    number = LEAST_BASELINE
    made = Gallery(
        [reference(f"r{row}", "food", 1.0, row) for row in range(number)]
        + [reference(f"s{row}", "empty", 1.0, row) for row in range(number - 1)]
    )
    left_out = [
        Match((StateScore(item.state, "x", Score(0.9, None, 0.5 + 0.01 * row), 1.0),))
        for row, item in enumerate(made.references)
    ]
    found = baselines_of(made, left_out)
    assert list(found) == [KEY]
    assert found[KEY].mean == pytest.approx(0.545)
    assert baselines_of(made, [None] * len(made)) == {}
