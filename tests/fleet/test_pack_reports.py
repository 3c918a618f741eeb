"""The publisher sees what became of a pack on every device, and stops one that fails too often."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[collect]'")
pytest.importorskip("cryptography", reason="cryptography is not installed: pip install '.[fleet]'")

from edge_sim.cli.main import main
from edge_sim.core.events import PackReported, event_id, to_json_line, utc_text
from edge_sim.fleet.collection import SiteCollection
from edge_sim.fleet.messages import Received
from edge_sim.fleet.publishing import LISTING, Rollout, listing_at
from tests.fleet.database import Database
from tests.fleet.depot import Depot

AT_S = 1_700_000_000.0
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def collection(database: Database) -> Iterator[SiteCollection]:
    with SiteCollection(database.address) as opened:
        opened._connection.execute("TRUNCATE edge_sim_packs, edge_sim_events")
        opened._connection.commit()
        yield opened


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    made = Depot(tmp_path, now_s=4_000_000_000.0)
    made.root()
    made.publish(made.pack(1), rollout=Rollout(25, ("lab",)))
    return made


def report(device: str, outcome: str, *, version: int = 1, at_s: float = AT_S) -> Received:
    reason = "no such watch" if outcome == "refused" else None
    event = PackReported(
        event_id(device, outcome), device, utc_text(at_s), "bowls", version, outcome, reason, 3
    )
    return Received(f"{device}/event", to_json_line(event), at_s)


Status = Callable[..., int]


@pytest.fixture
def status(depot: Depot, database: Database) -> Status:
    def run(*words: object) -> int:
        place = ["pack", "status", str(depot.folder), "--database", database.address]
        return main([*place, *map(str, words)])

    return run


def rollout_of(depot: Depot) -> tuple[int, tuple[str, ...]]:
    found = listing_at(depot.folder)
    assert found is not None
    (entry,) = found[1].packs
    return entry.rollout_percent, entry.canary


def test_the_last_report_of_a_device_counts_in_whatever_order(collection: SiteCollection) -> None:
    collection.store("yard", [report("a", "rolled_back", at_s=AT_S + 9), report("b", "refused")])
    collection.store("yard", [report("a", "activated"), report("c", "activated", version=2)])
    collection.store("mill", [report("a", "activated")])
    first, second = collection.pack_counts("yard")
    assert (first.activated, first.refused, first.rolled_back) == (0, 1, 1)
    assert (first.version, first.failed_share, first.reasons) == (1, 1.0, {"no such watch": 1})
    assert (second.version, second.activated) == (2, 1)
    assert collection.pack_counts()[0].devices == 3


@pytest.mark.parametrize(
    "change",
    [{"pack": "a/b"}, {"version": 2**40}, {"outcome": "lost"}, {"reason": "x" * 301}, {"pack": 7}],
    ids=lambda change: "-".join(change),
)
def test_what_is_no_report_stays_an_event(
    collection: SiteCollection, change: dict[str, object]
) -> None:
    body = json.loads(report("a", "activated").payload) | change
    assert collection.store("yard", [Received("a/event", json.dumps(body).encode(), AT_S)]) == 0
    assert collection.pack_counts() == []
    assert len(collection.events(site="yard")) == 1


def test_a_canary_that_refuses_stops_the_rollout(
    collection: SiteCollection, depot: Depot, status: Status, capsys: Captured
) -> None:
    key = depot.key("a")
    collection.store("yard", [report("a", "activated")])
    assert status("--stop-above", 10, "--key", key) == 0
    assert rollout_of(depot) == (25, ("lab",))
    collection.store("yard", [report("b", "refused")])
    capsys.readouterr()
    assert status("--stop-above", 50) == 0
    assert status("--stop-above", 49.9) == 1
    captured = capsys.readouterr()
    assert "no such watch" in captured.out
    assert "bowls version 1 failed on 1 of 2 devices; name a --key" in captured.err
    assert rollout_of(depot) == (25, ("lab",))
    assert status("--stop-above", 10, "--key", key, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["stopped"], found["problems"]) == (["bowls"], [])
    assert (found["reports"][0]["activated"], found["reports"][0]["refused"]) == (1, 1)
    assert rollout_of(depot) == (0, ())
    # It is stopped now, and the next version is another matter.
    assert status("--stop-above", 10, "--key", key) == 0
    depot.publish(depot.pack(2), rollout=Rollout(100))
    assert status("--stop-above", 10, "--key", key) == 0
    assert rollout_of(depot) == (100, ())


def test_a_stop_does_not_make_a_list_valid_for_longer(
    collection: SiteCollection, depot: Depot, status: Status
) -> None:
    before = listing_at(depot.folder)
    collection.store("yard", [report("b", "rolled_back")])
    assert status("--stop-above", 10, "--key", depot.key("a")) == 1
    after = listing_at(depot.folder)
    assert before is not None
    assert after is not None
    assert (after[1].expires, after[1].version) == (before[1].expires, before[1].version + 1)


def test_a_new_version_goes_to_its_canaries_first(depot: Depot, database: Database) -> None:
    words = ["--canary", "lab", "--key", str(depot.key("a"))]
    path = depot.pack(2)
    assert main(["pack", "publish", str(depot.folder), str(path), *words]) == 0
    assert rollout_of(depot) == (0, ("lab",))
    assert main(["pack", "publish", str(depot.folder), str(path), *words[2:]]) == 0
    assert rollout_of(depot) == (100, ())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stop-above", "101"], "'101' is no number from 0 to 100"),
        (["--stop-above", "nan"], "'nan' is no number from 0 to 100"),
        (["--stop-above", "5"], "name the database with --database"),
    ],
)
def test_a_mistake_is_one_line(
    depot: Depot,
    words: list[str],
    message: str,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EDGE_SIM_DATABASE", raising=False)
    monkeypatch.chdir(depot.base)
    try:
        code = main(["pack", "status", str(depot.folder), *words])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err
    assert (depot.folder / LISTING).exists()
