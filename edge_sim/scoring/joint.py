"""All views of a probe at once: the regressions of a gallery as one matrix.

What `Ridge.predict` says of each view, added up with the trust in it, for the path of a frame: the
views lie side by side in one vector, and centring, scaling and the product with the weights are
done once for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import FloatMatrix, FloatVector
from edge_sim.scoring.ridge import LEAST_LENGTH, Ridge


class JointRidge:
    """The regressions of several views, summed.

    Args:
        ridges: By name of the view; at least one.
        trust: Weight of each view.
    """

    def __init__(self, ridges: Mapping[str, Ridge], trust: Mapping[str, float]) -> None:
        self._ridges = dict(ridges)
        sizes = [ridge.weights.shape[0] for ridge in ridges.values()]
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
        ends = self._starts + sizes
        self._slices = [slice(a, b) for a, b in zip(self._starts, ends, strict=True)]
        self._scale = np.concatenate([ridge.view.scale for ridge in ridges.values()])
        self._weights = _side_by_side([ridge.weights for ridge in ridges.values()])
        self._trust = np.array([trust[name] for name in ridges], np.float32)
        self._bias = np.zeros(len(next(iter(ridges.values())).bias), np.float32)
        for weight, ridge in zip(self._trust, ridges.values(), strict=True):
            self._bias += weight * ridge.bias
        # A view of one block is as long as it likes until the whole is scaled.
        self._blocked = [
            (part, ridge.view.blocks)
            for part, ridge in zip(self._slices, ridges.values(), strict=True)
            if ridge.view.blocks > 1
        ]
        self._centres = {
            condition: self._centre(condition)
            for condition in set.intersection(*(set(r.view.centres) for r in ridges.values()))
        }
        if not any(ridge.view.centres for ridge in ridges.values()):
            self._plain: FloatVector | None = self._centre("")
        else:
            self._plain = None

    def predict(self, row: FloatVector, condition: str) -> FloatVector:
        """Return (S,) values, near 1 for the state and near 0 for the others.

        Args:
            row: (D,) float32, the views side by side in the order of the ridges.
            condition: Light regime of the probe.
        """
        ready = row - self._middle(row, condition)
        for part, blocks in self._blocked:
            cells = ready[part].reshape(blocks, -1)
            lengths = np.sqrt(np.einsum("cd,cd->c", cells, cells))
            cells /= np.maximum(lengths, LEAST_LENGTH)[:, None]
        ready *= self._scale
        lengths = np.sqrt(np.add.reduceat(ready * ready, self._starts))
        per_view = (ready @ self._weights).reshape(len(self._trust), -1)
        shares = self._trust / np.maximum(lengths, LEAST_LENGTH)
        return np.asarray(shares @ per_view + self._bias, np.float32)

    def _middle(self, row: FloatVector, condition: str) -> FloatVector:
        known = self._centres.get(condition, self._plain)
        if known is not None:
            return known
        # A condition that not all states have: each view is nearest to another one, perhaps.
        return np.concatenate(
            [
                ridge.view.middle(row[part], condition)
                for ridge, part in zip(self._ridges.values(), self._slices, strict=True)
            ]
        )

    def _centre(self, condition: str) -> FloatVector:
        views = [ridge.view for ridge in self._ridges.values()]
        return np.concatenate([view.centres.get(condition, view.centre) for view in views])


def _side_by_side(weights: list[FloatMatrix]) -> NDArray[np.float32]:
    """Return (D, V * S): the weights of each view in columns of their own, zero elsewhere."""
    rows, states = sum(len(item) for item in weights), weights[0].shape[1]
    joined = np.zeros((rows, len(weights) * states), np.float32)
    top = 0
    for view, item in enumerate(weights):
        joined[top : top + len(item), view * states : (view + 1) * states] = item
        top += len(item)
    return joined
