"""Tables of the gallery file, and the check that a file has these and nothing else.

A file that comes from elsewhere may hold views that never end, triggers, or tables that compute
their columns. None of them is ever evaluated: a file whose schema is not exactly ours is refused.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from edge_sim.errors import GalleryError

# `until` is the first revision that a row is no longer part of; null as long as it is.
_FIRST_FORMAT = """
CREATE TABLE revisions (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    at TEXT NOT NULL,
    verb TEXT NOT NULL,
    detail TEXT NOT NULL,
    -- The revision with the same content: itself, or an earlier one after `undo`.
    content INTEGER NOT NULL CHECK (content BETWEEN 0 AND number)
);
CREATE TABLE pictures (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    encoded BLOB NOT NULL
);
CREATE TABLE embeddings (
    id INTEGER PRIMARY KEY,
    picture INTEGER NOT NULL REFERENCES pictures,
    model_id TEXT NOT NULL,
    grid TEXT,
    crc INTEGER NOT NULL,
    vector BLOB NOT NULL,
    spatial BLOB,
    thumbnail BLOB NOT NULL
);
CREATE TABLE versions (
    id INTEGER PRIMARY KEY,
    ordinal INTEGER NOT NULL,
    watch TEXT NOT NULL,
    state TEXT NOT NULL,
    embedding INTEGER NOT NULL REFERENCES embeddings,
    condition TEXT NOT NULL,
    enrolled_at TEXT NOT NULL,
    metadata TEXT NOT NULL,
    tags TEXT NOT NULL,
    crc INTEGER NOT NULL,
    since INTEGER NOT NULL REFERENCES revisions,
    until INTEGER REFERENCES revisions CHECK (until > since)
);
CREATE UNIQUE INDEX versions_live ON versions (ordinal) WHERE until IS NULL;
CREATE INDEX embeddings_picture ON embeddings (picture);
CREATE INDEX versions_embedding ON versions (embedding);
CREATE INDEX versions_ordinal ON versions (ordinal);
CREATE INDEX versions_since ON versions (since);
CREATE INDEX versions_until ON versions (until);
"""

SEALS = """
CREATE TABLE IF NOT EXISTS seals (
    revision INTEGER PRIMARY KEY,
    -- The revision that was complete in the file itself, without the log beside it.
    base INTEGER NOT NULL,
    last_ordinal INTEGER NOT NULL,
    content TEXT NOT NULL,
    chain BLOB NOT NULL
)
"""

CALIBRATIONS = """
CREATE TABLE IF NOT EXISTS calibrations (
    watch TEXT NOT NULL,
    score TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (watch, score)
)
"""

HEADS = """
CREATE TABLE IF NOT EXISTS heads (
    id INTEGER PRIMARY KEY,
    watch TEXT NOT NULL,
    facts TEXT NOT NULL,
    numbers BLOB NOT NULL,
    crc INTEGER NOT NULL,
    since INTEGER NOT NULL REFERENCES revisions,
    until INTEGER REFERENCES revisions CHECK (until > since)
)
"""

SCHEMA = f"{_FIRST_FORMAT}{SEALS};"
"""Statements that make a new gallery."""

_COMMENT = re.compile(r"--[^\n]*")
_NAMED = re.compile(r"CREATE (?:UNIQUE )?(TABLE|INDEX) (\w+)(?: ON (\w+))?")
_STATISTICS = frozenset({"sqlite_stat1", "sqlite_stat4"})
_MOST_OBJECTS = 64


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether the file has the table `name`."""
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(known, (name,)).fetchone() is not None


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `GalleryError` if the file holds anything but the tables and indexes of a gallery."""
    found = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT ?", (_MOST_OBJECTS + 1,)
    ).fetchall()
    missing = set(_REQUIRED)
    for kind, name, table, text in found:
        if _is_automatic(kind, name, table, text):
            continue
        statement = _plain(str(text))
        if _EXPECTED.get((kind, name, table)) != statement:
            raise GalleryError(
                f"{path} is no gallery as edge_sim makes it: it holds the {kind} {name[:40]!a}; "
                f"it was left as it is and is not read"
            )
        missing.discard(name)
    if missing:
        raise sqlite3.DatabaseError(f"malformed: no {', '.join(sorted(missing))}")


def _is_automatic(kind: str, name: str, table: str, text: str | None) -> bool:
    """Return whether SQLite made an object by itself: names that begin so are reserved for it."""
    own_index = kind == "index" and text is None and name.startswith("sqlite_autoindex_")
    return (own_index and table in _TABLES) or (kind == "table" and name in _STATISTICS)


def _plain(statement: str) -> str:
    bare = " ".join(_COMMENT.sub("", statement).split())
    return bare.replace("IF NOT EXISTS ", "")


def _expected(statements: str) -> dict[tuple[str, str, str], str]:
    found = {}
    for statement in map(_plain, statements.split(";")):
        named = _NAMED.match(statement)
        if named:
            kind, name, table = named.groups()
            found[kind.lower(), name, table or name] = statement
    return found


_REQUIRED = frozenset(name for _, name, _ in _expected(_FIRST_FORMAT))
_EXPECTED = _expected(";".join((_FIRST_FORMAT, SEALS, CALIBRATIONS, HEADS)))
_TABLES = frozenset(table for _, _, table in _EXPECTED)
