"""Approximate search over a graph of neighbours (HNSW), for more rows than a pass can afford.

Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using Hierarchical
Navigable Small World graphs, IEEE TPAMI 42(4), 2020; the graph is usearch's. The graph finds a
pool of candidates on 8-bit rows; the pool is ranked exactly on the originals.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.errors import SearchError
from edge_sim.indexes.asking import angular, asked, permitted
from edge_sim.indexes.exact import ExactIndex
from edge_sim.indexes.few_rows import FewRows
from edge_sim.ranking import NOTHING, Metric, Neighbours, RowMask, Rows, ordered

CONNECTIVITY = 16
EXPANSION_ADD = 128
"""Candidates looked at while a row is put in; more make a better graph, more slowly."""
WIDTH, WIDTH_PER_K = 256, 2.5
"""How widely the graph is searched, at least: over 1,000,000 x 512 in bunches of 100, recall@100
of 150 queries is 0.969 at 176, 0.970 at 256 and 0.977 at 288, because one or two of a hundred
queries end in another bunch; the graph takes 2.3, 2.9 and 3.2 ms of it (mapped, machine busy)."""
POOL, POOL_PER_K = 128, 1.2
"""Candidates of the graph that are ranked exactly, at least: half as many again found 0.0001."""
FEW = 20_000
"""A filter that leaves no more rows than this is answered by a pass over them."""
_HUGE_PAGE = 2 << 20
STORAGES = {"int8": "i8", "float16": "f16"}


class HnswIndex:
    """A graph over unit rows; see `build_graph`.

    Args:
        graph: A `usearch.index.Index` whose keys are the row numbers.
        originals: (N, D) float32 or float16 unit rows, best mapped from a file.
        metric: Cosine, inner product or Euclidean: on unit rows they rank alike.

    Raises:
        ValueError: Another metric.
    """

    def __init__(self, graph: Any, originals: Rows, *, metric: Metric = Metric.COSINE) -> None:
        self.metric = angular(metric, "the graph ranks")
        self._graph = graph
        self._originals = originals
        self._few = FewRows(originals)
        self._exact = ExactIndex(originals, metric=metric, unit=True)

    @property
    def kind(self) -> str:
        """`hnsw`."""
        return "hnsw"

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
        """Return about the best k rows; see `protocols.Index`.

        Exact for the least similar, and where a filter leaves few rows.
        """
        question = asked(vector, k, self.dimension, metric=Metric.COSINE, least=least)
        numbers = permitted(among, len(self))
        left = len(self) if numbers is None else len(numbers)
        if left == 0:
            return NOTHING
        share = left / len(self)
        width = round(max(WIDTH, WIDTH_PER_K * k) / share)
        if least or (numbers is not None and left <= FEW) or width >= len(self):
            return self._exact.search(question.vector, k, among=among, least=least)
        found = self._near(question.vector, width, round(max(POOL, POOL_PER_K * k) / share))
        if among is not None:
            found = found[among[found]]
            if len(found) < min(k, left):
                return self._exact.search(question.vector, k, among=among)
        if self.metric is not Metric.COSINE:
            question = asked(vector, k, self.dimension, metric=self.metric, least=False)
        try:
            return ordered(question, self._few.take(found), found, k)
        except OSError as error:
            raise SearchError(f"the vectors of the index cannot be read: {error}") from error

    def _near(self, vector: NDArray[np.float32], width: int, pool: int) -> NDArray[np.intp]:
        self._graph.expansion_search = width
        keys = self._graph.search(vector, pool, threads=1).keys
        return np.sort(np.asarray(keys, np.int64)).astype(np.intp)


def build_graph(
    rows: Rows, *, storage: str = "int8", threads: int = 0, progress: Any = None
) -> Any:
    """Return a usearch graph over (N, D) unit rows.

    Args:
        rows: Of unit length; keys of the graph are their numbers.
        storage: `int8` or `float16`: how the graph keeps them.
        threads: 0 takes all cores.
        progress: Called with (done, total) now and then; False from it stops with SearchError.

    Raises:
        SearchError: usearch is not installed, no such storage, or stopped.
    """
    if storage not in STORAGES:
        raise SearchError(f"no storage {storage!r}; there are {', '.join(STORAGES)}")
    graph = _new_graph(int(rows.shape[1]), STORAGES[storage])
    step = 16_384
    for at in range(0, len(rows), step):
        part = np.ascontiguousarray(rows[at : at + step], np.float32)
        graph.add(np.arange(at, at + len(part)), part, copy=True, threads=threads)
        if progress is not None and progress(at + len(part), len(rows)) is False:
            raise SearchError("stopped while the graph was built")
    return graph


def open_graph(path: Path, rows: Rows, *, resident: bool = False) -> Any:
    """Return a saved graph.

    Args:
        path: From `save`.
        rows: That it is of.
        resident: Read into memory, in large pages where the system has them, so that searches are
            about a sixth faster; else mapped from the file, of which the system keeps what it can.

    Raises:
        SearchError: usearch is not installed, or the file is no graph of these rows.
    """
    usearch = _usearch()
    try:
        place = _in_large_pages(path) if resident else str(path)
        graph = usearch.Index.restore(place, view=True)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise SearchError(f"{path}: not a usable graph ({error})") from error
    if graph is None or len(graph) != len(rows) or graph.ndim != rows.shape[1]:
        raise SearchError(f"{path}: not a graph of these {len(rows)} rows")
    # A view does not keep what it looks at.
    graph.edge_sim_place = place
    return graph


def is_available() -> bool:
    """Return whether usearch can be imported."""
    try:
        _usearch()
    except SearchError:
        return False
    return True


def _new_graph(dimension: int, dtype: str) -> Any:
    return _usearch().Index(
        ndim=dimension,
        metric="cos",
        dtype=dtype,
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=WIDTH,
        enable_key_lookups=False,
    )


def _usearch() -> Any:
    try:
        import usearch.index
    except ImportError as error:
        raise SearchError(
            "an HNSW index needs usearch: pip install 'edge_sim[search]', or take --kind exact"
        ) from error
    return usearch.index


def _in_large_pages(path: Path) -> NDArray[np.uint8]:
    """Return the bytes of a file; nodes lie all over it, so small pages cost a table walk each.

    Raises:
        OSError: The file cannot be read, or ends early.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}
        pages = mmap.mmap(-1, max(1, -(-size // _HUGE_PAGE)) * _HUGE_PAGE, **private)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                pages.madvise(mmap.MADV_HUGEPAGE)
        rest = memoryview(pages)[:size]
        while len(rest):
            done = file.readinto(rest)
            if not done:
                raise OSError("the file became shorter")
            rest = rest[done:]
    return np.frombuffer(pages, np.uint8, size)
