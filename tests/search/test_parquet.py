"""Rows as Parquet files: every picture once, also after kills, changes and in files of others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_sim.errors import SearchError
from edge_sim.search import row_sinks
from edge_sim.search.build import UpdateReport
from edge_sim.search.cluster import EmbeddingOrder, WorkerPool, build_on_workers
from edge_sim.search.row_sinks import ParquetSink
from edge_sim.search.rows import IndexPlan, VectorScale
from edge_sim.search.storage import open_storage
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write
from tests.search.test_cluster import UnreliablePool
from tests.search.test_shards import write_photos

parquet: Any = pytest.importorskip(
    "pyarrow.parquet", reason="pyarrow is not installed: pip install '.[ray]'"
)
EMBEDDER = open_embedder("thumbnail")


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_sim.search.cluster.TASK_PICTURES", 2)
    monkeypatch.setattr(row_sinks, "PART_ROWS", 4)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "rows").mkdir()
    return tmp_path / "rows"


def plan(photos: Path) -> IndexPlan:
    return IndexPlan(photos, EMBEDDER.model_id, "thumbnail")


def build(photos: Path, out: Path) -> UpdateReport:
    @contextmanager
    def pool() -> Iterator[WorkerPool]:
        yield UnreliablePool(EmbeddingOrder(str(photos), plan(photos)), ["lost", "done twice"])

    sink = ParquetSink(out, plan(photos))
    report = build_on_workers(open_storage(str(photos)), sink, pool)
    assert sink.written == len(rows(out))
    return report


def rows(out: Path) -> dict[str, dict[str, Any]]:
    found = parquet.read_table(out).to_pylist()
    assert len({row["path"] for row in found}) == len(found)
    return {row["path"]: row for row in found}


def test_every_picture_is_a_row_with_its_vector(photos: Path, out: Path) -> None:
    report = build(photos, out)
    found = rows(out)
    assert (report.new, len(found)) == (15, 16)
    assert len(list(out.glob("part-*.parquet"))) == 4
    row = found["0/4.png"]
    assert (row["width"], row["height"], row["fault"]) == (48, 48, None)
    assert np.linalg.norm(row["vector"]) == pytest.approx(1.0, abs=1e-5)
    assert (len(row["sha256"]), len(row["thumbnail"])) == (32, 48 * 48)
    assert found["broken.jpg"]["vector"] is None
    assert "not a picture" in found["broken.jpg"]["fault"]


def test_a_kill_between_two_files_costs_only_the_rest(
    photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table = ParquetSink._write_table

    class Killed(BaseException):
        pass

    def or_die(self: ParquetSink, part: Path, table: Any) -> None:
        if part.name == "part-00002.parquet":
            part.with_suffix(".new").write_bytes(b"half of a file")
            raise Killed
        write_table(self, part, table)

    with monkeypatch.context() as patched:
        patched.setattr(ParquetSink, "_write_table", or_die)
        with pytest.raises(Killed):
            build(photos, out)
    report = build(photos, out)
    assert report.unchanged == 8
    assert len(rows(out)) == 16
    assert not list(out.glob("*.new"))


def test_rows_of_changed_and_gone_pictures_are_replaced(photos: Path, out: Path) -> None:
    build(photos, out)
    before = rows(out)
    write(photos / "0" / "4.png", picture(51, width=40, height=48))
    (photos / "0" / "8.png").unlink()
    report = build(photos, out)
    assert (report.new, report.changed, report.gone) == (0, 1, 1)
    found = rows(out)
    assert found["0/4.png"]["width"] == 40
    assert set(before) - set(found) == {"0/8.png"}
    assert build(photos, out).unchanged == 15


def test_a_folder_of_something_else_is_left_as_it_is(photos: Path, out: Path) -> None:
    build(photos, out)
    with pytest.raises(SearchError, match="another model, scale or program"):
        ParquetSink(out, IndexPlan(photos, "another"))
    with pytest.raises(SearchError, match="another model, scale or program"):
        ParquetSink(out, IndexPlan(photos, EMBEDDER.model_id, scale=VectorScale.BOTH))
    (out / "part-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(SearchError, match=r"part-00001.parquet: cannot be read"):
        ParquetSink(out, plan(photos))
    with pytest.raises(SearchError, match="give a new or empty folder"):
        ParquetSink(photos, plan(photos))
