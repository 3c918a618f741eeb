"""The collection of the page: search, filters, tags, map, near-duplicates; in a browser, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.exceptions import HTTPException

from edge_sim.cli.main import main
from edge_sim.search.build import update
from edge_sim.search.rows import IndexPlan
from edge_sim.search.searcher import SearchFilter
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from edge_sim.web.collection import CollectionView
from tests.pictures import picture, write
from tests.web.conftest import OpenPage
from tests.web.devices import RECORDED, LampDevice, serving_lamp
from tests.web.wizard_device import multipart

WEB = "web: {listen: '127.0.0.1:0', requests_per_s: 1000000"


@pytest.fixture(scope="module")
def lamp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LampDevice]:
    """A device with a collection of 12 pictures, two of them copies of one."""
    folder = tmp_path_factory.mktemp("collection")
    photos = folder / "photos"
    for number in range(10):
        write(photos / ("a" if number < 6 else "b") / f"{number}.png", picture(number))
    write(photos / "b" / "copy.png", picture(0))
    write(photos / "a" / "<img src=x onerror=alert(1)>.png", picture(20))
    embedder = open_embedder("thumbnail")
    plan = IndexPlan(photos, embedder.model_id, "thumbnail")
    with IndexStore.open(folder / "photos.index", create=plan) as store:
        update(store, embedder)
        store.tag([Path("b/7.png")], "odd")
    extra = RECORDED.replace(WEB, WEB + ", collection: photos.index")
    with serving_lamp(folder, extra) as running:
        yield running


def found(lamp: LampDevice, path: str) -> Any:
    status, answer = lamp.page.ask(f"/api/collection{path}")
    assert status == 200, answer
    return answer


def names(answer: Any) -> list[str]:
    return [item["name"] for item in answer["pictures"]]


def id_of(lamp: LampDevice, name: str) -> str:
    (only,) = found(lamp, f"/pictures?filter=path+%3D+{name}")["pictures"]
    return str(only["id"])


def test_it_says_what_it_holds(lamp: LampDevice) -> None:
    view = found(lamp, "")
    assert (view["pictures"], view["ready"], view["tags"]["odd"]) == (12, True, 1)
    assert {"state", "tag", "width"} <= set(view["keys"])


def test_filters_list_pages_of_pictures(lamp: LampDevice) -> None:
    answer = found(lamp, "/pictures?filter=state+%3D+b&k=2&offset=1")
    assert (answer["total"], len(answer["pictures"])) == (5, 2)
    assert names(found(lamp, "/pictures?filter=tag+%3D+odd")) == ["b/7.png"]
    assert found(lamp, "/pictures?filter=tag+%3D+od")["hints"] == [
        "no picture has tag = od; did you mean odd?"
    ]
    status, answer = lamp.page.ask("/api/collection/pictures?filter=state+%3D")
    assert (status, answer["error"][:6]) == (422, "filter")


def test_a_picture_and_a_part_of_it_find_the_picture_first(lamp: LampDevice) -> None:
    wanted = id_of(lamp, "b/7.png")
    assert names(found(lamp, f"/search?id={wanted}&k=3"))[0] == "b/7.png"
    assert len(found(lamp, f"/search?id={wanted}&region=0.1,0.1,0.5,0.5&k=3")["pictures"]) == 3
    least = names(found(lamp, f"/search?id={wanted}&order=least&k=12"))
    assert least[-1] == "b/7.png"
    for bad in ("region=1,2", "region=0,0,0,0", "region=0.5,0.5,0.0001,0.5"):
        assert lamp.page.ask(f"/api/collection/search?id={wanted}&{bad}")[0] == 422
    assert lamp.page.ask("/api/collection/search?id=../../etc/passwd")[0] == 404


def test_tags_go_on_and_off_and_are_seen_at_once(lamp: LampDevice) -> None:
    wanted = id_of(lamp, "a/1.png")
    status, answer = lamp.page.ask("/api/collection/tags", {"ids": [wanted], "add": ["new"]})
    assert (status, answer["added"], answer["tags"]["new"]) == (200, 1, 1)
    assert names(found(lamp, "/pictures?filter=tag+%3D+new")) == ["a/1.png"]
    assert lamp.page.ask("/api/collection/tags", {"ids": [wanted], "drop": ["new"]})[0] == 200
    assert found(lamp, "")["tags"] == {"odd": 1}
    assert lamp.page.ask("/api/collection/tags", {"ids": []})[0] == 422
    assert lamp.page.ask("/api/collection/tags", {"ids": [wanted], "add": ["a/b"]})[0] == 422


def test_the_map_has_a_point_and_a_group_per_picture(lamp: LampDevice) -> None:
    answer = found(lamp, "/map")
    assert len(answer["ids"]) == len(answer["x"]) == len(answer["y"]) == len(answer["groups"]) == 12
    assert len(answer["typical"]) == len(set(answer["groups"]))


def test_duplicates_keep_one(lamp: LampDevice) -> None:
    (group,) = found(lamp, "/duplicates")["groups"]
    both = [item["name"] for item in group["keep"] + group["redundant"]]
    assert sorted(both) == ["a/0.png", "b/copy.png"]
    assert len(group["keep"]) == 1


def test_pictures_are_given_by_ids_only(lamp: LampDevice) -> None:
    wanted = id_of(lamp, "a/1.png")
    status, headers, body = lamp.page.raw(f"/api/collection/{wanted}.jpg?w=32")
    assert (status, headers["content-type"], body[:2]) == (200, "image/jpeg", b"\xff\xd8")
    assert lamp.page.raw("/api/collection/..%2F..%2Fetc.jpg")[0] == 404


@pytest.mark.parametrize("leads_out", ["../secret.png", "{tmp_path}/secret.png"])
def test_no_picture_outside_the_folder_of_imported_vectors_is_shown(
    tmp_path: Path, leads_out: str
) -> None:
    name = leads_out.format(tmp_path=tmp_path)
    write(tmp_path / "secret.png", picture(1))
    write(tmp_path / "photos" / "own.png", picture(2))
    np.save(tmp_path / "v.npy", np.eye(2, 4, dtype=np.float32))
    (tmp_path / "ids.csv").write_text(f"id\n{name}\nown.png\n")
    files = [str(tmp_path / item) for item in ("v.npy", "ids.csv")]
    place = ["--out", str(tmp_path / "i"), "--root", str(tmp_path / "photos")]
    assert main(["index", "import", *files, *place, "--model-id", "mine"]) == 0
    view = CollectionView(tmp_path / "i")
    rows = {item: row for row, item in enumerate(view.collection.names)}
    assert view.pixels(rows["own.png"]).ndim == 3
    with pytest.raises(HTTPException, match="leads out of the folder"):
        view.pixels(rows[name])


def test_a_query_keeps_its_bars_where_the_index_keeps_them(tmp_path: Path) -> None:
    barred = picture(3)
    barred[:30] = barred[-30:] = 0
    write(tmp_path / "photos" / "barred.png", barred)
    embedder = open_embedder("thumbnail")
    plan = IndexPlan(tmp_path / "photos", embedder.model_id, "thumbnail", cuts_bars=False)
    with IndexStore.open(tmp_path / "photos.index", create=plan) as store:
        update(store, embedder)
    view = CollectionView(tmp_path / "photos.index")
    query = view.query(view.pixels(0))
    (hit,) = view.searcher.search(query, SearchFilter()).hits
    assert hit.score == pytest.approx(1.0, abs=1e-5)


def test_a_large_photo_is_searched_by_as_it_was_indexed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1601, 1203, 3)).astype(np.uint8)
    photo = write(tmp_path / "photos" / "large.jpg", noise)
    embedder = open_embedder("thumbnail")
    plan = IndexPlan(tmp_path / "photos", embedder.model_id, "thumbnail")
    with IndexStore.open(tmp_path / "photos.index", create=plan) as store:
        update(store, embedder)
    kind, body = multipart({"large.jpg": photo.read_bytes()})
    with serving_lamp(tmp_path, RECORDED.replace(WEB, WEB + ", collection: photos.index")) as lamp:
        by_id = found(lamp, f"/search?id={id_of(lamp, 'large.jpg')}")
        headers = {"Content-Type": kind}
        status, by_file = lamp.page.ask("/api/collection/search", body, headers=headers)
    assert status == 200
    scores = [answer["pictures"][0]["score"] for answer in (by_id, by_file)]
    assert scores == [1.0, 1.0]


def test_without_a_collection_the_key_is_named(tmp_path: Path) -> None:
    with serving_lamp(tmp_path) as running:
        status, answer = running.page.ask("/api/collection")
    assert status == 404
    assert "set web.collection" in answer["error"]


@pytest.mark.browser
def test_the_page_searches_filters_tags_and_draws_the_map(
    open_page: OpenPage, lamp: LampDevice
) -> None:
    page = open_page(f"{lamp.page.origin}/#/collection", viewport={"width": 360, "height": 740})
    page.get_by_text("12 pictures").wait_for()
    assert page.locator("img[src=x]").count() == 0
    page.get_by_label("Filter", exact=True).fill("state = b")
    page.keyboard.press("Enter")
    page.get_by_text("5 pictures").wait_for()
    seven = page.locator(".picture-grid li", has_text="b/7.png")
    seven.get_by_role("checkbox").check()
    page.get_by_placeholder("Tag, then Enter").fill("seen")
    page.keyboard.press("Enter")
    page.get_by_text("One tag changed.").wait_for()
    seven.get_by_text("seen").wait_for()
    seven.get_by_role("button", name="Find alike").click()
    page.locator(".picture-grid li", has_text="1.000").first.wait_for()
    page.get_by_role("button", name="All pictures").click()
    page.get_by_role("button", name="Without state = b").click()
    page.get_by_text("12 pictures").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.browser
def test_a_lasso_on_the_map_and_a_group_of_duplicates_choose_pictures(
    open_page: OpenPage, lamp: LampDevice
) -> None:
    page = open_page(f"{lamp.page.origin}/#/collection?view=map")
    canvas = page.get_by_role("img", name="Map of 12 pictures")
    box = canvas.bounding_box()
    assert box is not None
    corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()
    page.get_by_text("12 chosen").wait_for()
    page.get_by_role("button", name="Near-duplicates").click()
    page.get_by_role("button", name="Choose all that need not stay").click()
    page.get_by_text("1 chosen").wait_for()


@pytest.fixture
def unfinished(tmp_path: Path) -> Iterator[tuple[LampDevice, IndexStore]]:
    """A device whose collection is a quarter done, and its index."""
    for number in range(3):
        write(tmp_path / "photos" / f"{number}.png", picture(number))
    embedder = open_embedder("thumbnail")
    plan = IndexPlan(tmp_path / "photos", embedder.model_id, "thumbnail")
    with IndexStore.open(tmp_path / "photos.index", create=plan) as store:
        update(store, embedder)
        store.put([], progress=(3, 12))
        with serving_lamp(
            tmp_path, RECORDED.replace(WEB, WEB + ", collection: photos.index")
        ) as lamp:
            yield lamp, store


def test_it_says_how_far_an_unfinished_index_is(
    unfinished: tuple[LampDevice, IndexStore],
) -> None:
    lamp, store = unfinished
    facts = {"done": 3, "total": 12, "stage": ""}
    assert found(lamp, "")["update"] == {**facts, "running": False}
    with store.exclusive():
        assert found(lamp, "")["update"] == {**facts, "running": True}
    store.end_progress()
    assert found(lamp, "")["update"] is None


@pytest.mark.browser
def test_the_page_shows_how_far_an_unfinished_index_is(
    unfinished: tuple[LampDevice, IndexStore], open_page: OpenPage
) -> None:
    lamp, store = unfinished
    page = open_page(f"{lamp.page.origin}/#/collection", viewport={"width": 360, "height": 740})
    page.get_by_text("stopped at 25 %").wait_for()
    with store.exclusive():
        page.reload()
        page.get_by_text("being built: 25 %").wait_for()
        store.end_progress()
    page.get_by_text("The index is ready: 3 pictures.").wait_for()
    page.get_by_text("being built").wait_for(state="detached")
