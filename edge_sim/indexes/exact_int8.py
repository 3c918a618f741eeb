"""Exact search in a quarter of the memory: 8-bit rows first, the nearest again in full."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.indexes.asking import angular, asked, permitted
from edge_sim.indexes.coding import Multiplier, coded_rows, restored, rounded
from edge_sim.indexes.exact import SELECTIVE, ExactIndex
from edge_sim.ranking import (
    NOTHING,
    Metric,
    Neighbours,
    Question,
    RowMask,
    Rows,
    blocks_of,
    ordered,
    shortlist,
)

_WIDE, _PER_K, _WIDEST = 128, 5, 512
"""How many neighbours OpenCV is asked for; it keeps them sorted by insertion, so not too many."""


class Int8Index:
    """Rows as 8-bit numbers of one scale; those that could be in the answer measured again.

    How far the rounding moved the rows is known. So is, therefore, whether a row that was not
    measured again could belong to the answer: the answer is always that of `ExactIndex`.

    Args:
        originals: (N, D) float32 or float16 of unit length, best mapped from a file; few of them
            are read per search.
        metric: Cosine, inner product or Euclidean: on unit rows they rank alike.
        multiplier: For the pass over all rows; None takes OpenCV's nearest neighbours.

    Raises:
        ValueError: Another metric, or NaN or infinity in a row.
    """

    def __init__(
        self,
        originals: Rows,
        *,
        metric: Metric = Metric.COSINE,
        multiplier: Multiplier | None = None,
    ) -> None:
        self.metric = angular(metric, "8-bit rows rank")
        self._originals = originals
        self._multiplier = multiplier
        self._known = coded_rows(originals, np.uint8 if multiplier is None else np.int8)

    @property
    def kind(self) -> str:
        """`exact-int8`."""
        return "exact-int8"

    @property
    def dimension(self) -> int:
        """Length of a row."""
        return int(self._originals.shape[1])

    def __len__(self) -> int:
        return len(self._originals)

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
            return self._few(question, k, numbers)
        wide = max(_WIDE, _PER_K * k)
        if self._multiplier is None and not least and wide <= _WIDEST and wide < len(self):
            answer = self._nearest(question, k, wide, among)
            if answer is not None:
                return answer
        values, slack = self._products(question.vector)
        if least:
            np.negative(values, out=values)
        if among is not None:
            values[~among] = -np.inf
        pool = shortlist(values, k, slack)
        return ordered(question, self._originals[pool], pool, k)

    def _few(self, question: Question, k: int, numbers: NDArray[np.intp]) -> Neighbours:
        if not len(numbers):
            return NOTHING
        rows = ExactIndex(self._originals[numbers], metric=self.metric, unit=True)
        found = rows.search(question.vector, k, least=question.least)
        return Neighbours(numbers[found.rows], found.scores)

    def _nearest(
        self, question: Question, k: int, wide: int, among: RowMask | None
    ) -> Neighbours | None:
        """Return the best k by way of OpenCV's nearest `wide`; None if that does not prove it."""
        vector, known = question.vector, self._known
        coded = rounded(vector[None], known.scale, np.uint8)
        mask = None if among is None else among.astype(np.uint8)[None]
        squares, rows = cv2.batchDistance(
            coded, known.codes, cv2.CV_32S, normType=cv2.NORM_L2SQR, K=wide, mask=mask
        )
        found = np.sort(rows[0][rows[0] >= 0]).astype(np.intp)
        answer = ordered(question, self._originals[found], found, k)
        if len(found) < wide:
            return answer
        off = known.moved + _length(vector - restored(coded, known.scale)[0])
        # No row outside is nearer than this, so none has a larger product than the next line says.
        rest = float(np.sqrt(float(squares[0].max()))) * known.scale - 1.001 * off - 1e-6
        best_outside = (known.longest**2 + _length(vector) ** 2 - max(rest, 0.0) ** 2) / 2.0
        last = float(answer.scores[-1])
        if question.metric.is_distance:
            return answer if last < rest else None
        return answer if last > best_outside + 1e-6 else None

    def _products(self, vector: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """Return (N,) float32, larger for larger products, and by how much each may be wrong."""
        known = self._known
        if self._multiplier is not None:
            return self._multiplier.products(known, vector)
        values = np.empty(len(self), np.float32)
        for block in blocks_of(len(self), 4 * self.dimension):
            values[block] = restored(known.codes[block], known.scale) @ vector
        return values, 1.01 * known.moved * _length(vector) + 1e-6


def _length(vector: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(vector))
