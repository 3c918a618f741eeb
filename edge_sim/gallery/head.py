"""Head: similarity learned from the labelled references of one watch, on top of the model.

Plain cosine ranks pictures by every feature of the model. A head ranks them by the features that
separate the states of one watch: half of it is the embedding, centred on the mean of the states and
divided by the deviation within states, half the output of a ridge regression on the states. Both
halves are unit vectors, so the product of two adapted vectors is a mean of cosines.

Heads are rows of the gallery file; the functions on rows run inside a transaction. As with
references, a row is never changed: the row of the past is closed with `until`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import Embedding, FloatCells, FloatMatrix, FloatVector
from edge_sim.core.vectors import normalised
from edge_sim.errors import GalleryError, ModelError
from edge_sim.gallery import database
from edge_sim.gallery.integrity import head_checksum
from edge_sim.gallery.schema import HEADS, has_table

_HALF = np.float32(0.5**0.5)


def unit_cells(cells: FloatCells) -> FloatVector:
    """Return (G, G, C) cells side by side, each of the same length, the whole of unit length.

    A bright corner counts no more than a dark one; the cosine of two such vectors is the mean of
    the cells' cosines.
    """
    return normalised(normalised(cells.reshape(-1, cells.shape[-1])).ravel())


@dataclass(frozen=True, slots=True, eq=False)
class HeadView:
    """Projection of one part of an embedding: the global vector, or the cells.

    Args:
        centre: (D,) float32, mean over the states of their mean rows.
        scale: (D,) float32, one over the deviation within states.
        weights: (D, S) float32, weights of the regression.
        blocks: Number of blocks of equal length in D, each normalised once centred.

    Raises:
        ValueError: The shapes do not fit together, or a number is not finite.
    """

    centre: FloatVector
    scale: FloatVector
    weights: FloatMatrix
    blocks: int = 1

    def __post_init__(self) -> None:
        size = self.centre.size
        if self.scale.shape != (size,) or self.weights.shape[:1] != (size,) or not size:
            raise ValueError(
                f"a view needs centre and scale (D,) and weights (D, S), got {self.centre.shape}, "
                f"{self.scale.shape}, {self.weights.shape}"
            )
        if self.blocks < 1 or size % self.blocks:
            raise ValueError(f"{size} numbers cannot be {self.blocks} blocks of equal length")
        if not all(np.isfinite(part).all() for part in (self.centre, self.scale, self.weights)):
            raise ValueError("a view must be finite, got NaN or infinity")

    def project(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (..., D) unit rows centred, evened out, and of unit length again."""
        centred = rows - self.centre
        if self.blocks > 1:
            shape = (*centred.shape[:-1], self.blocks, -1)
            centred = normalised(centred.reshape(shape)).reshape(centred.shape)
        return normalised(centred * self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Learned similarity.

    Args:
        model_id: Model of the embeddings it was learned on; it applies to no others.
        states: Sorted states, one column of the weights each.
        vector: Projection of the global vector.
        cells: Projection of the unit cells side by side; None for a model without cells.
        bias: (S,) float32, added to the outputs of both.

    Raises:
        ValueError: The parts do not fit together.
    """

    model_id: str
    states: tuple[str, ...]
    vector: HeadView
    cells: HeadView | None
    bias: FloatVector

    def __post_init__(self) -> None:
        views = [self.vector] if self.cells is None else [self.vector, self.cells]
        number = len(self.states)
        if self.bias.shape != (number,) or any(v.weights.shape[1] != number for v in views):
            raise ValueError(f"a head of {number} states needs as many weights and biases")

    @property
    def dimension(self) -> int:
        """Length of an adapted vector: that of the global vector and one number per state."""
        return self.vector.centre.size + len(self.states)

    def adapted(self, embedding: Embedding) -> Embedding:
        """Return the embedding whose cosines are those of the head; it has no cells.

        Raises:
            ModelError: The embedding was made with another model.
        """
        if embedding.model_id != self.model_id:
            raise ModelError(
                f"the head was learned for the model {self.model_id}, the picture was embedded "
                f"with {embedding.model_id}; use one model, or run `edge-sim model adapt` again"
            )
        cells = None
        if self.cells is not None and embedding.spatial is not None:
            cells = unit_cells(embedding.spatial)[None]
        row = self.rows(embedding.vector[None], cells)[0]
        return Embedding(row, None, embedding.model_id)

    def rows(self, vectors: NDArray[np.float32], cells: NDArray[np.float32] | None) -> FloatMatrix:
        """Return (N, dimension) unit rows of (N, D) global vectors and (N, E) `unit_cells`.

        Raises:
            ModelError: The head needs cells, and there are none.
        """
        projected = self.vector.project(vectors)
        outputs = projected @ self.vector.weights + self.bias
        if self.cells is not None:
            if cells is None:
                raise ModelError("the head needs the spatial cells, and these pictures have none")
            outputs = outputs + self.cells.project(cells) @ self.cells.weights
        both = np.concatenate([projected * _HALF, normalised(outputs) * _HALF], axis=1)
        return np.ascontiguousarray(normalised(both))


_CONTENT = ("watch", "facts", "numbers", "crc")
_COLUMNS = ", ".join(_CONTENT)
_SAME = "now.watch = past.watch AND now.facts = past.facts AND now.numbers = past.numbers"
_PAST = "past.since <= :target AND (past.until IS NULL OR past.until > :target)"
_FLOAT = np.dtype("<f4")


class HeadInfo(msgspec.Struct, frozen=True):
    """Description of a head, stored beside its numbers.

    Args:
        model_id: Model of the embeddings it was learned on.
        states: Sorted states, as in the head.
        dimension: Length of the global vector.
        cells: Length of the cells side by side; 0 for a model without.
        blocks: Number of the cells.
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
    """Replace the head of a watch; None takes it out."""
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
    values = (watch, text, numbers, head_checksum(watch, text, numbers), number)
    connection.execute(f"INSERT INTO heads ({_COLUMNS}, since) VALUES (?, ?, ?, ?, ?)", values)


def find(connection: sqlite3.Connection, watch: str, revision: int) -> tuple[Head, HeadInfo] | None:
    """Return the head of a watch as it was at a revision; None if it had none.

    Raises:
        GalleryError: The row is damaged.
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
    """Yield the faults of heads, present and past."""
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
        if head_checksum(watch, text, numbers) != crc:
            raise ValueError("the checksum does not fit")
        facts = msgspec.json.decode(text, type=HeadInfo)
        return _unpacked(facts, np.frombuffer(numbers, _FLOAT)), facts
    except database.DECODING_ERRORS as error:
        raise GalleryError(
            f"the head of watch {watch!r} is damaged ({error}); run `edge-sim model adapt` again"
        ) from error


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
