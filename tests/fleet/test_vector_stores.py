"""Every store of vectors finds the nearest that pass a filter, and never mixes models."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[collect]'")

from edge_sim.core.events import utc_text
from edge_sim.core.types import FloatVector
from edge_sim.errors import VectorError
from edge_sim.fleet.database import OpenDatabase
from edge_sim.fleet.pgvector import PgVectors
from edge_sim.fleet.vectors import CollectedVector, FoundVector, VectorCollection, VectorFilter
from tests.fleet.database import Database

START_S = 1_780_000_000.0
MODEL = "small@1"
HALF = 2e-3


@pytest.fixture(params=["pgvector", "pgvector by index", "qdrant"])
def store(request: pytest.FixtureRequest) -> Iterator[VectorCollection]:
    if request.param == "qdrant":
        client = pytest.importorskip(
            "qdrant_client", reason="qdrant-client is not installed: pip install '.[qdrant]'"
        )
        from edge_sim.fleet.qdrant import QdrantVectors

        opened: VectorCollection = QdrantVectors(client.QdrantClient(":memory:"), is_local=True)
        yield opened
        opened.close()
        return
    database: Database = request.getfixturevalue("database")
    pg = OpenDatabase(database.address)
    for number, _ in pg.connection.execute("SELECT number, model FROM edge_sim_models").fetchall():
        pg.connection.execute(f"DROP TABLE edge_sim_vectors_{number}".encode())
    pg.connection.execute("DELETE FROM edge_sim_models")
    pg.connection.commit()
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "pgvector by index":
            patched.setattr("edge_sim.fleet.pgvector.EXACT_ROWS", -1)
        yield PgVectors(pg.connection)
    pg.close()


def vectors(count: int, size: int = 16, seed: int = 0) -> FloatVector:
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


def rows(found: FloatVector, model: str = MODEL) -> list[CollectedVector]:
    return [
        CollectedVector(
            f"site{number % 2}", f"device{number % 5}", f"{number:04}",
            utc_text(START_S + number), model, vector, f"watch{number % 3}",
            ("open", "closed")[number // 2 % 2],
        )
        for number, vector in enumerate(found)
    ]  # fmt: skip


def nearest(
    known: list[CollectedVector],
    query: FloatVector,
    k: int,
    passes: Callable[[CollectedVector], bool] = lambda row: True,
) -> list[str]:
    left = [row for row in known if passes(row)]
    scores = [-float(row.vector @ query / np.linalg.norm(row.vector)) for row in left]
    return [left[place].id for place in np.argsort(scores, kind="stable")[:k]]


def ids(found: list[FoundVector]) -> list[str]:
    return [item.id for item in found]


def test_the_nearest_are_found_the_best_first(store: VectorCollection) -> None:
    known = rows(vectors(120))
    store.add(known[:70])
    store.add(known[70:])
    for query in vectors(5, seed=1):
        found = store.search(MODEL, query, 7)
        assert ids(found) == nearest(known, query, 7)
        best = next(row for row in known if row.id == found[0].id)
        cosine = float(best.vector @ query / np.linalg.norm(best.vector) / np.linalg.norm(query))
        assert found[0].score == pytest.approx(cosine, abs=HALF)
        assert (found[0].site, found[0].device, found[0].at) == (best.site, best.device, best.at)
        assert (found[0].watch, found[0].state) == (best.watch, best.state)
    assert len(store.search(MODEL, query, 1000)) == 120


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        (VectorFilter(site="site1"), lambda row: row.site == "site1"),
        (
            VectorFilter(device="device2", watch="watch1", state="open"),
            lambda row: (row.device, row.watch, row.state) == ("device2", "watch1", "open"),
        ),
        (
            VectorFilter(since=utc_text(START_S + 20), until=utc_text(START_S + 24)),
            lambda row: 20 <= int(row.id) < 24,
        ),
        (VectorFilter(until="2026-05-28"), lambda row: False),
        (VectorFilter(site="nowhere"), lambda row: False),
        (VectorFilter(), lambda row: True),
    ],
    ids=range(6),
)
def test_a_filter_lets_only_those_through_and_all_of_those(
    store: VectorCollection, where: VectorFilter, passes: Callable[[CollectedVector], bool]
) -> None:
    known = rows(vectors(120))
    store.add(known)
    (query,) = vectors(1, seed=2)
    assert ids(store.search(MODEL, query, 10, where)) == nearest(known, query, 10, passes)


def test_a_day_without_a_zone_is_utc(
    store: VectorCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(rows(vectors(2)))
    (query,) = vectors(1, seed=2)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        start = utc_text(START_S).removesuffix("Z")
        assert len(store.search(MODEL, query, 10, VectorFilter(since=start))) == 2
        assert store.search(MODEL, query, 10, VectorFilter(until=start)) == []
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_there_already_stays_as_it_is(store: VectorCollection) -> None:
    first, second = vectors(2)
    row = CollectedVector("a", "b", "1", utc_text(START_S), MODEL, first, "w", "open")
    again = CollectedVector("a", "b", "1", utc_text(START_S), MODEL, second, "w", "closed")
    store.add([row, again])
    store.add([again])
    store.add([])
    kept = store.vector(MODEL, "a", "b", "1")
    assert kept == pytest.approx(first / np.linalg.norm(first), abs=HALF)
    assert store.vector(MODEL, "a", "b", "2") is None
    (found,) = store.search(MODEL, first, 10)
    assert found.state == "open"
    assert found.score == pytest.approx(1.0, abs=HALF)


def test_models_never_meet(store: VectorCollection) -> None:
    store.add([*rows(vectors(3)), *rows(vectors(4, 8), "other@2")])
    assert len(store.search(MODEL, vectors(1)[0])) == 3
    assert len(store.search("other@2", vectors(1, 8)[0])) == 4
    assert [(item.model, item.dimension) for item in store.models()] == [
        ("other@2", 8),
        (MODEL, 16),
    ]
    with pytest.raises(VectorError, match="8 numbers is none of model small@1"):
        store.search(MODEL, vectors(1, 8)[0])
    with pytest.raises(VectorError, match="8 numbers is none of model small@1"):
        store.add(rows(vectors(1, 8)))
    with pytest.raises(VectorError, match="no vectors of model third"):
        store.vector("third", "a", "b", "c")
    with pytest.raises(VectorError, match="no vectors of model third"):
        store.search("third", vectors(1)[0])
    assert len(store.search(MODEL, vectors(1)[0])) == 3


def test_no_device_makes_so_many_models_that_none_is_left_for_others(
    store: VectorCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sim.fleet.vectors.MOST_MODELS_OF_DEVICE", 2)
    monkeypatch.setattr("edge_sim.fleet.vectors.MOST_MODELS", 3)
    first, second, third = (rows(vectors(3))[at] for at in range(3))

    def add(row: CollectedVector, model: str) -> None:
        store.add([replace(row, model=model)])

    add(first, "a")
    add(first, "b")
    with pytest.raises(VectorError, match="site0/device0: a device has vectors of at most 2"):
        add(first, "c")
    add(replace(first, id="another"), "a")
    add(second, "c")
    add(replace(first, id="another"), "c")
    with pytest.raises(VectorError, match="a collection has vectors of at most 3"):
        add(third, "d")
    assert [item.model for item in store.models()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "vector",
    [np.zeros(16), np.full(16, np.nan), np.zeros((2, 8)), np.zeros(0), np.ones(4001)],
    ids=["zero", "nan", "matrix", "empty", "long"],
)
def test_a_vector_without_a_direction_is_rejected(store: VectorCollection, vector: object) -> None:
    store.add(rows(vectors(2)))
    bad = np.asarray(vector, np.float32)
    with pytest.raises(VectorError):
        store.search(MODEL, bad)
    with pytest.raises(VectorError):
        store.add(rows(bad[None]))


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_a_number_out_of_range_is_rejected(store: VectorCollection, k: int) -> None:
    store.add(rows(vectors(2)))
    with pytest.raises(VectorError, match="1 to 1000"):
        store.search(MODEL, vectors(1)[0], k)


def test_old_vectors_of_a_site_are_forgotten(store: VectorCollection) -> None:
    known = rows(vectors(20))
    store.add(known)
    store.forget("site0", utc_text(START_S + 10))
    left = [row for row in known if row.site != "site0" or int(row.id) >= 10]
    (query,) = vectors(1, seed=3)
    with warnings.catch_warnings():
        assert ids(store.search(MODEL, query, 100)) == nearest(left, query, 100)


def test_a_time_that_is_none_is_rejected() -> None:
    with pytest.raises(VectorError, match="is no time"):
        VectorFilter(since="yesterday")
