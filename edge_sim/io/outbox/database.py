"""SQLite file of the outbox: safe against power cuts, with a count of the bytes written.

SD cards wear out, so bytes are counted in total and for the last day.

The write-ahead log is checkpointed here and not by SQLite, and cut to nothing each time. So its
size only grows in between, and what a commit wrote is how much it grew.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edge_sim.core import sqlite
from edge_sim.core.files import FileLock, exists, make_private
from edge_sim.core.sqlite import FileKind, Schema, is_damage, transaction
from edge_sim.errors import SinkError

_HOUR_S = 3600.0
_HOURS = 24


class WriteMeter:
    """Counter of bytes, in total and over the last 24 hours, by the hour.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._total = 0
        self._hours: deque[tuple[int, int]] = deque()

    def add(self, written: int) -> None:
        """Count `written` bytes now."""
        if written <= 0:
            return
        self._total += written
        hour = self._hour()
        before = self._hours.pop()[1] if self._hours and self._hours[-1][0] == hour else 0
        self._hours.append((hour, before + written))
        self._forget(hour)

    @property
    def total(self) -> int:
        """Bytes since the start."""
        return self._total

    @property
    def last_day(self) -> int:
        """Bytes of this hour and the 23 before it."""
        self._forget(self._hour())
        return sum(written for _, written in self._hours)

    def _hour(self) -> int:
        return int(self._clock() // _HOUR_S)

    def _forget(self, hour: int) -> None:
        while self._hours and self._hours[0][0] <= hour - _HOURS:
            self._hours.popleft()


logger = logging.getLogger(__name__)

OUTBOX = FileKind(
    noun="an outbox",
    application_id=0x65_53_4F_62,  # "eSOb"
    format=1,
    error=SinkError,
    remedy="it is renamed when edge_sim starts",
)

CHECKPOINT_BYTES = 1 << 20
"""A log of 1 MiB is some 100 events; replaying it after a crash takes milliseconds."""

# https://www.sqlite.org/fileformat.html#the_write_ahead_log
_LOG_HEADER, _FRAME_HEADER, _PAGE_NUMBER = 32, 24, 4
# Another process that reads the file delays a commit for no longer than this.
_BUSY_S = 1.0

_SCHEMA = """
CREATE TABLE events (seq INTEGER PRIMARY KEY, kept_at_s REAL NOT NULL, body BLOB NOT NULL);
CREATE TABLE latest (watch TEXT PRIMARY KEY, seq INTEGER NOT NULL, body BLOB NOT NULL)
    WITHOUT ROWID;
CREATE TABLE cursors (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
"""

_KNOWN = Schema(_SCHEMA)
_MAGIC = b"SQLite format 3"
_MAGIC_BYTES = 100


class Journal:
    """One connection to the file; used under the lock of the outbox.

    Args:
        connection: Connection in autocommit mode.
        path: Path of the file; None in memory.
        meter: Counter of written bytes.
        lock: Lock on the file, released by `close`.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path | None,
        meter: WriteMeter,
        lock: FileLock | None = None,
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._log = None if path is None else Path(f"{path}-wal")
        self.meter = meter
        self._log_size = self._measured_log()
        self._page_size: int = connection.execute("PRAGMA page_size").fetchone()[0]

    @classmethod
    def open(cls, path: Path | None, meter: WriteMeter) -> Journal:
        """Open or make the file; None keeps everything in memory.

        A damaged file is renamed, so that a device continues without the events in it.

        Raises:
            SinkError: The file cannot be used, belongs to another program, or another process
                uses it.
        """
        lock = None if path is None else _locked(path)
        try:
            try:
                return cls._opened(path, meter, lock)
            except sqlite3.DatabaseError as error:
                if path is None or lock is None or not _is_damaged(path, error, lock):
                    raise
                _rename_damaged(path, error)
            return cls._opened(path, meter, lock)
        except BaseException as error:
            if lock is not None:
                lock.release()
            if isinstance(error, sqlite3.Error):
                raise SinkError(f"{path}: the outbox cannot be opened ({error})") from error
            raise

    @classmethod
    def _opened(cls, path: Path | None, meter: WriteMeter, lock: FileLock | None) -> Journal:
        connection = None
        try:
            if path is not None and not exists(path):
                make_private(path)
            place = ":memory:" if path is None else path
            connection = sqlite.connected(place, timeout_s=_BUSY_S, any_thread=True)
            _prepare(connection, path)
            if lock is not None:
                lock.mark()
            return cls(connection, path, meter, lock)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, OSError) and not isinstance(error, SinkError):
                reason = error.strerror or error
                raise SinkError(f"{path}: the outbox cannot be opened ({reason})") from error
            raise

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what `query` selects."""
        return self._connection.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do everything inside or nothing, on disk at the end.

        Raises:
            sqlite3.Error: Nothing was done: the disk is full or gone, or another process holds it.
        """
        try:
            with transaction(self._connection, writes=True):
                yield self._connection
        finally:
            self._count()
        if self._log_size > CHECKPOINT_BYTES:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Write the log back into the file and empty it; tried again later if it cannot be."""
        pages = self._distinct_pages()
        try:
            (busy, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            logger.debug("outbox: no checkpoint now: %s", error)
            return
        if not busy:
            self.meter.add(pages * self._page_size)
            self._log_size = self._measured_log()

    def close(self) -> None:
        """Write everything back and close; safe to call twice."""
        with suppress(sqlite3.Error):
            self.checkpoint()
        with suppress(sqlite3.Error):
            self._connection.close()
        if self._lock is not None:
            self._lock.release()

    def _count(self) -> None:
        size = self._measured_log()
        self.meter.add(size - self._log_size)
        self._log_size = size

    def _measured_log(self) -> int:
        if self._log is None:
            return 0
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _distinct_pages(self) -> int:
        """Return how many pages the log holds: what a checkpoint writes."""
        if self._log is None or self._log_size == 0:
            return 0
        step = _FRAME_HEADER + self._page_size
        try:
            with self._log.open("rb") as log:
                starts = range(_LOG_HEADER, self._log_size - step + 1, step)
                return len({os.pread(log.fileno(), _PAGE_NUMBER, start) for start in starts})
        except OSError:
            return 0


def _locked(path: Path) -> FileLock:
    try:
        return FileLock(Path(f"{path}.lock"))
    except BlockingIOError as error:
        raise SinkError(
            f"{path}: another edge_sim uses this outbox; give each daemon an outbox.path of its own"
        ) from error
    except OSError as error:
        raise SinkError(
            f"{path}: the outbox cannot be opened ({error.strerror or error})"
        ) from error


def _is_damaged(path: Path, error: sqlite3.DatabaseError, lock: FileLock) -> bool:
    """Return whether the file is a damaged outbox, not a file of another kind."""
    if is_damage(error):
        return True
    if "not a database" not in str(error):
        return False
    # Its first page is damaged. Whatever else was named by mistake is not moved away.
    if lock.is_marked:
        return True
    with suppress(OSError), path.open("rb") as file:
        start = file.read(_MAGIC_BYTES)
        return start == bytes(len(start)) or start.startswith(_MAGIC)
    return False


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    fresh = sqlite.is_new(connection, path, OUTBOX)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    if fresh:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {sqlite.stamp(OUTBOX)} COMMIT;")
    foreign = _KNOWN.foreign(connection)
    missing = _KNOWN.missing(connection)
    if foreign is not None or missing:
        raise sqlite3.DatabaseError(f"malformed: {foreign or f'no {missing[0]}'}")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"malformed: {verdict}")


def _rename_damaged(path: Path, error: sqlite3.DatabaseError) -> None:
    renamed = path.with_name(f"{path.name}.damaged")
    try:
        for suffix in ("-wal", "-shm", ""):
            part = Path(f"{path}{suffix}")
            if exists(part):
                part.replace(f"{renamed}{suffix}")
    except OSError as failure:
        raise SinkError(f"{path}: damaged, and cannot be moved ({failure.strerror})") from failure
    logger.error(
        "outbox %s is damaged (%s): moved to %s, its events are lost", path, error, renamed
    )
