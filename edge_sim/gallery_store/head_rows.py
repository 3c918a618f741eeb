"""Heads as rows of the gallery file. Everything here runs inside a transaction.

As with references, a row is never changed: the row of the past is closed with `until`.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.errors import GalleryError
from edge_sim.gallery_store import rows
from edge_sim.gallery_store.schema import HEADS, has_table
from edge_sim.head import Head, HeadView

_CONTENT = ("watch", "facts", "numbers", "crc")
_COLUMNS = ", ".join(_CONTENT)
_SAME = "now.watch = past.watch AND now.facts = past.facts AND now.numbers = past.numbers"
_PAST = "past.since <= :target AND (past.until IS NULL OR past.until > :target)"
_FLOAT = np.dtype("<f4")


class HeadInfo(msgspec.Struct, frozen=True):
    """What is known of a head besides its numbers.

    Args:
        model_id: Of the embeddings it was learned on.
        states: As in the head.
        dimension: Length of the global vector.
        cells: Length of the cells side by side; 0 for a model without.
        blocks: How many cells they are.
        learned_from: (reference id, state) of every reference.
    """

    model_id: str
    states: tuple[str, ...]
    dimension: int
    cells: int
    blocks: int
    learned_from: tuple[tuple[str, str], ...]


def put(
    connection: sqlite3.Connection,
    number: int,
    watch: str,
    head: Head | None,
    learned_from: tuple[tuple[str, str], ...],
) -> None:
    """Put a head in the place of the one that the watch has; None takes it out."""
    connection.execute(HEADS)
    connection.execute(
        "UPDATE heads SET until = ? WHERE watch = ? AND until IS NULL", (number, watch)
    )
    if head is None:
        return
    cells = head.cells
    facts = HeadInfo(
        model_id=head.model_id,
        states=head.states,
        dimension=head.vector.centre.size,
        cells=0 if cells is None else cells.centre.size,
        blocks=1 if cells is None else cells.blocks,
        learned_from=learned_from,
    )
    text = msgspec.json.encode(facts).decode()
    numbers = _packed(head)
    values = (watch, text, numbers, _crc(watch, text, numbers), number)
    connection.execute(f"INSERT INTO heads ({_COLUMNS}, since) VALUES (?, ?, ?, ?, ?)", values)


def find(connection: sqlite3.Connection, watch: str, revision: int) -> tuple[Head, HeadInfo] | None:
    """Return the head of a watch as it was at a revision; None if it had none.

    Raises:
        GalleryError: Its row is damaged.
    """
    if not has_table(connection, "heads"):
        return None
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM heads AS past WHERE watch = :watch AND {_PAST}",
        {"watch": watch, "target": revision},
    ).fetchone()
    return None if found is None else _head(found)


def restore(connection: sqlite3.Connection, number: int, target: int) -> None:
    """Make the live heads those of revision `target`; equal ones are left alone."""
    if not has_table(connection, "heads"):
        return
    values = {"number": number, "target": target}
    connection.execute(
        "UPDATE heads AS now SET until = :number WHERE now.until IS NULL AND NOT EXISTS "
        f"(SELECT 1 FROM heads AS past WHERE {_SAME} AND {_PAST})",
        values,
    )
    connection.execute(
        f"INSERT INTO heads ({_COLUMNS}, since) SELECT {_COLUMNS}, :number FROM heads AS past "
        f"WHERE {_PAST} AND NOT EXISTS "
        "(SELECT 1 FROM heads AS now WHERE now.watch = past.watch AND now.until IS NULL)",
        values,
    )


def purge(connection: sqlite3.Connection) -> None:
    """Delete the heads of the past."""
    if has_table(connection, "heads"):
        connection.execute("DELETE FROM heads WHERE until IS NOT NULL")


def problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield what is wrong with heads, present and past."""
    if not has_table(connection, "heads"):
        return
    for row in connection.execute(f"SELECT {_COLUMNS} FROM heads"):
        fault = _fault(row)
        if fault is not None:
            yield fault


def _fault(row: tuple[Any, ...]) -> str | None:
    try:
        _head(row)
    except GalleryError as error:
        return str(error)
    return None


def _head(row: tuple[Any, ...]) -> tuple[Head, HeadInfo]:
    watch, text, numbers, crc = row
    try:
        if _crc(watch, text, numbers) != crc:
            raise ValueError("the checksum does not fit")
        facts = msgspec.json.decode(text, type=HeadInfo)
        return _unpacked(facts, np.frombuffer(numbers, _FLOAT)), facts
    except rows.DECODING_ERRORS as error:
        raise GalleryError(
            f"the head of watch {watch!r} is damaged ({error}); run `edge-sim model adapt` again"
        ) from error


def _crc(watch: str, text: str, numbers: bytes) -> int:
    return zlib.crc32(numbers, zlib.crc32(f"{watch} {text}".encode()))


def _packed(head: Head) -> bytes:
    parts = [head.bias]
    for view in (head.vector, head.cells):
        if view is not None:
            parts += [view.centre, view.scale, view.weights.ravel()]
    return np.ascontiguousarray(np.concatenate(parts), _FLOAT).tobytes()


def _unpacked(facts: HeadInfo, numbers: NDArray[np.float32]) -> Head:
    values = numbers if _FLOAT.isnative else numbers.astype(np.float32)
    states = len(facts.states)
    sizes = [facts.dimension, *([facts.cells] if facts.cells else [])]
    if len(values) != states + sum(size * (2 + states) for size in sizes):
        raise ValueError(f"{len(values)} numbers are too many or too few")
    bias, rest = values[:states], values[states:]
    views = []
    for size, blocks in zip(sizes, (1, facts.blocks), strict=False):
        own, rest = rest[: size * (2 + states)], rest[size * (2 + states) :]
        weights = own[2 * size :].reshape(size, states)
        views.append(HeadView(own[:size], own[size : 2 * size], weights, blocks))
    cells = views[1] if views[1:] else None
    return Head(facts.model_id, facts.states, views[0], cells, bias)
