"""Which state: a ridge regression from one view to the states, in closed form.

Least-squares support vector machines (Suykens & Vandewalle, Neural Processing Letters 9, 1999)
with one target per state; leave-one-out residuals follow from the same inverse (Rasmussen &
Williams, Gaussian Processes for Machine Learning, 2006, eq. 5.12).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import FloatMatrix, FloatVector
from edge_sim.similarity import normalised

RIDGE = 0.1
"""Regularisation, in units of the squared length of a view; 0.03 to 0.3 is flat."""
_SHRINKAGE = 1.0  # of the per-dimension spread within states, towards its mean; 0.3 to 3 is flat


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How one view of a picture is centred and scaled for a gallery.

    Args:
        centre: (D,) balanced mean of the references.
        scale: (D,) one over the shrunken deviation within states.
        blocks: D is this many blocks of equal length, each brought to the same length.
    """

    centre: FloatVector
    scale: FloatVector
    blocks: int

    def project(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (..., D) rows centred, each block and the whole of unit length, and scaled."""
        centred = rows - self.centre
        if self.blocks > 1:
            shape = (*centred.shape[:-1], self.blocks, -1)
            centred = normalised(centred.reshape(shape)).reshape(centred.shape)
        return normalised(centred * self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """A fitted regression of one view.

    Args:
        view: Preparation of the rows.
        weights: (D, S) float32.
        bias: (S,) float32.
        left_out: (N, S) what the regression says of each reference when fitted without it.
    """

    view: View
    weights: FloatMatrix
    bias: FloatVector
    left_out: FloatMatrix

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (..., S) values near 1 for the state and near 0 for the others."""
        return np.asarray(self.view.project(rows) @ self.weights + self.bias, np.float32)


def fit_ridge(
    rows: FloatMatrix, labels: NDArray[np.intp], states: int, *, blocks: int = 1
) -> Ridge:
    """Return the regression of (N, D) rows on their labels 0 to `states` - 1.

    Every state counts the same, however many references it has.
    """
    view = _view_of(rows, labels, states, blocks)
    ready = view.project(rows).astype(np.float64)
    counts = np.bincount(labels, minlength=states).astype(np.float64)
    noise = RIDGE * counts[labels] * states / len(labels)
    targets = np.eye(states)[labels]
    # The constant 1 in the kernel is the bias: it is regularised like any other feature.
    inverse = np.linalg.inv(ready @ ready.T + 1.0 + np.diag(noise))
    dual = inverse @ targets
    return Ridge(
        view=view,
        weights=(ready.T @ dual).astype(np.float32),
        bias=dual.sum(axis=0).astype(np.float32),
        left_out=(targets - dual / np.diag(inverse)[:, None]).astype(np.float32),
    )


def _view_of(rows: FloatMatrix, labels: NDArray[np.intp], states: int, blocks: int) -> View:
    means = np.stack([rows[labels == state].mean(axis=0) for state in range(states)])
    plain = View(means.mean(axis=0), np.ones(rows.shape[1], np.float32), blocks)
    ready = plain.project(rows)
    means = np.stack([ready[labels == state].mean(axis=0) for state in range(states)])
    spread = np.square(ready - means[labels]).sum(axis=0) / max(len(rows) - states, 1)
    typical = float(spread.mean())
    if typical <= 0.0:  # one reference per state: nothing is known of the spread
        return plain
    scale = 1.0 / np.sqrt(spread + _SHRINKAGE * typical)
    return View(plain.centre, (scale / scale.mean()).astype(np.float32), blocks)
