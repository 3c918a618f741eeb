"""Exact search: one matrix product over everything, in float32 or over 8-bit rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_sim.indexes.asking import asked, permitted
from edge_sim.ranking import (
    NOTHING,
    Metric,
    Neighbours,
    Question,
    RowMask,
    Rows,
    Table,
    blocks_of,
    closeness,
    ordered,
    shortlist,
    table,
)
from edge_sim.similarity import normalised

SELECTIVE = 0.2
"""A filter that leaves less than this part of the rows goes before the ranking: copying rows out
costs about four times what a product with all of them does."""


class ExactIndex:
    """All rows in memory, or mapped from a file, compared one by one.

    Args:
        rows: (N, D) float32 or float16. For cosine they are brought to unit length.
        metric: To rank by.
        unit: All rows are known to have unit length; nothing is copied or checked.

    Raises:
        ValueError: NaN or infinity in a row.
    """

    def __init__(self, rows: Rows, *, metric: Metric = Metric.COSINE, unit: bool = False) -> None:
        if metric is Metric.COSINE and not unit:
            rows, unit = normalised(rows), True
        self.metric = metric
        self._table = table(rows, unit=unit)

    @property
    def kind(self) -> str:
        """`exact`."""
        return "exact"

    @property
    def dimension(self) -> int:
        """Length of a row."""
        return int(self._table.rows.shape[1])

    def __len__(self) -> int:
        return len(self._table.rows)

    def search(
        self,
        vector: NDArray[np.float32],
        k: int,
        *,
        among: RowMask | None = None,
        least: bool = False,
    ) -> Neighbours:
        """Return the best k rows; see `protocols.Index`."""
        question = asked(vector, k, self.dimension, metric=self.metric, least=least)
        numbers = permitted(among, len(self))
        if numbers is None:
            return _best(question, self._table, np.arange(len(self)), k)
        if len(numbers) <= SELECTIVE * len(self):
            return _best(question, self._table.take(numbers), numbers, k)
        values, slack = closeness(question, self._table)
        values[~np.asarray(among)] = -np.inf
        pool = shortlist(values, k, slack)
        return ordered(question, self._table.rows[pool], pool, k)


class Int8Index:
    """A quarter of the memory: rows as int8, a scale each; the nearest measured again exactly.

    How far the rounding moved each row is known, so every row that could belong to the answer
    is measured again on the originals: the answer is that of `ExactIndex`.

    Args:
        originals: (N, D) float32 or float16 of unit length, best mapped from a file; few of them
            are read per search.
        metric: Cosine, inner product or Euclidean: on unit rows they rank alike.

    Raises:
        ValueError: Another metric, or NaN or infinity in a row.
    """

    def __init__(self, originals: Rows, *, metric: Metric = Metric.COSINE) -> None:
        if metric is Metric.MANHATTAN:
            raise ValueError("8-bit rows rank by angle; rank by Manhattan with ExactIndex")
        self.metric = metric
        self._originals = originals
        self._coded, self._scales, self._moved = _coded(originals)

    @property
    def kind(self) -> str:
        """`exact-int8`."""
        return "exact-int8"

    @property
    def dimension(self) -> int:
        """Length of a row."""
        return int(self._coded.shape[1])

    def __len__(self) -> int:
        return len(self._coded)

    def search(
        self,
        vector: NDArray[np.float32],
        k: int,
        *,
        among: RowMask | None = None,
        least: bool = False,
    ) -> Neighbours:
        """Return the best k rows; see `protocols.Index`."""
        question = asked(vector, k, self.dimension, metric=self.metric, least=least)
        numbers = permitted(among, len(self))
        if numbers is not None and len(numbers) <= SELECTIVE * len(self):
            known = table(self._originals[numbers], unit=True)
            return _best(question, known, numbers, k)
        values = self._products(question.vector)
        if least:
            values = -values
        if among is not None:
            values[~among] = -np.inf
        slack = self._moved * float(question.vector @ question.vector) ** 0.5
        pool = shortlist(values, k, slack)
        return ordered(question, self._originals[pool], pool, k)

    def _products(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        values = np.empty(len(self), np.float32)
        for block in blocks_of(len(self), 4 * self.dimension):
            values[block] = self._coded[block].astype(np.float32) @ vector
        return values * self._scales


def _best(question: Question, known: Table, numbers: NDArray[np.intp], k: int) -> Neighbours:
    if not len(numbers):
        return NOTHING
    values, slack = closeness(question, known)
    pool = shortlist(values, k, slack)
    return ordered(question, known.rows[pool], numbers[pool], k)


def _coded(rows: Rows) -> tuple[NDArray[np.int8], NDArray[np.float32], float]:
    """Return int8 rows, the scale of each, and how far at most a row was moved."""
    coded = np.empty(rows.shape, np.int8)
    scales = np.empty(len(rows), np.float32)
    moved = 0.0
    for block in blocks_of(len(rows), 4 * rows.shape[1]):
        part = rows[block].astype(np.float32)
        if not np.isfinite(part).all():
            raise ValueError("vectors must be finite, got NaN or infinity")
        scale = np.maximum(np.abs(part).max(axis=1, initial=0.0) / 127.0, 1e-30)
        whole = np.rint(part / scale[:, None])
        coded[block], scales[block] = whole, scale
        rest = part - whole * scale[:, None]
        moved = max(moved, float(np.sqrt((rest * rest).sum(axis=1)).max(initial=0.0)))
    # The sums of the search and of this bound are themselves rounded a little.
    return coded, scales, 1.01 * moved + 1e-6
