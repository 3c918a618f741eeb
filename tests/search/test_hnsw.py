"""The graph: saved, opened either way, and refused where it does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.core.ranking import Metric
from edge_sim.core.vectors import normalised
from edge_sim.errors import SearchError
from edge_sim.search.indexes import HnswIndex, build_graph, open_graph

pytest.importorskip("usearch", reason="usearch is not installed: edge_sim[search]")

ROWS: NDArray[np.float32] = normalised(np.random.default_rng(3).normal(size=(2000, 24)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "graph.usearch"
    build_graph(ROWS).save(str(path))
    return path


def test_a_saved_graph_answers_as_the_one_that_was_built(saved: Path) -> None:
    index = HnswIndex(open_graph(saved, ROWS), ROWS)
    built = HnswIndex(build_graph(ROWS, threads=1), ROWS)
    hits = 0
    for query in ROWS[:30]:
        wanted = built.search(query, 20).rows
        hits += len(set(index.search(query, 20).rows.tolist()) & set(wanted.tolist()))
    assert hits >= 0.98 * 30 * 20


@pytest.mark.parametrize("content", [b"", b"no graph at all", b"\0" * 4096])
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "graph.usearch"
    path.write_bytes(content)
    with pytest.raises(SearchError, match="not a"):
        open_graph(path, ROWS)


def test_a_graph_of_other_rows_is_refused(saved: Path) -> None:
    with pytest.raises(SearchError, match="not a graph of these 1999 rows"):
        open_graph(saved, ROWS[:-1])


def test_a_graph_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="not a usable graph"):
        open_graph(tmp_path / "none", ROWS)


def test_vectors_that_were_cut_off_are_an_error_of_one_line(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, ROWS)
    index = HnswIndex(open_graph(saved, ROWS), np.load(path, mmap_mode="r"))
    with path.open("r+b") as file:
        file.truncate(200)
    with pytest.raises(SearchError, match="cut off"):
        index.search(ROWS[5], 5)


def test_a_ranking_that_is_not_by_angle_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match="rank by Manhattan with ExactIndex"):
        HnswIndex(open_graph(saved, ROWS), ROWS, metric=Metric.MANHATTAN)
