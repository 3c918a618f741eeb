"""Exact search over many vectors: top 10 of (rows, 256) float32, one query."""

from __future__ import annotations

import importlib

import numpy as np
from numpy.typing import NDArray

from bench_peers import Peer, Workbench
from edge_sim.analysis.benchmark import Case, SpeedRatio
from edge_sim.core.vectors import normalised
from edge_sim.search.indexes import open_index

DIMENSION = 256
TOP = 10


def exact(workbench: Workbench) -> Peer:
    """Our own exact indexes."""
    rows, query = _vectors(workbench.rows)
    plain = open_index("exact", rows)
    small = open_index("exact-int8", rows)
    return Peer(
        {
            "exact search": lambda: plain.search(query, TOP),
            "exact-int8 search": lambda: small.search(query, TOP),
        },
        (SpeedRatio("exact-int8 / exact search", "exact-int8 search", "exact search"),),
    )


def faiss(workbench: Workbench) -> Peer:
    """faiss, flat inner product."""
    import faiss as library

    library.omp_set_num_threads(1)
    rows, query = _vectors(workbench.rows)
    index = library.IndexFlatIP(DIMENSION)
    index.add(rows)
    return _peer("faiss flat", lambda: index.search(query[None], TOP), 0.5)


def hnswlib(workbench: Workbench) -> Peer:
    """hnswlib's brute force, the exact search that it offers."""
    import hnswlib as library

    rows, query = _vectors(workbench.rows)
    index = library.BFIndex(space="ip", dim=DIMENSION)
    index.init_index(max_elements=len(rows))
    index.add_items(rows)
    return _peer("hnswlib brute force", lambda: index.knn_query(query[None], TOP))


def usearch(workbench: Workbench) -> Peer:
    """usearch's exact search."""
    library = importlib.import_module("usearch.index")
    rows, query = _vectors(workbench.rows)

    def run() -> object:
        return library.search(rows, query, TOP, library.MetricKind.IP, exact=True, threads=1)

    return _peer("usearch exact", run)


def sqlite_vec(workbench: Workbench) -> Peer:
    """sqlite-vec, where the interpreter can load extensions."""
    import sqlite3

    import sqlite_vec as library

    connection = sqlite3.connect(":memory:")
    if not hasattr(connection, "enable_load_extension"):
        raise ImportError("this Python's sqlite3 cannot load extensions")
    connection.enable_load_extension(True)
    library.load(connection)
    rows, query = _vectors(workbench.rows)
    connection.execute(f"create virtual table v using vec0(e float[{DIMENSION}])")
    connection.executemany(
        "insert into v(rowid, e) values (?, ?)",
        ((number, row.tobytes()) for number, row in enumerate(rows)),
    )
    question = "select rowid, distance from v where e match ? and k = ?"
    wanted = (query.tobytes(), TOP)
    return _peer("sqlite-vec", lambda: connection.execute(question, wanted).fetchall())


def _peer(name: str, run: Case, goal: float | None = None) -> Peer:
    pairs = (("exact-int8 search", goal), ("exact search", None))
    ratios = (SpeedRatio(f"{ours} / {name}", ours, name, wanted) for ours, wanted in pairs)
    return Peer({name: run}, tuple(ratios))


def _vectors(count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    rows = normalised(rng.standard_normal((count, DIMENSION), dtype=np.float32))
    return rows, normalised(rng.standard_normal(DIMENSION, dtype=np.float32))
