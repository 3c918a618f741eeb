"""The SQLite file under the store: making it, opening it, and saying plainly what is wrong."""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
import time
from contextlib import AbstractContextManager, closing
from pathlib import Path

from edge_sim import sqlite_file
from edge_sim.errors import GalleryError
from edge_sim.gallery_store import seals
from edge_sim.gallery_store.checking import check_content
from edge_sim.gallery_store.schema import SCHEMA, check_schema
from edge_sim.private_file import make_private
from edge_sim.sqlite_file import FileKind, application_of, check_format, transaction

__all__ = ["open_database", "transaction", "translated"]

GALLERY = FileKind(
    noun="a gallery",
    application_id=0x65_53_69_6D,  # "eSim"
    format=2,
    oldest=1,
    error=GalleryError,
    remedy=(
        "put a copy in its place with `edge-sim gallery restore COPY`, "
        "or move it away and enrol again"
    ),
)
_LOOKS_AT_LOG = 5
_BETWEEN_LOOKS_S = 0.1
BUSY_TIMEOUT_S = 10.0
"""How long to wait for another writer: far longer than any change of a sane gallery takes."""


def open_database(
    path: Path, *, create: bool, read_only: bool, timeout_s: float
) -> sqlite3.Connection:
    """Return a checked connection to the gallery file at `path`.

    A new file is made beside its place and then linked there, so that a power cut leaves either
    no gallery or an empty one, and a file that is there already is never written over.

    Raises:
        GalleryError: There is no file, it is no gallery, damaged, mixed with the log of another,
            or of a newer edge_sim.
    """
    with translated(path):
        if not path.exists():
            if not create or read_only:
                raise GalleryError(
                    f"there is no gallery at {path}; `edge-sim gallery add` makes one"
                )
            _create(path)
        check_header(path)
        if seals.has_log(path):
            _check_log(path, timeout_s)
        connection = _connect(path, read_only, timeout_s)
    try:
        with translated(path):
            check_format(connection, path, GALLERY)
            with transaction(connection, writes=False):
                check_content(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def translated(path: Path) -> AbstractContextManager[None]:
    """Turn errors of SQLite and of the file system into `GalleryError`, cause kept."""
    return sqlite_file.translated(path, GALLERY)


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return what tells one file from another in the same place; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _create(path: Path) -> None:
    if not path.parent.is_dir():
        raise GalleryError(f"{path}: there is no folder {path.parent}; make it first")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        _make_private(temporary, path)
        with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            # 8 kB: a reference is about 14 kB without its picture; reads twice as fast as 4 kB.
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
            connection.executescript(sqlite_file.stamp(GALLERY))
            # Where the file system cannot do WAL, SQLite keeps its rollback journal: as safe.
            connection.execute("PRAGMA journal_mode = WAL")
        sqlite_file.put_in_place(temporary, path)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{temporary}{suffix}").unlink(missing_ok=True)


def _make_private(temporary: Path, path: Path) -> None:
    try:
        make_private(temporary)
    except OSError as error:
        reason = error.strerror or error
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            reason = f"its directory is not readable and writable ({reason})"
        raise GalleryError(f"{path}: the gallery cannot be made: {reason}") from error


def check_header(path: Path) -> None:
    """Raise `GalleryError` if the file at `path` is no gallery by its header.

    Raises:
        GalleryError: It is a directory, no file of SQLite, or one of another program.
        sqlite3.Error: It cannot be read.
    """
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
    """Return a connection that has read the header of the file."""
    connection = sqlite_file.connected(uri, timeout_s=timeout_s, uri=True)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def opened_alone(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Return a connection to the file without the log beside it, its content checked.

    Raises:
        GalleryError: It is no gallery, or damaged.
    """
    with translated(path):
        connection = _checked(f"{path.absolute().as_uri()}?mode=ro&immutable=1", timeout_s)
    try:
        with translated(path):
            check_format(connection, path, GALLERY)
            check_content(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_log(path: Path, timeout_s: float) -> None:
    """Raise `GalleryError` if the log beside the file is of another file.

    The file is opened for reading only: a connection that may write plays the log into the file
    when it is closed, and the copy that somebody has just put there would be lost.
    """
    for _ in range(_LOOKS_AT_LOG):
        if not _is_stray_log(path, timeout_s):
            return
        time.sleep(_BETWEEN_LOOKS_S)  # another process may be writing the log back just now
    raise GalleryError(
        f"{path}: the log beside it ({seals.log_of(path).name}) is of another state of the "
        f"gallery, as after a copy was put over it; nothing was changed: "
        f"`edge-sim gallery restore COPY` takes the copy and puts the log away"
    )


def _is_stray_log(path: Path, timeout_s: float) -> bool:
    uri = path.absolute().as_uri()
    try:
        with closing(_checked(f"{uri}?mode=ro&immutable=1", timeout_s)) as own:
            check_schema(own, path)
            base = seals.latest(own)
        with closing(_checked(f"{uri}?mode=ro", timeout_s)) as seen:
            if not seals.has_log(path) or base is None:
                return False
            check_schema(seen, path)
            with transaction(seen, writes=False):
                return seals.is_stray(base, seen)
    except (sqlite3.Error, GalleryError, ValueError):
        return False  # damaged otherwise, or not readable: said by whoever opens it next
