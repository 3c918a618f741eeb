"""Embeddings as rows: the global vector, then the cells as one long vector."""

from __future__ import annotations

import numpy as np

from edge_sim.domain import Embedding, FloatVector
from edge_sim.errors import SearchError
from edge_sim.head import unit_cells
from edge_sim.index_store.records import VectorScale
from edge_sim.ranking import Rows


def one_vector(embedding: Embedding, scale: VectorScale) -> FloatVector:
    """Return what an index of this scale keeps of an embedding.

    Cells are brought to unit length one by one, so that a bright corner counts no more than a dark
    one; their concatenation has unit length again, so its cosine is the mean of the cells' cosines.

    Raises:
        SearchError: The model has no cells, but the scale asks for them.
    """
    if scale is VectorScale.GLOBAL:
        return embedding.vector
    if embedding.spatial is None:
        raise SearchError(
            f"the model {embedding.model_id} has no spatial output; take --scale global"
        )
    return np.concatenate([embedding.vector, unit_cells(embedding.spatial)])


def part_of(rows: Rows, dimension: int, scale: VectorScale) -> Rows:
    """Return the columns of (N, D + S) rows that a scale compares.

    For both, the two unit vectors side by side, divided by the root of 2: of unit length again,
    and their product with another such vector is the mean of the two cosines.

    Raises:
        SearchError: The index does not keep the cells.
    """
    whole = rows.shape[-1]
    if scale is VectorScale.GLOBAL:
        return rows[..., :dimension]
    if whole == dimension:
        raise SearchError("the index keeps no cells; build it with --scale both")
    if scale is VectorScale.SPATIAL:
        return rows[..., dimension:]
    return np.asarray(rows, np.float32) * np.float32(0.5**0.5)
