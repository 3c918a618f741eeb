"""The rows of a filter that is used again are searched by themselves, and answers stay right."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.core.ranking import Metric, Question, RowMask
from edge_sim.core.vectors import normalised
from edge_sim.search import subsets
from edge_sim.search.exact import ExactIndex
from edge_sim.search.measure import grouped_rows
from edge_sim.search.segments import SegmentedIndex, SegmentedRows
from edge_sim.search.subsets import Subsets

pytest.importorskip("numkong", reason="numkong is not installed: edge_sim[search]")
ROWS = grouped_rows(3000, 32)


def kept(share: float, seed: int, count: int = len(ROWS)) -> RowMask:
    mask: RowMask = np.random.default_rng(seed).random(count) < share
    mask.flags.writeable = False
    return mask


def query(seed: int) -> NDArray[np.float32]:
    return normalised(np.random.default_rng(seed).normal(size=32).astype(np.float32))


@pytest.mark.parametrize("metric", [Metric.COSINE, Metric.EUCLIDEAN])
def test_the_nearest_that_pass_are_found(metric: Metric) -> None:
    found = Subsets(ROWS)
    exact = ExactIndex(ROWS, metric=metric, unit=True)
    for number in range(40):
        mask = kept(0.02 + 0.02 * number, number % 5)
        answer = found.search(Question(query(number), metric), 10, mask, int(mask.sum()))
        assert answer is not None
        wanted = exact.search(query(number), 10, among=mask)
        np.testing.assert_array_equal(answer.rows, wanted.rows)
        np.testing.assert_allclose(answer.scores, wanted.scores, atol=1e-6)


def test_a_filter_that_may_change_or_passes_too_much_is_left_to_the_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = kept(0.5, 1)
    assert Subsets(ROWS).search(Question(query(0)), 3, mask.copy(), int(mask.sum())) is None
    monkeypatch.setattr(subsets, "SUBSET_BYTES", 32 * 1000)
    assert Subsets(ROWS).search(Question(query(0)), 3, mask, int(mask.sum())) is None


def test_filters_come_and_go_without_being_mistaken_for_each_other() -> None:
    found = Subsets(ROWS)
    exact = ExactIndex(ROWS, unit=True)
    for number in range(30):  # each in the memory of one before, as likely as not
        mask = kept(0.1, number)
        answer = found.search(Question(query(number)), 5, mask, int(mask.sum()))
        assert answer is not None
        wanted = exact.search(query(number), 5, among=mask)
        np.testing.assert_array_equal(answer.rows, wanted.rows)
        del mask
        gc.collect()


def test_a_filter_over_two_segments_is_made_once_and_right() -> None:
    slots = np.random.default_rng(3).permutation(len(ROWS))[:2500].astype(np.intp)
    rows = SegmentedRows(ROWS[:2000], ROWS[2000:], slots)
    index = SegmentedIndex(rows, ExactIndex(ROWS[:2000], unit=True), metric=Metric.COSINE)
    whole = ExactIndex(np.asarray(rows), unit=True)
    for mask in (kept(0.1, 1, 2500), kept(0.3, 2, 2500)):
        for number in range(5):
            answer = index.search(query(number), 7, among=mask)
            wanted = whole.search(query(number), 7, among=mask)
            np.testing.assert_array_equal(answer.rows, wanted.rows)
