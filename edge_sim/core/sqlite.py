"""Common parts of every SQLite file of edge_sim: identity, settings, schema check, error texts.

No sqlite3 error leaves the packages that keep a file: `translated` turns each into one line of
their own error. A file carries an application id and a format, so that one of another program, or
of a newer edge_sim, is left as it is.

A file from elsewhere may hold views that never end, triggers, or tables that compute their
columns. Nothing in a file is evaluated before its schema was found to be exactly our own.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge_sim.core.files import sync_folder
from edge_sim.errors import AccessError, EdgeSimError


@dataclass(frozen=True, slots=True)
class FileKind:
    """Kind of a file.

    Args:
        noun: Noun for messages with its article, as in `an index`.
        application_id: Number in the header of the file.
        format: Number of the format; raised when an older edge_sim could not read the file.
        error: Class of the errors about such a file.
        remedy: Advice for a damaged file.
        oldest: First format that is still read; None for `format` alone.
    """

    noun: str
    application_id: int
    format: int
    error: type[EdgeSimError]
    remedy: str
    oldest: int | None = None

    @property
    def bare_noun(self) -> str:
        """Noun without the article."""
        return self.noun.partition(" ")[2]


def application_of(path: Path) -> int | None:
    """Return the application id in the header of a file; None if it is no file of SQLite.

    Read through SQLite, never with `open`: on POSIX a process that closes a file loses all its
    locks on it, those of its connections too, and another process could then remove the log
    (https://www.sqlite.org/howtocorrupt.html, 2.2).

    Raises:
        sqlite3.Error: It cannot be opened, or is damaged.
        OSError: Its size cannot be read.
    """
    if not path.stat().st_size:  # to SQLite an empty file is an empty database
        return None
    place = f"{path.absolute().as_uri()}?mode=ro"
    try:
        try:
            return _application_in(place)
        except sqlite3.OperationalError as error:
            if not any(sign in str(error) for sign in ("unable to open", "readonly")):
                raise
            # No file can be made beside it, so no process changes it either.
            return _application_in(f"{place}&immutable=1")
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            return None
        raise


def _application_in(place: str) -> int:
    with closing(sqlite3.connect(place, uri=True)) as connection:
        return int(connection.execute("PRAGMA application_id").fetchone()[0])


def connected(
    place: str | Path, *, timeout_s: float, uri: bool = False, any_thread: bool = False
) -> sqlite3.Connection:
    """Return a connection in autocommit mode that trusts nothing in the file.

    Args:
        place: Path, `:memory:`, or with `uri` a `file:` URI.
        timeout_s: Longest wait for another process, seconds.
        uri: True if `place` is a URI.
        any_thread: True if threads share it under a lock of the caller.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    connection = sqlite3.connect(
        place,
        timeout=timeout_s,
        isolation_level=None,
        uri=uri,
        check_same_thread=not any_thread,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        # A commit is on disk when it returns, also when the power fails right after.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def put_in_place(temporary: Path, path: Path) -> None:
    """Move a finished file to its name; an existing file is never overwritten.

    Raises:
        OSError: It cannot be done.
    """
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return  # another process was quicker; its gallery is as good
    except OSError:
        temporary.rename(path)  # a file system without hard links, as on many SD cards
    sync_folder(path.parent)


def write_back(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Empty the write-ahead log beside a file, unless another process is reading it.

    An empty log cannot be applied to a copy that replaces the file.
    """
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {round(timeout_s * 1000)}")


def is_new(connection: sqlite3.Connection, path: Path | None, kind: FileKind) -> bool:
    """Return whether the file is empty, so that its schema may be made.

    Raises:
        EdgeSimError: `kind.error`: it belongs to another program, or to another edge_sim.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != kind.application_id:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application or tables:
            raise kind.error(f"{path} is a database of another program, not {kind.noun}")
        return True
    check_format(connection, path, kind)
    return False


def check_format(connection: sqlite3.Connection, path: Path | None, kind: FileKind) -> None:
    """Raise `kind.error` if the file is of a format that this edge_sim does not know."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > kind.format:
        raise kind.error(
            f"{path} was written by a newer edge_sim (format {found}, this one knows "
            f"{kind.format}); upgrade edge_sim"
        )
    if found < (kind.format if kind.oldest is None else kind.oldest):
        raise kind.error(f"{path} has the unknown {kind.bare_noun} format {found}")


def stamp(kind: FileKind) -> str:
    """Return the statements that mark the kind of a file, to be run with its schema."""
    return f"PRAGMA application_id = {kind.application_id}; PRAGMA user_version = {kind.format};"


@contextmanager
def transaction(connection: sqlite3.Connection, *, writes: bool) -> Iterator[None]:
    """Commit everything inside or nothing; reads inside see one snapshot."""
    connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself, on a full disk for instance.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: Path, kind: FileKind) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into `kind.error`, cause kept."""
    try:
        yield
    except sqlite3.Error as error:
        raise kind.error(f"{path}: {explained(error, kind)}") from error
    except OverflowError as error:  # of sqlite3: a number beyond 64 bits
        raise kind.error(f"{path}: a number is too large for {kind.noun} ({error})") from error
    except AccessError as error:
        raise kind.error(str(error)) from error
    except OSError as error:
        raise kind.error(f"{error.filename or path}: {error.strerror or error}") from error


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means that a file is not as SQLite wrote it."""
    # By message, because `sqlite_errorname` came with Python 3.11; but to SQLite 3.53 a file that
    # ends within a page is a failure of the disk, and only the name distinguishes it.
    cut_short = getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_SHORT_READ"
    return cut_short or any(sign in str(error) for sign in _DAMAGE)


def explained(error: sqlite3.Error, kind: FileKind) -> str:
    """Return an error in words for the user."""
    text, noun = str(error), kind.bare_noun
    damaged = f"the {noun} file is damaged; it was left as it is: {kind.remedy}"
    if is_damage(error):
        return damaged
    for sign, meaning in _MEANINGS.items():
        if sign in text:
            return meaning.format(noun=noun)
    return damaged if type(error) is sqlite3.DatabaseError else f"SQLite says: {text}"


_DAMAGE = ("malformed", "no such table", "no such column", "Could not decode", "integer overflow")
_MEANINGS = {
    "locked": "another process is writing the {noun}; try again",
    "busy": "another process is writing the {noun}; try again",
    "readonly": "the {noun} cannot be written: the disk, the file or this access is read-only",
    "disk is full": "the disk is full; nothing was changed, make room and try again",
    "disk I/O error": ("the disk failed while the {noun} was read or written; nothing was changed"),
    "unable to open": (
        "the {noun} cannot be opened: the file or its directory is not readable and writable"
    ),
}


_COMMENT = re.compile(r"--[^\n]*")
_NAMED = re.compile(r"CREATE (?:UNIQUE )?(TABLE|INDEX) (\w+)(?: ON (\w+))?")
_STATISTICS = frozenset({"sqlite_stat1", "sqlite_stat4"})
_MOST_OBJECTS = 64


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables and indexes of a kind of file.

    Args:
        required: Statements of those that every file has.
        optional: Statements of those that a file may have.
    """

    required: str
    optional: str = ""
    _expected: Mapping[tuple[str, str, str], str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        expected = {**_statements(self.required), **_statements(self.optional)}
        object.__setattr__(self, "_expected", expected)

    def foreign(self, connection: sqlite3.Connection) -> str | None:
        """Return the first object in a file that is not in the schema, as in `view 'x'`."""
        for kind, name, table, text in _objects(connection):
            if self._is_automatic(kind, name, table, text):
                continue
            if self._expected.get((kind, name, table)) != _plain(str(text)):
                return f"{kind} {name[:40]!a}"
        return None

    def missing(self, connection: sqlite3.Connection) -> tuple[str, ...]:
        """Return the names of required objects that the file lacks."""
        names = {name for _, name, _, _ in _objects(connection)}
        return tuple(name for _, name, _ in _statements(self.required) if name not in names)

    def _is_automatic(self, kind: str, name: str, table: str, text: str | None) -> bool:
        """Return whether SQLite made an object itself, under a name reserved for it."""
        own_index = kind == "index" and text is None and name.startswith("sqlite_autoindex_")
        if own_index:
            return any(table == known for _, _, known in self._expected)
        return kind == "table" and name in _STATISTICS


def _objects(connection: sqlite3.Connection) -> list[tuple[str, str, str, str | None]]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT ?"
    return connection.execute(query, (_MOST_OBJECTS,)).fetchall()


def _plain(statement: str) -> str:
    bare = " ".join(_COMMENT.sub("", statement).split())
    return bare.replace("IF NOT EXISTS ", "")


def _statements(text: str) -> dict[tuple[str, str, str], str]:
    found = {}
    for statement in map(_plain, text.split(";")):
        named = _NAMED.match(statement)
        if named:
            kind, name, table = named.groups()
            found[kind.lower(), name, table or name] = statement
    return found


def kept_path(value: object) -> Path:
    """Return the path that a column of bytes holds; SQLite keeps any type in any column.

    Raises:
        TypeError: It holds no bytes.
        ValueError: It holds a NUL.
    """
    if not isinstance(value, bytes):
        raise TypeError(f"a path of the type {type(value).__name__}")
    if b"\0" in value:
        raise ValueError("a path holds a NUL")
    return Path(os.fsdecode(value))
