"""A gallery from elsewhere is checked when it is opened, in bounded time."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_sim.errors import GalleryError
from edge_sim.gallery import integrity
from edge_sim.gallery.database import content_crc
from edge_sim.gallery.import_export import export_states
from edge_sim.gallery.store import GalleryStore
from tests.gallery.builders import enrolled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed gallery of two references at revision 1."""
    place = tmp_path / "gallery.db"
    with GalleryStore.open(place, create=True) as store:
        store.add("bowl", [enrolled(1), enrolled(2, "shut")])
    return place


def crafted(path: Path, *statements: str, sealed: bool = True) -> None:
    """Change the file as somebody would who knows its checksums and seals."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    for statement in statements:
        connection.execute(statement)
    columns = "ordinal, watch, state, embedding, condition, enrolled_at, metadata, tags"
    for number, *row in connection.execute(f"SELECT id, {columns} FROM versions").fetchall():
        connection.execute(
            "UPDATE versions SET crc = ? WHERE id = ?", (content_crc(tuple(row)), number)
        )
    if sealed:
        connection.execute("DELETE FROM seals")
        (head,) = connection.execute("SELECT max(number) FROM revisions").fetchone()
        integrity.put(connection, head, logged=False, anew=True)
    connection.close()


def refusal(path: Path) -> str:
    with pytest.raises(GalleryError) as caught:
        GalleryStore.open(path, read_only=True)
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.mark.parametrize("number", [3, 1_000_000, 2**63 - 1])
def test_a_revision_without_its_log_is_refused(path: Path, number: int) -> None:
    crafted(path, f"INSERT INTO revisions VALUES ({number}, '2026-01-31', 'add', '', {number})")
    assert f"the last revision is {number}" in refusal(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE versions SET ordinal = 9223372036854775807 WHERE ordinal = 2",
        "UPDATE versions SET ordinal = 0 WHERE ordinal = 2",
        "UPDATE versions SET ordinal = 'two' WHERE ordinal = 2",
        "UPDATE versions SET ordinal = 1e300 WHERE ordinal = 2",
        "UPDATE versions SET embedding = x'00' WHERE ordinal = 2",
        "UPDATE versions SET since = 1000000",
        "UPDATE versions SET until = 9223372036854775807",
    ],
)
def test_a_number_that_cannot_be_is_refused(path: Path, statement: str) -> None:
    crafted(path, statement, sealed=False)
    assert "impossible numbers" in refusal(path)


@pytest.mark.parametrize("column", ["watch", "state", "condition"])
@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/cron.d/x", "a/b", "", ".", "unknown", "a' || char(0) || 'b"]
    + [f"a' || char({number}) || 'b" for number in (7, 10, 13, 27, 127, 155, 8238)],
)
def test_a_name_that_cannot_be_is_refused(path: Path, column: str, name: str) -> None:
    crafted(path, f"UPDATE versions SET {column} = '{name}' WHERE ordinal = 1")
    assert f"cannot be the name of a {column}" in refusal(path)


def test_a_name_that_is_no_text_is_refused(path: Path) -> None:
    crafted(path, "UPDATE versions SET state = x'c3a900' WHERE ordinal = 1")
    assert "no text as its name" in refusal(path)


def test_an_export_stays_in_its_folder(path: Path, tmp_path: Path) -> None:
    crafted(path, "UPDATE versions SET state = '../outside' WHERE ordinal = 1")
    with pytest.raises(GalleryError), GalleryStore.open(path) as store:
        export_states(store, "bowl", tmp_path / "out")
    assert not (tmp_path / "outside").exists()


ENDLESS = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


@pytest.mark.parametrize(
    ("statements", "kind"),
    [
        ([f"CREATE VIEW more AS {ENDLESS}"], "view"),
        (
            [
                "DROP TABLE revisions",
                f"CREATE VIEW revisions AS SELECT i AS number FROM ({ENDLESS})",
            ],
            "view",
        ),
        (["DROP TABLE pictures", f"CREATE VIEW pictures AS {ENDLESS}"], "view"),
        (
            [
                "CREATE TRIGGER later AFTER INSERT ON revisions BEGIN "
                "UPDATE versions SET state = 'shut'; END"
            ],
            "trigger",
        ),
        (["CREATE TABLE more (x)"], "table"),
        (["CREATE VIRTUAL TABLE more USING fts5(x)"], "table"),
        (["CREATE INDEX more ON versions (abs(crc))"], "index"),
        (["ALTER TABLE versions ADD COLUMN more"], "table"),
        (["ALTER TABLE pictures ADD COLUMN more AS (length(zeroblob(900000000)))"], "table"),
    ],
)
def test_a_schema_that_is_not_ours_is_refused(path: Path, statements: list[str], kind: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    assert f"it holds the {kind}" in refusal(path)


def test_statistics_of_sqlite_are_no_foreign_schema(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("ANALYZE")
    connection.close()
    with GalleryStore.open(path) as store:
        assert store.check() == ()


def test_a_seal_that_is_none_is_refused(path: Path) -> None:
    for content in ("'{}'", "x'00'", "'[1]'", "NULL"):
        with sqlite3.connect(path) as connection:
            statement = f"UPDATE OR IGNORE seals SET content = {content}"
            connection.execute(statement)
        connection.close()
        assert "damaged" in refusal(path)


def test_control_characters_in_tags_and_log_are_escaped(path: Path) -> None:
    crafted(
        path,
        """UPDATE versions SET metadata = '{"k\\u001b":"v\\u0000\u009b"}', tags = '["a\\r\\nb"]'""",
        "UPDATE revisions SET detail = 'x' || char(27) || '[2J', verb = char(13)",
    )
    with GalleryStore.open(path, read_only=True) as store:
        for record in store.records():
            assert all(tag.isprintable() for tag in record.tags)
        assert all(
            text.isprintable() for entry in store.log() for text in (entry.detail, entry.verb)
        )


def test_a_model_with_control_characters_in_its_name_is_damage(path: Path) -> None:
    crafted(path, "UPDATE embeddings SET model_id = 'm' || char(27)")
    with GalleryStore.open(path, read_only=True) as store, pytest.raises(GalleryError):
        store.gallery("bowl")


def test_a_long_log_is_listed_in_one_pass(path: Path) -> None:
    statements: list[str] = []
    with GalleryStore.open(path) as store:
        for number in range(30):
            store.tag(["r1"], add=[f"t{number}"])
        connection = store._open_connection()
        connection.set_trace_callback(statements.append)
        log = store.log()
        connection.set_trace_callback(None)
    assert len(log) == 31
    assert log[0].altered == ("r1",)
    assert len(statements) < 10
