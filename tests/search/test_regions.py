"""A part of a picture finds it where regions are kept, and each picture is found once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sim.cli.main import main
from edge_sim.core.types import BgrImage
from edge_sim.core.vectors import normalised
from edge_sim.errors import SearchError
from edge_sim.search import regions
from edge_sim.search.build import UpdateReport, update
from edge_sim.search.filters import parse_filter
from edge_sim.search.queries import query_of_pixels
from edge_sim.search.regions import BOXES, RegionRows, RegionSearch
from edge_sim.search.rows import IndexPlan
from edge_sim.search.searcher import Answer, Searcher, SearchFilter, collection_of_index
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.pictures import write

EMBEDDER = open_embedder("thumbnail")
PICTURES = 6
BOX = 6


def textured(number: int) -> BgrImage:
    """Return a picture of coarse random texture, different everywhere."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 255, (24, 32, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8)


def part(pixels: BgrImage, box: int) -> BgrImage:
    height, width = pixels.shape[:2]
    x, y, wide, high = BOXES[box]
    rows = slice(round(y * height), round((y + high) * height))
    columns = slice(round(x * width), round((x + wide) * width))
    return np.ascontiguousarray(pixels[rows, columns])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(PICTURES):
        write(
            tmp_path / "photos" / ("odd" if number % 2 else "even") / f"{number}.png",
            textured(number),
        )
    return tmp_path / "photos"


def build(folder: Path, place: Path, regions: bool | None = True) -> UpdateReport:
    plan = IndexPlan(folder, EMBEDDER.model_id, "thumbnail", regions=regions)
    with IndexStore.open(place, create=plan) as store:
        return update(store, EMBEDDER)


def answer(place: Path, number: int, **wanted: object) -> Answer:
    query = query_of_pixels(part(textured(number), BOX), EMBEDDER, cut_bars=True)
    with IndexStore.open(place) as store:
        return Searcher(collection_of_index(store)).search(query, SearchFilter(**wanted))  # type: ignore[arg-type]


def test_a_part_finds_its_picture_first_and_each_picture_once(folder: Path, tmp_path: Path) -> None:
    build(folder, tmp_path / "index")
    for number in range(PICTURES):
        hits = answer(tmp_path / "index", number).hits
        assert Path(hits[0].name).stem == str(number)
        assert hits[0].region == BOXES[BOX]
        assert hits[0].score > 0.99
        assert sorted(hit.row for hit in hits) == list(range(PICTURES))
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_wholes_alone_are_compared_where_it_is_asked_for(folder: Path, tmp_path: Path) -> None:
    build(folder, tmp_path / "index")
    build(folder, tmp_path / "plain", regions=False)
    whole = answer(tmp_path / "index", 1, whole=True).hits
    plain = answer(tmp_path / "plain", 1).hits
    assert [hit.region for hit in whole] == [None] * PICTURES
    assert max(abs(a.score - b.score) for a, b in zip(whole, plain, strict=True)) < 0.01
    assert answer(tmp_path / "index", 1, least=True).hits[0].region is None


def test_a_filter_holds_for_regions(folder: Path, tmp_path: Path) -> None:
    build(folder, tmp_path / "index")
    hits = answer(tmp_path / "index", 1, where=parse_filter("state = even")).hits
    assert {hit.facts["state"] for hit in hits} == {"even"}
    assert len(hits) == PICTURES // 2
    assert len(answer(tmp_path / "index", 1, top_k=2).hits) == 2


def test_copies_are_found_with_their_picture(folder: Path, tmp_path: Path) -> None:
    (folder / "copy.png").write_bytes((folder / "odd" / "1.png").read_bytes())
    build(folder, tmp_path / "index")
    names = [hit.name for hit in answer(tmp_path / "index", 1, top_k=2).hits]
    assert sorted(names) == ["copy.png", "odd/1.png"]


def test_regions_can_be_taken_later_and_given_up(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "index"
    build(folder, place, regions=None)
    assert answer(place, 1).hits[0].region is None
    report = build(folder, place)
    assert report.embedded == report.read_again == report.unchanged == PICTURES
    assert report.changed == 0, "no picture changed"
    assert answer(place, 1).hits[0].region == BOXES[BOX]
    assert build(folder, place, regions=None).embedded == 0, "as before"
    with IndexStore.open(place) as store:
        assert store.info().regions
        assert store.problems() == ()
    build(folder, place, regions=False)
    assert answer(place, 1).hits[0].region is None


def test_regions_of_a_picture_that_is_gone_go_with_it(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "index"
    build(folder, place)
    (folder / "odd" / "1.png").unlink()
    build(folder, place)
    with closing(sqlite3.connect(place / "index.db")) as connection:
        assert connection.execute("SELECT count(*) FROM regions").fetchone() == (PICTURES - 1,)
    assert main(["index", "rm", str(place), str(folder / "odd" / "3.png")]) == 0
    with closing(sqlite3.connect(place / "index.db")) as connection:
        assert connection.execute("SELECT count(*) FROM regions").fetchone() == (PICTURES - 2,)


def test_damaged_regions_are_named(folder: Path, tmp_path: Path) -> None:
    build(folder, tmp_path / "index")
    with closing(sqlite3.connect(tmp_path / "index" / "index.db")) as connection, connection:
        connection.execute("UPDATE regions SET vectors = x'0000' WHERE content = 2")
    with pytest.raises(SearchError, match="regions in the index are damaged"):
        answer(tmp_path / "index", 1)


def test_the_commands_keep_and_show_regions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(tmp_path / "index")
    write(tmp_path / "part.png", part(textured(2), BOX))
    arguments = ["index", "build", str(folder), "--out", place, "--model", "thumbnail"]
    assert main([*arguments, "--regions"]) == 0
    assert main(["index", "info", place]) == 0
    assert "regions" in capsys.readouterr().out
    assert main([*arguments, "--no-regions"]) == main([*arguments, "--regions"]) == 0
    assert "0 changed, 6 read again for regions, 0 gone" in capsys.readouterr().out
    search = ["search", "--index", place, "--query", str(tmp_path / "part.png"), "--top-k", "1"]
    assert main([*search, "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)["hits"]
    assert (hit["name"], hit["region"]) == ("even/2.png", list(BOXES[BOX]))
    assert main(search) == 0
    assert "region x, y, w, h" in capsys.readouterr().out
    assert main([*search, "--whole"]) == 0
    assert "region" not in capsys.readouterr().out


@settings(max_examples=30, deadline=None)
@given(
    contents=st.integers(1, 12),
    pictures=st.integers(1, 20),
    k=st.integers(1, 6),
    seed=st.integers(0, 10_000),
    share=st.sampled_from([None, 0.3, 0.8]),
)
def test_the_best_region_of_each_picture_is_that_of_a_plain_comparison(
    contents: int, pictures: int, k: int, seed: int, share: float | None
) -> None:
    rng = np.random.default_rng(seed)
    size = len(BOXES)
    vectors = normalised(rng.normal(size=(contents * size, 8))).astype(np.float16)
    slots = rng.integers(-1, contents, pictures).astype(np.intp)
    query = normalised(rng.normal(size=8).astype(np.float32))
    among = None if share is None else rng.random(pictures) < share
    found = RegionSearch(RegionRows(vectors, slots)).search(query, k, among)
    scores = vectors.astype(np.float64).reshape(contents, size, 8) @ query.astype(np.float64)
    best = {
        row: float(scores[slot].max())
        for row, slot in enumerate(slots.tolist())
        if slot >= 0 and (among is None or among[row])
    }
    np.testing.assert_allclose(found.cosines, [best[row] for row in found.rows], atol=1e-6)
    for row, box in zip(found.rows.tolist(), found.boxes.tolist(), strict=True):
        assert scores[slots[row], box] == pytest.approx(best[row], abs=1e-6)
    wanted = sorted(best, key=lambda row: -best[row])[:k]
    assert set(wanted) <= set(found.rows.tolist())


def test_a_region_of_a_tiny_picture_is_the_whole() -> None:
    tiny = np.full((3, 5, 3), 7, np.uint8)
    found = regions.region_vectors(tiny, EMBEDDER)
    assert found.shape == (len(BOXES), EMBEDDER.embed(tiny).vector.size)


def test_an_index_that_was_stopped_before_its_first_picture_is_no_damaged_one(
    folder: Path, tmp_path: Path
) -> None:
    plan = IndexPlan(folder, EMBEDDER.model_id, "thumbnail", regions=True)
    IndexStore.open(tmp_path / "index", create=plan).close()
    found = answer(tmp_path / "index", 0)
    assert (found.hits, found.pictures) == ((), 0)
