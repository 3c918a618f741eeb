"""A collection holds each event once, whoever stores it and however often."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[collect]'")

from edge_sim.cli.main import main
from edge_sim.errors import CollectionError
from edge_sim.fleet.collection import SiteCollection
from edge_sim.fleet.messages import Received
from edge_sim.fleet.schema import MIGRATIONS
from tests.fleet.database import Database

AT_S = 1_800_000_000.0
NESTED = b"[" * 5000 + b"]" * 5000


@pytest.fixture
def collection(database: Database) -> Iterator[SiteCollection]:
    with SiteCollection(database.address) as opened:
        opened._connection.execute("TRUNCATE edge_sim_events, edge_sim_devices, edge_sim_states")
        opened._connection.commit()
        yield opened


def changed(number: int, after: str = "food", **more: object) -> Received:
    body = {
        "type": "state_changed", "id": f"{number:016x}", "device": "porch", "watch": "bowl",
        "at": f"2026-01-31T12:00:{number:02}.000Z", "after": after, "reason": None, **more,
    }  # fmt: skip
    return Received("porch/bowl/event", json.dumps(body).encode(), AT_S + number)


def test_an_event_that_comes_again_is_stored_once(collection: SiteCollection) -> None:
    assert collection.store("yard", [changed(1), changed(2)]) == 0
    assert collection.store("yard", [changed(2), changed(3), changed(3)]) == 0
    found = collection.events()
    assert [item.event["id"][-1] for item in found] == ["3", "2", "1"]
    assert collection.events(device="other") == []
    assert len(collection.events(site="yard", device="porch", watch="bowl", limit=2)) == 2


def test_the_state_is_that_of_the_latest_event_in_whatever_order(
    collection: SiteCollection,
) -> None:
    collection.store("yard", [changed(5, "empty"), changed(4, "food")])
    collection.store("yard", [changed(3, "unknown", reason="dark")])
    (device,) = collection.status()
    assert device.states == {"bowl": "empty"}
    collection.store("yard", [changed(6, "unknown", reason="dark")])
    assert collection.status()[0].states == {"bowl": "unknown (dark)"}


@pytest.mark.parametrize(
    "bad",
    [
        Received("porch/bowl/event", b"\xff", AT_S),
        Received("porch/bowl/event", b"[1]", AT_S),
        Received("porch/bowl/event", b'{"id": "1", "type": "x", "at": "yesterday"}', AT_S),
        Received("porch/bowl/event", b"[" * 100_000, AT_S),
        Received("porch/stats", b"", AT_S),
        Received("po rch/bowl/event", b"{}", AT_S),
        Received("porch", b"{}", AT_S),
        Received("", b"", AT_S),
        changed(9, note="a\0b"),
        changed(9, note="\ud800"),
        Received("porch/stats", b'{"n": 1e999999}', AT_S),
        Received("porch/bowl/event", changed(9).payload.replace(b"state_changed", b"\\u0000"), 1.0),
        Received("porch/bowl/event", changed(9).payload[:-1] + b', "x": %s}' % NESTED, AT_S),
        changed(9, watch="".join(map(chr, range(0x4E00, 0x9FFF)))),
        changed(9, id="9" * 65),
        Received("porch/stats", b'{"n": 1e5000}', AT_S),
        Received("porch/bowl/event", changed(9).payload[:-1] + b', "x": -1e5000}', AT_S),
    ],
    ids=range(17),
)
def test_what_is_no_message_of_a_device_keeps_no_other_from_being_stored(
    collection: SiteCollection, bad: Received
) -> None:
    assert collection.store("yard", [changed(1), bad, changed(2)]) == 1
    assert len(collection.events()) == 2
    assert [item.device for item in collection.status()] == ["porch"]


def test_a_silent_device_is_an_event_once_and_so_is_its_return(collection: SiteCollection) -> None:
    collection.store("yard", [changed(0)])
    assert collection.note_silence("yard", AT_S + 100, 180.0) == []
    assert collection.note_silence("yard", AT_S + 200, 180.0) == ["porch"]
    assert collection.note_silence("yard", AT_S + 201, 180.0) == []
    assert collection.status()[0].silent
    # What the broker had kept says nothing about now.
    kept = Received("porch/available", b"online", AT_S + 300, is_retained=True)
    collection.store("yard", [kept])
    assert collection.note_silence("yard", AT_S + 300, 180.0) == []
    collection.store("yard", [Received("porch/stats", b'{"fps": 1}', AT_S + 310)])
    assert collection.note_silence("yard", AT_S + 311, 180.0) == ["porch"]
    kinds = [item.event["type"] for item in collection.events()]
    assert sorted(kinds) == ["device_returned", "device_silent", "state_changed"]
    (device,) = collection.status()
    assert (device.silent, device.available, device.stats) == (False, True, {"fps": 1})


def test_the_worst_device_is_listed_first(collection: SiteCollection) -> None:
    for name, at_s in (("a", AT_S), ("b", AT_S - 1000), ("c", AT_S)):
        collection.store("yard", [Received(f"{name}/available", b"online", at_s)])
    collection.store("yard", [Received("c/available", b"offline", AT_S)])
    collection.note_silence("yard", AT_S, 180.0)
    assert [item.device for item in collection.status("yard")] == ["b", "c", "a"]
    assert collection.status("elsewhere") == []


def test_tables_of_a_newer_edge_sim_are_left_alone(
    collection: SiteCollection, database: Database
) -> None:
    newer = len(MIGRATIONS) + 1
    collection._connection.execute("INSERT INTO edge_sim_schema VALUES (%s)", (newer,))
    collection._connection.commit()
    with pytest.raises(CollectionError, match="upgrade it"):
        SiteCollection(database.address)
    collection._connection.execute("DELETE FROM edge_sim_schema WHERE version = %s", (newer,))
    collection._connection.commit()


def test_status_and_events_are_printed(
    collection: SiteCollection, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    collection.store("yard", [changed(1)])
    for verb, key in (("status", "devices"), ("events", "events")):
        assert main(["collect", verb, "--database", database.address]) == 0
        assert "porch" in capsys.readouterr().out
        assert main(["collect", verb, "--database", database.address, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[key][0]["device"] == "porch"


@pytest.mark.parametrize(
    "address", ["host=/nowhere", "x", "postgresql://u:hush-hush@127.0.0.1:1/d"]
)
def test_a_database_that_is_not_there_is_one_line(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", "status", "--database", address]) == 1
    error = capsys.readouterr().err
    assert error.startswith("edge-sim: the database: ")
    assert error.count("\n") == 1
    assert "hush-hush" not in error


def test_without_an_address_the_usage_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EDGE_SIM_DATABASE", raising=False)
    assert main(["collect", "status"]) == 2
    assert "--database" in capsys.readouterr().err
