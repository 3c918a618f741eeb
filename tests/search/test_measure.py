"""A measurement says what a kind finds; a forecast grows with what is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_sim.errors import SearchError
from edge_sim.search.indexes import KINDS
from edge_sim.search.measure import available_kinds, forecast, grouped_rows, measure
from edge_sim.search.segments import joined


def test_an_exact_search_finds_all_and_the_others_say_what_they_find() -> None:
    rows = grouped_rows(600, 16)
    found = {(item.kind, item.setting): item for item in measure(rows, available_kinds())}
    assert {kind for kind, _ in found} == set(available_kinds())
    assert found["exact", ""].recall == found["exact-int8", ""].recall == 1.0
    assert found["exact", ""].memory_bytes == 4 * found["exact-int8", ""].memory_bytes
    for item in found.values():
        assert 0.5 <= item.recall <= 1.0
        assert 0.0 < item.p50_ms <= item.p95_ms


def test_the_widths_of_a_graph_are_compared() -> None:
    pytest.importorskip("usearch", reason="usearch is not installed: edge_sim[search]")
    found = list(measure(grouped_rows(1500, 16), ["hnsw"], queries=30))
    assert [item.setting for item in found] == [
        "", "width 64", "width 128", "width 256", "width 512"
    ]  # fmt: skip
    assert found[-1].recall >= found[1].recall
    assert found[0].memory_bytes > 1500 * 16


@pytest.mark.parametrize(("own", "library"), [("hnsw", "usearch"), ("ivf-flat", "faiss")])
def test_rows_that_came_and_went_since_the_file_was_made_are_measured_with_it(
    tmp_path: Path, own: str, library: str
) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed")
    whole = grouped_rows(4300, 16)
    base, recent = whole[:4250], whole[4250:]
    write = KINDS[own].write
    assert write is not None
    write(base, tmp_path / "file")
    places = np.concatenate([np.arange(7, len(whole)), [20, 20]])  # some are gone, one is copied
    rows = joined(base, recent, places)
    measures = measure(rows, available_kinds(), queries=20, graph=(own, tmp_path / "file"))
    found = {(item.kind, item.setting): item for item in measures}
    assert found["exact", ""].recall == found["exact-int8", ""].recall == 1.0
    assert found[own, ""].build_cpu_s is None
    for item in found.values():
        assert item.recall > 0.9, item


def test_a_single_picture_has_no_neighbours_to_measure() -> None:
    with pytest.raises(SearchError, match="the index has 1"):
        list(measure(grouped_rows(1, 16), ["exact"]))


def test_the_forecast_of_memory_grows_with_the_rows() -> None:
    kinds = [kind for kind in available_kinds() if not kind.startswith("ivf")]
    small = {item.kind: item for item in forecast(400, 16, kinds, sample=400)}
    large = {item.kind: item for item in forecast(40_000, 16, kinds, sample=400)}
    for kind, item in small.items():
        assert large[kind].memory_bytes == 100 * item.memory_bytes
    assert large["exact"].memory_bytes == 4 * 16 * 40_000


@pytest.mark.parametrize(("count", "dimension"), [(1, 8), (10**30, 8), (8, 10**30)])
def test_a_forecast_for_rows_that_no_machine_holds_is_refused(count: int, dimension: int) -> None:
    with pytest.raises(SearchError, match="a forecast is for"):
        list(forecast(count, dimension, ["exact"]))


def test_the_smallest_collection_can_be_planned() -> None:
    assert {item.kind for item in forecast(2, 1, available_kinds())} == set(available_kinds())


def test_rows_in_groups_are_unit_rows_and_equal_for_equal_seeds() -> None:
    rows = grouped_rows(300, 24, seed=3)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(rows, grouped_rows(300, 24, seed=3))
