"""Inverted lists by faiss: few lists of many are compared, in full or as product codes.

Jegou, Douze and Schmid, Product quantization for nearest neighbor search, IEEE TPAMI 33(1), 2011.
`ivf-pq` holds a quarter of a byte per number, for collections whose graph would not fit into the
memory; `ivf-flat` holds the rows once more. Candidates are ranked exactly on the originals.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.ranking import NOTHING, Metric, Neighbours, RowMask, Rows, ordered
from edge_sim.errors import SearchError
from edge_sim.search.exact import SELECTIVE, ExactIndex, angular, checked_question, eligible

FileProgress = Callable[[int, int], object]
"""Called with (done, total) rows of a file that is made; False stops."""

LEAST_ROWS = 4096
"""Number of rows below which a pass over all of them is as quick, and lists cannot be trained."""
_TRAINED, _TRAINED_PER_LIST = 16_384, 64
"""Least number of rows that the lists are trained with, and number per list."""
_PROBED, _LEAST_PROBED = 0.06, 24
"""Part of the lists that are compared, and their least number."""
_WIDENINGS = (1, 4)
_POOLS = {"ivf-flat": (64, 1.5), "ivf-pq": (512, 10.0)}
"""Least number of candidates that are ranked exactly, and number per result."""
_PQ_WIDTH = 4
"""Numbers of a row per byte of its product code."""


class IvfIndex:
    """Index with inverted lists over unit rows.

    Args:
        kind: `ivf-flat` or `ivf-pq`.
        lists: A faiss index of the rows in their order; None compares all rows.
        originals: (N, D) float32 or float16 unit rows, best mapped from a file.
        metric: Cosine, inner product or Euclidean: on unit rows they rank alike.

    Raises:
        ValueError: Another metric.
    """

    def __init__(
        self, kind: str, lists: Any, originals: Rows, *, metric: Metric = Metric.COSINE
    ) -> None:
        self.metric = angular(metric, "inverted lists rank")
        self._kind = kind
        self._lists = lists
        self._originals = originals
        self._exact = ExactIndex(originals, metric=metric, unit=True)

    @property
    def kind(self) -> str:
        """`ivf-flat` or `ivf-pq`."""
        return self._kind

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
        """Return approximately the best k rows; see `protocols.Index`.

        Exact for the least similar, and where a filter leaves few rows.
        """
        question = checked_question(vector, k, self.dimension, metric=Metric.COSINE, least=least)
        left = eligible(among, len(self))
        if left == 0:
            return NOTHING
        found = None
        if self._lists is not None and not least and left >= LEAST_ROWS and k <= SELECTIVE * left:
            found = self._near(question.vector, k, among, len(self) / left)
        if found is None:
            return self._exact.search(question.vector, k, among=among, least=least)
        if self.metric is not Metric.COSINE:
            question = checked_question(vector, k, self.dimension, metric=self.metric, least=False)
        return ordered(question, self._originals[found], found, k)

    def _near(
        self, vector: NDArray[np.float32], k: int, among: RowMask | None, scarcity: float
    ) -> NDArray[np.intp] | None:
        """Return a pool of permitted rows, k at least; None if the lists do not hold so many."""
        least, per_result = _POOLS[self._kind]
        pool = min(len(self), round(max(least, per_result * k)))
        asked = _padded(vector[None], self._lists.d)
        faiss = _faiss()
        for wider in _WIDENINGS:
            probed = round(self._lists.nlist * _PROBED * wider * min(4.0, scarcity))
            options = {"nprobe": max(_LEAST_PROBED, probed)}
            if among is not None:
                options["sel"] = faiss.IDSelectorBitmap(np.packbits(among, bitorder="little"))
            found = self._lists.search(asked, pool, params=faiss.SearchParametersIVF(**options))[1][
                0
            ]
            found = found[found >= 0]
            if len(found) >= k:
                return np.sort(found).astype(np.intp)
        return None


def open_ivf(kind: str, rows: Rows, path: Path | None, metric: Metric) -> IvfIndex:
    """Return an index over (N, D) unit rows.

    Args:
        kind: `ivf-flat` or `ivf-pq`.
        rows: Rows in memory or mapped from a file.
        path: File of `write_ivf`; None makes the lists now, if there are enough rows.
        metric: Cosine, inner product or Euclidean.

    Raises:
        SearchError: faiss is not installed, or the file holds no lists of these rows.
    """
    if len(rows) < LEAST_ROWS:
        return IvfIndex(kind, None, rows, metric=metric)
    _faiss().omp_set_num_threads(1)  # waiting for other threads takes longer than one query
    lists = _built(kind, rows, None, None) if path is None else _read(path)
    if lists.ntotal != len(rows) or lists.d != _padded_width(kind, rows):
        raise SearchError(f"{path}: no inverted lists of these {len(rows)} rows")
    return IvfIndex(kind, lists, rows, metric=metric)


def write_ivf(
    kind: str,
    rows: Rows,
    path: Path,
    *,
    progress: FileProgress | None = None,
    earlier: Path | None = None,
) -> None:
    """Write inverted lists over (N, D) unit rows to a file.

    Args:
        kind: `ivf-flat` or `ivf-pq`.
        rows: Rows of unit length.
        path: File to write.
        progress: Called with (done, total) rows; False from it stops.
        earlier: File of the first of the rows, which is extended by the others.

    Raises:
        SearchError: faiss is not installed, stopped, or the file cannot be written.
    """
    lists = None if earlier is None else _read(earlier)
    if lists is not None and 2 * lists.nlist < _lists_for(len(rows)):
        lists = None  # trained for far fewer rows
    lists = _built(kind, rows, lists, progress)
    try:
        _faiss().write_index(lists, str(path))
    except RuntimeError as error:
        raise SearchError(f"{path}: cannot be written ({error})") from error


def _built(kind: str, rows: Rows, lists: Any, progress: FileProgress | None) -> Any:
    faiss = _faiss()
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    try:
        width = _padded_width(kind, rows)
        if lists is None:
            lists = _trained(kind, rows, width)
        step = 16_384
        for at in range(lists.ntotal, len(rows), step):
            lists.add(_padded(rows[at : at + step], width))
            if progress is not None and progress(lists.ntotal, len(rows)) is False:
                raise SearchError("stopped while the inverted lists were built")
    finally:
        faiss.omp_set_num_threads(1)
    return lists


def _trained(kind: str, rows: Rows, width: int) -> Any:
    faiss = _faiss()
    count = _lists_for(len(rows))
    coarse = faiss.IndexFlatIP(width)
    metric = faiss.METRIC_INNER_PRODUCT
    if kind == "ivf-flat":
        lists = faiss.IndexIVFFlat(coarse, width, count, metric)
    else:
        lists = faiss.IndexIVFPQ(coarse, width, count, width // _PQ_WIDTH, 8, metric)
    # Too few points are no fault here, and faiss would print a warning.
    lists.cp.min_points_per_centroid = 1
    if kind == "ivf-pq":
        lists.pq.cp.min_points_per_centroid = 1
    rng = np.random.default_rng(0)  # equal rows give equal lists
    chosen = rng.choice(
        len(rows), min(len(rows), max(_TRAINED, _TRAINED_PER_LIST * count)), replace=False
    )
    lists.train(_padded(rows[np.sort(chosen)], width))
    return lists


def _lists_for(count: int) -> int:
    return max(16, int(count**0.5))


def _padded_width(kind: str, rows: Rows) -> int:
    """Return the length of a row that product codes can divide; zeros change no product."""
    width = int(rows.shape[1])
    codes = -(-width // _PQ_WIDTH)
    return width if kind == "ivf-flat" else codes * _PQ_WIDTH


def _padded(rows: Rows, width: int) -> NDArray[np.float32]:
    padded = np.zeros((len(rows), width), np.float32)
    padded[:, : rows.shape[1]] = rows
    return padded


def _read(path: Path) -> Any:
    try:
        return _faiss().read_index(str(path))
    except RuntimeError as error:
        raise SearchError(f"{path}: not a usable file of inverted lists") from error


def is_installed() -> bool:
    """Return whether faiss can be imported."""
    try:
        _faiss()
    except SearchError:
        return False
    return True


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise SearchError(
            "inverted lists need faiss: pip install 'edge_sim[faiss]', or take --kind exact"
        ) from error
    return faiss
