"""The vectors of an index for words: made once per content, kept with it, searched exactly."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_sim.core.types import BgrImage, FloatVector
from edge_sim.errors import ModelError, SearchError
from edge_sim.search.build import update
from edge_sim.search.rows import IndexPlan
from edge_sim.search.searcher import Searcher, SearchFilter, collection_of_index
from edge_sim.search.store import IndexStore
from edge_sim.search.text_column import (
    NAME,
    carry_text_column,
    drop_text_column,
    fill_text_column,
    open_text_column,
)
from edge_sim.vision.embedders import open_embedder

COLOURS = {"red": (20, 20, 220), "green": (20, 200, 20), "blue": (220, 20, 20)}


class MeanColour:
    """Dual encoder of colours, which counts what it is asked."""

    dimension = 3
    input_px = 8

    def __init__(self, model_id: str = "colours@1", fails_after: int = 10**9) -> None:
        self.model_id = model_id
        self.pictures = 0
        self.fails_after = fails_after

    def embed_picture(self, pixels: BgrImage) -> FloatVector:
        if self.pictures >= self.fails_after:
            raise ModelError("out of order")
        self.pictures += 1
        mean = pixels.reshape(-1, 3).mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    def embed_text(self, text: str) -> FloatVector:
        vector = np.array(COLOURS[text], np.float32)
        return np.asarray(vector / np.linalg.norm(vector), np.float32)


def write(path: Path, colour: str, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((24, 24, 3), COLOURS[colour], np.uint8)
    pixels[:4, :4] = np.random.default_rng(seed).integers(0, 255, (4, 4, 3))
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for at, colour in enumerate(("red", "green", "blue", "red")):
        write(tmp_path / "photos" / f"{at}-{colour}.png", colour, seed=at)
    return tmp_path / "photos"


@pytest.fixture
def store(photos: Path, tmp_path: Path) -> Iterator[IndexStore]:
    embedder = open_embedder("thumbnail")
    plan = IndexPlan(photos, embedder.model_id, "thumbnail")
    with IndexStore.open(tmp_path / "i", create=plan) as opened:
        update(opened, embedder)
        yield opened


def found(store: IndexStore, text: str, encoder: MeanColour) -> list[str]:
    """Return the names of the pictures of a text, the nearest first."""
    column = open_text_column(store.path)
    assert column is not None
    with column:
        collection = column.collection(store, collection_of_index(store))
        query = column.query(text, encoder)
    answer = Searcher(collection).search(query, SearchFilter())
    return [hit.name for hit in answer.hits]


def test_words_find_the_pictures_that_they_describe(store: IndexStore, tmp_path: Path) -> None:
    encoder = MeanColour()
    report = fill_text_column(store, encoder, tmp_path)
    assert (report.embedded, report.failed) == (4, [])
    assert found(store, "blue", encoder)[0] == "2-blue.png"
    assert set(found(store, "red", encoder)[:2]) == {"0-red.png", "3-red.png"}


def test_a_content_is_embedded_once_however_it_is_called(
    store: IndexStore, photos: Path, tmp_path: Path
) -> None:
    encoder = MeanColour()
    fill_text_column(store, encoder, tmp_path)
    (photos / "0-red.png").rename(photos / "moved.png")
    (photos / "copy.png").write_bytes((photos / "2-blue.png").read_bytes())
    (photos / "1-green.png").unlink()
    write(photos / "new.png", "green", seed=9)
    update(store, open_embedder("thumbnail"))
    report = fill_text_column(store, encoder, tmp_path)
    assert (report.embedded, encoder.pictures) == (1, 5)
    assert set(found(store, "blue", encoder)[:2]) == {"2-blue.png", "copy.png"}
    assert found(store, "green", encoder)[0] == "new.png"
    column = open_text_column(store.path)
    assert column is not None
    with column:
        assert len(column.known()) == 4
        assert column.counts(store) == (5, 0)


def test_a_fill_that_was_stopped_goes_on(store: IndexStore, tmp_path: Path) -> None:
    def stopped(paths: Iterator[Path], total: int) -> Iterator[Path]:
        assert total == 4
        yield next(paths)
        yield next(paths)
        raise KeyboardInterrupt

    encoder = MeanColour()
    with pytest.raises(KeyboardInterrupt):
        fill_text_column(store, encoder, tmp_path, progress=stopped)
    assert len(found(store, "red", encoder)) == 2
    assert fill_text_column(store, encoder, tmp_path).embedded == 2
    assert (encoder.pictures, len(found(store, "red", encoder))) == (4, 4)


def test_another_model_makes_the_column_anew(store: IndexStore, tmp_path: Path) -> None:
    fill_text_column(store, MeanColour(), tmp_path)
    other = MeanColour("colours@2")
    with pytest.raises(ModelError, match="colours@1"):
        found(store, "red", other)
    assert fill_text_column(store, other, tmp_path).embedded == 4
    assert len(found(store, "red", other)) == 4


def test_a_picture_that_cannot_be_read_or_embedded_has_no_vector(
    store: IndexStore, photos: Path, tmp_path: Path
) -> None:
    (photos / "1-green.png").write_text("gone")
    report = fill_text_column(store, MeanColour(fails_after=2), tmp_path)
    assert report.embedded == 2
    assert {str(path) for path, _ in report.failed} == {"1-green.png", "3-red.png"}
    assert len(found(store, "red", MeanColour())) == 2


def test_a_model_that_fails_at_once_ends_the_fill(store: IndexStore, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="out of order"):
        fill_text_column(store, MeanColour(fails_after=0), tmp_path)


def test_an_index_has_no_column_until_it_is_filled(store: IndexStore, tmp_path: Path) -> None:
    assert open_text_column(store.path) is None
    assert not drop_text_column(store.path)
    fill_text_column(store, MeanColour(), tmp_path)
    assert drop_text_column(store.path)
    assert open_text_column(store.path) is None
    assert [path.name for path in store.path.glob(f"{NAME}*")] == []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vectors SET vector = x'00'",
        "UPDATE vectors SET vector = 'text'",
        "DELETE FROM settings WHERE name = 'dimension'",
        "UPDATE settings SET value = 'zz' WHERE name = 'model'",
        "PRAGMA application_id = 1",
        "PRAGMA user_version = 99",
        "DROP TABLE vectors",
        "CREATE TABLE more (x)",
    ],
)
def test_a_damaged_column_is_one_line(store: IndexStore, tmp_path: Path, damage: str) -> None:
    fill_text_column(store, MeanColour(), tmp_path)
    connection = sqlite3.connect(store.path / NAME)
    connection.execute(damage)
    connection.commit()
    connection.close()
    with pytest.raises(SearchError) as caught:
        found(store, "red", MeanColour())
    assert "\n" not in str(caught.value)


def test_a_column_that_was_cut_off_at_its_beginning_is_none(
    store: IndexStore, tmp_path: Path
) -> None:
    (store.path / NAME).write_bytes(b"")
    assert open_text_column(store.path) is None
    assert fill_text_column(store, MeanColour(), tmp_path).embedded == 4


def test_a_column_is_carried_to_another_index_of_the_pictures(
    store: IndexStore, photos: Path, tmp_path: Path
) -> None:
    embedder = open_embedder("thumbnail")
    with IndexStore.open(
        tmp_path / "j", create=IndexPlan(photos, embedder.model_id, "thumbnail")
    ) as other:
        update(other, embedder)
        carry_text_column(store.path, other.path)
        assert open_text_column(other.path) is None
        encoder = MeanColour()
        fill_text_column(store, encoder, tmp_path)
        carry_text_column(store.path, other.path)
        assert fill_text_column(other, encoder, tmp_path).embedded == 0
        assert found(other, "blue", encoder)[0] == "2-blue.png"


def test_a_sound_column_has_no_problems_and_a_damaged_vector_is_one(
    store: IndexStore, tmp_path: Path
) -> None:
    fill_text_column(store, MeanColour(), tmp_path)
    column = open_text_column(store.path)
    assert column is not None
    with column:
        assert column.problems() == ()
        connection = sqlite3.connect(column.path)
        connection.execute("UPDATE vectors SET vector = x'00ff' WHERE rowid = 1")
        connection.commit()
        connection.close()
        (problem,) = column.problems()
        assert "damaged" in problem


@pytest.mark.parametrize(
    "content", [b"no database at all, " * 90, b"SQLite format 3\0" + b"x" * 99]
)
def test_a_file_in_the_place_of_a_column_is_one_line(store: IndexStore, content: bytes) -> None:
    (store.path / NAME).write_bytes(content)
    with pytest.raises(SearchError) as caught:
        open_text_column(store.path)
    assert "\n" not in str(caught.value)
