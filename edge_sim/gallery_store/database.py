"""The SQLite file under the store: making it, opening it, and saying plainly what is wrong."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import AbstractContextManager, closing
from pathlib import Path

from edge_sim import sqlite_file
from edge_sim.errors import GalleryError
from edge_sim.sqlite_file import FileKind, application_of, check_format, transaction

__all__ = ["open_database", "transaction", "translated"]

GALLERY = FileKind(
    noun="a gallery",
    application_id=0x65_53_69_6D,  # "eSim"
    format=1,
    error=GalleryError,
    remedy="restore a copy, or move it away and enrol again",
)
BUSY_TIMEOUT_S = 10.0
"""How long to wait for another writer: far longer than any change of a sane gallery takes."""

# `until` is the first revision that a row is no longer part of; null as long as it is.
_SCHEMA = """
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


def open_database(
    path: Path, *, create: bool, read_only: bool, timeout_s: float
) -> sqlite3.Connection:
    """Return a checked connection to the gallery file at `path`.

    A new file is made beside its place and then linked there, so that a power cut leaves either
    no gallery or an empty one, and a file that is there already is never written over.

    Raises:
        GalleryError: There is no file, it is no gallery, damaged, or of a newer edge_sim.
    """
    with translated(path):
        if not path.exists():
            if not create or read_only:
                raise GalleryError(
                    f"there is no gallery at {path}; `edge-sim gallery add` makes one"
                )
            _create(path)
        _check_header(path)
        connection = _connect(path, read_only, timeout_s)
    try:
        with translated(path):
            check_format(connection, path, GALLERY)
    except BaseException:
        connection.close()
        raise
    return connection


def translated(path: Path) -> AbstractContextManager[None]:
    """Turn errors of SQLite and of the file system into `GalleryError`, cause kept."""
    return sqlite_file.translated(path, GALLERY)


def _create(path: Path) -> None:
    if not path.parent.is_dir():
        raise GalleryError(f"{path}: there is no folder {path.parent}; make it first")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            # 8 kB: a reference is about 14 kB without its picture; reads twice as fast as 4 kB.
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            connection.executescript(sqlite_file.stamp(GALLERY))
            # Where the file system cannot do WAL, SQLite keeps its rollback journal: as safe.
            connection.execute("PRAGMA journal_mode = WAL")
        _put_in_place(temporary, path)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{temporary}{suffix}").unlink(missing_ok=True)


def _put_in_place(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return  # another process was quicker; its gallery is as good
    except OSError:
        temporary.rename(path)  # a file system without hard links, as on many SD cards
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _check_header(path: Path) -> None:
    if path.is_dir():
        raise GalleryError(f"{path} is a directory, not a gallery file")
    found = application_of(path)
    if found is None:
        raise GalleryError(
            f"{path} is not a gallery file, or its start is damaged; it was left as it is"
        )
    if found != GALLERY.application_id:
        raise GalleryError(f"{path} is a database of another program, not a gallery file")


def _connect(path: Path, read_only: bool, timeout_s: float) -> sqlite3.Connection:
    uri = path.absolute().as_uri()
    if not read_only:
        return _checked(f"{uri}?mode=rw", timeout_s)
    try:
        return _checked(f"{uri}?mode=ro", timeout_s)
    except sqlite3.OperationalError:
        # WAL needs to write a file beside the gallery. Where that is impossible nobody else
        # writes either, so the file may be taken as immutable, unless a crash left work undone.
        wal = Path(f"{path}-wal")
        effective = os.access in os.supports_effective_ids
        writable = os.access(path.parent, os.W_OK, effective_ids=effective)
        if writable or (wal.exists() and wal.stat().st_size):
            raise
        return _checked(f"{uri}?mode=ro&immutable=1", timeout_s)


def _checked(uri: str, timeout_s: float) -> sqlite3.Connection:
    """Return a connection whose light tables are sound; big ones are checked as they are read."""
    connection = sqlite_file.connected(uri, timeout_s=timeout_s, uri=True)
    try:
        for table in ("revisions", "versions"):
            (verdict,) = connection.execute(f"PRAGMA integrity_check({table})").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(f"malformed: {verdict}")
    except BaseException:
        connection.close()
        raise
    return connection
