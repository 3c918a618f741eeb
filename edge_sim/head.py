"""Head: a likeness learned from the labelled references of one watch, on top of the model.

Plain cosine ranks pictures by all that the model sees. A head ranks them by what tells the states
of one watch apart: half of it is the embedding with the middle of the states taken out and every
number divided by how much it varies within states, half the answer of a ridge regression on the
states. Both halves are unit vectors, so the product of two adapted vectors is a mean of cosines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import Embedding, FloatCells, FloatMatrix, FloatVector
from edge_sim.errors import ModelError
from edge_sim.similarity import normalised

_HALF = np.float32(0.5**0.5)


def unit_cells(cells: FloatCells) -> FloatVector:
    """Return (G, G, C) cells side by side, each of the same length, the whole of unit length.

    A bright corner counts no more than a dark one; the cosine of two such vectors is the mean of
    the cells' cosines.
    """
    return normalised(normalised(cells.reshape(-1, cells.shape[-1])).ravel())


@dataclass(frozen=True, slots=True, eq=False)
class HeadView:
    """One view, the global vector or the cells, as a head sees it.

    Args:
        centre: (D,) float32, mean over the states of their mean rows.
        scale: (D,) float32, one over the deviation within states.
        weights: (D, S) float32, of the regression.
        blocks: D is this many blocks of equal length, each brought to unit length once centred.

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
    """A learned likeness.

    Args:
        model_id: Of the embeddings it was learned on; it is for no others.
        states: Sorted; a column of the weights each.
        vector: The global vector.
        cells: The spatial cells side by side, each of unit length; None for a model without.
        bias: (S,) float32, added to what both views say.

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
        """Return an embedding whose cosines are those of the head; it has no cells.

        Raises:
            ModelError: It was made with another model.
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
        seen = self.vector.project(vectors)
        said = seen @ self.vector.weights + self.bias
        if self.cells is not None:
            if cells is None:
                raise ModelError("the head needs the spatial cells, and these pictures have none")
            said = said + self.cells.project(cells) @ self.cells.weights
        both = np.concatenate([seen * _HALF, normalised(said) * _HALF], axis=1)
        return np.ascontiguousarray(normalised(both))
