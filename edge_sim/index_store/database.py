"""The SQLite file in an index: making it, opening it, and saying plainly what is wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from edge_sim import sqlite_file
from edge_sim.errors import SearchError
from edge_sim.sqlite_file import FileKind, application_of, transaction
from edge_sim.sqlite_schema import Schema

INDEX = FileKind(
    noun="an index",
    application_id=0x65_53_69_78,  # "eSix"
    format=1,
    error=SearchError,
    remedy="delete its folder and build it again",
)
NAME = "index.db"
BUSY_TIMEOUT_S = 10.0

# `path` is what the file system says, which need not be text. A file without a content is unread,
# and `fault` says why. `changes` counts commits, so that files made from the rows can be dated.
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
CREATE TABLE tags (
    file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (file, tag)
) WITHOUT ROWID;
"""

_KNOWN = Schema(_SCHEMA)


def open_database(folder: Path, *, create: bool) -> sqlite3.Connection:
    """Return the open database of the index in `folder`; its schema is made if it is new.

    Raises:
        SearchError: No index there, one of a newer edge_sim, damaged, or not accessible.
    """
    path = folder / NAME
    if create:
        _make_folder(folder)
    elif not path.is_file():
        raise SearchError(
            f"{folder}: no index there; make one with `edge-sim index build DIR --out {folder}`"
        )
    with translated(path):
        _check_magic(path)
        connection = sqlite_file.connected(path, timeout_s=BUSY_TIMEOUT_S)
        try:
            _prepare(connection, path, create)
        except BaseException:
            connection.close()
            raise
    return connection


def translated(path: Path) -> AbstractContextManager[None]:
    """Turn errors of SQLite and of the disk into a `SearchError` of one line."""
    return sqlite_file.translated(path, INDEX)


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Make one transaction of what is done inside, and count it as a change."""
    with transaction(connection, writes=True):
        yield
        connection.execute(
            "UPDATE settings SET value = CAST(value AS INTEGER) + 1 WHERE name = 'changes'"
        )


def _make_folder(folder: Path) -> None:
    with translated(folder):
        if folder.is_dir():
            strangers = [item.name for item in folder.iterdir()]
            if strangers and NAME not in strangers:
                raise SearchError(
                    f"{folder}: not empty and no index; give --out a new or empty folder"
                )
        folder.mkdir(parents=True, exist_ok=True)


def _check_magic(path: Path) -> None:
    if path.is_file() and path.stat().st_size and application_of(path) is None:
        raise SearchError(f"{path}: not an index of edge_sim")


def _prepare(connection: sqlite3.Connection, path: Path, create: bool) -> None:
    if not sqlite_file.is_new(connection, path, INDEX):
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
        f"BEGIN IMMEDIATE; {_SCHEMA}; INSERT INTO settings VALUES ('changes', '0');"
        f"{sqlite_file.stamp(INDEX)} COMMIT;"
    )
