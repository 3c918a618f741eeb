"""Rows of an index that were imported as vectors: the SQL statements on their tables.

The content of an imported row is its id: tags stay with it when its vector is replaced. It has a
size of 0 x 0, and no thumbnail.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from edge_sim.core.types import FloatVector
from edge_sim.errors import SearchError
from edge_sim.search import attributes, rows


@dataclass(frozen=True, slots=True, eq=False)
class ImportedRow:
    """Vector with its id, a relative path or any other name."""

    name: str
    vector: FloatVector


@dataclass(slots=True)
class ImportReport:
    """Outcome of an import.

    Args:
        new: Ids that were not in the index.
        changed: Ids with another vector than before.
        unchanged: Ids with the vector that they had.
        gone: Ids of the index that the table does not have.
        left_out: Ids that stay left out by hand.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    left_out: int = 0


def put(connection: sqlite3.Connection, batch: Sequence[ImportedRow], report: ImportReport) -> None:
    """Write some rows, and count them; those that were left out by hand stay so.

    Raises:
        SearchError: The index holds vectors of another length.
    """
    width = str(batch[0].vector.size)
    connection.executemany(
        "INSERT OR IGNORE INTO settings VALUES (?, ?)", [("dimension", width), ("width", width)]
    )
    if (own := rows.settings(connection)["width"]) != width:
        raise SearchError(
            f"the vectors have {width} numbers, those of the index {own}; give another --out"
        )
    fresh = _fresh(connection, batch, report)
    first = rows.next_number(connection)
    connection.executemany(
        "INSERT INTO contents (id, sha256, width, height, sharpness, contrast, crc, vector, look) "
        "VALUES (?, ?, 0, 0, 0.0, 0.0, ?, ?, ?)",
        (
            (first + at, content_of(item.name), zlib.crc32(blob := _blob(item)), blob, b"")
            for at, item in enumerate(fresh)
        ),
    )
    connection.executemany(
        "INSERT INTO files (path, bytes, mtime_ns, content) VALUES (?, 0, -1, ?) "
        "ON CONFLICT (path) DO UPDATE SET content = excluded.content, fault = NULL",
        ((os.fsencode(item.name), first + at) for at, item in enumerate(fresh)),
    )
    rows.raise_last(connection, first + len(fresh))


def describe(
    connection: sqlite3.Connection,
    facts: Mapping[str, Mapping[str, str]],
    tags: Mapping[str, Iterable[str]],
) -> None:
    """Give the rows the attributes of the table, all others none; and add tags."""
    wanted = {content_of(name): own for name, own in facts.items()}
    attributes.replace_own(connection, wanted)
    connection.executemany(
        "INSERT OR IGNORE INTO content_tags VALUES (?, ?)",
        ((content_of(name), tag) for name, own in tags.items() for tag in own),
    )


def content_of(name: str) -> bytes:
    """Return what stands for the SHA-256 of a file."""
    return sha256(b"id\0" + os.fsencode(name)).digest()


def _blob(item: ImportedRow) -> bytes:
    return np.asarray(item.vector, "<f4").tobytes()


def _fresh(
    connection: sqlite3.Connection, batch: Sequence[ImportedRow], report: ImportReport
) -> list[ImportedRow]:
    """Return the rows to be written; the contents that they replace are gone then."""
    if connection.execute("SELECT 1 FROM files LIMIT 1").fetchone() is None:
        report.new += len(batch)
        return list(batch)
    fresh = []
    for item in batch:
        present = connection.execute(
            "SELECT content, fault, vector FROM files LEFT JOIN contents ON contents.id = content "
            "WHERE path = ?",
            (os.fsencode(item.name),),
        ).fetchone()
        if present is None:
            report.new += 1
        elif present[1] == rows.LEFT_OUT:
            report.left_out += 1
            continue
        elif present[2] == _blob(item):
            report.unchanged += 1
            continue
        else:
            report.changed += 1
            connection.execute(
                "UPDATE files SET content = NULL, fault = '' WHERE content = ?", (present[0],)
            )
            connection.execute("DELETE FROM contents WHERE id = ?", (present[0],))
        fresh.append(item)
    return fresh


def paths_but(connection: sqlite3.Connection, names: Iterable[str]) -> list[Path]:
    """Return the paths of the index that are none of these names."""
    kept = {os.fsencode(name) for name in names}
    found = connection.execute("SELECT path FROM files")
    return [Path(os.fsdecode(path)) for (path,) in found if path not in kept]
