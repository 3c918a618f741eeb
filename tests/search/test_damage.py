"""What was changed on the disk behind an index is refused, found, and made anew."""

from __future__ import annotations

import errno
import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from edge_sim.errors import SearchError
from edge_sim.search.build import update
from edge_sim.search.rows import IndexPlan, VectorScale
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write

EMBEDDER = open_embedder("thumbnail")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(6):
        write(folder / ("day" if number % 2 else "night") / f"p{number}.png", picture(number))
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "photos.index"


def built(photos: Path, place: Path, *, kind: str = "auto") -> None:
    plan = IndexPlan(photos, EMBEDDER.model_id, "thumbnail", VectorScale.GLOBAL, kind)
    with IndexStore.open(place, create=plan) as store:
        update(store, EMBEDDER)


def damage(path: Path, at: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[at if at >= 0 else len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_files_that_were_changed_on_the_disk_are_refused_found_and_made_anew(
    photos: Path, place: Path
) -> None:
    built(photos, place)
    (vectors,) = place.glob("vectors-*.npy")
    content = vectors.read_bytes()
    for at in range(len(content) - 8, len(content)):
        vectors.write_bytes(content)
        damage(vectors, at)
        with IndexStore.open(place) as store:
            assert any(vectors.name in problem for problem in store.problems())
            with pytest.raises(SearchError, match="index build"):
                store.table()
    with IndexStore.open(place) as store:
        store.prepare()
        assert store.problems() == ()
        assert len(store.table().vectors)


def test_zeros_in_the_place_of_vectors_are_no_advice_to_run_code(photos: Path, place: Path) -> None:
    built(photos, place)
    (vectors,) = place.glob("vectors-*.npy")
    vectors.write_bytes(bytes(vectors.stat().st_size))
    with IndexStore.open(place) as store, pytest.raises(SearchError, match="damaged") as caught:
        store.table()
    assert "pickle" not in str(caught.value)


def test_a_graph_that_was_changed_on_the_disk_is_never_opened(photos: Path, place: Path) -> None:
    pytest.importorskip("usearch", reason="usearch is not installed: edge_sim[search]")
    built(photos, place, kind="hnsw")
    (graph,) = place.glob("graph-*.usearch")
    content = graph.read_bytes()
    for at in range(0, len(content), max(1, len(content) // 40)):
        graph.write_bytes(content)
        damage(graph, at)
        with IndexStore.open(place) as store:
            assert any(graph.name in problem for problem in store.problems())
            with pytest.raises(SearchError, match="index build"):
                store.table()
    with IndexStore.open(place) as store:
        store.prepare()
        assert store.problems() == ()
        assert store.table().graph is not None


def test_a_graph_of_an_edge_sim_without_checksums_is_left_alone_and_searched_row_by_row(
    photos: Path, place: Path
) -> None:
    pytest.importorskip("usearch", reason="usearch is not installed: edge_sim[search]")
    built(photos, place, kind="hnsw")
    with closing(sqlite3.connect(place / "index.db")) as raw:
        (text,) = raw.execute("SELECT value FROM settings WHERE name = 'derived'").fetchone()
        old = {key: value for key, value in json.loads(text).items() if "sum" not in key}
        raw.execute("UPDATE settings SET value = ? WHERE name = 'derived'", (json.dumps(old),))
        raw.commit()
    with IndexStore.open(place) as store:
        assert store.table().graph is None
        assert "not finished" in store.problems()[0]
        store.prepare()
        assert store.table().graph is not None


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW more AS SELECT 1",
        "CREATE TRIGGER later AFTER INSERT ON files BEGIN DELETE FROM tags; END",
        "CREATE TABLE more (x)",
    ],
)
def test_an_index_with_a_foreign_schema_is_refused(
    photos: Path, place: Path, statement: str
) -> None:
    built(photos, place)
    with closing(sqlite3.connect(place / "index.db")) as raw:
        raw.execute(statement)
        raw.commit()
    with pytest.raises(SearchError, match="no index as edge_sim makes it"):
        IndexStore.open(place)


def test_a_full_disk_leaves_no_part_of_a_file_behind(
    photos: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edge_sim.search.index_files.os.fsync", refuse)
    with pytest.raises(SearchError, match="No space left"):
        built(photos, place)
    assert not list(place.glob("*.part"))


COLUMNS = [
    *((f"contents.{name}") for name in ("width", "height", "sharpness", "contrast", "crc")),
    *("contents.vector", "contents.look", "contents.sha256"),
    *("files.path", "files.bytes", "files.mtime_ns", "settings.value"),
]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("value", ["text", "a\0b", 2**62, float("inf"), 1e308, b"\xff" * 7])
def test_values_of_another_type_are_damage_in_one_line(
    photos: Path, place: Path, column: str, value: object
) -> None:
    built(photos, place)
    table, _, name = column.partition(".")
    with closing(sqlite3.connect(place / "index.db")) as connection, connection:
        connection.execute(f"UPDATE OR REPLACE {table} SET {name} = ?", (value,))
    with IndexStore.open(place) as store:
        asked = [store.info, store.entries, store.known, store.thumbnails, store.table]
        for ask in [*asked, store.problems, store.hashes, store.unread]:
            with suppress(SearchError):
                ask()
        if name in ("vector", "look"):
            assert store.problems()
        if name in ("sharpness", "contrast"):
            with pytest.raises(SearchError, match="is damaged"):
                store.entries()


def test_an_index_whose_file_of_keys_is_damaged_can_be_described(photos: Path, place: Path) -> None:
    built(photos, place)
    (keys,) = place.glob("keys-*.npy")
    keys.write_bytes(b"no keys")
    with IndexStore.open(place) as store:
        store.tag([store.entries()[0].path], "odd")
        info = store.info()
        assert (info.ready, info.tags, info.pictures > 0) == (False, {"odd": 1}, True)
        assert store.tags() == {"odd": 1}


def test_an_index_without_its_settings_is_damaged(photos: Path, place: Path) -> None:
    built(photos, place)
    with closing(sqlite3.connect(place / "index.db")) as connection, connection:
        connection.execute("DELETE FROM settings WHERE name IN ('root', 'changes')")
    with (
        IndexStore.open(place) as store,
        pytest.raises(SearchError, match=r"index\.db is damaged \(KeyError: 'root'\)"),
    ):
        store.info()
