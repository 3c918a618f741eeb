"""8-bit rows give the answers of the rows in full, by either way of going over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sim.core.ranking import Metric
from edge_sim.core.vectors import normalised
from edge_sim.search.exact import (
    SHORT_ROWS,
    Coded,
    ExactIndex,
    Int8Index,
    Multiplier,
    coded_rows,
    installed_multiplier,
    restored,
)

Rows = NDArray[np.float32]


class InNumpy:
    """What numkong does, in numpy."""

    def cdist(
        self, codes: NDArray[np.int8], rows: NDArray[np.int8], *, out: Rows, **_: Any
    ) -> None:
        out[...] = self.dots_packed(codes, rows)

    def dots_pack(self, codes: NDArray[np.int8], **_: Any) -> NDArray[np.int8]:
        return codes

    def dots_packed(self, rows: NDArray[np.int8], packed: NDArray[np.int8]) -> NDArray[np.int32]:
        return rows.astype(np.int32) @ packed.astype(np.int32).T


def unit_rows(count: int, dimension: int, seed: int) -> Rows:
    return normalised(np.random.default_rng(seed).normal(size=(count, dimension)))


WAYS: list[Multiplier | None] = [None, Multiplier(InNumpy())]
if (installed := installed_multiplier()) is not None:
    WAYS.append(installed)


@pytest.mark.parametrize("way", WAYS, ids=["opencv", "numpy", "numkong"][: len(WAYS)])
@given(
    count=st.integers(1, 900),
    dimension=st.integers(1, 70),
    k=st.integers(1, 30),
    seed=st.integers(0, 9),
    least=st.booleans(),
)
def test_the_answer_is_that_of_the_rows_in_full(
    way: Multiplier | None, count: int, dimension: int, k: int, *, seed: int, least: bool
) -> None:
    rows = unit_rows(count, dimension, seed)
    query = unit_rows(1, dimension, seed + 50)[0]
    found = Int8Index(rows, multiplier=way).search(query, k, least=least)
    wanted = ExactIndex(rows, unit=True).search(query, k, least=least)
    assert found.rows.tolist() == wanted.rows.tolist()
    assert found.scores.tolist() == wanted.scores.tolist()


@pytest.mark.parametrize("way", WAYS[1:], ids=["numpy", "numkong"][: len(WAYS) - 1])
@given(dimension=st.integers(1, 90), seed=st.integers(0, 50), longer=st.floats(0.01, 50.0))
def test_no_product_is_further_off_than_is_said(
    way: Multiplier, dimension: int, seed: int, longer: float
) -> None:
    rows = unit_rows(60, dimension, seed)
    vector = np.asarray(unit_rows(1, dimension, seed + 99)[0] * np.float32(longer))
    known = coded_rows(rows, np.int8)
    values, wrong = way.products(known, vector)
    step = known.scale * float(np.abs(vector).max()) / 127.0
    exact = rows.astype(np.float64) @ vector.astype(np.float64)
    assert np.abs(values * step - exact).max() <= wrong * step


@pytest.mark.parametrize("way", WAYS[1:], ids=["numpy", "numkong"][: len(WAYS) - 1])
@pytest.mark.parametrize("dimension", [1, 63, 255, SHORT_ROWS, SHORT_ROWS + 1, 1000])
@pytest.mark.parametrize("count", [1, 5, 129])
def test_rows_of_any_length_are_multiplied_as_whole_numbers(
    way: Multiplier, dimension: int, count: int
) -> None:
    random = np.random.default_rng(dimension)
    rows = random.integers(-127, 128, (count, dimension)).astype(np.int8)
    rows[0] = -127
    vector = random.integers(-127, 128, dimension).astype(np.float32)
    vector[0] = 127.0  # so that a step is 1
    values, _ = way.products(Coded(rows, 1.0, 0.0, 1.0), vector)
    assert values.dtype == np.float32
    assert values.tolist() == (rows.astype(np.int64) @ vector.astype(np.int64)).tolist()


@pytest.mark.parametrize("way", WAYS, ids=["opencv", "numpy", "numkong"][: len(WAYS)])
@pytest.mark.parametrize("dimension", [SHORT_ROWS, SHORT_ROWS + 1])
def test_among_no_rows_none_is_found(way: Multiplier | None, dimension: int) -> None:
    index = Int8Index(np.zeros((0, dimension), np.float32), multiplier=way)
    assert index.search(unit_rows(1, dimension, 1)[0], 3).rows.tolist() == []


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_coded_rows_are_as_near_as_they_say(dtype: type[np.integer[Any]]) -> None:
    rows = unit_rows(200, 33, 4)
    known = coded_rows(rows, dtype)
    away = np.linalg.norm(rows - restored(known.codes, known.scale), axis=1)
    assert away.max() <= known.moved <= 33**0.5 * known.scale / 2 * 1.001
    assert known.longest == pytest.approx(1.0, abs=1e-5)


def test_a_ranking_that_is_not_by_angle_is_refused() -> None:
    with pytest.raises(ValueError, match="rank by Manhattan with ExactIndex"):
        Int8Index(unit_rows(3, 4, 0), metric=Metric.MANHATTAN)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_no_numbers_are_refused(bad: float) -> None:
    rows = unit_rows(3, 4, 0)
    rows[1, 2] = bad
    with pytest.raises(ValueError, match="finite"):
        Int8Index(rows)
