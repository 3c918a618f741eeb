"""Exact search: one pass over all rows, in full or as 8-bit numbers.

`Int8Index` needs a quarter of the memory: products of 8-bit rows choose a pool, which is ranked
again in full. The products come from numkong, which usearch brings along: 1.2 ms for 100,000 x 256
where the same rows in float32 take 3.4 (Zen 4, one thread). Without it the rows are kept unsigned,
as OpenCV's nearest neighbours want them.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import cv2
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
    blocks_of,
    closeness,
    ordered,
    shortlist,
    table,
)
from edge_sim.core.vectors import normalised
from edge_sim.errors import SearchError


def checked_question(
    vector: NDArray[np.float32], k: int, dimension: int, *, metric: Metric, least: bool
) -> Question:
    """Return the validated query, its vector of unit length for cosine.

    Raises:
        SearchError: k below 1, or a vector of another length, with NaN, or for cosine of zeros.
    """
    if k < 1:
        raise SearchError(f"k must be at least 1, got {k}")
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
    _check_filter(among, count)
    return np.flatnonzero(among)


def eligible(among: RowMask | None, count: int) -> int:
    """Return the number of rows that a filter lets through, without listing them.

    Raises:
        SearchError: The filter is not one bool per row.
    """
    if among is None:
        return count
    _check_filter(among, count)
    return int(np.count_nonzero(among))


def _check_filter(among: RowMask, count: int) -> None:
    if among.shape != (count,) or among.dtype != np.bool_:
        raise SearchError(f"a filter needs {count} bools, got {among.dtype} {among.shape}")


def angular(metric: Metric, words: str) -> Metric:
    """Return the metric of an index that ranks unit rows by their angle.

    Args:
        metric: Requested metric.
        words: Start of the message.

    Raises:
        ValueError: Manhattan distance, which ranks unit rows differently.
    """
    if metric is Metric.MANHATTAN:
        raise ValueError(f"{words} by angle; rank by Manhattan with ExactIndex")
    return metric


SELECTIVE = 0.2
"""Fraction of the rows below which a filter is applied before the ranking: copying rows costs about
four times as much as a product with all of them."""


class ExactIndex:
    """Index that compares all rows, in memory or mapped from a file.

    Args:
        rows: (N, D) float32 or float16. For cosine they are brought to unit length.
        metric: Metric of the ranking.
        unit: Whether all rows are known to have unit length; nothing is copied or checked then.

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
        question = checked_question(vector, k, self.dimension, metric=self.metric, least=least)
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


_LARGEST = 127
SHORT_ROWS = 256
"""Rows up to so long, such as the vectors of our own model, are multiplied by the kernel for
matrices: 1.2 ms for 100,000 of 256 against 1.6 pair by pair. From 384 on it is the slower one, up
to three times."""
_KERNELS = ("cdist", "dots_pack", "dots_packed")


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """8-bit rows: `(codes - middle) * scale` is near the original.

    Args:
        codes: (N, D) int8 about 0, or uint8 about 128.
        scale: Value of one step.
        moved: Greatest distance between a row and its rounded form.
        longest: Length of the longest original.
    """

    codes: NDArray[Any]
    scale: float
    moved: float
    longest: float

    @property
    def middle(self) -> int:
        """Code of zero."""
        return middle_of(self.codes.dtype)


def coded_rows(rows: Rows, dtype: type[np.integer[Any]]) -> Coded:
    """Return (N, D) rows as int8 or uint8, all of one scale.

    Raises:
        ValueError: NaN or infinity in a row.
    """
    scale = _scale(rows)
    codes = np.empty(rows.shape, dtype)
    moved = longest = 0.0
    for block in blocks_of(len(rows), 4 * rows.shape[1]):
        part = rows[block].astype(np.float32)
        if np.isnan(part).any():
            raise ValueError("vectors must be finite, got NaN or infinity")
        codes[block] = rounded(part, scale, dtype)
        rest = part - restored(codes[block], scale)
        moved = max(moved, float(np.linalg.norm(rest, axis=1).max(initial=0.0)))
        longest = max(longest, float(np.linalg.norm(part, axis=1).max(initial=0.0)))
    return Coded(codes, scale, moved, longest)


def rounded(rows: NDArray[np.float32], scale: float, dtype: type[np.integer[Any]]) -> NDArray[Any]:
    """Return rows as 8-bit numbers, clipped to their range."""
    middle = middle_of(np.dtype(dtype))
    whole = np.rint(rows / np.float32(scale)) + np.float32(middle)
    kept = np.clip(whole, middle - _LARGEST - bool(middle), middle + _LARGEST)
    return np.asarray(kept, dtype)


def restored(codes: NDArray[Any], scale: float) -> NDArray[np.float32]:
    """Return the values of 8-bit numbers."""
    middle = np.float32(middle_of(codes.dtype))
    return np.asarray((codes.astype(np.float32) - middle) * np.float32(scale), np.float32)


def middle_of(dtype: np.dtype[Any]) -> int:
    """Return the code of zero."""
    return 128 if dtype == np.uint8 else 0


class Multiplier:
    """Products of int8 rows with a vector.

    Args:
        kernels: The module numkong, or another with its `cdist`, `dots_pack` and `dots_packed`.
    """

    def __init__(self, kernels: Any) -> None:
        self._kernels = kernels

    def products(
        self, known: Coded, vector: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float]:
        """Return (N,) float32 products, in some unit, and the greatest error of each in that unit.

        The bound is proven: the products of the codes are whole numbers, exact but for the
        rounding to float32; the rounding errors of row and vector are known, and the
        Cauchy-Schwarz inequality bounds their effect.
        """
        scale = max(float(np.abs(vector).max(initial=0.0)), 1e-6) / _LARGEST
        codes = rounded(vector[None], scale, np.int8)
        values = self._whole(codes, known.codes)
        lost = float(np.linalg.norm(vector - restored(codes, scale)[0]))
        length = float(np.linalg.norm(vector))
        wrong = known.moved * length + (known.longest + known.moved) * lost
        step = known.scale * scale
        largest = (known.longest + known.moved) * (length + lost)
        return values, 1.001 * (wrong + 2.0**-23 * largest) / step

    def _whole(self, codes: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return (N,) whole products of (N, D) rows with (1, D) codes, rounded to float32."""
        if not len(rows):  # which the kernels reject
            return np.empty(0, np.float32)
        if rows.shape[1] <= SHORT_ROWS:
            packed = self._kernels.dots_pack(codes, dtype="int8")
            return np.asarray(self._kernels.dots_packed(rows, packed))[:, 0].astype(np.float32)
        values = np.empty((1, len(rows)), np.float32)
        self._kernels.cdist(codes, rows, metric="dot", out=values, out_dtype="float32")
        return np.asarray(values[0])


def installed_multiplier() -> Multiplier | None:
    """Return a multiplier where numkong is installed; else None."""
    try:
        numkong: Any = importlib.import_module("numkong")
    except ImportError:
        return None
    return Multiplier(numkong) if all(hasattr(numkong, name) for name in _KERNELS) else None


def _scale(rows: Rows) -> float:
    largest = 0.0
    for block in blocks_of(len(rows), 4 * rows.shape[1]):
        largest = max(largest, float(np.abs(rows[block]).max(initial=0.0)))
    if not np.isfinite(largest):
        raise ValueError("vectors must be finite, got NaN or infinity")
    return max(largest, 1e-6) / _LARGEST


_WIDE, _PER_K, _WIDEST = 128, 5, 512
"""Numbers of neighbours requested from OpenCV, which sorts them by insertion: not too many."""


class Int8Index:
    """Index of 8-bit rows of one scale; candidates are ranked again in full.

    The rounding error of the rows is known, and so is whether a row that was not ranked again could
    belong to the answer: the answer is always that of `ExactIndex`.

    Args:
        originals: (N, D) float32 or float16 of unit length, best mapped from a file; few of them
            are read per search.
        metric: Cosine, inner product or Euclidean: on unit rows they rank alike.
        multiplier: Products for the pass over all rows; None takes OpenCV's nearest neighbours.

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
        question = checked_question(vector, k, self.dimension, metric=self.metric, least=least)
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
        # No row outside is nearer than this, so none has a larger product than this bound.
        rest = float(np.sqrt(float(squares[0].max()))) * known.scale - 1.001 * off - 1e-6
        best_outside = (known.longest**2 + _length(vector) ** 2 - max(rest, 0.0) ** 2) / 2.0
        last = float(answer.scores[-1])
        if question.metric.is_distance:
            return answer if last < rest else None
        return answer if last > best_outside + 1e-6 else None

    def _products(self, vector: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """Return (N,) float32, larger for larger products, and the greatest error of each."""
        known = self._known
        if self._multiplier is not None:
            return self._multiplier.products(known, vector)
        values = np.empty(len(self), np.float32)
        for block in blocks_of(len(self), 4 * self.dimension):
            values[block] = restored(known.codes[block], known.scale) @ vector
        return values, 1.01 * known.moved * _length(vector) + 1e-6


def _length(vector: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(vector))
