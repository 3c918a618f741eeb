"""Search among the rows that a filter lets through, for filters that are used again.

A graph shows few of the nearest rows that pass, and none where the filter lies across the query: of
1,000,000 x 256, a tenth of which passes, it found 0.91 of the ten nearest in 0.4 ms, and had to
fall back on a pass over the full rows for one query in four, 120 ms. A pass over the 8-bit form of
those that pass chooses a pool, which is ranked in full: it finds them all in about 2 ms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.ranking import Neighbours, Question, RowMask, Rows, ordered, shortlist
from edge_sim.search.exact import Coded, coded_rows, installed_multiplier
from edge_sim.search.segments import joined

SUBSET_BYTES = 64 * 1024 * 1024
"""Greatest size of the 8-bit rows that are kept for one filter."""
MOST_PROVEN = 256
"""Number of candidates besides k up to which all are ranked that could be among the best."""
POOL, POOL_PER_K = 64, 3
"""Least number of candidates that are ranked otherwise, and number per result."""
MOST_SUBSETS = 2
"""Number of filters whose rows are kept, those used last."""


class Subsets:
    """8-bit form of the rows that the filters used last let through.

    Args:
        rows: (N, D) float32 or float16 rows of unit length, best mapped from a file.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._most_rows = SUBSET_BYTES // max(1, int(rows.shape[1]))
        self._multiplier = installed_multiplier()
        self._kept: dict[int, tuple[RowMask, NDArray[np.intp], Coded]] = {}

    def search(self, question: Question, k: int, among: RowMask, left: int) -> Neighbours | None:
        """Return the best k rows that pass, by an angular metric; None if too many pass, the filter
        may change, or numkong is not installed.

        Args:
            question: The most similar rows are wanted, not the least.
            k: Number of rows.
            among: The filter. One that cannot be written to is taken to stay as it is.
            left: Number of rows that pass.
        """
        if among.flags.writeable or left > self._most_rows or self._multiplier is None:
            return None
        place = int(among.__array_interface__["data"][0])
        kept = self._kept.pop(place, None)
        if kept is None or len(kept[0]) != len(among):
            # The filter is kept as well, so that no other takes its place in memory.
            kept = among, *self._made(np.flatnonzero(among))
        while len(self._kept) >= MOST_SUBSETS:
            self._kept.pop(next(iter(self._kept)))
        self._kept[place] = kept
        _, numbers, coded = kept
        values, slack = self._multiplier.products(coded, question.vector)
        chosen = shortlist(values, k, slack)
        if len(chosen) > MOST_PROVEN + k:
            chosen = shortlist(values, max(POOL, POOL_PER_K * k), 0.0)
        pool = numbers[chosen]
        return ordered(question, self._rows[pool], pool, k)

    def _made(self, numbers: NDArray[np.intp]) -> tuple[NDArray[np.intp], Coded]:
        none = np.zeros((0, int(self._rows.shape[1])), self._rows.dtype)
        return numbers, coded_rows(joined(self._rows, none, numbers), np.int8)
