"""Change gate: a picture like the last embedded one is not embedded again.

Most frames of a fixed camera show nothing new. The gate compares coarse images block by block and
learns the noise of the source, so that it opens for a small object in a corner and stays shut for
a grainy night picture.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from functools import lru_cache

import cv2
import numpy as np

from edge_sim.core.types import FloatMatrix, GrayImage

_BLOCKS = 12
"""Blocks per side: 8x8 pixels of a thumbnail each, about the smallest thing worth seeing."""
_LEARNED_FROM = 64
_LEAST_LEARNED = 8
_NOISE_FACTOR = 1.6
_FLOOR = 0.75
_CEILING = 5.0
_MAX_AGE_S = 30.0


class Gate:
    """Decision per frame whether the region must be embedded again.

    The gate is shut if no block differs from the last embedded picture by more than 1.6 times the
    usual change of the worst block between two frames (median of the last 64), at least 0.75 and at
    most 5 grey levels. After 30 s a picture is embedded in any case.
    """

    def __init__(self) -> None:
        self._steps: deque[float] = deque()
        self._ordered: list[float] = []  # the same steps, so that their median is at hand
        self._previous: GrayImage | None = None
        self._embedded: GrayImage | None = None
        self._embedded_at_s = 0.0
        self.is_repeated = False
        """True if the last picture equals the one before it, noise included."""

    @property
    def level(self) -> float:
        """Largest difference of a block, grey levels; 0 while the noise is not known."""
        known = len(self._ordered)
        if known < _LEAST_LEARNED:
            return 0.0
        median = (self._ordered[(known - 1) // 2] + self._ordered[known // 2]) / 2.0
        return min(max(_NOISE_FACTOR * median, _FLOOR), _CEILING)

    def is_shut(self, coarse_image: GrayImage, at_s: float) -> bool:
        """Return whether `coarse_image` shows nothing new; called once per frame, in time order.

        Args:
            coarse_image: (h, w) uint8, as `images.coarse_image` makes it; always of one shape.
            at_s: Time of the frame; time that runs backwards opens the gate.
        """
        if self._previous is not None and self._previous.shape == coarse_image.shape:
            step = _worst_block(coarse_image, self._previous)
            self.is_repeated = step == 0.0
            self._learn(step)
        self._previous = coarse_image
        last = self._embedded
        if last is None or not 0.0 <= at_s - self._embedded_at_s < _MAX_AGE_S:
            return False
        return last.shape == coarse_image.shape and _worst_block(coarse_image, last) <= self.level

    def embedded(self, coarse_image: GrayImage, at_s: float) -> None:
        """Record that this picture was embedded: later ones are compared with it."""
        self._embedded = coarse_image
        self._embedded_at_s = at_s

    def _learn(self, step: float) -> None:
        self._steps.append(step)
        insort(self._ordered, step)
        if len(self._steps) > _LEARNED_FROM:
            del self._ordered[bisect_left(self._ordered, self._steps.popleft())]


def _worst_block(a: GrayImage, b: GrayImage) -> float:
    """Return the largest mean absolute difference of a block, grey levels."""
    difference = cv2.absdiff(a, b).astype(np.float32)
    height, width = difference.shape
    if height % _BLOCKS or width % _BLOCKS:
        # Blocks of parts of pixels: OpenCV's area averages take three times as long.
        blocks = _shares(height) @ difference @ _shares(width).T
        return cv2.norm(blocks, cv2.NORM_INF)
    means = cv2.resize(difference, (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
    return cv2.norm(means, cv2.NORM_INF)


@lru_cache(maxsize=32)
def _shares(size: int) -> FloatMatrix:
    """Return the (blocks, size) share of each row, or column, in the mean of each block."""
    edges = np.arange(_BLOCKS + 1) * (size / _BLOCKS)
    first, end = edges[:-1, None], edges[1:, None]
    pixels = np.arange(size)
    covered = np.minimum(end, pixels + 1) - np.maximum(first, pixels)
    return np.asarray(np.maximum(covered, 0.0) / (size / _BLOCKS), np.float32)
