"""Quality, time and memory of kinds of index: measured on one's own rows, or forecast."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.protocols import Index
from edge_sim.core.ranking import Metric, Rows
from edge_sim.core.vectors import normalised
from edge_sim.errors import SearchError
from edge_sim.search.indexes import KINDS, HnswIndex, is_available, open_graph, open_index
from edge_sim.search.ivf import LEAST_ROWS, is_installed
from edge_sim.search.segments import SegmentedIndex, SegmentedRows

WIDTHS = (64, 128, 256, 512)
"""Widths of a search of the graph that are compared."""
CALIBRATION_ROWS = 10_000
_GROUP = 50
_LATENT = 48
_MOST_BYTES = 1 << 36


@dataclass(frozen=True, slots=True)
class KindMeasure:
    """Measured or forecast properties of a kind of index.

    Args:
        kind: A key of `edge_sim.search.indexes.KINDS`.
        setting: Setting that differs from the default, as `width 64`; empty for the default.
        recall: Part of the k nearest of an exact search that are found, 0 to 1.
        p50_ms: Median time of a search, milliseconds.
        p95_ms: 95 % of the searches take no longer, milliseconds.
        memory_bytes: Bytes that searches read again and again.
        build_cpu_s: Processor time to make the file of the kind, seconds, shared by the cores; None
            where there is none, or it was there.
    """

    kind: str
    setting: str
    recall: float
    p50_ms: float
    p95_ms: float
    memory_bytes: int
    build_cpu_s: float | None


def available_kinds() -> tuple[str, ...]:
    """Return the kinds whose libraries are installed."""
    needs = {"hnsw": is_available, "ivf-flat": is_installed, "ivf-pq": is_installed}
    return tuple(kind for kind in KINDS if needs.get(kind, lambda: True)())


def measure(
    rows: Rows,
    kinds: Sequence[str],
    *,
    k: int = 10,
    queries: int = 200,
    graph: tuple[str, Path | None] = ("", None),
) -> Iterator[KindMeasure]:
    """Yield the properties of kinds over (N, D) unit rows; some of the rows are the queries.

    A query does not count as its own neighbour. Times are those of one thread, of a process that
    other work may slow down.

    Args:
        rows: Rows in memory or mapped from a file, perhaps in two segments.
        kinds: Keys of `indexes.KINDS`.
        k: Number of neighbours, at least 1.
        queries: Number of searches, at least 1.
        graph: Kind that has a file already, and the file, of the first segment of the rows.

    Raises:
        SearchError: Too few rows, or a kind that is not installed.
    """
    if len(rows) < 2:
        raise SearchError(f"a measurement needs 2 pictures, the index has {len(rows)}")
    chosen = np.random.default_rng(0).permutation(len(rows))[:queries]
    exact = open_index("exact", rows)
    wanted = [_others(exact, rows, row, k) for row in chosen]
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            own = graph[1] if graph[0] == kind else None
            started_s = time.process_time()
            path = _made(kind, rows, Path(folder)) if own is None else own
            made_s = time.process_time() - started_s
            build_s = made_s if own is None and path is not None else None
            memory = _memory_bytes(kind, rows, path)
            for setting, index in _opened(kind, rows, path, is_kept=own is not None):
                found, times = [], []
                for row in chosen:
                    at_s = time.perf_counter()
                    index.search(rows[row], k)
                    times.append(1000.0 * (time.perf_counter() - at_s))
                    found.append(_others(index, rows, row, k))
                hits = sum(len(a & b) for a, b in zip(wanted, found, strict=True))
                yield KindMeasure(
                    kind=kind,
                    setting=setting,
                    recall=hits / max(1, sum(map(len, wanted))),
                    p50_ms=float(np.percentile(times, 50)),
                    p95_ms=float(np.percentile(times, 95)),
                    memory_bytes=memory,
                    build_cpu_s=build_s,
                )


def forecast(
    count: int,
    dimension: int,
    kinds: Sequence[str],
    *,
    sample: int = CALIBRATION_ROWS,
    k: int = 10,
) -> Iterator[KindMeasure]:
    """Yield the expected properties of kinds over so many rows, before anything is built.

    A sample of synthetic rows in groups is measured on this machine. A pass over the rows grows
    with their number, and so does the part of the lists that is compared; a walk through a graph
    with the square of the logarithm of their number: its steps with the logarithm, and each takes
    longer where nodes do not lie in the cache (300,000 take 2.0 times as long as 10,000, this gives
    1.9). The recall is that of the sample: real rows differ.

    Args:
        count: Number of rows, at least 1.
        dimension: Length of a row, at least 1.
        kinds: Keys of `indexes.KINDS`.
        sample: Number of rows that are measured.
        k: Number of neighbours.

    Raises:
        SearchError: Numbers out of range, or a kind that is not installed.
    """
    if count < 2 or dimension < 1 or 4 * count * dimension > _MOST_BYTES:
        raise SearchError(
            f"{count} rows of {dimension} numbers: a forecast is for 2 rows of 1 number or more, "
            f"and up to {_MOST_BYTES >> 30} GiB of float32"
        )
    some = min(sample, count)
    rows = grouped_rows(some, dimension)
    ratio = count / some
    deeper = (math.log(count) / math.log(some)) ** 2 if some > 1 else 1.0
    lists = [kind for kind in kinds if kind.startswith("ivf") and some >= 2 * LEAST_ROWS]
    few = measure(rows[: some // 2], lists, queries=1) if lists else ()
    half = {item.kind: item.build_cpu_s for item in few}
    for measured in measure(rows, kinds, k=k, queries=50):
        slower = deeper if measured.kind == "hnsw" else ratio
        built = measured.build_cpu_s
        yield KindMeasure(
            kind=measured.kind,
            setting=measured.setting,
            recall=measured.recall,
            p50_ms=measured.p50_ms * slower,
            p95_ms=measured.p95_ms * slower,
            memory_bytes=round(measured.memory_bytes * ratio),
            build_cpu_s=_built_s(measured.kind, half.get(measured.kind), built, ratio),
        )


def grouped_rows(count: int, dimension: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Return (N, D) float32 unit rows in groups of about 50, as pictures of the same things are.

    Args:
        count: N.
        dimension: D.
        seed: Equal seeds give equal rows.
    """
    rng = np.random.default_rng(seed)
    latent = min(_LATENT, dimension)
    spread = rng.normal(size=(latent, dimension)).astype(np.float32)
    centres = rng.normal(size=(max(1, count // _GROUP), latent)).astype(np.float32)
    rows = np.empty((count, dimension), np.float32)
    for at in range(0, count, 16_384):
        number = min(16_384, count - at)
        place = centres[rng.integers(0, len(centres), number)]
        place += 0.7 * rng.normal(size=place.shape).astype(np.float32)
        rows[at : at + number] = place @ spread
    return normalised(rows)


def _built_s(kind: str, half: float | None, whole: float | None, ratio: float) -> float | None:
    """Return the time to build `ratio` times as many rows as took `whole` seconds.

    The graph: 0.1 ms of processor time per row of the first 10,000 (256 numbers, Zen 4), 0.29 up to
    100,000, 0.55 up to 400,000 and 0.95 from there to 1,000,000, where its nodes no longer fit into
    the cache: 770 s in all on a machine with other work. Lists: training takes
    about the same time for any number of rows, the rest grows with it.
    """
    if whole is None or ratio <= 1.0:
        return whole
    if kind == "hnsw":
        return whole * ratio * (1.0 + 1.4 * math.log(ratio))
    slope = whole if half is None else max(0.0, whole - half) / 0.5
    return whole + slope * (ratio - 1.0)


def _others(index: Index, rows: Rows, row: int, k: int) -> set[int]:
    found = index.search(rows[row], min(k + 1, len(rows))).rows.tolist()
    return set([number for number in found if number != row][:k])


def _made(kind: str, rows: Rows, folder: Path) -> Path | None:
    own = KINDS[kind]
    if own.write is None or own.file is None or len(rows) < own.least_rows:
        return None
    path = folder / own.file.format(0)
    own.write(rows, path)
    return path


def _opened(
    kind: str, rows: Rows, path: Path | None, *, is_kept: bool
) -> Iterator[tuple[str, Index]]:
    """Yield the index by its default setting, then by others.

    Args:
        kind: A key of `indexes.KINDS`.
        rows: Rows of unit length.
        path: File of the kind.
        is_kept: Whether the file was there before: then it is of the first segment of the rows
            alone, otherwise of all of them.
    """
    if path is None or is_kept:
        yield "", open_index(kind, rows, graph=path)
    else:
        yield "", KINDS[kind].open(rows, path, Metric.COSINE)
    if kind != "hnsw" or path is None:
        return
    segments = rows if is_kept and isinstance(rows, SegmentedRows) else None
    base = rows if segments is None else segments.base
    for width in WIDTHS:
        found: Index = HnswIndex(open_graph(path, base), base, width=width)
        if segments is not None:
            found = SegmentedIndex(segments, found, metric=Metric.COSINE)
        yield f"width {width}", found


def _memory_bytes(kind: str, rows: Rows, path: Path | None) -> int:
    if path is not None:
        return path.stat().st_size
    numbers = len(rows) * int(rows.shape[1])
    return numbers if kind == "exact-int8" else 4 * numbers
