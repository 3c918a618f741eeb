"""A calibrated threshold keeps what was asked of it, and says how sure that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.analysis.calibration import (
    PICTURES,
    Aim,
    Choice,
    Pairs,
    Target,
    choose,
    curve_of,
    picked_pictures,
    wilson,
    with_pictures,
)
from edge_sim.errors import DataError

SCORES = (0.95, 0.92, 0.88, 0.83, 0.78, 0.65, 0.55, 0.40)
SAME = (True, True, True, False, True, False, False, False)


def chosen(aim: Aim, value: float) -> Choice:
    return choose(curve_of(SCORES, SAME), Target(aim, value))


def test_the_highest_recall_at_precision_90_is_at_0_88() -> None:
    choice = chosen(Aim.PRECISION, 0.90)
    assert choice.threshold == 0.88
    assert (choice.precision.value, choice.recall.value) == (1.0, 0.75)


def test_a_false_positive_rate_and_a_recall_can_be_asked_for() -> None:
    assert chosen(Aim.FPR, 0.0).threshold == 0.88
    assert chosen(Aim.FPR, 0.25).threshold == 0.78
    assert chosen(Aim.RECALL, 0.5).threshold == 0.88  # precision 1 up to here, and more recall
    assert chosen(Aim.RECALL, 1.0).threshold == 0.78
    assert chosen(Aim.PRECISION, 0.8).recall.value == 1.0


def test_equal_scores_cannot_be_told_apart() -> None:
    curve = curve_of([0.9, 0.9, 0.9, 0.1], [True, True, False, False])
    assert curve.thresholds.tolist() == [0.9, 0.1]
    assert (curve.hits.tolist(), curve.false.tolist()) == ([2, 2], [1, 2])
    with pytest.raises(DataError, match=r"precision 0\.9 .* is 0\.667, at 0\.9000"):
        choose(curve, Target(Aim.PRECISION, 0.9))
    with pytest.raises(DataError, match=r"fpr 0\.1 .* lowest false-positive rate is 0\.500"):
        choose(curve, Target(Aim.FPR, 0.1))


@pytest.mark.parametrize(
    ("scores", "same", "words"),
    [
        ([0.5, float("nan")], [True, False], "NaN"),
        ([0.5, float("inf")], [True, False], "infinite"),
        ([0.5], [True, False], "1 scores for 2 labels"),
        ([0.5, 0.6], [True, True], "is different"),
        ([0.5, 0.6], [False, False], "is the same"),
        ([], [], "is the same"),
    ],
    ids=["nan", "inf", "lengths", "no different", "no same", "nothing"],
)
def test_scores_that_cannot_be_calibrated_are_refused(
    scores: list[float], same: list[bool], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        curve_of(scores, same)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_wish_is_a_part(value: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        Target(Aim.PRECISION, value)


labelled = st.lists(
    st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), st.booleans()),
    min_size=2,
    max_size=30,
).filter(lambda rows: len({same for _, same in rows}) == 2)


@given(rows=labelled, aim=st.sampled_from(Aim), value=st.floats(0.0, 1.0))
def test_the_choice_keeps_the_wish_and_no_other_threshold_is_better(
    rows: list[tuple[float, bool]], aim: Aim, value: float
) -> None:
    scores, same = (np.array(column) for column in zip(*rows, strict=True))
    candidates = []
    for threshold in set(scores.tolist()):
        called = scores >= threshold
        precision, recall = same[called].mean(), called[same].mean()
        fpr = called[~same].mean()
        kept = fpr <= value if aim is Aim.FPR else (precision, recall)[aim is Aim.RECALL] >= value
        if kept:
            ranks = (precision, recall) if aim is Aim.RECALL else (recall, precision)
            candidates.append((*ranks, threshold))
    if not candidates:
        with pytest.raises(DataError, match="no threshold"):
            choose(curve_of(scores, same), Target(aim, value))
        return
    choice = choose(curve_of(scores, same), Target(aim, value))
    assert choice.threshold == max(candidates)[2]
    for rate in (choice.precision, choice.recall, choice.fpr):
        assert 0.0 <= rate.low <= rate.value <= rate.high <= 1.0


@pytest.mark.parametrize(
    ("successes", "number", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_intervals_are_those_of_the_books(
    successes: int, number: int, low: float, high: float
) -> None:
    rate = wilson(successes, number)
    assert rate.low == pytest.approx(low, abs=1e-4)
    assert rate.high == pytest.approx(high, abs=1e-4)
    assert rate.value == successes / number


def test_nothing_says_nothing() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def clustered(pictures: int, classes: int = 4) -> Pairs:
    rng = np.random.default_rng(3)
    labels = np.arange(pictures) % classes
    centres = rng.normal(size=(classes, 8))
    rows = centres[labels] + rng.normal(scale=0.9, size=(pictures, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Pairs((rows @ rows.T).astype(np.float32), labels)


def test_intervals_know_that_pairs_share_pictures() -> None:
    pairs = clustered(40)
    choice = choose(curve_of(*pairs.flat()), Target(Aim.FPR, 0.1))
    wide = with_pictures(choice, pairs)
    assert wide.threshold == choice.threshold
    for name in ("precision", "recall", "fpr"):
        narrow, honest = getattr(choice, name), getattr(wide, name)
        assert honest.low <= narrow.low <= honest.value <= narrow.high <= honest.high
    assert wide.recall.high - wide.recall.low > 1.5 * (choice.recall.high - choice.recall.low)
    assert with_pictures(choice, pairs) == wide  # seeded


def test_intervals_shrink_with_more_pictures() -> None:
    widths = []
    for number in (24, 240):
        pairs = clustered(number)
        choice = with_pictures(choose(curve_of(*pairs.flat()), Target(Aim.FPR, 0.1)), pairs)
        widths.append(choice.recall.high - choice.recall.low)
    assert widths[1] < 0.6 * widths[0]


def test_each_pair_counts_once_and_none_with_itself() -> None:
    scores, same = clustered(12, classes=3).flat()
    assert len(scores) == 12 * 11 // 2
    assert int(same.sum()) == 3 * (4 * 3 // 2)


def test_of_very_many_pictures_an_even_part_is_paired() -> None:
    assert picked_pictures(5).tolist() == [0, 1, 2, 3, 4]
    picked = picked_pictures(10 * PICTURES)
    assert (len(picked), picked[0], picked[-1]) == (PICTURES, 0, 10 * PICTURES - 1)
    assert len(set(picked.tolist())) == PICTURES
