"""Rows in two segments, and the index over them: a change costs no new file.

The files of an index are made from its contents now and then, and never changed. A search joins
them with the contents that came since, and leaves out those that went, as log-structured merge
trees do (O'Neil et al., The log-structured merge-tree, Acta Informatica 33, 1996).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.protocols import Index
from edge_sim.core.ranking import NOTHING, Metric, Neighbours, RowMask, Rows, ordered
from edge_sim.search.exact import ExactIndex, checked_question, permitted


class SegmentedRows:
    """Rows that lie in two arrays, in any order; used like an array of (N, D).

    Args:
        base: (B, D) rows, best mapped from a file.
        recent: (R, D) rows in memory.
        slots: (N,) place of each row: below B in `base`, from B on in `recent`. Several rows may
            share a place, and a place may have no row.
    """

    def __init__(self, base: Rows, recent: Rows, slots: NDArray[np.intp]) -> None:
        self.base = base
        self.recent = recent
        self.slots = slots

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return len(self.slots), int(self.base.shape[1])

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self.base.dtype

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, key: Any) -> Any:
        """Return rows as an array; all rows, or some columns of all, as `SegmentedRows`."""
        which, columns = key if isinstance(key, tuple) else (key, slice(None))
        base, recent = self.base[:, columns], self.recent[:, columns]
        if which is Ellipsis or (isinstance(which, slice) and which == slice(None)):
            return SegmentedRows(base, recent, self.slots)
        return _taken(base, recent, self.slots[which])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return a copy of all rows."""
        whole = _taken(self.base, self.recent, self.slots)
        return whole if dtype is None else whole.astype(dtype, copy=False)


def joined(base: Rows, recent: Rows, slots: NDArray[np.intp]) -> Rows:
    """Return the rows of both segments; `base` itself if that is all of them, in order."""
    if not len(recent) and np.array_equal(slots, np.arange(len(base))):
        return base
    return cast(Rows, SegmentedRows(base, recent, slots))


def _taken(base: Rows, recent: Rows, slots: NDArray[np.intp]) -> NDArray[Any]:
    if np.ndim(slots) == 0:
        return np.array(base[slots] if slots < len(base) else recent[slots - len(base)])
    if not len(recent):
        return np.asarray(base[slots])
    taken = np.empty((len(slots), *base.shape[1:]), base.dtype)
    early = slots < len(base)
    taken[early] = base[slots[early]]
    taken[~early] = recent[slots[~early] - len(base)]
    return taken


class SegmentedIndex:
    """Index over `SegmentedRows`.

    Args:
        rows: Rows of unit length.
        base: Index over `rows.base`, of any kind.
        metric: Metric of `base`.
    """

    def __init__(self, rows: SegmentedRows, base: Index, *, metric: Metric) -> None:
        self.metric = metric
        self._rows = rows
        self._base = base
        self._recent = ExactIndex(rows.recent, metric=metric, unit=True)
        places = len(rows.base) + len(rows.recent)
        self._by_slot = np.argsort(rows.slots, kind="stable")
        numbers = np.bincount(rows.slots, minlength=places)
        self._starts = np.concatenate([[0], np.cumsum(numbers)]).astype(np.intp)
        live = numbers > 0
        self._live = None if live.all() else live
        self._last: tuple[RowMask, RowMask] | None = None

    @property
    def kind(self) -> str:
        """Kind of the index over the base."""
        return self._base.kind

    @property
    def dimension(self) -> int:
        """Length of a row."""
        return self._rows.shape[1]

    def __len__(self) -> int:
        return len(self._rows)

    def search(
        self,
        vector: NDArray[np.float32],
        k: int,
        *,
        among: RowMask | None = None,
        least: bool = False,
    ) -> Neighbours:
        """Return the best k rows; see `protocols.Index`.

        Of rows that are equal, those that come first in a segment are taken.
        """
        question = checked_question(vector, k, self.dimension, metric=self.metric, least=least)
        passing = self._passing(among)
        split = len(self._rows.base)
        found = []
        for at, part in ((0, self._base), (split, self._recent)):
            own = None if passing is None else passing[at : at + len(part)]
            if len(part) and (own is None or own.any()):
                found.append(part.search(question.vector, k, among=own, least=least).rows + at)
        if not found:
            return NOTHING
        numbers = self._rows_at(np.concatenate(found))
        if among is not None:
            numbers = numbers[among[numbers]]
        return ordered(question, self._rows[numbers], numbers, k)

    def _passing(self, among: RowMask | None) -> NDArray[np.bool_] | None:
        """Return the places that may be found; None for all of them."""
        if among is not None and self._last is not None and self._last[0] is among:
            return self._last[1]
        numbers = permitted(among, len(self))
        if among is None or numbers is None:
            return self._live
        passing = np.zeros(len(self._starts) - 1, np.bool_)
        passing[self._rows.slots[numbers]] = True
        if not among.flags.writeable:
            # The same for the next query with this filter, and as lasting as the filter.
            passing.flags.writeable = False
            self._last = among, passing
        return passing

    def _rows_at(self, slots: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the rows at these places, ascending."""
        starts, counts = self._starts[slots], self._starts[slots + 1] - self._starts[slots]
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.sort(self._by_slot[np.repeat(starts, counts) + within])
