"""Envelope of the grey levels of the references of one state: fine structure that none shows.

A fault of a product is often smaller than a cell of the embedding. A small plane of grey levels,
slow changes of light removed, is compared pixel by pixel with the lowest and the highest level of
the references. What varies among them gives itself a wide envelope, and a high level: the part
outside is measured in units of what each reference, left out, lies outside the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import FloatMatrix, FloatVector, GrayImage

PLANE_PX = 24
ENOUGH = 6
"""References from which an envelope is worth something."""
_LIGHT_DEVIATION_PX = 4.0  # changes slower than this are light
_NEIGHBOURHOOD_PX = 5  # a texture varies where it lies next, too
_MOST_OUTSIDE = 2  # pixels: a single one is noise
_LEAST = 0.3
_FULL_WORTH = 0.6
_FEW, _HALF = 4.0, 6.0
_TINY = 1e-6


def plane_of(thumbnail: GrayImage) -> FloatVector:
    """Return the grey levels of a thumbnail less their slow changes: (576,) float32."""
    small = cv2.resize(thumbnail, (PLANE_PX, PLANE_PX), interpolation=cv2.INTER_AREA)
    plane = np.asarray(small, np.float32)
    return np.asarray(plane - cv2.GaussianBlur(plane, (0, 0), _LIGHT_DEVIATION_PX)).reshape(-1)


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """Range of the planes of the references of one state.

    Args:
        low: (P,) least level of each pixel.
        high: (P,) greatest level.
        usual: (P,) how far a new reference lies outside, above 0.
        worth: Factor on the logarithm, the greater the more references there are.
        left_out: (N,) logarithm of each reference outside the others, times the worth.
    """

    low: FloatVector
    high: FloatVector
    usual: FloatVector
    worth: float
    left_out: NDArray[np.float32]

    def of(self, planes: FloatMatrix) -> NDArray[np.float32]:
        """Return the (M,) logarithm of how far (M, P) planes lie outside, times the worth."""
        return _logarithm(_outside(planes, self.low, self.high) / self.usual, self.worth)


def fit_envelope(planes: FloatMatrix) -> Envelope:
    """Return the envelope of (N, P) planes of references; N at least 2."""
    ordered = np.sort(planes, axis=0)
    low, high = ordered[0], ordered[-1]
    # Without the reference that bounds it a pixel is bounded by the next one.
    lowest = np.where(planes == low, ordered[1], low)
    highest = np.where(planes == high, ordered[-2], high)
    alone = _outside(planes, lowest, highest)
    mean = np.asarray(alone.mean(axis=0), np.float32).reshape(PLANE_PX, PLANE_PX)
    around = cv2.blur(mean, (_NEIGHBOURHOOD_PX, _NEIGHBOURHOOD_PX)).reshape(-1)
    usual = np.asarray(around + max(float(mean.mean()), _TINY), np.float32)
    number = len(planes)
    worth = _FULL_WORTH * max(number - _FEW, 0.0) / (number + _HALF)
    return Envelope(low, high, usual, worth, _logarithm(alone / usual, worth))


def _outside(
    planes: FloatMatrix, low: NDArray[np.float32], high: NDArray[np.float32]
) -> NDArray[np.float32]:
    return np.asarray(np.maximum(np.maximum(planes - high, low - planes), 0.0), np.float32)


def _logarithm(shares: NDArray[np.float32], worth: float) -> NDArray[np.float32]:
    most = np.partition(shares, -_MOST_OUTSIDE, axis=1)[:, -_MOST_OUTSIDE:].mean(axis=1)
    return np.asarray(worth * np.log(most + _LEAST), np.float32)
