"""Common handling of SQLite in gallery, index and outbox."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge_sim.core.sqlite import (
    FileKind,
    application_of,
    connected,
    explained,
    is_damage,
    is_new,
    stamp,
    transaction,
    translated,
)
from edge_sim.errors import DataError

KIND = FileKind("a diary", 0x1234, 3, DataError, "write another")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connected(tmp_path / "diary.db", timeout_s=0.1)) as opened:
        yield opened


def test_an_empty_file_is_new_until_it_is_stamped(connection: sqlite3.Connection) -> None:
    assert is_new(connection, None, KIND)
    connection.executescript(stamp(KIND))
    assert not is_new(connection, None, KIND)


@pytest.mark.parametrize("made", ["CREATE TABLE mine (x)", "PRAGMA application_id = 7"])
def test_a_file_of_another_program_is_refused(connection: sqlite3.Connection, made: str) -> None:
    connection.execute(made)
    with pytest.raises(DataError, match=r"x\.db is a database of another program, not a diary"):
        is_new(connection, Path("x.db"), KIND)


@pytest.mark.parametrize(
    ("number", "words"), [(4, "newer edge_sim .format 4, this one knows 3."), (2, "diary format 2")]
)
def test_a_file_of_another_format_is_refused(
    connection: sqlite3.Connection, number: int, words: str
) -> None:
    connection.executescript(stamp(KIND))
    connection.execute(f"PRAGMA user_version = {number}")
    with pytest.raises(DataError, match=words):
        is_new(connection, None, KIND)


def test_a_commit_is_synced_and_the_schema_is_not_trusted(connection: sqlite3.Connection) -> None:
    settings = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("foreign_keys", "synchronous", "trusted_schema", "cell_size_check")
    }
    assert settings == {
        "foreign_keys": 1,
        "synchronous": 2,
        "trusted_schema": 0,
        "cell_size_check": 1,
    }


LOCKED_BY_ANOTHER_PROCESS = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], timeout=0.0, isolation_level=None)
try:
    other.execute("BEGIN EXCLUSIVE")
except sqlite3.OperationalError as error:
    print(error)
"""


def test_asking_what_a_file_is_leaves_the_locks_of_this_process(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "diary.db"
    connection.executescript(stamp(KIND))
    with transaction(connection, writes=True):
        assert application_of(path) == KIND.application_id
        done = subprocess.run(
            [sys.executable, "-c", LOCKED_BY_ANOTHER_PROCESS, str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "database is locked\n"


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"SQLite format 3\0", bytes(4096), b"\x89PNG" + bytes(5000)]
)
def test_what_is_no_file_of_sqlite_has_no_application(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file # ? %41"
    path.write_bytes(content)
    assert application_of(path) is None
    assert path.read_bytes() == content
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_what_fails_half_way_is_not_done(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE days (number INTEGER)")

    def write_and_fail() -> None:
        with transaction(connection, writes=True):
            connection.execute("INSERT INTO days VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with transaction(connection, writes=False):
        assert connection.execute("SELECT count(*) FROM days").fetchone() == (0,)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sqlite3.OperationalError("database is locked"), "another process is writing the diary"),
        (sqlite3.OperationalError("database or disk is full"), "disk is full; nothing was changed"),
        (sqlite3.OperationalError("disk I/O error"), "the disk failed while the diary"),
        (sqlite3.OperationalError("unable to open database file"), "the diary cannot be opened"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "read-only"),
        (sqlite3.DatabaseError("database disk image is malformed"), "damaged.*write another"),
        (sqlite3.DatabaseError("file is not a database"), "damaged.*write another"),
        (sqlite3.OperationalError("no such table: days"), "damaged.*write another"),
        (sqlite3.OperationalError("something new"), "SQLite says: something new"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_every_error_becomes_one_line_that_names_the_file(error: Exception, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught, translated(Path("my/diary.db"), KIND):
        raise error
    assert str(caught.value).startswith("my/diary.db: ")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_a_file_that_is_locked_or_no_database_is_not_taken_for_damaged() -> None:
    for words in ("database is locked", "file is not a database", "database or disk is full"):
        assert not is_damage(sqlite3.DatabaseError(words))
    assert is_damage(sqlite3.DatabaseError("database disk image is malformed"))


def test_a_file_that_ends_within_a_page_is_damaged_and_a_disk_that_fails_is_not() -> None:
    short, failed = (sqlite3.OperationalError("disk I/O error") for _ in range(2))
    short.sqlite_errorname = "SQLITE_IOERR_SHORT_READ"
    failed.sqlite_errorname = "SQLITE_IOERR_READ"
    assert is_damage(short)
    assert "damaged" in explained(short, KIND)
    assert not is_damage(failed)
    assert "the disk failed" in explained(failed, KIND)


def test_the_words_of_a_kind_are_its_own() -> None:
    error = sqlite3.OperationalError("database is locked")
    assert explained(error, KIND) == "another process is writing the diary; try again"
