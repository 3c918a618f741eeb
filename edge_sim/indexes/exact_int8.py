"""Exact search in a quarter of the memory: 8-bit rows first, the nearest again in full."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.indexes.asking import asked, permitted
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

_MIDDLE = 128
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

    Raises:
        ValueError: Another metric, or NaN or infinity in a row.
    """

    def __init__(self, originals: Rows, *, metric: Metric = Metric.COSINE) -> None:
        if metric is Metric.MANHATTAN:
            raise ValueError("8-bit rows rank by angle; rank by Manhattan with ExactIndex")
        self.metric = metric
        self._originals = originals
        self._scale = _scale(originals)
        self._coded, self._moved, self._longest = _coded(originals, self._scale)

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
            return self._few(question, k, numbers)
        wide = max(_WIDE, _PER_K * k)
        if not least and wide <= _WIDEST and wide < len(self):
            answer = self._nearest(question, k, wide, among)
            if answer is not None:
                return answer
        values = self._products(question.vector)
        values = -values if least else values
        if among is not None:
            values[~among] = -np.inf
        slack = 1.01 * self._moved * _length(question.vector) + 1e-6
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
        vector = question.vector
        coded = _rounded(vector[None], self._scale)
        mask = None if among is None else among.astype(np.uint8)[None]
        squares, rows = cv2.batchDistance(
            coded, self._coded, cv2.CV_32S, normType=cv2.NORM_L2SQR, K=wide, mask=mask
        )
        found = np.sort(rows[0][rows[0] >= 0]).astype(np.intp)
        answer = ordered(question, self._originals[found], found, k)
        if len(found) < wide:
            return answer
        off = self._moved + _length(vector - _restored(coded, self._scale)[0])
        # No row outside is nearer than this, so none has a larger product than the next line says.
        rest = float(np.sqrt(float(squares[0].max()))) * self._scale - 1.001 * off - 1e-6
        best_outside = (self._longest**2 + _length(vector) ** 2 - max(rest, 0.0) ** 2) / 2.0
        last = float(answer.scores[-1])
        if question.metric.is_distance:
            return answer if last < rest else None
        return answer if last > best_outside + 1e-6 else None

    def _products(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        values = np.empty(len(self), np.float32)
        for block in blocks_of(len(self), 4 * self.dimension):
            values[block] = self._coded[block].astype(np.float32) @ vector
        return (values - np.float32(_MIDDLE * vector.sum())) * np.float32(self._scale)


def _scale(rows: Rows) -> float:
    largest = 0.0
    for block in blocks_of(len(rows), 4 * rows.shape[1]):
        largest = max(largest, float(np.abs(rows[block]).max(initial=0.0)))
    if not np.isfinite(largest):
        raise ValueError("vectors must be finite, got NaN or infinity")
    return max(largest, 1e-6) / 127.0


def _coded(rows: Rows, scale: float) -> tuple[NDArray[np.uint8], float, float]:
    """Return uint8 rows, how far at most a row was moved, and the length of the longest row."""
    coded = np.empty(rows.shape, np.uint8)
    moved = longest = 0.0
    for block in blocks_of(len(rows), 4 * rows.shape[1]):
        part = rows[block].astype(np.float32)
        if np.isnan(part).any():
            raise ValueError("vectors must be finite, got NaN or infinity")
        coded[block] = _rounded(part, scale)
        rest = part - _restored(coded[block], scale)
        moved = max(moved, float(np.linalg.norm(rest, axis=1).max(initial=0.0)))
        longest = max(longest, float(np.linalg.norm(part, axis=1).max(initial=0.0)))
    return coded, moved, longest


def _rounded(rows: NDArray[np.float32], scale: float) -> NDArray[np.uint8]:
    whole = np.rint(rows / np.float32(scale)) + _MIDDLE
    return np.asarray(np.clip(whole, 0, 255), np.uint8)


def _restored(coded: NDArray[np.uint8], scale: float) -> NDArray[np.float32]:
    return (coded.astype(np.float32) - _MIDDLE) * np.float32(scale)


def _length(vector: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(vector))
