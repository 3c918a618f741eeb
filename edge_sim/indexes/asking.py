"""What every index checks before it searches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_sim.errors import SearchError
from edge_sim.ranking import Metric, Question, RowMask
from edge_sim.similarity import normalised


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
