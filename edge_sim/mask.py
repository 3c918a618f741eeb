"""Mask: which pixels of a region do not count."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import GrayImage

_HIDDEN = 128
_COUNTS_FROM = 128


class Mask:
    """Hides the pixels of a region that do not count, whatever its size.

    Args:
        plane: (h, w) uint8 of any size, 128 and more where pixels count.

    Raises:
        ValueError: Not (h, w) uint8.
    """

    def __init__(self, plane: GrayImage) -> None:
        if plane.ndim != 2 or plane.dtype != np.uint8 or not plane.size:
            raise ValueError(f"a mask must be uint8 (h, w), got {plane.dtype} {plane.shape}")
        self._plane: GrayImage = np.where(plane >= _COUNTS_FROM, 255, 0).astype(np.uint8)
        # A watch asks for two sizes, frame after frame: fitting is slower than hiding.
        self._fitted: dict[tuple[int, int], GrayImage] = {}

    def hide(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a copy of (H, W, 3) or (H, W) uint8 with mid-grey where pixels do not count."""
        seen = np.full_like(pixels, _HIDDEN, order="C")
        cv2.copyTo(pixels, self._fit(pixels.shape[0], pixels.shape[1]), seen)
        return seen

    def _fit(self, height_px: int, width_px: int) -> GrayImage:
        fitted = self._fitted.get((height_px, width_px))
        if fitted is None:
            size = width_px, height_px
            fitted = np.asarray(cv2.resize(self._plane, size, interpolation=cv2.INTER_NEAREST))
            if len(self._fitted) >= 2:  # the source has changed its size
                self._fitted = {}
            self._fitted = {**self._fitted, (height_px, width_px): fitted}
        return fitted
