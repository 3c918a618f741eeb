"""What every index checks before it searches.

Exact search: one pass over all rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.ranking import (
    NOTHING,
    Metric,
    Neighbours,
    Question,
    RowMask,
    Rows,
    VectorTable,
    closeness,
    ordered,
    shortlist,
    table,
)
from edge_sim.core.vectors import normalised
from edge_sim.errors import SearchError


def asked(
    vector: NDArray[np.float32], k: int, dimension: int, *, metric: Metric, least: bool
) -> Question:
    """Return the question, its vector of unit length for cosine.

    Raises:
        SearchError: k below 1, or a vector of another length, with NaN, or for cosine of zeros.
    """
    if k < 1:
        raise SearchError(f"ask for at least 1 neighbour, got {k}")
    given = np.asarray(vector, np.float32)
    if given.shape != (dimension,):
        raise SearchError(f"the query must be a vector of {dimension} numbers, got {given.shape}")
    if not np.isfinite(given).all():
        raise SearchError("the query holds NaN or infinity")
    if metric is Metric.COSINE:
        given = normalised(given)
        if not given.any():
            raise SearchError("the query is all zeros, which has no direction to compare")
    return Question(given, metric, least)


def permitted(among: RowMask | None, count: int) -> NDArray[np.intp] | None:
    """Return the rows that a filter lets through; None without a filter.

    Raises:
        SearchError: The filter is not one bool per row.
    """
    if among is None:
        return None
    if among.shape != (count,) or among.dtype != np.bool_:
        raise SearchError(f"a filter needs {count} bools, got {among.dtype} {among.shape}")
    return np.flatnonzero(among)


def angular(metric: Metric, words: str) -> Metric:
    """Return the metric of an index that ranks unit rows by their angle.

    Args:
        metric: Asked for.
        words: Start of the message.

    Raises:
        ValueError: Manhattan distance, which ranks unit rows in an order of its own.
    """
    if metric is Metric.MANHATTAN:
        raise ValueError(f"{words} by angle; rank by Manhattan with ExactIndex")
    return metric


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


def _best(question: Question, known: VectorTable, numbers: NDArray[np.intp], k: int) -> Neighbours:
    if not len(numbers):
        return NOTHING
    values, slack = closeness(question, known)
    pool = shortlist(values, k, slack)
    return ordered(question, known.rows[pool], numbers[pool], k)
