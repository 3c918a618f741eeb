"""Comparison of a storage with what an index has of it, in a temporary file instead of memory.

With ten million pictures, the paths alone would take some gigabytes as Python objects.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from edge_sim.core.sqlite import kept_path
from edge_sim.search.rows import LEFT_OUT, Known
from edge_sim.search.storage import UNKNOWN, StoredPicture

_SCHEMA = """
CREATE TABLE listed (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    key BLOB NOT NULL,
    start INTEGER NOT NULL
);
CREATE TABLE present (
    path BLOB PRIMARY KEY,
    bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    fault TEXT
) WITHOUT ROWID;
"""
_TO_READ = f"""
FROM listed LEFT JOIN present USING (path) WHERE (present.path IS NULL OR
(present.fault IS NOT '{LEFT_OUT}'
 AND (listed.bytes NOT IN ({UNKNOWN}, present.bytes) OR listed.mtime_ns != present.mtime_ns)))
"""
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class ListingCounts:
    """Numbers of pictures.

    Args:
        to_read: New and changed ones.
        unchanged: Those that the index has as they are, unreadable ones included.
        left_out: Those left out by hand.
    """

    to_read: int
    unchanged: int
    left_out: int


class Listing:
    """Pictures of a storage beside those of an index. Close it, or use `with`."""

    def __init__(self) -> None:
        # An empty name: a file of SQLite's own that nobody else sees.
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.executescript(_SCHEMA)

    def __enter__(self) -> Listing:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, items: Iterable[StoredPicture]) -> list[Path]:
        """Add what the storage holds; return the paths that it names more than once.

        Of several pictures under one path the last counts, as in a tar that was appended to.
        """
        twice = []
        rest = iter(items)
        while chunk := list(islice(rest, _CHUNK)):
            self._connection.execute("BEGIN")
            for item in chunk:
                name = os.fsencode(item.path)
                done = self._connection.execute("DELETE FROM listed WHERE path = ?", (name,))
                if done.rowcount:
                    twice.append(item.path)
                self._connection.execute(
                    "INSERT INTO listed (path, bytes, mtime_ns, key, start) VALUES (?, ?, ?, ?, ?)",
                    (name, item.size, item.mtime_ns, os.fsencode(item.key), item.offset),
                )
            self._connection.execute("COMMIT")
        return twice

    def add_present(self, items: Iterable[Known]) -> None:
        """Add what the index holds."""
        self._connection.execute("BEGIN")
        self._connection.executemany(
            "INSERT OR REPLACE INTO present VALUES (?, ?, ?, ?)",
            ((os.fsencode(item.path), item.size, item.mtime_ns, item.fault) for item in items),
        )
        self._connection.execute("COMMIT")

    def counts(self) -> ListingCounts:
        """Return how many pictures there are of each sort."""
        (to_read,) = self._connection.execute(f"SELECT count(*) {_TO_READ}").fetchone()
        (left_out,) = self._connection.execute(
            "SELECT count(*) FROM listed JOIN present USING (path) WHERE fault IS ?", (LEFT_OUT,)
        ).fetchone()
        (listed,) = self._connection.execute("SELECT count(*) FROM listed").fetchone()
        return ListingCounts(to_read, listed - to_read - left_out, left_out)

    def to_read(self) -> Iterator[tuple[StoredPicture, bool]]:
        """Yield the new and changed pictures, and whether each is new."""
        found = self._connection.execute(
            f"SELECT listed.path, listed.bytes, listed.mtime_ns, key, start, present.path IS NULL "
            f"{_TO_READ} ORDER BY listed.id"
        )
        for path, size, mtime_ns, key, start, is_new in found:
            item = StoredPicture(kept_path(path), size, mtime_ns, os.fsdecode(key), start)
            yield item, bool(is_new)

    def changed(self) -> Iterator[Path]:
        """Yield the pictures that the index has, but not as they are now."""
        found = self._connection.execute(
            f"SELECT listed.path {_TO_READ} AND present.path IS NOT NULL"
        )
        yield from (kept_path(path) for (path,) in found)

    def gone(self, below: Iterable[Path] = ()) -> Iterator[Path]:
        """Yield the pictures of the index that the storage does not hold any more.

        Args:
            below: Folders that could not be entered: it is unknown what they hold.
        """
        closed = tuple(below)
        found = self._connection.execute(
            "SELECT path FROM present WHERE path NOT IN (SELECT path FROM listed)"
        )
        for path in (kept_path(name) for (name,) in found):
            if not any(path.is_relative_to(folder) for folder in closed):
                yield path

    def unread(self) -> Iterator[tuple[Path, str]]:
        """Yield the pictures that could not be read and did not change, with the reasons."""
        found = self._connection.execute(
            "SELECT path, fault FROM listed JOIN present USING (path, mtime_ns) "
            "WHERE fault IS NOT NULL AND fault != ? AND listed.bytes IN (?, present.bytes)",
            (LEFT_OUT, UNKNOWN),
        )
        for path, fault in found:
            yield kept_path(path), str(fault)
