"""A collection holds each event once, whoever stores it and however often."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[collect]'")

import psycopg
import yaml
from psycopg.pq import TransactionStatus

from edge_sim.cli.main import build_parser, main
from edge_sim.core.events import unix_time_s
from edge_sim.errors import CollectionError, VectorError
from edge_sim.fleet.collection import SiteCollection
from edge_sim.fleet.database import OpenDatabase
from edge_sim.fleet.messages import Received
from edge_sim.fleet.pgvector import PgVectors
from edge_sim.fleet.schema import MIGRATIONS, Forgotten, Retention
from edge_sim.io.sinks.options import MqttOptions
from edge_sim.runtime.config import parse_config
from tests.conftest import REPOSITORY
from tests.fleet.database import Database, forget_everything

AT_S = 1_800_000_000.0
JPEG = b"\xff\xd8\xff\xe0 a picture"
NESTED = b"[" * 5000 + b"]" * 5000


@pytest.fixture
def collection(database: Database) -> Iterator[SiteCollection]:
    with SiteCollection(database.address) as opened:
        forget_everything(opened)
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


def test_a_state_of_a_clock_that_was_wrong_does_not_stay(database: Database) -> None:
    now_s = unix_time_s("2026-01-31T12:30:00Z")
    with SiteCollection(database.address, clock=lambda: now_s) as collection:
        forget_everything(collection)
        collection.store("yard", [changed(1, "empty", at="2091-01-01T00:00:00Z")])
        collection.store("yard", [changed(2, "food")])
        assert collection.status()[0].states == {"bowl": "food"}
        collection.store("yard", [changed(1, "empty")])
        assert collection.status()[0].states == {"bowl": "food"}


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("10000-01-01 00:00:00+00", "9999-12-31T23:59:59.000Z"),
        ("infinity", "9999-12-31T23:59:59.000Z"),
        ("0044-03-15 12:00:00+00 BC", "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_stored_time_beyond_the_calendar_of_python_is_shown_as_its_end(
    collection: SiteCollection, database: Database, stored: str, shown: str
) -> None:
    collection.store("yard", [changed(1), changed(2, watch="gate")])
    with closing(OpenDatabase(database.address)) as opened:
        run = opened.connection.execute
        run("UPDATE edge_sim_states SET at = %s WHERE watch = 'gate'", (stored,))
        run("UPDATE edge_sim_devices SET last_seen = %s", (stored,))
        run("UPDATE edge_sim_events SET received_at = %s", (stored,))
    (status,) = collection.status()
    assert (status.last_seen, status.watches["gate"].since) == (shown, shown)
    assert {event.received_at for event in collection.events()} == {shown}


def test_a_time_without_a_zone_is_utc_whatever_the_server_is_set_to(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTZ", "America/New_York")
    with SiteCollection(database.address) as collection:
        forget_everything(collection)
        collection.store("yard", [changed(1)])
        assert len(collection.events(before="2026-01-31T12:00:02")) == 1
        assert collection.events(before="2026-01-31T12:00:00") == []


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
        changed(9, at="9999-12-31T23:59:59-12:00"),
        changed(9, at="9999-12-31T23:59:59.9999999Z"),
        changed(9, at="0001-01-01T00:00:00+12:00"),
        changed(9, at="2026-01-31T12:00:09"),
    ],
    ids=range(21),
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
    assert main(["collect", "status", "--database", database.address, "--site", "yrad"]) == 0
    assert "no device of a site 'yrad' has been heard of yet" in capsys.readouterr().err
    for verb in ("events", "counts"):
        assert main(["collect", verb, "--database", database.address, "--site", "yrad"]) == 0
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "`edge-sim collect status` names sites and devices" in shown.err


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


def vector_of(number: int, numbers: list[float], watch: str = "bowl", **more: object) -> Received:
    halves = np.array(numbers, "<f2").tobytes()
    body = {
        "id": f"{number:016x}", "at": f"2026-01-31T12:00:{number:02}.000Z", "model": "small@1",
        "vector": base64.b64encode(halves).decode(), "state": "food", **more,
    }  # fmt: skip
    return Received(f"porch/{watch}/embedding", json.dumps(body).encode(), AT_S)


def picture_of(number: int, jpeg: bytes = JPEG) -> Received:
    return Received(f"porch/bowl/picture/{number:016x}", jpeg, AT_S + number)


def test_embeddings_and_pictures_are_stored_once_and_found(collection: SiteCollection) -> None:
    messages = [changed(1), vector_of(1, [1, 0]), picture_of(1), vector_of(2, [0.6, 0.8])]
    assert collection.store("yard", messages) == 0
    assert collection.store("yard", [picture_of(1, JPEG + b"2"), vector_of(1, [0, 1])]) == 0
    first, second = collection.vectors.search("small@1", np.array([1, 0], np.float32))
    assert (first.id, first.site, first.device, first.watch, first.state) == (
        f"{1:016x}", "yard", "porch", "bowl", "food",
    )  # fmt: skip
    assert second.score == pytest.approx(0.6, abs=1e-3)
    assert collection.picture("yard", "porch", first.id) == JPEG
    assert collection.picture("yard", "porch", second.id) is None


@pytest.mark.parametrize(
    "bad",
    [
        vector_of(9, []),
        vector_of(9, [0, 0]),
        vector_of(9, [float("nan"), 1]),
        vector_of(9, [1, 0, 0]),
        vector_of(9, [1, 0], vector="?"),
        vector_of(9, [1, 0], vector="AAAA"),
        vector_of(9, [1, 0], model=""),
        vector_of(9, [1, 0], at="now"),
        vector_of(9, [1, 0], at="9999-12-31T23:59:59Z"),
        vector_of(9, [1, 0], id="9" * 65),
        vector_of(9, [1, 0], state="a\0b"),
        vector_of(9, [1, 0], watch="b owl"),
        picture_of(9, b"GIF89a"),
        Received("porch/bowl/picture/a b", JPEG, AT_S),
    ],
    ids=range(14),
)
def test_a_vector_or_picture_that_is_none_keeps_no_other_from_being_stored(
    collection: SiteCollection, bad: Received
) -> None:
    assert collection.store("yard", [vector_of(1, [1, 0]), bad, changed(1), picture_of(1)]) == 1
    assert len(collection.vectors.search("small@1", np.array([1, 0], np.float32))) == 1
    assert len(collection.events()) == 1
    assert collection.picture("yard", "porch", f"{1:016x}") == JPEG


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_is_stored_after_vectors_were_asked_for_is_seen_by_others(
    database: Database, elsewhere: bool
) -> None:
    """What a transaction that stays open holds is lost with the process, though acknowledged."""
    address = database.address if elsewhere else None
    with (
        SiteCollection(database.address) as other,
        SiteCollection(database.address, vectors=address) as collection,
    ):
        forget_everything(other)
        other.keep("yard", Retention(365.0, 30.0))
        other.store("yard", [vector_of(1, [1, 0])])
        collection.forget_old()
        assert [item.model for item in collection.vectors.models()] == ["small@1"]
        collection.store("yard", [changed(2), vector_of(2, [0, 1])])
        assert [item.event["id"] for item in other.events()] == [f"{2:016x}"]
        assert other.vectors.vector("small@1", "yard", "porch", f"{2:016x}") is not None
        assert collection._connection.info.transaction_status == TransactionStatus.IDLE


def test_without_pgvector_events_are_stored_all_the_same(
    collection: SiteCollection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(_: object) -> None:
        raise VectorError("the database has no pgvector")

    monkeypatch.setattr(PgVectors, "_use_extension", missing)
    for _ in range(2):
        assert collection.store("yard", [changed(1), vector_of(1, [1, 0])]) == 1
    assert len(collection.events()) == 1
    assert caplog.text.count("no pgvector") == 1


def test_events_lie_in_one_partition_a_month_and_impossible_times_in_one_of_their_own(
    collection: SiteCollection,
) -> None:
    times = ["2026-01-31T23:59:59.999Z", "2026-02-01T00:00:00Z", "1970-01-01T00:00:07Z",
             "2999-12-31T00:00:00Z", "2026-02-28T12:00:00Z"]  # fmt: skip
    collection.store("yard", [changed(n, at=at) for n, at in enumerate(times)])
    collection.store("yard", [changed(n, at=at) for n, at in enumerate(times)])
    found = collection._connection.execute(
        "SELECT tableoid::regclass::text, count(*) FROM edge_sim_events GROUP BY 1"
    ).fetchall()
    assert dict(found) == {
        "edge_sim_events_2026_01": 1, "edge_sim_events_2026_02": 2, "edge_sim_events_other": 2
    }  # fmt: skip


def test_an_event_of_the_future_moves_to_its_month_when_that_comes(
    collection: SiteCollection, database: Database
) -> None:
    ahead = "2027-05-04T00:00:00.000Z"
    collection.store("yard", [changed(1, at=ahead)])
    with SiteCollection(database.address, clock=lambda: unix_time_s(ahead) + 3600) as later:
        later.store("yard", [changed(1, at=ahead), changed(2, at="2027-05-04T00:01:00Z")])
        assert [item.event["id"][-1] for item in later.events()] == ["2", "1"]


def test_each_site_keeps_what_its_rule_says(collection: SiteCollection, database: Database) -> None:
    days = [changed(n, at=f"2026-0{n}-15T00:00:00Z") for n in (1, 2, 3, 4)]
    for site in ("yard", "hall"):
        collection.store(site, [*days, vector_of(1, [1, 0], at="2026-01-15T00:00:00Z")])
    now_s = unix_time_s("2026-04-20T00:00:00Z")
    with SiteCollection(database.address, clock=lambda: now_s) as opened:
        assert opened.forget_old() == Forgotten(0, 0, 0)
        opened.keep("yard", Retention(50.0, 50.0))
        assert opened.forget_old() == Forgotten(2, 0, 0)
        assert len(opened.vectors.search("small@1", np.array([1, 0], np.float32))) == 1
        opened.keep("hall", Retention(75.0, None))
        # Nobody keeps January, which goes as a whole, but hall keeps its part of March.
        assert opened.forget_old().partitions == 1
        left = [(item.site, item.event["at"][:7]) for item in opened.events()]
        assert sorted(left) == [
            ("hall", "2026-02"), ("hall", "2026-03"), ("hall", "2026-04"),
            ("yard", "2026-03"), ("yard", "2026-04"),
        ]  # fmt: skip
        assert opened.rules() == {"hall": Retention(75.0, None), "yard": Retention(50.0, 50.0)}


def test_changes_are_counted_by_day_and_state(collection: SiteCollection) -> None:
    states = ["food", "empty", "food"]
    collection.store("yard", [changed(n, after) for n, after in enumerate(states)])
    collection.store("yard", [changed(9, "food", at="2026-02-01T00:00:00Z")])
    found = collection.counts("2026-01-31", "2026-02-02", site="yard", watch="bowl")
    assert [(item.day, item.state, item.changes) for item in found] == [
        ("2026-01-31", "empty", 1), ("2026-01-31", "food", 2), ("2026-02-01", "food", 1),
    ]  # fmt: skip
    assert collection.counts("2026-01-31", "2026-02-02", device="other") == []


def test_problems_of_a_device_are_named_the_worst_first(
    collection: SiteCollection, database: Database
) -> None:
    now_s = unix_time_s("2026-01-31T13:00:00Z")
    drift = {"type": "drift", "id": "d1", "watch": "bowl", "at": "2026-01-31T11:00:00Z"}
    collection.store("yard", [
        Received("porch/available", b"online", now_s),
        changed(1, "unknown", reason="dark"),
        Received("porch/bowl/event", json.dumps(drift).encode(), now_s),
        Received("porch/stats", b'{"disk_free_mb": 12.5}', now_s),
        Received("shed/available", b"online", now_s),
    ])  # fmt: skip
    with SiteCollection(database.address, clock=lambda: now_s) as opened:
        worst, best = opened.status()
    assert (worst.device, worst.problems) == ("porch", ("disk_full", "unknown", "drifting"))
    assert worst.watches["bowl"].drifting
    assert (best.device, best.problems) == ("shed", ())


def test_tables_of_the_first_version_keep_their_events(database: Database) -> None:
    with psycopg.connect(database.address, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS older")
        connection.execute("CREATE DATABASE older")
        address = database.address.replace("dbname=postgres", "dbname=older")
        with psycopg.connect(address) as older:
            older.execute(MIGRATIONS[0])
            older.execute("CREATE TABLE edge_sim_schema (version integer PRIMARY KEY)")
            older.execute("INSERT INTO edge_sim_schema VALUES (1)")
            for number, at in enumerate(["2026-01-31T10:00:00Z", "1970-01-01T00:00:00Z"]):
                older.execute(
                    "INSERT INTO edge_sim_events VALUES "
                    "('yard', 'porch', %s, 'state_changed', 'bowl', %s, now(), %s)",
                    (str(number), at, json.dumps({"after": "food", "id": str(number)})),
                )
        with SiteCollection(address) as opened:
            assert [item.event["id"] for item in opened.events()] == ["0", "1"]
            opened.store("yard", [changed(3)])
            found = opened.counts("2026-01-31", "2026-02-01")
            assert [(item.state, item.changes) for item in found] == [("food", 2)]
        connection.execute("DROP DATABASE older")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--site", "a/b"], "--site: 'a/b' is no name"),
        (["--site", "a" * 201], "is no name: use up to 200 letters"),
        (["--group", "a/b"], "--group: 'a/b' is no name"),
        (["--group", ""], "--group: '' is no name"),
        (["--port", "65536"], "--port: 65536 is above 65535"),
    ],
)
def test_names_that_would_collect_nothing_are_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    assert main(["collect", "run", "--database", "host=/nowhere", *words]) == 2
    assert part in capsys.readouterr().err


@pytest.mark.parametrize("address", ["qdrunt://127.0.0.1:1", "qdrant://127.0.0.1:1"])
def test_a_store_of_vectors_that_is_not_there_ends_the_start(
    database: Database, address: str
) -> None:
    pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    from edge_sim.fleet.collector import Collector, CollectorOptions

    options = CollectorOptions(MqttOptions(port=1), database.address, "yard", vectors=address)
    with pytest.raises(CollectionError, match="check its address"):
        Collector(options).start()


def test_a_site_that_is_not_known_is_pointed_out(
    collection: SiteCollection, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    collection.store("yard", [changed(1)])
    for site, is_known in (("yard", True), ("yrad", False)):
        assert main(["collect", "keep", "--site", site, "--database", database.address]) == 0
        assert ("is the name right?" in capsys.readouterr().err) is not is_known


def test_days_before_there_were_clocks_are_counted(
    collection: SiteCollection, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", "counts", "--days", "999999999", "--database", database.address]) == 0


def test_search_counts_and_keep_are_printed(
    collection: SiteCollection,
    database: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    collection.store("yard", [changed(1), vector_of(1, [1, 0]), picture_of(1)])
    vector = tmp_path / "query.json"
    vector.write_text("[1, 0.1]")
    place = ["--database", database.address]
    query = ["collect", "search", "--vector", str(vector), "--model-id", "small@1", *place]
    assert main([*query, "--site", "yard", "--save", str(tmp_path / "found")]) == 0
    assert "porch" in capsys.readouterr().out
    (saved,) = (tmp_path / "found").iterdir()
    assert saved.read_bytes() == JPEG
    assert main([*query, "--state", "empty", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["found"] == []
    assert main(["collect", "counts", *place, "--days", "100000"]) == 0
    assert "food" in capsys.readouterr().out
    assert main(["collect", "keep", *place, "--site", "yard", "--days", "100000"]) == 0
    assert "yard keeps events for 100000 days" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "give one query"),
        (["a.png", "--text", "b"], "give one query"),
        (["a.png", "--model-id", "m"], "--model-id goes with --vector"),
        (["--vector", "gone.json", "--model-id", "small@1"], "gone.json: cannot be read"),
        (["--vector", "pyproject.toml", "--model-id", "small@1"], "a vector is a JSON list"),
        (["--text", "bowl", "--since", "yesterday"], "'yesterday' is no time"),
    ],
)
def test_a_search_that_cannot_be_made_is_one_line(
    collection: SiteCollection,
    database: Database,
    words: list[str],
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["collect", "search", *words, "--database", database.address]) in (1, 2)
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


def test_every_question_of_the_dashboard_is_answered(collection: SiteCollection) -> None:
    collection.store("yard", [changed(1), Received("porch/stats", b'{"disk_free_mb": 9}', AT_S)])
    dashboard = json.loads((REPOSITORY / "docs/fleet-dashboard.json").read_text())
    variables = [item["query"] for item in dashboard["templating"]["list"][1:]]
    panels = [target["rawSql"] for item in dashboard["panels"] for target in item["targets"]]
    for text in [*variables, *panels]:
        asked = text.replace("${site:sqlstring}", "'yard', 'hall'")
        asked = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 > '2026-01-01'", asked)
        asked = re.sub(r"\$__timeGroup\((\w+), '1h'\)", r"date_trunc('hour', \1)", asked)
        assert "$" not in asked
        assert collection._query(asked, {}), asked


def test_the_compose_file_starts_commands_that_there_are() -> None:
    compose = yaml.safe_load((REPOSITORY / "docs/fleet-compose.yaml").read_text())
    for name in ("collector", "page"):
        program, *words = compose["services"][name]["command"]
        assert program == "edge-sim"
        assert build_parser(words).parse_args(words).handler
    for text in (item["content"] for item in compose["configs"].values()):
        assert text.strip()
    fleet = parse_config(compose["configs"]["fleet"]["content"])
    assert fleet.web.address == ("0.0.0.0", 8090)
    documented = (REPOSITORY / "docs/fleet.md").read_text()
    for line in compose["configs"]["access"]["content"].splitlines():
        assert line in documented


def test_the_site_leads_every_primary_key(collection: SiteCollection) -> None:
    collection.store("yard", [changed(1), vector_of(1, [1, 0]), picture_of(1)])
    rows = collection._query(
        "SELECT conrelid::regclass::text, attname FROM pg_constraint JOIN pg_attribute "
        "ON attrelid = conrelid AND attnum = conkey[1] WHERE contype = 'p' "
        "AND conrelid::regclass::text LIKE 'edge_sim_%%'",
        {},
    )
    others = {table for table, first in rows if first != "site"}
    # Small and the same for all sites: Citus copies them to every server.
    assert others == {"edge_sim_models", "edge_sim_schema"}
    assert len(rows) > 8
