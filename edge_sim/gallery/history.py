"""Reading of the gallery file at any revision, inside a transaction."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any

from edge_sim.core.images import decode
from edge_sim.core.types import Reference
from edge_sim.errors import GalleryError
from edge_sim.gallery import database, integrity
from edge_sim.gallery import head as head_rows
from edge_sim.gallery.records import Alteration, Difference, ReferenceRecord, Revision

_AT = "v.since <= :revision AND (v.until IS NULL OR v.until > :revision)"
"""Condition of a row that is part of the gallery at a revision."""

_FEW_REVISIONS = 20
"""Greatest number of revisions that are read one by one."""

_CONTENT = ", ".join(f"v.{name}" for name in (*database.CONTENT_COLUMNS, "crc"))
_EMBEDDED = ", ".join(f"e.{name}" for name in database.EMBEDDING_COLUMNS)
_JOINED = "FROM versions v JOIN embeddings e ON e.id = v.embedding"
_REFERENCES = f"SELECT {_CONTENT}, {_EMBEDDED} {_JOINED}"
_RECORDS = f"SELECT {_CONTENT}, e.model_id, v.since {_JOINED}"


def head(connection: sqlite3.Connection) -> int:
    """Return the number of the last revision; 0 if there is none."""
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM revisions").fetchone()[0])


def checked_revision(connection: sqlite3.Connection, revision: int | None) -> int:
    """Return an existing revision; None means the last one.

    Raises:
        GalleryError: There is none of this number.
    """
    last = head(connection)
    if revision is None:
        return last
    if not 0 <= revision <= last:
        raise GalleryError(f"there is no revision {revision}; the gallery is at {last}")
    return revision


def content_of(connection: sqlite3.Connection, revision: int) -> int:
    """Return the earliest revision with the same content, as far as `undo` knows."""
    if revision <= 0:
        return 0
    found = connection.execute("SELECT content FROM revisions WHERE number = ?", (revision,))
    return int(found.fetchone()[0])


def check_model(references: Sequence[Reference], watch: str, model_id: str | None) -> None:
    """Raise `GalleryError` if some references of the watch are of another model; None is any."""
    others = {item.embedding.model_id for item in references} - {model_id}
    if others and model_id is not None:
        raise GalleryError(
            f"the references of watch {watch!r} were made with the model "
            f"{', '.join(sorted(others))}, not with {model_id}; "
            f"run `edge-sim gallery reembed` or use that model"
        )


def references_at(connection: sqlite3.Connection, watch: str, revision: int) -> list[Reference]:
    """Return the references of a watch, in order of enrolment."""
    found = database.references_of(
        connection.execute(
            f"{_REFERENCES} WHERE v.watch = :watch AND {_AT} ORDER BY v.ordinal",
            {"watch": watch, "revision": revision},
        )
    )
    # Each page was read once: SQLite would hold the last 2 MB of them for as long as it is open.
    connection.execute("PRAGMA shrink_memory")
    return found


def references_of(
    connection: sqlite3.Connection, reference_ids: Iterable[str], revision: int
) -> dict[str, Reference]:
    """Return references by id, of whatever watch; those that were not there are left out."""
    found = [
        connection.execute(
            f"{_REFERENCES} WHERE v.ordinal = :ordinal AND {_AT}",
            {"ordinal": database.ordinal_of(reference_id), "revision": revision},
        )
        for reference_id in reference_ids
    ]
    return {item.reference_id: item for item in database.references_of(chain.from_iterable(found))}


def records_at(connection: sqlite3.Connection, revision: int) -> tuple[ReferenceRecord, ...]:
    """Return the records of a revision, in order of enrolment."""
    found = connection.execute(f"{_RECORDS} WHERE {_AT} ORDER BY v.ordinal", {"revision": revision})
    return tuple(database.records_of(found))


def count_at(connection: sqlite3.Connection, revision: int) -> int:
    """Return how many references a revision has, of all watches together."""
    found = connection.execute(
        f"SELECT count(*) FROM versions v WHERE {_AT}", {"revision": revision}
    )
    return int(found.fetchone()[0])


def crop(connection: sqlite3.Connection, reference_id: str) -> bytes:
    """Return the encoded picture of a reference, past or present."""
    found = connection.execute(
        f"SELECT p.encoded {_JOINED} "
        "JOIN pictures p ON p.id = e.picture WHERE v.ordinal = ? ORDER BY v.id DESC LIMIT 1",
        (database.ordinal_of(reference_id),),
    ).fetchone()
    if found is None:
        raise GalleryError(
            f"the gallery never had a reference {reference_id!r}; "
            f"`edge-sim gallery list` shows those it has"
        )
    if not isinstance(found[0], bytes):
        raise GalleryError(f"the picture of {reference_id} is damaged: it is no picture at all")
    return found[0]


def revisions(
    connection: sqlite3.Connection, *, limit: int | None = None, number: int | None = None
) -> tuple[Revision, ...]:
    """Return revisions, the newest first: the last `limit`, or the one of `number`."""
    found = connection.execute(
        "SELECT number, at, verb, detail FROM revisions "
        "WHERE :number IS NULL OR number = :number ORDER BY number DESC LIMIT :limit",
        {"number": number, "limit": -1 if limit is None else limit},
    ).fetchall()
    if number is not None or (limit is not None and limit < _FEW_REVISIONS):
        return tuple(_revision(row, *_changed(connection, row[0])) for row in found)
    begun, ended = _grouped(connection, "since"), _grouped(connection, "until")
    none: frozenset[int] = frozenset()
    return tuple(_revision(row, begun.get(row[0], none), ended.get(row[0], none)) for row in found)


def difference(connection: sqlite3.Connection, before: int, after: int) -> Difference:
    """Return the difference from revision `before` to `after`."""
    old = {record.reference_id: record for record in records_at(connection, before)}
    new = {record.reference_id: record for record in records_at(connection, after)}
    return Difference(
        appeared=tuple(record for name, record in new.items() if name not in old),
        gone=tuple(record for name, record in old.items() if name not in new),
        altered=tuple(
            Alteration(old[name], record)
            for name, record in new.items()
            if name in old and replace(old[name], since=record.since) != record
        ),
    )


def problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield the faults of the file, after reading every page, row, array and picture."""
    for (verdict,) in connection.execute("PRAGMA integrity_check"):
        if verdict != "ok":
            yield f"the file is damaged: {verdict}"
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} points at a missing row of {parent}"
    try:
        revisions(connection)
        database.records_of(connection.execute(_RECORDS))
    except GalleryError as error:
        yield str(error)
    yield from _damaged_embeddings(connection)
    yield from _damaged_pictures(connection)
    yield from head_rows.problems(connection)
    try:
        yield from integrity.problems(connection, head(connection))
    except ValueError as error:
        yield f"the seals of the revisions are damaged: {error}"


def _damaged_embeddings(connection: sqlite3.Connection) -> Iterator[str]:
    columns = ", ".join(database.EMBEDDING_COLUMNS)
    for number, *row in connection.execute(f"SELECT id, {columns} FROM embeddings"):
        fault = _fault_of_embedding(tuple(row))
        if fault is not None:
            yield f"the embedding of {_users(connection, 'e.id', number)} is damaged: {fault}"


def _fault_of_embedding(row: tuple[Any, ...]) -> str | None:
    try:
        database.embedding_of(row)
    except database.DECODING_ERRORS as error:
        return str(error)
    return None


def _damaged_pictures(connection: sqlite3.Connection) -> Iterator[str]:
    for number, digest, encoded in connection.execute("SELECT id, sha256, encoded FROM pictures"):
        fault = _fault_of_picture(digest, encoded)
        if fault is not None:
            yield f"the picture of {_users(connection, 'e.picture', number)} {fault}"


def _fault_of_picture(digest: bytes, encoded: bytes) -> str | None:
    if not isinstance(encoded, bytes) or hashlib.sha256(encoded).digest() != digest:
        return "is not the one that was enrolled"
    try:
        decode(encoded)
    except ValueError as error:
        return f"cannot be decoded: {error}"
    return None


def _users(connection: sqlite3.Connection, column: str, number: int) -> str:
    found = connection.execute(
        f"SELECT DISTINCT v.ordinal {_JOINED} WHERE {column} = ? ORDER BY v.ordinal",
        (number,),
    ).fetchall()
    return ", ".join(database.reference_id(ordinal) for (ordinal,) in found) or "no reference"


def _changed(connection: sqlite3.Connection, number: int) -> tuple[Set[int], Set[int]]:
    """Return the references whose rows began and ended with a revision."""
    return _ordinals(connection, "since", number), _ordinals(connection, "until", number)


def _grouped(connection: sqlite3.Connection, column: str) -> dict[int, set[int]]:
    """Return the references by the revision in a column: one pass, however many revisions."""
    found: dict[int, set[int]] = {}
    query = f"SELECT {column}, ordinal FROM versions WHERE {column} IS NOT NULL"
    for number, ordinal in connection.execute(query):
        found.setdefault(number, set()).add(ordinal)
    return found


def _revision(row: tuple[Any, ...], begun: Set[int], ended: Set[int]) -> Revision:
    number, at, verb, detail = row
    try:
        moment = datetime.fromisoformat(at)
    except database.DECODING_ERRORS as error:
        raise GalleryError(f"the log entry of revision {number} is damaged ({error})") from error
    return Revision(
        number=number,
        at=moment,
        verb=database.printable(str(verb)),
        detail=database.printable(str(detail)),
        appeared=_ids(begun - ended),
        gone=_ids(ended - begun),
        altered=_ids(begun & ended),
    )


def _ordinals(connection: sqlite3.Connection, column: str, number: int) -> set[int]:
    found = connection.execute(f"SELECT ordinal FROM versions WHERE {column} = ?", (number,))
    return {ordinal for (ordinal,) in found}


def _ids(ordinals: Set[int]) -> tuple[str, ...]:
    return tuple(database.reference_id(ordinal) for ordinal in sorted(ordinals))
