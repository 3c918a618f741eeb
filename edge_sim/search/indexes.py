"""Kinds of index over the rows of a collection: the table of kinds, and the HNSW graph.

Some kinds have a file beside the rows: the graph, or the inverted lists of `search.ivf`. It is made
once, and extended by rows at the end.

The graph (approximate, for more rows than a pass can afford) is usearch's: Malkov and Yashunin,
Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
graphs, IEEE TPAMI 42(4), 2020. It finds a pool of candidates on 8-bit rows, which is ranked exactly
on the originals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.protocols import Index
from edge_sim.core.ranking import NOTHING, Metric, Neighbours, RowMask, Rows, ordered
from edge_sim.errors import SearchError
from edge_sim.search.exact import (
    ExactIndex,
    Int8Index,
    angular,
    checked_question,
    eligible,
    installed_multiplier,
)
from edge_sim.search.ivf import LEAST_ROWS, FileProgress, open_ivf, write_ivf
from edge_sim.search.segments import SegmentedIndex, SegmentedRows
from edge_sim.search.subsets import Subsets

CONNECTIVITY = 16
EXPANSION_ADD = 128
"""Candidates compared while a row is added; more make a better graph, more slowly."""
WIDTH, WIDTH_PER_K = 96, 2.5
"""Least width of a search of the graph, and width per result: over 300,000 x 256 in groups of 60,
recall@10 of 300 queries is 0.996 at 64 in 0.37 ms of processor time, 0.999 at 96 in 0.56 ms and 1.0
at 256 in 1.39 ms, as medians of one thread of a busy machine. Over 1,000,000 x 512 in bunches of
100, recall@100 of 150 queries is 0.969 at 176, 0.970 at 256 and 0.977 at 288, because one or two of
a hundred queries end in another bunch; the graph takes 2.3, 2.9 and 3.2 ms (mapped, busy)."""
POOL, POOL_PER_K = 96, 1.2
"""Least number of candidates ranked exactly, and number per result; 1.5 times it gained 0.0001."""
FILTERED_SHARE = 2.0
"""Times the number of candidates of which k pass a filter by chance: the farther of them lie in
other groups, which a narrow walk misses."""
WIDENINGS = (1, 4)
"""Times that the pool is made larger while a filter lets fewer than k of it through."""
GREATEST_PART = 0.5
"""Part of the rows from which a pass over all of them is as quick as the graph."""
SMALL = 512
"""Number of rows up to which a pass over all is as quick as a walk, and misses none."""
FEW = 20_000
"""Number of rows up to which a filtered search is a pass over them."""
STORAGES = {"int8": "i8", "float16": "f16"}


class HnswIndex:
    """Index with a graph over unit rows; see `build_graph`.

    Args:
        graph: A `usearch.index.Index` whose keys are the row numbers.
        originals: (N, D) float32 or float16 unit rows, best mapped from a file.
        metric: Cosine, inner product or Euclidean: on unit rows they rank alike.
        width: Least width of a search; wider finds more, more slowly.

    Raises:
        ValueError: Another metric.
    """

    def __init__(
        self, graph: Any, originals: Rows, *, metric: Metric = Metric.COSINE, width: int = WIDTH
    ) -> None:
        self._width = width
        self.metric = angular(metric, "the graph ranks")
        self._graph = graph
        self._originals = originals
        self._exact = ExactIndex(originals, metric=metric, unit=True)
        self._subsets = Subsets(originals)
        name = getattr(originals, "filename", None)
        self._file = None if name is None else Path(name)
        self._whole = self._file_state()

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
        """Return approximately the best k rows; see `protocols.Index`.

        Exact for the least similar, and where a filter leaves few rows or lies across the query.
        """
        question = checked_question(vector, k, self.dimension, metric=Metric.COSINE, least=least)
        left = eligible(among, len(self))
        if left == 0:
            return NOTHING
        if among is not None and not least:
            asked = checked_question(vector, k, self.dimension, metric=self.metric, least=False)
            self._check_whole()
            within = self._subsets.search(asked, k, among, left)
            if within is not None:
                return within
        is_small = len(self) <= SMALL or (among is not None and left <= FEW)
        if least or is_small or k > GREATEST_PART * left:
            return self._exact.search(question.vector, k, among=among, least=least)
        found = self._passing(question.vector, k, among, len(self) / left)
        if found is None:
            return self._exact.search(question.vector, k, among=among)
        if self.metric is not Metric.COSINE:
            question = checked_question(vector, k, self.dimension, metric=self.metric, least=False)
        self._check_whole()
        return ordered(question, self._originals[found], found, k)

    def _passing(
        self, vector: NDArray[np.float32], k: int, among: RowMask | None, scarcity: float
    ) -> NDArray[np.intp] | None:
        """Return a pool of permitted rows, k at least; None if the graph does not show so many."""
        pool = max(min(POOL, self._width), POOL_PER_K * k)
        if among is not None:
            # By chance alone, fewer than k of so many pass in one search of a thousand.
            pool = max(pool, FILTERED_SHARE * (k + 3.0 * k**0.5 + 3.0) * scarcity)
        for wider in WIDENINGS:
            wanted = round(wider * pool)
            width = max(self._width, round(WIDTH_PER_K * k), wanted)
            if width >= GREATEST_PART * len(self):
                return None
            found = self._near(vector, width, wanted)
            if among is not None:
                found = found[among[found]]
            if len(found) >= k:
                return found
        return None

    def _file_state(self) -> tuple[int, int]:
        """Return inode and size of the mapped file; zeros where there is none any more."""
        try:
            state = None if self._file is None else self._file.stat()
        except OSError:
            state = None  # deleted meanwhile; the mapping stays readable
        return (0, 0) if state is None else (state.st_ino, state.st_size)

    def _check_whole(self) -> None:
        """Raise if the mapped file was shortened: reading beyond its end would end the process."""
        inode, size = self._file_state()
        if inode == self._whole[0] and size < self._whole[1]:
            raise SearchError(f"{self._file}: the vectors of the index were cut off; build it anew")

    def _near(self, vector: NDArray[np.float32], width: int, pool: int) -> NDArray[np.intp]:
        self._graph.expansion_search = width
        keys = self._graph.search(vector, pool, threads=1).keys
        return np.sort(np.asarray(keys, np.int64)).astype(np.intp)


def build_graph(
    rows: Rows,
    *,
    storage: str = "int8",
    threads: int = 0,
    progress: FileProgress | None = None,
    earlier: Path | None = None,
) -> Any:
    """Return a usearch graph over (N, D) unit rows.

    Args:
        rows: Rows of unit length; keys of the graph are their numbers.
        storage: Type of the numbers in the graph: `int8` or `float16`.
        threads: Number of threads; 0 takes all cores.
        progress: Called with (done, total) now and then; False from it stops with SearchError.
        earlier: Saved graph of the first of the rows, which is extended by the others.

    Raises:
        SearchError: usearch is not installed, no such storage, stopped, or `earlier` is no graph
            of the first rows.
    """
    if storage not in STORAGES:
        raise SearchError(f"no storage {storage!r}; there are {', '.join(STORAGES)}")
    if earlier is None:
        graph = _new_graph(int(rows.shape[1]), STORAGES[storage])
    else:
        graph = _restored(earlier, view=False)
        graph.expansion_add = EXPANSION_ADD
    if len(graph) > len(rows) or graph.ndim != rows.shape[1]:
        raise SearchError(f"{earlier}: not a graph of the first of these {len(rows)} rows")
    step = 16_384
    for at in range(len(graph), len(rows), step):
        part = np.ascontiguousarray(rows[at : at + step], np.float32)
        graph.add(np.arange(at, at + len(part)), part, copy=True, threads=threads)
        if progress is not None and progress(at + len(part), len(rows)) is False:
            raise SearchError("stopped while the graph was built")
    return graph


def write_graph(
    rows: Rows, path: Path, *, progress: FileProgress | None = None, earlier: Path | None = None
) -> None:
    """Write a graph, see `build_graph`, to a file.

    Raises:
        SearchError: It cannot be made or written.
    """
    graph = build_graph(rows, progress=progress, earlier=earlier)
    try:
        graph.save(str(path))
    except RuntimeError as error:
        raise SearchError(f"{path}: cannot be written ({error})") from error


def open_graph(path: Path, rows: Rows) -> Any:
    """Return a saved graph, mapped from its file.

    Args:
        path: File written by `save`.
        rows: Rows of the graph.

    Raises:
        SearchError: usearch is not installed, or the file is no graph of these rows.
    """
    graph = _restored(path, view=True)
    if len(graph) != len(rows) or graph.ndim != rows.shape[1]:
        raise SearchError(f"{path}: not a graph of these {len(rows)} rows")
    return graph


def _restored(path: Path, *, view: bool) -> Any:
    usearch = _usearch()
    try:
        graph = usearch.Index.restore(str(path), view=view, enable_key_lookups=False)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise SearchError(f"{path}: not a usable graph ({error})") from error
    if graph is None:
        raise SearchError(f"{path}: not a usable graph (the file is not there)")
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


AUTO = "auto"
EXACT_BYTES = 128 * 1024 * 1024
"""Up to so many bytes of float32 rows one pass takes a few milliseconds on a desktop core and
about 30 on a Raspberry Pi 4; above, a graph is worth its building."""


def chosen_kind(count: int, dimension: int) -> tuple[str, str]:
    """Return the kind for `count` rows, and the reason for people."""
    size = 4 * count * dimension
    megabytes = f"{count} x {dimension} float32 are {size / 2**20:.0f} MiB"
    limit = f"{EXACT_BYTES / 2**20:.0f} MiB"
    if size <= EXACT_BYTES:
        return "exact", f"{megabytes}, and up to {limit} one pass over all rows is quick"
    if is_available():
        return "hnsw", f"{megabytes}, above {limit}, and usearch is installed"
    return "exact-int8", f"{megabytes}, above {limit}, and usearch is not installed"


def open_index(
    kind: str, rows: Rows, *, graph: Path | None = None, metric: Metric = Metric.COSINE
) -> Index:
    """Return an index over (N, D) rows of unit length.

    Args:
        kind: A key of `KINDS`.
        rows: Rows in memory or mapped from a file, perhaps in two segments: then the kind is that
            of the first, and the second is compared row by row.
        graph: File that the kind has beside the (first) rows; None makes it now, where needed.
        metric: Metric: cosine, inner product or Euclidean, which rank alike here.

    Raises:
        SearchError: No such kind, what it needs is not installed, or the file cannot be used.
    """
    if kind not in KINDS:
        raise SearchError(f"no kind of index {kind!r}; there are {', '.join(sorted(KINDS))}")
    if isinstance(rows, SegmentedRows):
        base = KINDS[kind].open(rows.base, graph, metric)
        return SegmentedIndex(rows, base, metric=metric)
    return KINDS[kind].open(rows, graph, metric)


def _exact(rows: Rows, _graph: Path | None, metric: Metric) -> Index:
    return ExactIndex(rows, metric=metric, unit=True)


def _exact_int8(rows: Rows, _graph: Path | None, metric: Metric) -> Index:
    return Int8Index(rows, metric=metric, multiplier=installed_multiplier())


def _hnsw(rows: Rows, graph: Path | None, metric: Metric) -> Index:
    opened = build_graph(rows) if graph is None else open_graph(graph, rows)
    return HnswIndex(opened, rows, metric=metric)


@dataclass(frozen=True, slots=True)
class IndexKind:
    """Kind of index: its opener, and the file that it has beside the rows.

    Args:
        open: Function of the rows, the file or None, and the metric.
        file: Pattern of the file's name, with `{}` for a number; None without such a file.
        write: Function that writes the file, with the arguments of `write_graph`.
        least_rows: Number of rows below which there is no file.
    """

    open: Callable[[Rows, Path | None, Metric], Index]
    file: str | None = None
    write: Callable[..., None] | None = None
    least_rows: int = 1


KINDS: dict[str, IndexKind] = {
    "exact": IndexKind(_exact),
    "exact-int8": IndexKind(_exact_int8),
    "hnsw": IndexKind(_hnsw, "graph-{}.usearch", write_graph),
    "ivf-flat": IndexKind(
        partial(open_ivf, "ivf-flat"), "lists-{}.faiss", partial(write_ivf, "ivf-flat"), LEAST_ROWS
    ),
    "ivf-pq": IndexKind(
        partial(open_ivf, "ivf-pq"), "lists-{}.faiss", partial(write_ivf, "ivf-pq"), LEAST_ROWS
    ),
}
