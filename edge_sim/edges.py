"""Edges: what is left of a thumbnail whatever the light. The scorer and the monitor go by them."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from edge_sim.domain import THUMBNAIL_PX, FloatPlane, GrayImage

EDGES_PX = 24
_HALF_SIZE = THUMBNAIL_PX // 2, THUMBNAIL_PX // 2
_NOISE_LEVELS = np.float32(6.0)


def edges_of(thumbnail: GrayImage) -> FloatPlane:
    """Return the edges of a (96, 96) thumbnail: (24, 24) float32, see `local_contrast`."""
    edges = local_contrast(half_of(thumbnail))
    return _plane(cv2.resize(edges, (EDGES_PX, EDGES_PX), interpolation=cv2.INTER_AREA))


def half_of(thumbnail: GrayImage) -> FloatPlane:
    """Return a (96, 96) thumbnail at half its size: (48, 48) float32 grey levels."""
    small = cv2.resize(thumbnail.astype(np.float32), _HALF_SIZE, interpolation=cv2.INTER_AREA)
    return _plane(small)


def local_contrast(plane: FloatPlane, sigma_px: float = 2.0) -> FloatPlane:
    """Return each pixel less the mean and over the deviation of its neighbourhood.

    Six grey levels are added to the deviation, which keeps sensor noise on flat walls from becoming
    texture. But for that, it is the same in any light.

    Args:
        plane: (H, W) float32 grey levels; at full size it costs four times as much as at half.
        sigma_px: Of the Gaussian weights of the neighbourhood.
    """
    window = _window(sigma_px)
    mean = _plane(cv2.sepFilter2D(plane, -1, window, window))
    deviation = _plane(cv2.sepFilter2D(plane * plane, -1, window, window))
    deviation -= mean * mean
    np.maximum(deviation, 0.0, out=deviation)
    np.sqrt(deviation, out=deviation)
    deviation += _NOISE_LEVELS
    edges = np.subtract(plane, mean, out=mean)
    edges /= deviation
    return edges


@lru_cache(maxsize=8)
def _window(sigma_px: float) -> FloatPlane:
    return _plane(cv2.getGaussianKernel(2 * round(4 * sigma_px) + 1, sigma_px, cv2.CV_32F))


def _plane(values: object) -> FloatPlane:
    return np.asarray(values, np.float32)
