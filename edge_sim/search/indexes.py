"""What finds the rows nearest to a vector. One file per kind; the table is here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_sim.core.protocols import Index
from edge_sim.core.ranking import Metric, Rows
from edge_sim.errors import SearchError
from edge_sim.search.exact import ExactIndex
from edge_sim.search.exact_int8 import Int8Index, installed_multiplier
from edge_sim.search.hnsw import HnswIndex, build_graph, is_available, open_graph

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
        rows: Perhaps mapped from a file.
        graph: For `hnsw`, the file of `build_graph(rows).save`; None builds one now.
        metric: Cosine, inner product or Euclidean, which rank alike here.

    Raises:
        SearchError: No such kind, or the graph cannot be used.
    """
    if kind not in KINDS:
        raise SearchError(f"no kind of index {kind!r}; there are {', '.join(sorted(KINDS))}")
    return KINDS[kind](rows, graph, metric)


def _exact(rows: Rows, _graph: Path | None, metric: Metric) -> Index:
    return ExactIndex(rows, metric=metric, unit=True)


def _exact_int8(rows: Rows, _graph: Path | None, metric: Metric) -> Index:
    return Int8Index(rows, metric=metric, multiplier=installed_multiplier())


def _hnsw(rows: Rows, graph: Path | None, metric: Metric) -> Index:
    opened = build_graph(rows) if graph is None else open_graph(graph, rows)
    return HnswIndex(opened, rows, metric=metric)


KINDS: dict[str, Callable[[Rows, Path | None, Metric], Index]] = {
    "exact": _exact,
    "exact-int8": _exact_int8,
    "hnsw": _hnsw,
}
