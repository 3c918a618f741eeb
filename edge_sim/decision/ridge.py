"""Ridge regression from one view to the states, in closed form.

Least-squares support vector machines (Suykens & Vandewalle, Neural Processing Letters 9, 1999)
with one target per state; leave-one-out residuals follow from the same inverse (Rasmussen &
Williams, Gaussian Processes for Machine Learning, 2006, eq. 5.12).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import FloatMatrix, FloatVector

RIDGE = 0.1
"""Regularisation, in units of the squared length of a view; 0.03 to 0.3 is flat."""
LEAST_LENGTH = np.float32(1e-12)
"""Shorter is zero: a row that is nothing but centre stays zero."""
_SHRINKAGE = 1.0  # of the per-dimension spread within states, towards its mean; 0.3 to 3 is flat


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels of the references.

    Args:
        states: (N,) index of its state.
        conditions: (N,) its light regime.
        number: Number of states.
    """

    states: NDArray[np.intp]
    conditions: NDArray[np.str_]
    number: int

    def means(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the (S, D) mean row of each state."""
        return np.stack([rows[self.states == state].mean(axis=0) for state in range(self.number)])


@dataclass(frozen=True, slots=True, eq=False)
class FeatureScaling:
    """Centring and scaling of one view for a gallery.

    Args:
        centre: (D,) mean over the states of their mean references.
        centres: The same of one condition, for those in which every state has references: what
            night does to all states alike says nothing about the state.
        scale: (D,) one over the shrunken deviation within states.
        blocks: D is this many blocks of equal length, each brought to the same length.
    """

    centre: FloatVector
    centres: Mapping[str, FloatVector]
    scale: FloatVector
    blocks: int

    def project(self, rows: NDArray[np.float32], condition: str) -> NDArray[np.float32]:
        """Return (..., D) rows of one condition: centred, each block and the whole of unit length.

        The deviations within states are evened out before the whole is brought to length.
        """
        centred = rows - self.middle(rows, condition)
        if self.blocks > 1:
            shape = (*centred.shape[:-1], self.blocks, -1)
            centred = _unit_rows(centred.reshape(shape)).reshape(centred.shape)
        return _unit_rows(centred * self.scale)

    def middle(self, rows: NDArray[np.float32], condition: str) -> NDArray[np.float32]:
        """Return what to subtract from each row.

        In a condition that not all states have, that of the condition the row is nearest to.
        """
        if condition in self.centres or not self.centres:
            return self.centres.get(condition, self.centre)
        known = np.stack([self.centre, *self.centres.values()])
        distances = np.square(rows[..., None, :] - known).sum(axis=-1)
        return np.asarray(known[np.argmin(distances, axis=-1)])

    def project_all(self, rows: FloatMatrix, conditions: NDArray[np.str_]) -> FloatMatrix:
        """Return (N, D) rows projected, each in its own condition."""
        ready = np.empty_like(rows)
        for condition in sorted(set(conditions.tolist())):
            mine = conditions == condition
            ready[mine] = self.project(rows[mine], condition)
        return ready


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """A fitted regression of one view.

    Args:
        scaling: Preparation of the rows.
        weights: (D, S) float32.
        bias: (S,) float32.
        left_out: (N, S) what the regression says of each reference when fitted without it.
    """

    scaling: FeatureScaling
    weights: FloatMatrix
    bias: FloatVector
    left_out: FloatMatrix

    def predict(self, rows: NDArray[np.float32], condition: str) -> NDArray[np.float32]:
        """Return (..., S) values near 1 for the state and near 0 for the others."""
        return np.asarray(
            self.scaling.project(rows, condition) @ self.weights + self.bias, np.float32
        )


class StackedRidges:
    """The regressions of several views as one, for a single picture: one product, not many.

    Args:
        ridges: Regression and weight of each view, in the order in which the views are joined.
    """

    def __init__(self, ridges: Sequence[tuple[Ridge, float]]) -> None:
        self._ridges = tuple(ridges)
        scalings = [ridge.scaling for ridge, _ in ridges]
        ends = np.cumsum([len(scaling.scale) for scaling in scalings]).tolist()
        self._parts = [slice(start, end) for start, end in pairwise([0, *ends])]
        self._centre = np.concatenate([scaling.centre for scaling in scalings])
        # Every view has centres in the same conditions: those in which all states have references.
        self._centres = {
            name: np.concatenate([scaling.centres[name] for scaling in scalings])
            for name in scalings[0].centres
        }
        self._scale = np.concatenate([scaling.scale for scaling in scalings])
        self._weights = np.concatenate([ridge.weights * np.float32(w) for ridge, w in ridges])
        self._bias = np.sum([ridge.bias * np.float32(w) for ridge, w in ridges], axis=0)
        self._starts = [part.start for part in self._parts]
        self._lengths = [part.stop - part.start for part in self._parts]

    def predict(self, joined: FloatVector, condition: str) -> FloatVector:
        """Return the (S,) weighted sum of what the views say of one joined picture."""
        if condition in self._centres or not self._centres:
            ready = joined - self._centres.get(condition, self._centre)
        else:
            ready = np.empty_like(joined)
            for part, (ridge, _) in zip(self._parts, self._ridges, strict=True):
                ready[part] = joined[part] - ridge.scaling.middle(joined[part], condition)
        for part, (ridge, _) in zip(self._parts, self._ridges, strict=True):
            if ridge.scaling.blocks > 1:
                blocks = ready[part].reshape(ridge.scaling.blocks, -1)
                ready[part] = _unit_rows(blocks).reshape(-1)
        ready *= self._scale
        squares = np.add.reduceat(ready * ready, self._starts)
        factors = 1.0 / np.maximum(np.sqrt(squares), LEAST_LENGTH)
        ready *= np.repeat(factors, self._lengths)
        return np.asarray(ready @ self._weights + self._bias, np.float32)


def fit_ridge(rows: FloatMatrix, labels: Labels, *, blocks: int = 1) -> Ridge:
    """Return the regression of (N, D) rows on their states.

    Every state counts the same, however many references it has.
    """
    ridge = _fitted(rows, labels, blocks)
    for row in _lone(labels, ridge.scaling):
        # Without it its condition has no centre of its own, which the closed form cannot know.
        others = np.delete(np.arange(len(rows)), row)
        rest = Labels(labels.states[others], labels.conditions[others], labels.number)
        without = _fitted(rows[others], rest, blocks)
        ridge.left_out[row] = without.predict(rows[row], str(labels.conditions[row]))
    return ridge


def _fitted(rows: FloatMatrix, labels: Labels, blocks: int) -> Ridge:
    scaling = _scaling_of(rows, labels, blocks)
    ready = scaling.project_all(rows, labels.conditions).astype(np.float64)
    counts = np.bincount(labels.states, minlength=labels.number).astype(np.float64)
    noise = RIDGE * counts[labels.states] * labels.number / len(rows)
    targets = np.eye(labels.number)[labels.states]
    # The constant 1 in the kernel is the bias: it is regularised like any other feature.
    inverse = np.linalg.inv(ready @ ready.T + 1.0 + np.diag(noise))
    dual = inverse @ targets
    return Ridge(
        scaling=scaling,
        weights=(ready.T @ dual).astype(np.float32),
        bias=dual.sum(axis=0).astype(np.float32),
        left_out=(targets - dual / np.diag(inverse)[:, None]).astype(np.float32),
    )


def _lone(labels: Labels, scaling: FeatureScaling) -> list[int]:
    """Return the references that alone give their condition its centre, and are not all there is.

    At most one per state and condition.
    """
    counts = np.bincount(labels.states, minlength=labels.number)
    found = []
    for condition in scaling.centres:
        here = np.flatnonzero(labels.conditions == condition)
        alone = np.bincount(labels.states[here], minlength=labels.number) == 1
        own = labels.states[here]
        found += here[alone[own] & (counts[own] > 1)].tolist()
    return found


def _unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (..., D) rows at length 1; zero stays zero. For rows known to be finite and tame."""
    lengths = np.sqrt(np.einsum("...d,...d->...", rows, rows))
    return np.asarray(rows / np.maximum(lengths, LEAST_LENGTH)[..., None], np.float32)


def _scaling_of(rows: FloatMatrix, labels: Labels, blocks: int) -> FeatureScaling:
    centre = labels.means(rows).mean(axis=0)
    plain = FeatureScaling(
        centre, _centres(rows, labels), np.ones(rows.shape[1], np.float32), blocks
    )
    ready = plain.project_all(rows, labels.conditions)
    spread = np.square(ready - labels.means(ready)[labels.states]).sum(axis=0)
    spread /= max(len(rows) - labels.number, 1)
    typical = float(spread.mean())
    if typical <= 0.0:  # one reference per state: nothing is known of the spread
        return plain
    scale = 1.0 / np.sqrt(spread + _SHRINKAGE * typical)
    return replace(plain, scale=(scale / scale.mean()).astype(np.float32))


def _centres(rows: FloatMatrix, labels: Labels) -> dict[str, FloatVector]:
    centres = {}
    for condition in sorted(set(labels.conditions.tolist())):
        mine = labels.conditions == condition
        here = Labels(labels.states[mine], labels.conditions[mine], labels.number)
        if len(set(here.states.tolist())) == labels.number:
            centres[condition] = here.means(rows[mine]).mean(axis=0)
    return centres
