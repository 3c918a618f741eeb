"""Promises of every index."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sim.core.protocols import Index
from edge_sim.core.ranking import Metric, Neighbours
from edge_sim.core.vectors import normalised
from edge_sim.errors import SearchError
from edge_sim.search.indexes import KINDS, open_index
from edge_sim.search.segments import joined

Rows = NDArray[np.float32]
Make = Callable[[Rows], Index]


def unit_rows(count: int, dimension: int = 12, seed: int = 0) -> Rows:
    """Rows in a few bunches, some of them twice, as pictures of one place are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(5, dimension))
    rows = centres[rng.integers(0, 5, count)] + 0.3 * rng.normal(size=(count, dimension))
    rows[count // 2 : count // 2 + count // 10] = rows[: count // 10]
    return normalised(rows)


def brute_force(
    rows: Rows, vector: Rows, k: int, *, among: NDArray[np.bool_], least: bool = False
) -> list[int]:
    """Sort everything by (cosine in float32, Manhattan distance, row)."""
    unit = normalised(vector)
    cosines = np.clip(rows.astype(np.float64) @ unit.astype(np.float64), -1, 1).astype(np.float32)
    manhattan = np.abs(rows.astype(np.float64) - unit).sum(axis=1)
    sign = 1.0 if least else -1.0
    order = np.lexsort((np.arange(len(rows)), -sign * manhattan, sign * cosines))
    return [int(row) for row in order if among[row]][:k]


def changed(rows: Rows) -> Rows:
    """Return the same rows as an index holds them after many changes."""
    rng = np.random.default_rng(len(rows))
    split = 2 * len(rows) // 3
    order = rng.permutation(len(rows))
    # Rows keep their order in a segment: of equal ones, an answer holds the first.
    order = np.concatenate([np.sort(order[:split]), np.sort(order[split:])])
    gone = normalised(rng.normal(size=(5, rows.shape[1]))).astype(rows.dtype)
    base = np.concatenate([gone[:3], rows[order[:split]], gone[3:]])
    slots = np.empty(len(rows), np.intp)
    slots[order[:split]] = np.arange(3, 3 + split)
    slots[order[split:]] = np.arange(len(base), len(base) + len(rows) - split)
    return joined(base, rows[order[split:]], slots)


@pytest.fixture(scope="session", params=[*sorted(KINDS), "exact, changed", "hnsw, changed"])
def make(request: pytest.FixtureRequest) -> Make:
    kind, _, past = str(request.param).partition(", ")
    if kind == "hnsw":
        pytest.importorskip("usearch", reason="usearch is not installed: edge_sim[search]")
    if kind.startswith("ivf"):
        pytest.importorskip("faiss", reason="faiss is not installed: edge_sim[faiss]")
    return partial(open_index, kind) if not past else lambda rows: open_index(kind, changed(rows))


def everything(count: int) -> NDArray[np.bool_]:
    return np.ones(count, np.bool_)


@given(count=st.integers(1, 220), k=st.integers(1, 40), seed=st.integers(0, 5), least=st.booleans())
def test_a_small_index_equals_brute_force(
    make: Make, count: int, k: int, seed: int, least: bool
) -> None:
    rows = unit_rows(count, seed=seed)
    vector = np.random.default_rng(seed + 100).normal(size=12).astype(np.float32)
    found = make(rows).search(vector, k, least=least)
    wanted = brute_force(rows, vector, k, among=everything(count), least=least)
    assert found.rows.tolist() == wanted


@given(
    count=st.integers(1, 220),
    k=st.integers(1, 40),
    seed=st.integers(0, 5),
    part=st.floats(0.0, 1.0),
    least=st.booleans(),
)
def test_a_filter_gives_what_brute_force_over_the_rest_gives(
    make: Make, count: int, k: int, seed: int, part: float, least: bool
) -> None:
    rows = unit_rows(count, seed=seed)
    rng = np.random.default_rng(seed)
    among = rng.random(count) < part
    vector = rng.normal(size=12).astype(np.float32)
    found = make(rows).search(vector, k, among=among, least=least)
    assert found.rows.tolist() == brute_force(rows, vector, k, among=among, least=least)


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.95])
def test_a_filter_over_many_rows_is_never_crossed_and_never_comes_short(
    make: Make, part: float
) -> None:
    rows = unit_rows(6000)
    among = np.random.default_rng(1).random(len(rows)) < part
    found = make(rows).search(rows[3], 50, among=among)
    assert among[found.rows].all()
    assert len(found) == min(50, int(among.sum()))


def test_most_neighbours_are_found_among_many_rows(make: Make) -> None:
    rows = unit_rows(6000, dimension=32)
    index = make(rows)
    hits = 0
    for query in rows[:20]:
        wanted = brute_force(rows, query, 100, among=everything(len(rows)))
        hits += len(set(index.search(query, 100).rows.tolist()) & set(wanted))
    assert hits >= 0.97 * 20 * 100


def test_scores_fall_and_are_cosines(make: Make) -> None:
    rows = unit_rows(300)
    found = make(rows).search(rows[7] * 5.0, 30)
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_allclose(found.scores, rows[found.rows] @ rows[7], atol=1e-6)
    assert found.scores[0] == pytest.approx(1.0, abs=1e-6)


def test_the_least_similar_is_the_last_of_all(make: Make) -> None:
    rows = unit_rows(150)
    index = make(rows)
    assert index.search(rows[0], 1, least=True).rows[0] == index.search(rows[0], 150).rows[-1]


def test_asking_for_more_than_there_is_gives_all(make: Make) -> None:
    rows = unit_rows(9)
    found = make(rows).search(rows[0], 1000)
    assert sorted(found.rows.tolist()) == list(range(9))


def test_a_filter_that_lets_nothing_through_finds_nothing(make: Make) -> None:
    rows = unit_rows(40)
    found: Neighbours = make(rows).search(rows[0], 5, among=np.zeros(40, np.bool_))
    assert len(found) == 0


def test_rows_may_be_float16_mapped_from_a_file(
    make: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    rows = unit_rows(500)
    np.save(path, rows.astype(np.float16))
    mapped = np.load(path, mmap_mode="r")
    found = make(mapped).search(rows[11], 10)
    assert found.rows[0] in (11, 261)
    assert set(found.rows[:8]) <= set(make(rows).search(rows[11], 14).rows)


def test_length_is_the_number_of_rows(make: Make) -> None:
    assert len(make(unit_rows(17))) == 17


def test_kind_is_the_name_in_the_table(make: Make) -> None:
    assert make(unit_rows(3)).kind in KINDS


@pytest.mark.parametrize(
    ("vector", "k", "words"),
    [
        (np.ones(12), 0, "at least 1"),
        (np.ones(11), 3, "12 numbers"),
        (np.ones((2, 12)), 3, "12 numbers"),
        (np.full(12, np.nan), 3, "NaN"),
        (np.zeros(12), 3, "all zeros"),
    ],
    ids=["no k", "short", "matrix", "NaN", "zeros"],
)
def test_a_question_without_sense_is_refused(
    make: Make, vector: NDArray[np.float64], k: int, words: str
) -> None:
    with pytest.raises(SearchError, match=words):
        make(unit_rows(30)).search(vector.astype(np.float32), k)


@pytest.mark.parametrize("among", [np.ones(29, np.bool_), np.ones(30, np.int64)], ids=["29", "int"])
def test_a_filter_that_is_not_one_bool_per_row_is_refused(
    make: Make, among: NDArray[np.bool_]
) -> None:
    rows = unit_rows(30)
    with pytest.raises(SearchError, match="30 bools"):
        make(rows).search(rows[0], 3, among=among)


@pytest.mark.parametrize("metric", [Metric.INNER, Metric.EUCLIDEAN], ids=lambda m: m.value)
def test_on_unit_rows_the_metrics_of_the_angle_rank_alike(make: Make, metric: Metric) -> None:
    kind = make(unit_rows(3)).kind
    rows = np.unique(unit_rows(200), axis=0)
    by_cosine = open_index(kind, rows).search(rows[5], 40).rows
    assert open_index(kind, rows, metric=metric).search(rows[5], 40).rows.tolist() == (
        by_cosine.tolist()
    )
