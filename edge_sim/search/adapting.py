"""A search by a learned likeness: the same pictures, seen through a head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_sim.errors import ModelError, SearchError
from edge_sim.head import Head
from edge_sim.search.collection import Collection
from edge_sim.search.wanted import Query

_CHUNK_ROWS = 4096
"""Of an index, at a time: its rows are mapped from disk and may be far more than memory holds."""


def adapted(collection: Collection, head: Head) -> Collection:
    """Return a collection whose vectors are those of the head; searched exactly, without a graph.

    Raises:
        ModelError: The pictures were embedded with another model.
        SearchError: The head needs cells, and the collection keeps none.
    """
    if collection.model_id not in (None, head.model_id):
        raise ModelError(
            f"the head was learned for the model {head.model_id}, the pictures were embedded with "
            f"{collection.model_id}; embed them anew, or run `edge-sim model adapt` again"
        )
    rows = np.empty((len(collection.names), head.dimension), np.float32)
    size = head.vector.centre.size
    needs = 0 if head.cells is None else head.cells.centre.size
    if len(rows) and collection.vectors.shape[1] < size + needs:
        raise SearchError(
            "the head needs the cells of the pictures; build the index with --scale both"
        )
    for start in range(0, len(rows), _CHUNK_ROWS):
        part = np.asarray(collection.vectors[start : start + _CHUNK_ROWS], np.float32)
        cells = part[:, size:] if needs else None
        rows[start : start + len(part)] = head.rows(part[:, :size], cells)
    return replace(collection, vectors=rows, dimension=head.dimension, kind="exact", graph=None)


def adapted_query(query: Query, head: Head) -> Query:
    """Return a query for such a collection.

    Raises:
        ModelError: It was embedded with another model, or has no cells where the head needs them.
    """
    return replace(query, embedding=head.adapted(query.embedding))
