"""Database of an index: its schema, and opening it safely."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from edge_sim.core import sqlite
from edge_sim.core.files import entries, is_dir, is_file, size_of
from edge_sim.core.sqlite import FileKind, Schema, application_of, transaction
from edge_sim.errors import SearchError
from edge_sim.search import attributes, regions

INDEX = FileKind(
    noun="an index",
    application_id=0x65_53_69_78,  # "eSix"
    format=1,
    error=SearchError,
    remedy="delete its folder and build it again",
)
NAME = "index.db"
BUSY_TIMEOUT_S = 10.0

# `path` holds the bytes of the file system, which need not be text. A file without a content is
# unread, and `fault` is the reason. `changes` counts commits: files made from the rows record it.
_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE contents (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    sharpness REAL NOT NULL,
    contrast REAL NOT NULL,
    crc INTEGER NOT NULL,
    vector BLOB NOT NULL,
    look BLOB NOT NULL
);
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    content INTEGER REFERENCES contents,
    fault TEXT,
    CHECK ((content IS NULL) = (fault IS NOT NULL))
);
CREATE INDEX files_content ON files (content);
"""

_KNOWN = Schema(_SCHEMA, optional=attributes.SCHEMA + attributes.EARLIER_SCHEMA + regions.SCHEMA)


def open_database(folder: Path, *, create: bool) -> sqlite3.Connection:
    """Return the open database of the index in `folder`; its schema is made if it is new.

    Raises:
        SearchError: No index there, one of a newer edge_sim, damaged, or not accessible.
    """
    path = folder / NAME
    with translated(path):
        if create:
            _make_folder(folder)
        elif not is_file(path):
            raise SearchError(
                f"{folder}: no index there; make one with `edge-sim index build DIR --out {folder}`"
            )
        _check_magic(path)
        connection = sqlite.connected(path, timeout_s=BUSY_TIMEOUT_S)
        try:
            _prepare(connection, path, create)
        except BaseException:
            connection.close()
            raise
    return connection


def translated(path: Path) -> AbstractContextManager[None]:
    """Turn errors of SQLite and of the disk into a `SearchError` of one line."""
    return sqlite.translated(path, INDEX)


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Provide a transaction that counts as a change."""
    with transaction(connection, writes=True):
        yield
        connection.execute(
            "UPDATE settings SET value = CAST(value AS INTEGER) + 1 WHERE name = 'changes'"
        )


def _make_folder(folder: Path) -> None:
    if is_dir(folder):
        strangers = [item.name for item in entries(folder)]
        if strangers and NAME not in strangers:
            raise SearchError(f"{folder}: not empty and no index; give --out a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)


def _check_magic(path: Path) -> None:
    if size_of(path) and application_of(path) is None:
        raise SearchError(f"{path}: not an index of edge_sim")


def _prepare(connection: sqlite3.Connection, path: Path, create: bool) -> None:
    if not sqlite.is_new(connection, path, INDEX):
        foreign = _KNOWN.foreign(connection)
        if foreign is not None:
            raise SearchError(
                f"{path} is no index as edge_sim makes it: it holds the {foreign}; "
                f"it was left as it is and is not read"
            )
        if missing := _KNOWN.missing(connection):
            raise sqlite3.DatabaseError(f"malformed: no {', '.join(missing)}")
        return
    if not create:
        raise SearchError(f"{path}: not an index of edge_sim")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(
        f"BEGIN IMMEDIATE; {_SCHEMA}; {attributes.SCHEMA};"
        f"INSERT INTO settings VALUES ('changes', '0'); {sqlite.stamp(INDEX)} COMMIT;"
    )
