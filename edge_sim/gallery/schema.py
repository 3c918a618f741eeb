"""Tables of the gallery file, and the check that a file has these and nothing else.

A file with any other schema is rejected: see `core.sqlite.Schema`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edge_sim.core.sqlite import Schema
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

_KNOWN = Schema(_FIRST_FORMAT, optional=";".join((SEALS, CALIBRATIONS, HEADS)))


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether the file has the table `name`."""
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(known, (name,)).fetchone() is not None


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `GalleryError` if the file holds anything but the tables and indexes of a gallery."""
    foreign = _KNOWN.foreign(connection)
    if foreign is not None:
        raise GalleryError(
            f"{path} is no gallery as edge_sim makes it: it holds the {foreign}; "
            f"it was left as it is and is not read"
        )
    missing = _KNOWN.missing(connection)
    if missing:
        raise sqlite3.DatabaseError(f"malformed: no {', '.join(missing)}")
