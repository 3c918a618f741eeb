"""The gate: a picture like the last embedded one needs no embedding.

Most frames of a fixed camera show nothing new. The gate compares grey thumbnails block by block and
learns from the source itself how much its noise moves a block, so that it opens for a small object
in a corner and stays closed for a grainy night picture.
"""

from __future__ import annotations

from collections import deque
from statistics import median

import cv2
import numpy as np

from edge_sim.domain import THUMBNAIL_PX, GrayImage

_BLOCKS = 12
"""Blocks per side: 8x8 pixels of the thumbnail each, about the smallest thing worth seeing."""
_LEARNED_FROM = 64
_LEAST_LEARNED = 8
_NOISE_FACTOR = 1.6
_FLOOR = 0.75
_CEILING = 5.0
_MAX_AGE_S = 30.0

assert THUMBNAIL_PX % _BLOCKS == 0


class Gate:
    """Decides per look whether the picture must be embedded again.

    A look passes unembedded if no block differs from the last embedded picture by more than 1.6
    times what noise alone does to the worst block between two looks (median of the last 64), at
    least 0.75 and at most 5 grey levels. Every 30 s a picture is embedded in any case.
    """

    def __init__(self) -> None:
        self._steps: deque[float] = deque(maxlen=_LEARNED_FROM)
        self._previous: GrayImage | None = None
        self._embedded: GrayImage | None = None
        self._embedded_at_s = 0.0

    @property
    def level(self) -> float:
        """Grey levels by which a block may differ now; 0 while the noise is not known."""
        if len(self._steps) < _LEAST_LEARNED:
            return 0.0
        return min(max(_NOISE_FACTOR * median(self._steps), _FLOOR), _CEILING)

    def is_shut(self, thumbnail: GrayImage, at_s: float) -> bool:
        """Return whether `thumbnail` shows nothing new; called once per look, in time order.

        Args:
            thumbnail: (96, 96) uint8 grey.
            at_s: Time of the frame; time that runs backwards opens the gate.
        """
        if self._previous is not None:
            self._steps.append(_worst_block(thumbnail, self._previous))
        self._previous = thumbnail
        if self._embedded is None or not 0.0 <= at_s - self._embedded_at_s < _MAX_AGE_S:
            return False
        return _worst_block(thumbnail, self._embedded) <= self.level

    def embedded(self, thumbnail: GrayImage, at_s: float) -> None:
        """Note that this picture was embedded: later ones are compared with it."""
        self._embedded = thumbnail
        self._embedded_at_s = at_s


def _worst_block(a: GrayImage, b: GrayImage) -> float:
    """Return the largest mean absolute difference of a block, grey levels."""
    difference = cv2.absdiff(a, b).astype(np.float32)
    blocks = cv2.resize(difference, (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
    return float(blocks.max())
