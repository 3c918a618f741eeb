"""The SQLite file under the outbox: safe against power cuts, and every byte written is counted.

The write-ahead log is checkpointed here and not by SQLite, and cut to nothing each time. So its
size only grows in between, and what a commit wrote is how much it grew.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edge_sim.errors import SinkError
from edge_sim.outbox.meter import WriteMeter

logger = logging.getLogger(__name__)

APPLICATION_ID = 0x65_53_4F_62  # "eSOb"
FORMAT = 1
"""Goes up when an older edge_sim could not read the file any more."""

CHECKPOINT_BYTES = 1 << 20
"""A log of 1 MiB is some 100 events; replaying it after a crash takes milliseconds."""

# https://www.sqlite.org/fileformat.html#the_write_ahead_log
_LOG_HEADER, _FRAME_HEADER, _PAGE_NUMBER = 32, 24, 4
# Another process that looks into the file holds a commit up for no longer than this.
_BUSY_S = 1.0

_SCHEMA = (
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, kept_at_s REAL NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE latest (watch TEXT PRIMARY KEY, seq INTEGER NOT NULL, body BLOB NOT NULL)"
    " WITHOUT ROWID",
    "CREATE TABLE cursors (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
)


class Journal:
    """One connection to the file; used under the lock of the outbox.

    Args:
        connection: In autocommit mode.
        path: Of the file; None in memory.
        meter: Told of every byte.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path | None, meter: WriteMeter
    ) -> None:
        self._connection = connection
        self._log = None if path is None else Path(f"{path}-wal")
        self.meter = meter
        self._log_size = self._measured_log()
        self._page_size: int = connection.execute("PRAGMA page_size").fetchone()[0]

    @classmethod
    def open(cls, path: Path | None, meter: WriteMeter) -> Journal:
        """Open or make the file; None keeps everything in memory.

        A damaged file is moved aside, so that a device goes on without the events in it.

        Raises:
            SinkError: The file cannot be used, or belongs to another program.
        """
        try:
            return cls._opened(path, meter)
        except sqlite3.DatabaseError as error:
            if path is None or not _is_damage(error):
                raise SinkError(f"{path}: the outbox cannot be opened ({error})") from error
            _move_aside(path, error)
        try:
            return cls._opened(path, meter)
        except sqlite3.Error as error:
            raise SinkError(f"{path}: the outbox cannot be opened ({error})") from error

    @classmethod
    def _opened(cls, path: Path | None, meter: WriteMeter) -> Journal:
        connection = sqlite3.connect(
            ":memory:" if path is None else path,
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _prepare(connection, path)
            return cls(connection, path, meter)
        except BaseException:
            connection.close()
            raise

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what `query` selects."""
        return self._connection.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do everything inside or nothing, on disk at the end.

        Raises:
            sqlite3.Error: Nothing was done: the disk is full, gone or held by somebody else.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk rolls back by itself
                    self._connection.execute("ROLLBACK")
                raise
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
        self._connection.close()

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


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or tables):
        raise SinkError(f"{path} is a database of another program, not an outbox")
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit is on disk when it returns, also when the power fails right after.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA trusted_schema = OFF")
    if not tables:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("COMMIT")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > FORMAT:
        raise SinkError(
            f"{path} was written by a newer edge_sim (format {found}); upgrade edge_sim"
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"malformed: {verdict}")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    # By message: `sqlite_errorcode` came with Python 3.11.
    return any(sign in str(error) for sign in ("malformed", "no such table", "no such column"))


def _move_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    aside = path.with_name(f"{path.name}.damaged")
    try:
        for suffix in ("-wal", "-shm", ""):
            part = Path(f"{path}{suffix}")
            if part.exists():
                part.replace(f"{aside}{suffix}")
    except OSError as failure:
        raise SinkError(f"{path}: damaged, and cannot be moved ({failure.strerror})") from failure
    logger.error("outbox %s is damaged (%s): moved to %s, its events are lost", path, error, aside)
