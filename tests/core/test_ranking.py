"""Ranking is exact, whatever the shortcut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.ranking import Metric, shortlist
from edge_sim.search.exact import ExactIndex

QUERY = np.array([0.6, 0.8, 0.0], np.float32)
NAMES = ["g1", "g2", "g3", "g4", "g5"]
ROWS = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0, 0, 1], [0.2, 0.1, 0]], np.float32)


def test_the_known_answer_by_cosine() -> None:
    found = ExactIndex(ROWS).search(QUERY, 5)
    assert [NAMES[row] for row in found.rows] == ["g3", "g5", "g2", "g1", "g4"]
    np.testing.assert_allclose(found.scores, [0.990, 0.894, 0.8, 0.6, 0.0], atol=5e-4)


@pytest.mark.parametrize(
    ("metric", "order", "first"),
    [
        (Metric.INNER, ["g2", "g3", "g1", "g5", "g4"], 0.8),
        (Metric.EUCLIDEAN, ["g3", "g2", "g5", "g1", "g4"], 0.3162),
        (Metric.MANHATTAN, ["g3", "g2", "g5", "g1", "g4"], 0.4),
    ],
    ids=lambda value: getattr(value, "value", None),
)
def test_the_known_answer_by_other_metrics(metric: Metric, order: list[str], first: float) -> None:
    found = ExactIndex(ROWS, metric=metric).search(QUERY, 5)
    assert [NAMES[row] for row in found.rows] == order
    assert found.scores[0] == pytest.approx(first, abs=1e-4)


@given(
    seed=st.integers(0, 1000),
    metric=st.sampled_from([Metric.INNER, Metric.EUCLIDEAN, Metric.MANHATTAN]),
    k=st.integers(1, 30),
    size=st.floats(1e-3, 1e3),
)
def test_exact_search_equals_brute_force_for_rows_of_any_length(
    seed: int, metric: Metric, k: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = (size * rng.normal(size=(90, 7)) * rng.uniform(0.1, 3, (90, 1))).astype(np.float32)
    vector = (size * rng.normal(size=7)).astype(np.float32)
    wide, query = rows.astype(np.float64), vector.astype(np.float64)
    distances = {
        Metric.INNER: -(wide @ query),
        Metric.EUCLIDEAN: np.linalg.norm(wide - query, axis=1),
        Metric.MANHATTAN: np.abs(wide - query).sum(axis=1),
    }
    found = ExactIndex(rows, metric=metric).search(vector, k)
    assert found.rows.tolist() == np.argsort(distances[metric], kind="stable")[:k].tolist()


def test_equal_scores_are_in_order_of_manhattan_distance_then_of_row() -> None:
    # Both at 45 degrees to the query; the second differs in one place, so it is nearer by city
    # blocks: 1 + 0.41 against 0.29 + 0.5 + 0.5.
    diagonal = np.float32(0.5**0.5)
    query = np.array([1, 0, 0], np.float32)
    pair = np.array([[diagonal, 0.5, 0.5], [diagonal, diagonal, 0]], np.float32)
    rows = np.tile(pair, (2, 1))
    found = ExactIndex(rows, unit=True).search(query, 4)
    assert found.rows.tolist() == [1, 3, 0, 2]
    assert ExactIndex(rows, unit=True).search(query, 4, least=True).rows.tolist() == [0, 2, 1, 3]


def test_ties_at_the_cut_are_decided_by_manhattan_distance_too() -> None:
    diagonal = np.float32(0.5**0.5)
    rows = np.tile(np.array([diagonal, 0.5, 0.5], np.float32), (60_000, 1))
    rows[59_999] = np.array([diagonal, diagonal, 0], np.float32)
    found = ExactIndex(rows, unit=True).search(np.array([1, 0, 0], np.float32), 2)
    assert found.rows.tolist() == [59_999, 0]


@given(seed=st.integers(0, 50), k=st.integers(1, 300), levels=st.sampled_from([3, 50, 10**6]))
def test_the_shortlist_holds_every_row_that_could_belong(seed: int, k: int, levels: int) -> None:
    values = np.random.default_rng(seed).integers(0, levels, 40_000).astype(np.float32)
    kept = shortlist(values, k, 0.25)
    floor = np.sort(values)[-k]
    assert kept.tolist() == np.flatnonzero(values >= floor - 0.5).tolist()


def test_a_row_with_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ExactIndex(np.array([[1.0, np.nan]], np.float32))
