"""Bars around a picture are cut off, and nothing else is."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.types import BgrImage
from edge_sim.search.bars import without_bars
from edge_sim.search.build import update
from edge_sim.search.queries import query_of
from edge_sim.search.rows import IndexPlan
from edge_sim.search.searcher import Searcher, SearchFilter, collection_of_index
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write

EMBEDDER = open_embedder("thumbnail")
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v0.1.0" / "index"


def barred(pixels: BgrImage, down: int, across: int, grey: int = 0) -> BgrImage:
    colour = (grey, grey, grey)
    return np.asarray(
        cv2.copyMakeBorder(pixels, down, down, across, across, cv2.BORDER_CONSTANT, value=colour),
        np.uint8,
    )


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0, 16, 255]))
def test_bars_of_any_colour_are_cut_off(down: int, across: int, grey: int) -> None:
    found = without_bars(barred(picture(3), down, across, grey))
    assert np.array_equal(found, without_bars(picture(3)))


@pytest.mark.parametrize("quality", [95, 60])
def test_ripples_of_jpeg_do_not_hide_a_bar(quality: int) -> None:
    pixels = barred(picture(3), 40, 0)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    again = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    rows = picture(3).shape[0]
    assert rows <= without_bars(again).shape[0] <= rows + 16  # a block of the encoder at each end


def test_a_plain_side_is_no_bar() -> None:
    pixels = picture(3).copy()
    pixels[:20] = 200
    assert without_bars(pixels).shape == pixels.shape


@pytest.mark.parametrize("grey", [0, 128])
def test_a_plain_picture_stays_whole(grey: int) -> None:
    pixels = np.full((40, 60, 3), grey, np.uint8)
    assert without_bars(pixels).shape == pixels.shape


def test_two_bars_take_no_more_than_most_of_a_side() -> None:
    found = without_bars(barred(picture(3), 2000, 0))
    assert found.shape[0] >= 0.1 * (4000 + picture(3).shape[0]) - 1


def indexed(folder: Path, *, cuts_bars: bool) -> IndexStore:
    """Return the index of a letterboxed picture and of two others."""
    write(folder / "photos" / "barred.png", barred(picture(3), 40, 0))
    for number in (1, 2):
        write(folder / "photos" / f"{number}.png", picture(number))
    plan = IndexPlan(folder / "photos", EMBEDDER.model_id, "thumbnail", cuts_bars=cuts_bars)
    store = IndexStore.open(folder / "index", create=plan)
    update(store, EMBEDDER)
    return store


def forget_what_is_done_with_bars(place: Path) -> None:
    """Make an index one that does not record it."""
    with closing(sqlite3.connect(place / "index.db")) as raw, raw:
        assert raw.execute("DELETE FROM settings WHERE name = 'bars'").rowcount == 1


def likeness_of_the_barred(store: IndexStore, folder: Path) -> float:
    """Return the score of the letterboxed picture, searched by itself."""
    query = query_of(
        [str(folder / "photos" / "barred.png")],
        EMBEDDER,
        lambda name, side_px: None,
        cut_bars=store.plan.cuts_bars,
    )
    (hit,) = Searcher(collection_of_index(store)).search(query, SearchFilter(top_k=1)).hits
    assert hit.name == "barred.png"
    return hit.score


@pytest.mark.parametrize("cuts_bars", [True, False])
def test_a_query_is_treated_as_the_pictures_of_its_index(tmp_path: Path, cuts_bars: bool) -> None:
    shown = picture(3) if cuts_bars else barred(picture(3), 40, 0)
    with indexed(tmp_path, cuts_bars=cuts_bars) as store:
        table = store.table()
        (row,) = (at for at, item in enumerate(table.entries) if item.path.stem == "barred")
        np.testing.assert_allclose(table.vectors[row], EMBEDDER.embed(shown).vector, atol=1e-6)
        assert likeness_of_the_barred(store, tmp_path) == pytest.approx(1.0, abs=1e-5)


def test_an_index_with_colours_was_made_without_bars(tmp_path: Path) -> None:
    with indexed(tmp_path, cuts_bars=True):
        pass
    forget_what_is_done_with_bars(tmp_path / "index")
    with IndexStore.open(tmp_path / "index") as store:
        assert store.plan.cuts_bars
        assert likeness_of_the_barred(store, tmp_path) == pytest.approx(1.0, abs=1e-5)


def test_an_index_of_the_first_version_holds_whole_pictures_and_goes_on_with_them(
    tmp_path: Path,
) -> None:
    place = Path(shutil.copytree(GOLDEN, tmp_path / "index"))
    with IndexStore.open(place) as store:
        assert not store.plan.cuts_bars
        store.forget(store.known())
        assert len(store.entries()) == 0
        assert not store.plan.cuts_bars, "what is done does not follow from what is left"
