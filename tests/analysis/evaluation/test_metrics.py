"""Figures against hand-worked values and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.analysis.evaluation.metrics import (
    auroc,
    average_precision,
    balanced_accuracy,
    calibration_error,
    confusion,
    f1,
    interpolated_precision,
    mean_figures,
    precision_recall_curve,
    recall_at_false_rate,
    roc_curve,
)

scores = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]), min_size=1, max_size=20)


def test_balanced_accuracy_counts_every_state_the_same() -> None:
    table = confusion(["a", "a", "a", "a", "b"], ["a", "a", "a", "b", "b"])
    assert table == {"a": {"a": 3, "b": 1}, "b": {"b": 1}}
    assert balanced_accuracy(table) == pytest.approx((0.75 + 1.0) / 2)


@given(familiar=scores, novel=scores)
def test_auroc_is_the_part_of_pairs_in_order(familiar: list[float], novel: list[float]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in familiar for b in novel]
    assert auroc(np.array(familiar), np.array(novel)) == pytest.approx(np.mean(pairs))


def test_auroc_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        auroc(np.array([]), np.array([1.0]))


def test_recall_is_read_at_the_false_rate() -> None:
    familiar = np.linspace(0.0, 1.0, 101)
    assert recall_at_false_rate(familiar, np.array([0.01, 0.04, 0.06, 0.9])) == 0.5


def test_the_roc_curve_runs_from_nothing_to_everything() -> None:
    false, found = roc_curve(np.array([0.5, 0.9]), np.array([0.1, 0.6]))
    assert (false[0], found[0]) == (0.0, 0.0)
    assert (false[-1], found[-1]) == (1.0, 1.0)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(found) >= 0).all()


def test_what_is_said_at_09_and_right_nine_times_in_ten_is_calibrated() -> None:
    right = np.array([True] * 9 + [False])
    assert calibration_error(np.full(10, 0.9), right) == pytest.approx(0.0)
    assert calibration_error(np.full(10, 0.5), right) == pytest.approx(0.4)
    assert calibration_error(np.zeros(0), np.zeros(0)) == 0.0


def test_average_precision_of_a_worked_example() -> None:
    ranked = np.array([True, False, True, False])
    assert average_precision(ranked) == pytest.approx((1.0 + 2.0 / 3.0) / 2.0)
    assert average_precision(np.array([False, False])) == 0.0


def test_f1_of_nothing_is_nothing() -> None:
    assert f1(0.0, 0.0) == 0.0
    assert f1(1.0, 0.5) == pytest.approx(2.0 / 3.0)


def test_interpolated_precision_is_the_best_at_or_beyond_a_recall() -> None:
    ranked = np.array([True, False, True, False, False, True])
    found = interpolated_precision(ranked, np.array([0.0, 1 / 3, 0.5, 2 / 3, 1.0]))
    assert found == pytest.approx([1.0, 1.0, 2 / 3, 2 / 3, 0.5])
    assert interpolated_precision(np.array([False]), np.array([0.0, 1.0])).tolist() == [0.0, 0.0]


@given(familiar=scores, novel=scores)
def test_the_precision_recall_curve_ends_at_everything(
    familiar: list[float], novel: list[float]
) -> None:
    recall, precision = precision_recall_curve(np.array(familiar), np.array(novel))
    assert recall[-1] == 1.0
    assert precision[-1] == pytest.approx(len(novel) / (len(novel) + len(familiar)))
    assert (np.diff(recall) >= 0).all()


def test_means_pass_over_what_is_missing_and_leave_words_out() -> None:
    rows = [
        {"name": "a", "f1": 1.0, "delay": None, "open_set": {"auroc": 0.5}},
        {"name": "b", "f1": 0.5, "delay": 3.0, "open_set": None},
    ]
    assert mean_figures(rows) == {"f1": 0.75, "delay": 3.0, "open_set": {"auroc": 0.5}}
    assert mean_figures([]) == {}
