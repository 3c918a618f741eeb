"""A damaged outbox holds no start up, two daemons do not share one, and no event is stranded."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge_sim.errors import SinkError
from edge_sim.io.outbox.outbox import Outbox, take_over_previous
from tests.io.outbox.events import changed


def filled(path: Path, count: int = 20, sinks: tuple[str, ...] = ("a",)) -> None:
    with closing(Outbox.open(path, sinks)) as outbox:
        outbox.put([changed(number) for number in range(count)])


def waiting(outbox: Outbox, sink: str = "a") -> list[str]:
    return [item.event.id for item in outbox.pending(sink, limit=1000)]


def overwritten(start: int, content: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(start)
            file.write(content)

    return damage


def changed_by(*statements: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            for statement in statements:
                raw.execute(statement)

    return damage


DAMAGES = {
    "first page zeros": overwritten(0, bytes(4096)),
    "header zeros": overwritten(0, bytes(100)),
    "page size": overwritten(16, b"\x00\x03"),
    "schema page random": overwritten(100, os.urandom(3000)),
    "all zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "cut": lambda path: os.truncate(path, 4096),
    "events dropped": changed_by("DROP TABLE events"),
    "cursors dropped": changed_by("DROP TABLE cursors"),
    "latest dropped": changed_by("DROP TABLE latest"),
    "all dropped": changed_by("DROP TABLE events", "DROP TABLE cursors", "DROP TABLE latest"),
    "other column": changed_by("ALTER TABLE events RENAME COLUMN body TO text"),
    "a view in place of a table": changed_by(
        "DROP TABLE latest",
        "CREATE VIEW latest AS WITH RECURSIVE n(watch) AS "
        "(VALUES (1) UNION ALL SELECT watch + 1 FROM n) SELECT watch, 1 AS seq, '' AS body FROM n",
    ),
    "a trigger": changed_by(
        "CREATE TRIGGER later AFTER INSERT ON events BEGIN DELETE FROM events; END"
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_outbox_is_put_aside_and_the_start_succeeds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "outbox.db"
    filled(path)
    damage(path)
    content = path.read_bytes()
    with closing(Outbox.open(path, ["a"])) as outbox:
        assert outbox.put([changed(99)])
        assert waiting(outbox) == [changed(99).id]
    assert (tmp_path / "outbox.db.damaged").read_bytes() == content
    assert "moved to" in caplog.text
    with closing(Outbox.open(path, ["a"])) as outbox:
        assert waiting(outbox) == [changed(99).id]


def test_noise_in_place_of_a_file_that_was_an_outbox_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    filled(path)
    path.write_bytes(os.urandom(20_000))
    with closing(Outbox.open(path, ["a"])) as outbox:
        assert outbox.put([changed(2)])
    assert (tmp_path / "outbox.db.damaged").stat().st_size == 20_000


@pytest.mark.parametrize("content", [b"my diary\n" * 100, b"\x89PNG\r\n\x1a\n" + bytes(500)])
def test_a_file_of_something_else_is_never_moved_away(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(SinkError, match="not a database"):
            Outbox.open(path, ["a"])
    assert path.read_bytes() == content
    assert not (tmp_path / "outbox.db.damaged").exists()


def test_one_outbox_is_for_one_daemon(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox.open(path, ["a"])) as outbox:
        with pytest.raises(SinkError, match="another edge_sim uses this outbox"):
            Outbox.open(path, ["a"])
        assert outbox.put([changed(1)])
    with closing(Outbox.open(path, ["a"])) as outbox:
        assert waiting(outbox) == [changed(1).id]


def test_a_start_that_fails_gives_the_outbox_back(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"my diary\n" * 100)
    with pytest.raises(SinkError):
        Outbox.open(path, ["a"])
    path.unlink()
    Outbox.open(path, ["a"]).close()


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o640), (0o022, 0o640), (0o077, 0o600)])
def test_an_outbox_is_private_whatever_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with closing(Outbox.open(tmp_path / "outbox.db", ["a"])) as outbox:
            outbox.put([changed(1)])
            modes = {item.stat().st_mode & 0o777 for item in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {mode}


def test_events_of_an_outbox_at_another_place_are_taken_over(tmp_path: Path) -> None:
    old, new, state = tmp_path / "old.db", tmp_path / "new.db", tmp_path / "state.json"
    with closing(Outbox.open(old, ["a", "b"])) as outbox:
        take_over_previous(outbox, old, state)
        outbox.put([changed(number) for number in range(50)])
        outbox.confirm("b", outbox.pending("b", limit=1)[0].seq)
    with closing(Outbox.open(new, ["a", "b"])) as outbox:
        take_over_previous(outbox, new, state)
        outbox.put([changed(99)])
        expected = [changed(number).id for number in (*range(50), 99)]
        assert waiting(outbox) == expected
        assert waiting(outbox, "b")[-1] == changed(99).id
        assert outbox.latest()["gate"].id == changed(99).id
    with closing(Outbox.open(old, ["a", "b"])) as outbox:
        assert waiting(outbox) == [], "none is delivered twice"
    with closing(Outbox.open(new, ["a", "b"])) as outbox:
        take_over_previous(outbox, new, state)
        assert waiting(outbox) == expected


def test_the_state_of_a_watch_survives_the_move(tmp_path: Path) -> None:
    old, new, state = tmp_path / "old.db", tmp_path / "new.db", tmp_path / "state.json"
    with closing(Outbox.open(old, ["a"])) as outbox:
        take_over_previous(outbox, old, state)
        outbox.put([changed(1)])
        outbox.confirm("a", outbox.pending("a")[0].seq)
    with closing(Outbox.open(new, ["a"])) as outbox:
        take_over_previous(outbox, new, state)
        assert waiting(outbox) == []
        assert outbox.latest()["gate"].id == changed(1).id


def test_an_outbox_that_cannot_be_taken_over_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new, state = tmp_path / "old.db", tmp_path / "new.db", tmp_path / "state.json"
    with closing(Outbox.open(old, ["a"])) as held:
        take_over_previous(held, old, state)
        held.put([changed(1)])
        with closing(Outbox.open(new, ["a"])) as outbox:
            take_over_previous(outbox, new, state)
            assert "stay there" in caplog.text
    with closing(Outbox.open(new, ["a"])) as outbox:
        take_over_previous(outbox, new, state)
        assert waiting(outbox) == [changed(1).id]


def test_what_is_lost_at_the_end_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox.open(path, ["a", "b"])
    outbox._journal._connection.execute("PRAGMA query_only = ON")  # as on a disk gone read-only
    outbox.put([changed(1), changed(2), changed(3)])
    for sink, count in (("a", 3), ("b", 1)):
        for item in outbox.pending(sink)[:count]:
            outbox.confirm(sink, item.seq)
    outbox.close()
    assert outbox.lost == 2
    assert "2 events are lost" in caplog.text


def test_what_every_sink_has_is_not_lost(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", ["a"])
    outbox._journal._connection.execute("PRAGMA query_only = ON")
    outbox.put([changed(1)])
    outbox.confirm("a", outbox.pending("a")[0].seq)
    outbox.close()
    assert outbox.lost == 0
