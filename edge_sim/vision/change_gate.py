"""The gate: a picture like the last embedded one needs no embedding.

Most frames of a fixed camera show nothing new. The gate compares glimpses block by block and learns
from the source itself how much its noise moves a block, so that it opens for a small object in a
corner and stays closed for a grainy night picture.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

import cv2
import numpy as np

from edge_sim.core.types import GrayImage

_BLOCKS = 12
"""Blocks per side: 8x8 pixels of a thumbnail each, about the smallest thing worth seeing."""
_LEARNED_FROM = 64
_LEAST_LEARNED = 8
_NOISE_FACTOR = 1.6
_FLOOR = 0.75
_CEILING = 5.0
_MAX_AGE_S = 30.0


class Gate:
    """Decides per look whether the picture must be embedded again.

    A look passes unembedded if no block differs from the last embedded picture by more than 1.6
    times what noise alone does to the worst block between two looks (median of the last 64), at
    least 0.75 and at most 5 grey levels. Every 30 s a picture is embedded in any case.
    """

    def __init__(self) -> None:
        self._steps: deque[float] = deque()
        self._ordered: list[float] = []  # the same steps, so that their median is at hand
        self._previous: GrayImage | None = None
        self._embedded: GrayImage | None = None
        self._embedded_at_s = 0.0
        self.is_repeated = False
        """Whether the last look showed the very picture before it, noise included."""

    @property
    def level(self) -> float:
        """Grey levels by which a block may differ now; 0 while the noise is not known."""
        known = len(self._ordered)
        if known < _LEAST_LEARNED:
            return 0.0
        median = (self._ordered[(known - 1) // 2] + self._ordered[known // 2]) / 2.0
        return min(max(_NOISE_FACTOR * median, _FLOOR), _CEILING)

    def is_shut(self, coarse_image: GrayImage, at_s: float) -> bool:
        """Return whether `coarse_image` shows nothing new; called once per look, in time order.

        Args:
            glimpse: (h, w) uint8, as `imaging.coarse_image` makes it; always of one shape.
            at_s: Time of the frame; time that runs backwards opens the gate.
        """
        if self._previous is not None and self._previous.shape == coarse_image.shape:
            step = _worst_block(coarse_image, self._previous)
            self.is_repeated = step == 0.0
            self._learn(step)
        self._previous = coarse_image
        seen = self._embedded
        if seen is None or not 0.0 <= at_s - self._embedded_at_s < _MAX_AGE_S:
            return False
        return seen.shape == coarse_image.shape and _worst_block(coarse_image, seen) <= self.level

    def embedded(self, coarse_image: GrayImage, at_s: float) -> None:
        """Note that this picture was embedded: later ones are compared with it."""
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
    blocks = cv2.resize(difference, (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
    return cv2.norm(blocks, cv2.NORM_INF)
