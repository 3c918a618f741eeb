"""From regression values to trust and probabilities, learned by leaving references out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import FloatMatrix, FloatVector

TRUST_PER_REFERENCE = 0.25
"""How quickly leave-one-out errors move the weights of the views away from their prior."""
SHARPNESS = 7.0
"""Inverse temperature before any evidence."""
_SHARPNESS_GRID = np.geomspace(1.5, 24.0, 33)
_SHARPNESS_DEVIATION = 0.5  # of the natural logarithm, around `SHARPNESS`


def trust_in_views(
    left_out: Mapping[str, FloatMatrix],
    labels: NDArray[np.intp],
    judged: NDArray[np.bool_],
    prior: Mapping[str, float],
) -> dict[str, float]:
    """Return the weight of each view, summing to 1.

    `prior * exp(-c n e)`: e is the mean squared leave-one-out error of the view over the n judged
    references, those whose state has others. With few references the prior holds.
    """
    number = int(judged.sum())
    if number == 0:
        return dict(prior)
    targets = np.eye(next(iter(left_out.values())).shape[1])[labels]
    errors = {
        name: float(np.square(values - targets)[judged].sum(axis=1).mean())
        for name, values in left_out.items()
    }
    best = min(errors.values())
    # Beyond some twenty references the errors are no longer independent pictures of the scene.
    strength = TRUST_PER_REFERENCE * min(number, 20)
    raw = {name: prior[name] * np.exp(-strength * (errors[name] - best)) for name in errors}
    total = sum(raw.values())
    return {name: float(value / total) for name, value in raw.items()}


def fit_sharpness(
    left_out: FloatMatrix, labels: NDArray[np.intp], judged: NDArray[np.bool_]
) -> float:
    """Return the inverse temperature under which the left-out references are most probable.

    Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, ICML 2017), with a
    log-normal prior, since a handful of references says little about rare errors.
    """
    prior = -0.5 * np.square(np.log(_SHARPNESS_GRID / SHARPNESS) / _SHARPNESS_DEVIATION)
    rows = np.flatnonzero(judged)
    likelihood = np.array(
        [
            np.log(
                probabilities(left_out[rows], sharpness)[np.arange(len(rows)), labels[rows]] + 1e-6
            ).sum()
            for sharpness in _SHARPNESS_GRID
        ]
    )
    return float(_SHARPNESS_GRID[int(np.argmax(prior + likelihood))])


def odds_of(values: FloatVector, sharpness: float) -> list[float]:
    """Return `probabilities` of (S,) values: for the few states of a gallery a list is quicker."""
    scaled = [sharpness * value for value in values.tolist()]
    most = max(scaled)
    raised = [math.exp(value - most) for value in scaled]
    total = sum(raised)
    return [value / total for value in raised]


def probabilities(values: NDArray[np.float32], sharpness: float) -> FloatVector:
    """Return the softmax of (..., S) values times `sharpness`; sums to 1 along the last axis."""
    scaled = sharpness * np.asarray(values, np.float64)
    raised = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float64)
