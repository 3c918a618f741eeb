"""Changes of the gallery file, each inside the transaction of one new revision.

Rows are never changed in place: the row of the past is closed with `until`, and a new one begins.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from edge_sim.core.types import Embedding, GrayImage
from edge_sim.errors import GalleryError
from edge_sim.gallery import database, head, integrity
from edge_sim.gallery.records import Enrolled, Reworked

_CONTENT = database.CONTENT_COLUMNS
_COLUMNS = ", ".join((*_CONTENT, "crc"))
_SAME = " AND ".join(f"now.{name} = past.{name}" for name in _CONTENT)
# The unary plus keeps SQLite from the indexes on revisions: nearly all rows share one, and the
# search for equal rows would take time with the square of their number.
_PAST = "+past.since <= :target AND (+past.until IS NULL OR +past.until > :target)"


def add(
    connection: sqlite3.Connection, number: int, watch: str, enrolled: Sequence[Enrolled]
) -> None:
    """Insert references after all that ever were, so that an id is never given twice."""
    if not enrolled:
        raise GalleryError("there is nothing to add")
    for ordinal, item in enumerate(enrolled, start=integrity.last_ordinal(connection) + 1):
        embedding = _insert_embedding(
            connection, _picture(connection, item.crop), item.embedding, item.thumbnail
        )
        values = (
            ordinal,
            watch,
            item.state,
            embedding,
            item.condition,
            item.enrolled_at.isoformat(),
            database.metadata_text(item.metadata),
            database.tags_text(item.tags),
        )
        _begin(connection, number, values)
    check_single_model(connection, watch)


def end(connection: sqlite3.Connection, number: int, reference_ids: Sequence[str]) -> None:
    """Close the present rows of references."""
    if not reference_ids:
        raise GalleryError("there is nothing to change: no reference is named")
    for name in reference_ids:
        done = connection.execute(
            "UPDATE versions SET until = ? WHERE ordinal = ? AND until IS NULL",
            (number, database.ordinal_of(name)),
        )
        if done.rowcount != 1:
            raise no_such_reference(name)


def forget(connection: sqlite3.Connection, reference_ids: Sequence[str]) -> None:
    """Delete references for good: their rows, and the pictures that no other reference shows."""
    if not reference_ids:
        raise GalleryError("there is nothing to forget: no reference is named")
    connection.execute("PRAGMA secure_delete = ON")
    for name in reference_ids:
        done = connection.execute(
            "DELETE FROM versions WHERE ordinal = ?", (database.ordinal_of(name),)
        )
        if not done.rowcount:
            raise no_such_reference(name)
    _delete_unused(connection)


def purge(connection: sqlite3.Connection) -> None:
    """Delete the rows of the past for good, and the pictures that no present reference shows."""
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("DELETE FROM versions WHERE until IS NOT NULL")
    head.purge(connection)
    _delete_unused(connection)


def disused(connection: sqlite3.Connection) -> int:
    """Return how many pictures and embeddings no present reference needs."""
    live = "SELECT embedding FROM versions WHERE until IS NULL"
    found = connection.execute(f"SELECT count(*) FROM embeddings WHERE id NOT IN ({live})")
    return int(found.fetchone()[0])


def _delete_unused(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM embeddings WHERE id NOT IN (SELECT embedding FROM versions)")
    connection.execute("DELETE FROM pictures WHERE id NOT IN (SELECT picture FROM embeddings)")


def rewrite(
    connection: sqlite3.Connection, number: int, reference_ids: Sequence[str], **columns: Any
) -> None:
    """Close the present rows of references and begin equal ones but for `columns`."""
    end(connection, number, reference_ids)
    for name in reference_ids:
        past = _row_until(connection, number, name)
        _begin(connection, number, tuple(columns.get(key, past[key]) for key in _CONTENT))


def retag(
    connection: sqlite3.Connection,
    number: int,
    reference_ids: Sequence[str],
    add: Iterable[str],
    drop: Iterable[str],
) -> None:
    """Put tags on and take tags off, per reference."""
    end(connection, number, reference_ids)
    for name in reference_ids:
        past = _row_until(connection, number, name)
        tags = (set(database.tags_of(past["tags"])) | set(add)) - set(drop)
        past["tags"] = database.tags_text(tags)
        _begin(connection, number, tuple(past[key] for key in _CONTENT))


def rework(
    connection: sqlite3.Connection, number: int, reworked: Sequence[Reworked]
) -> tuple[str, ...]:
    """Give references other embeddings of the same pictures; return the watches they are of."""
    watches = set()
    end(connection, number, [item.reference_id for item in reworked])
    for item in reworked:
        past = _row_until(connection, number, item.reference_id)
        (picture,) = connection.execute(
            "SELECT picture FROM embeddings WHERE id = ?", (past["embedding"],)
        ).fetchone()
        past["embedding"] = _insert_embedding(connection, picture, item.embedding, item.thumbnail)
        _begin(connection, number, tuple(past[key] for key in _CONTENT))
        watches.add(past["watch"])
    return tuple(sorted(watches))


def restore(connection: sqlite3.Connection, number: int, target: int) -> None:
    """Make references and heads those of revision `target`; equal rows are left alone."""
    head.restore(connection, number, target)
    values = {"number": number, "target": target}
    connection.execute(
        "UPDATE versions AS now SET until = :number WHERE now.until IS NULL AND NOT EXISTS "
        f"(SELECT 1 FROM versions AS past INDEXED BY versions_ordinal WHERE {_SAME} AND {_PAST})",
        values,
    )
    connection.execute(
        f"INSERT INTO versions ({_COLUMNS}, since) SELECT {_COLUMNS}, :number "
        f"FROM versions AS past WHERE {_PAST} AND NOT EXISTS "
        "(SELECT 1 FROM versions AS now INDEXED BY versions_live "
        "WHERE now.ordinal = past.ordinal AND now.until IS NULL)",
        values,
    )


def describe(connection: sqlite3.Connection, number: int, detail: str, content: int) -> None:
    """Set the detail of a revision, and the revision that has the same content."""
    connection.execute(
        "UPDATE revisions SET detail = ?, content = ? WHERE number = ?", (detail, content, number)
    )


def check_single_model(connection: sqlite3.Connection, watch: str) -> None:
    """Raise `GalleryError` if the present references of a watch are of two models."""
    found = connection.execute(
        "SELECT DISTINCT e.model_id, length(e.vector) FROM versions v "
        "JOIN embeddings e ON e.id = v.embedding WHERE v.watch = ? AND v.until IS NULL",
        (watch,),
    ).fetchall()
    if len(found) > 1:
        models = " and ".join(sorted({model_id for model_id, _ in found}))
        raise GalleryError(
            f"watch {watch!r} would mix references of the models {models}; "
            f"run `edge-sim gallery reembed` first, or use the model of the gallery"
        )


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in their order, each once."""
    return tuple(dict.fromkeys(names))


def named(reference_ids: Sequence[str]) -> str:
    """Return ids for the log, not more than five of them."""
    shown = ", ".join(reference_ids[:5])
    return shown if len(reference_ids) <= 5 else f"{shown} and {len(reference_ids) - 5} more"


def models_of(reworked: Iterable[Reworked]) -> list[str]:
    """Return the model ids, sorted."""
    return sorted({item.embedding.model_id for item in reworked})


def no_such_reference(reference_id: str) -> GalleryError:
    """Return the error for an id that the gallery does not have."""
    return GalleryError(
        f"the gallery has no reference {reference_id!r}; `edge-sim gallery list` shows those it has"
    )


def _picture(connection: sqlite3.Connection, encoded: bytes) -> int:
    """Return the row of a picture; the same bytes are stored once."""
    digest = hashlib.sha256(encoded).digest()
    connection.execute(
        "INSERT INTO pictures (sha256, encoded) VALUES (?, ?) ON CONFLICT (sha256) DO NOTHING",
        (digest, encoded),
    )
    found = connection.execute("SELECT id FROM pictures WHERE sha256 = ?", (digest,))
    return int(found.fetchone()[0])


def _insert_embedding(
    connection: sqlite3.Connection, picture: int, embedding: Embedding, thumbnail: GrayImage
) -> int:
    values = (picture, *database.embedding_row(embedding, thumbnail))
    marks = ", ".join("?" * len(values))
    columns = ", ".join(database.EMBEDDING_COLUMNS)
    done = connection.execute(
        f"INSERT INTO embeddings (picture, {columns}) VALUES ({marks})", values
    )
    return int(done.lastrowid or 0)


def _begin(connection: sqlite3.Connection, number: int, values: tuple[Any, ...]) -> None:
    row = (*values, database.content_crc(values), number)
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO versions ({_COLUMNS}, since) VALUES ({marks})", row)


def _row_until(connection: sqlite3.Connection, number: int, reference_id: str) -> dict[str, Any]:
    """Return the row that this revision has closed."""
    found = connection.execute(
        f"SELECT {', '.join(_CONTENT)} FROM versions WHERE ordinal = ? AND until = ?",
        (database.ordinal_of(reference_id), number),
    ).fetchone()
    return dict(zip(_CONTENT, found, strict=True))
