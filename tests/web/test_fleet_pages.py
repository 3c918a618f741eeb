"""The page and the API over all devices, with a real database and a real browser."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")
pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[collect]'")

from edge_sim.core.events import unix_time_s, utc_text
from edge_sim.core.images import encode_jpeg
from edge_sim.core.types import BgrImage, Embedding
from edge_sim.fleet.collection import SiteCollection
from edge_sim.fleet.messages import Received
from edge_sim.fleet.queries import QueryEncoder
from edge_sim.runtime.config import parse_config
from edge_sim.web.accounts import Accounts
from edge_sim.web.callers import Role
from edge_sim.web.fleet_api import CollectionPool, picture_address
from edge_sim.web.fleet_server import FLEET_FOLDER, FleetServer
from tests.fleet.database import Database, forget_everything
from tests.web.conftest import OpenPage
from tests.web.test_every_page import assert_fits, serious_findings

if TYPE_CHECKING:
    from playwright.sync_api import Page

LIMIT_BYTES = 12_000
"""The files of this page alone, compressed; it shares the rest with the page of a device."""
MODULES = sorted(FLEET_FOLDER.glob("*.js"))
JPEG = encode_jpeg(np.full((48, 64, 3), 120, np.uint8))
MODEL = "small@1"


class BrightnessQueries(QueryEncoder):
    """Queries whose vectors depend on how bright a picture, or how long a text is."""

    def of_picture(self, pixels: BgrImage) -> Embedding:
        return embedding(float(pixels.mean()) / 255.0)

    def of_text(self, text: str) -> tuple[Embedding, list[str]]:
        found = embedding(min(len(text) / 10.0, 1.0))
        if text == "no such model":
            found = replace(found, model_id="other@2")
        return found, ["no word for: zzz"] if "zzz" in text else []


def embedding(angle: float) -> Embedding:
    vector = np.array([np.cos(angle), np.sin(angle)], np.float32)
    return Embedding(vector / np.linalg.norm(vector), None, MODEL)


def messages(device: str, now_s: float, count: int = 3) -> Iterator[Received]:
    """Yield what a device publishes: changes of its bowl, the last five minutes ago."""
    yield Received(f"{device}/available", b"online", now_s)
    yield Received(f"{device}/stats", b'{"disk_free_mb": 5000.0}', now_s)
    for number in range(count):
        name, at = f"{number:016x}", utc_text(now_s - 300.0 * (count - number))
        state = ("food", "empty")[number % 2]
        event = {"type": "state_changed", "id": name, "device": device, "watch": "bowl", "at": at,
                 "after": state, "reason": None}  # fmt: skip
        vector = embedding(number / count).vector.astype("<f2").tobytes()
        more = {"id": name, "at": at, "state": state, "model": MODEL,
                "vector": base64.b64encode(vector).decode()}  # fmt: skip
        yield Received(f"{device}/bowl/event", json.dumps(event).encode(), now_s)
        yield Received(f"{device}/bowl/embedding", json.dumps(more).encode(), now_s)
        yield Received(f"{device}/bowl/picture/{name}", JPEG, now_s)


@pytest.fixture
def collection(database: Database) -> Iterator[SiteCollection]:
    """Three devices at two sites: porch is well, shed does not know, and barn was silent."""
    now_s = time.time()
    with SiteCollection(database.address) as opened:
        forget_everything(opened)
        opened.store("yard", list(messages("porch", now_s)))
        opened.store("hall", list(messages("shed", now_s)))
        dark = {"type": "state_changed", "id": "d" * 16, "watch": "bowl", "at": utc_text(now_s),
                "after": "unknown", "reason": "dark"}  # fmt: skip
        opened.store("hall", [Received("shed/bowl/event", json.dumps(dark).encode(), now_s)])
        opened.store("yard", [Received("barn/available", b"online", now_s - 4000.0)])
        opened.note_silence("yard", now_s, 180.0)
        yield opened


@pytest.fixture
def server(collection: SiteCollection, database: Database, tmp_path: Path) -> Iterator[FleetServer]:
    config = parse_config("web: {listen: '127.0.0.1:0'}", folder=str(tmp_path))
    made = FleetServer(config, CollectionPool(database.address), BrightnessQueries())
    thread = threading.Thread(target=made.run, kwargs={"with_signals": False})
    thread.start()
    for _ in range(200):
        try:
            httpx.get(made.address)
            break
        except httpx.TransportError:
            continue
    yield made
    made.stop()
    thread.join(60.0)
    assert not thread.is_alive()


def get(server: FleetServer, path: str, status: int = 200) -> Any:
    answer = httpx.get(f"{server.address}{path}", timeout=60.0)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_devices_events_and_counts_are_answered(server: FleetServer) -> None:
    found = get(server, "api/devices")["devices"]
    assert [(item["device"], item["problems"]) for item in found] == [
        ("barn", ["silent"]), ("shed", ["unknown"]), ("porch", []),
    ]  # fmt: skip
    assert [item["device"] for item in get(server, "api/devices?site=hall")["devices"]] == ["shed"]
    events = get(server, "api/events?device=porch&limit=2")["events"]
    assert [item["event"]["after"] for item in events] == ["food", "empty"]
    picture = httpx.get(f"{server.address}{events[0]['picture']}")
    assert (picture.content, picture.headers["content-type"]) == (JPEG, "image/jpeg")
    before = events[-1]["event"]["at"]
    (older,) = get(server, f"api/events?device=porch&before={before}")["events"]
    assert older["event"]["id"] == "0" * 16
    counts = get(server, "api/counts?days=2&site=hall")["counts"]
    assert sum(item["changes"] for item in counts) == 4
    assert get(server, "api/models")["models"][0]["model"] == MODEL


def test_events_are_found_by_words_by_an_event_and_by_a_picture(server: FleetServer) -> None:
    found = get(server, "api/search?text=zzz&k=2")
    assert found["unknown"] == ["no word for: zzz"]
    assert {item["id"] for item in found["found"]} == {f"{1:016x}"}
    best = get(server, f"api/search?event=hall/shed/{2:016x}&site=yard")["found"]
    assert (best[0]["device"], best[0]["id"]) == ("porch", f"{2:016x}")
    assert best[0]["score"] == pytest.approx(1.0, abs=2e-3)
    assert best[0]["picture"] == f"api/pictures/yard/porch/{2:016x}.jpg"
    session = httpx.get(f"{server.address}api/session").json()
    headers = {"X-CSRF-Token": session["csrf"], "Origin": server.address.rstrip("/")}
    dark = encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    answer = httpx.post(
        f"{server.address}api/search?state=food&until=2999-01-01&k=1",
        files={"file": dark}, headers=headers,
    )  # fmt: skip
    assert [item["id"] for item in answer.json()["found"]] == ["0" * 16]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server whose zone is far from UTC."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    "text", ["2026-01-31", "2026-01-31T01:00:00+01:00", "2026-01-31T00:00:00Z"]
)
def test_a_time_without_a_zone_is_utc_wherever_the_server_is(elsewhere: None, text: str) -> None:
    assert utc_text(unix_time_s(text)) == "2026-01-31T00:00:00.000Z"


def test_the_address_of_a_picture_holds_any_name() -> None:
    parts = ("yard 1?", "pörch#2", "50%25")
    address = picture_address(*parts, {parts})
    assert address is not None
    assert (
        httpx.URL("http://127.0.0.1/").join(address).path == f"/api/pictures/{'/'.join(parts)}.jpg"
    )
    assert picture_address(*parts, set()) is None


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("api/search", 422, "give text, or event"),
        ("api/search?event=a/b/c", 404, "the event has no vector"),
        ("api/search?text=x&since=yesterday", 422, "is no"),
        ("api/pictures/yard/porch/none.jpg", 404, "no picture of this event"),
        ("api/nosuch", 404, "not found"),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    server: FleetServer, path: str, status: int, text: str
) -> None:
    assert text in get(server, path, status)["error"]


def test_a_database_that_is_away_is_told_and_used_again(
    server: FleetServer, database: Database
) -> None:
    get(server, "api/devices")
    database.stop()
    assert "the database" in get(server, "api/devices", 503)["error"]
    database.start()
    assert len(get(server, "api/devices")["devices"]) == 3


def test_who_has_no_account_sees_nothing_where_there_is_one(
    collection: SiteCollection, database: Database, tmp_path: Path, server: FleetServer
) -> None:
    Accounts(tmp_path / "accounts.json").put("ada", "long enough password", Role.VIEWER)
    for path in ("api/devices", "api/search?text=a", f"api/pictures/yard/porch/{0:016x}.jpg"):
        assert get(server, path, 401)["error"] == "log in first"
    with httpx.Client(base_url=server.address) as person:
        origin = {"Origin": server.address.rstrip("/")}
        body = {"user": "ada", "password": "long enough password"}
        assert person.post("api/login", json=body, headers=origin).status_code == 200
        assert len(person.get("api/devices").json()["devices"]) == 3
        headers = {**origin, "X-CSRF-Token": person.get("api/session").json()["csrf"]}
        found = person.post("api/search", files={"file": JPEG}, headers=headers)
        assert len(found.json()["found"]) == 6, "a viewer searches, too"


def shown(page: Page, name: str) -> Page:
    page.get_by_role("heading", name=name, exact=True).wait_for()
    return page


@pytest.mark.browser
def test_a_person_finds_the_worst_device_and_its_history(
    open_page: OpenPage, server: FleetServer
) -> None:
    page = shown(open_page(server.address), "Devices")
    page.get_by_text("2 of 3 devices need attention.").wait_for()
    rows = page.locator("tbody tr")
    assert [text.split()[0] for text in rows.all_inner_texts()] == ["barn", "shed", "porch"]
    assert serious_findings(page) == []
    page.get_by_label("Site").select_option("hall")
    page.get_by_text("1 of 1 devices need attention.").wait_for()
    page.get_by_role("link", name="shed").click()
    shown(page, "shed")
    page.get_by_role("img", name="4 changes of state in 30 days").wait_for()
    page.locator(".history img").first.wait_for()
    assert serious_findings(page) == []
    page.get_by_role("link", name="Find alike").first.click()
    shown(page, "Search")
    page.locator(".found img").first.wait_for()
    assert page.locator(".found li").count() == 6


@pytest.mark.browser
def test_a_person_searches_by_words_and_by_a_picture(
    open_page: OpenPage, server: FleetServer, tmp_path: Path
) -> None:
    page = shown(open_page(f"{server.address}#/search", tolerate=("422",)), "Search")
    page.get_by_label("Words").fill("no such model")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_role("alert").get_by_text("no vectors of model other@2").wait_for()
    page.get_by_label("Words").fill("zzz bowl")
    page.get_by_label("Site").select_option("yard")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_text("no word for: zzz").wait_for()
    page.get_by_text("3 events, the most alike first.").wait_for()
    file = tmp_path / "query.jpg"
    file.write_bytes(JPEG)
    page.get_by_label("State").fill("empty")
    page.get_by_label("Picture to search for").set_input_files(file)
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_text("1 events, the most alike first.").wait_for()
    assert serious_findings(page) == []


@pytest.mark.browser
def test_the_page_fits_a_phone_in_german_in_the_dark(
    open_page: OpenPage, server: FleetServer, collection: SiteCollection
) -> None:
    now_s = time.time()
    refused = {"type": "pack_reported", "id": "e" * 16, "device": "porch", "at": utc_text(now_s),
               "pack": "bowl", "version": 5, "outcome": "refused", "reason": "4 of 8 differ",
               "gallery_revision": None}  # fmt: skip
    collection.store("yard", [Received("porch/event", json.dumps(refused).encode(), now_s)])
    page = open_page(
        server.address, locale="de-AT", color_scheme="dark",
        viewport={"width": 360, "height": 740},
    )  # fmt: skip
    pages = {"devices": "Geräte", "device/yard/porch": "porch", "search": "Suche"}
    for address, name in pages.items():
        page.goto(f"{server.address}#/{address}")
        shown(page, name)
        if name == "porch":
            page.get_by_role("cell", name="Paket bowl 5: abgelehnt 4 of 8 differ").wait_for()
        assert_fits(page)
        assert serious_findings(page) == []


@pytest.mark.browser
def test_an_account_is_asked_for(open_page: OpenPage, server: FleetServer, tmp_path: Path) -> None:
    Accounts(tmp_path / "accounts.json").put("ada", "long enough password", Role.VIEWER)
    page = open_page(server.address)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("long enough password")
    page.keyboard.press("Enter")
    shown(page, "Devices")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Password").wait_for()


def texts(language: str) -> dict[str, str]:
    source = (FLEET_FOLDER / "texts.js").read_text(encoding="utf-8")
    part = source.partition(f"const {language} = {{")[2].partition("};")[0]
    return dict(re.findall(r'^  (\w+): "(.*)",$', part, re.MULTILINE))


def test_both_languages_have_the_same_texts_and_each_is_used() -> None:
    english, german = texts("english"), texts("german")
    assert english.keys() == german.keys()
    sources = "\n".join(item.read_text("utf-8") for item in MODULES if item.name != "texts.js")
    for key, text in english.items():
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", german[key])), key
        assert re.search(rf'"{key}"', sources) or key in ("unknown", "drifting"), f"{key}: not used"


def test_the_files_of_the_page_stay_small_and_make_no_markup_from_text() -> None:
    files = [item.read_bytes() for item in FLEET_FOLDER.iterdir()]
    assert sum(len(zlib.compress(data, 9)) for data in files) < LIMIT_BYTES
    for module in MODULES:
        text = module.read_text(encoding="utf-8")
        assert not re.search(r"\.(?:inner|outer)HTML|insertAdjacentHTML|\beval\(", text)
        assert not re.search(r"https?://", text)
        for name in re.findall(r'(?:from |import\()"(\.\.?/[^"]+)"', text):
            assert (FLEET_FOLDER / name).resolve().is_file(), f"{module.name} imports {name}"
