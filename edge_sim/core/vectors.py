"""Pure functions on numbers, vectors and thumbnails: quantiles, distances, structural similarity.

Quantiles are our own because those of numpy 2 import numpy.ma at their first call, which takes
10 ms of every start and 1.3 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import FloatMatrix, FloatVector, GrayImage


def median(values: Sequence[float] | NDArray[Any]) -> float:
    """Return the median of one number or more; NaN if one of them is."""
    return float(quantiles(values, (0.5,))[0])


def quantiles(
    values: Sequence[float] | NDArray[Any], shares: Sequence[float] | NDArray[Any]
) -> NDArray[np.float64]:
    """Return the quantiles at `shares`, 0 to 1, linear between the two nearest numbers.

    Equal to `numpy.quantile`; NaN if one of the numbers is.

    Raises:
        ValueError: There are no numbers.
    """
    ordered = np.sort(np.asarray(values, np.float64).ravel())  # NaN comes last
    if not len(ordered):
        raise ValueError("no numbers, no quantiles")
    places = np.asarray(shares, np.float64) * (len(ordered) - 1)
    found = np.interp(places, np.arange(len(ordered)), ordered)
    return np.full_like(found, np.nan) if np.isnan(ordered[-1]) else found


SSIM_SIGMA = 1.5
SSIM_RADIUS_PX = 5  # an 11x11 window, as in the paper
_C1 = (0.01 * 255.0) ** 2
_C2 = (0.03 * 255.0) ** 2
_MIDDLE = 128.0
_WINDOW = cv2.getGaussianKernel(2 * SSIM_RADIUS_PX + 1, SSIM_SIGMA, cv2.CV_32F)


def normalised(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Return float32 rows of unit length; a row of zeros stays zero.

    Raises:
        ValueError: NaN or infinity in a row.
    """
    rows = np.asarray(vectors, np.float32)
    if not np.isfinite(rows).all():
        raise ValueError("vectors must be finite, got NaN or infinity")
    # Dividing by the largest entry first keeps the square of tiny and huge rows in float range.
    largest = np.max(np.abs(rows), axis=-1, keepdims=True)
    scaled = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    length = np.linalg.norm(scaled, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(scaled, length, out=scaled, where=length > 0)
    return unit


def cosine(a: FloatVector, b: FloatVector) -> float:
    """Return the cosine of the angle between two vectors, -1 to 1; 0 if one of them is zero."""
    return float(np.clip(normalised(a) @ normalised(b), -1.0, 1.0))


def cosine_to_all(vector: FloatVector, unit_rows: FloatMatrix) -> FloatVector:
    """Return (N,) cosines of a unit vector with rows of unit length: one matrix product."""
    return np.asarray(np.clip(unit_rows @ vector, -1.0, 1.0), np.float32)


def euclidean_to_all(vector: FloatVector, rows: FloatMatrix) -> FloatVector:
    """Return (N,) Euclidean distances, 0 and up."""
    return np.asarray(np.linalg.norm(rows - vector, axis=1), np.float32)


def manhattan_to_all(vector: FloatVector, rows: FloatMatrix) -> FloatVector:
    """Return (N,) Manhattan distances, 0 and up."""
    return np.asarray(np.abs(rows - vector).sum(axis=1), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class SsimPlanes:
    """Terms of structural similarity that depend on one picture, computed once.

    Four planes of (T - 10, T - 10) float32, for the pixels that count; each term of the formula is
    then one sum or product of two pictures' planes.

    Args:
        pixels: (T, T) float32, less 128, so that the variances do not cancel in float32.
        mean: Gaussian-weighted local mean m of `pixels`.
        level: m + 128.
        energy: level^2 + C1 / 2, halved.
        spread: Gaussian-weighted local variance + C2 / 2, halved.
    """

    pixels: NDArray[np.float32]
    mean: NDArray[np.float32]
    level: NDArray[np.float32]
    energy: NDArray[np.float32]
    spread: NDArray[np.float32]


def ssim_planes(image: GrayImage) -> SsimPlanes:
    """Return the planes of a (T, T) uint8 picture, T at least 11.

    Raises:
        ValueError: The picture is smaller than the window or not grey.
    """
    window = 2 * SSIM_RADIUS_PX + 1
    if image.ndim != 2 or min(image.shape) < window:
        raise ValueError(f"ssim needs a grey picture of {window}x{window} up, got {image.shape}")
    pixels = image.astype(np.float32)
    pixels -= _MIDDLE
    mean, square = _blurred(pixels), _blurred(pixels * pixels)
    level = mean + _MIDDLE
    energy = level * level
    energy += 0.5 * _C1
    energy *= 0.5
    square -= mean * mean
    square += 0.5 * _C2
    square *= 0.5
    return SsimPlanes(pixels, mean, level, energy, spread=square)


def ssim_between(a: SsimPlanes, b: SsimPlanes) -> float:
    """Return the mean structural similarity of two pictures, -1 to 1.

    Wang et al., Image quality assessment, IEEE TIP 13(4), 2004, eq. 13, with the Gaussian window
    of that paper and data range 255; pixels nearer to the border than the window's radius do not
    count. Equal to scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=255)` to 1e-4.
    """
    return _mean(ssim_map(a, b))


def ssim_map(a: SsimPlanes, b: SsimPlanes) -> NDArray[np.float32]:
    """Return the similarity of each pixel, (T - 10, T - 10) float32, -1 to 1.

    The mean of it is `ssim_between`; the window's radius is missing on every side.
    """
    similarity = _structure_of(a, b)
    luminance = a.level * b.level
    luminance += 0.5 * _C1
    luminance /= a.energy + b.energy
    similarity *= luminance
    return similarity


def ssim_to_all(probe: SsimPlanes, references: Sequence[SsimPlanes]) -> FloatVector:
    """Return (N,) structural similarities of one picture with others; its planes are shared."""
    return np.array([ssim_between(probe, reference) for reference in references], np.float32)


def structure_between(a: SsimPlanes, b: SsimPlanes) -> float:
    """Return SSIM without its luminance term, -1 to 1: the same scene in other light stays high."""
    return _mean(_structure_of(a, b))


def ssim(a: GrayImage, b: GrayImage) -> float:
    """Return the structural similarity of two (T, T) uint8 pictures, -1 to 1.

    Raises:
        ValueError: The shapes differ, or are smaller than the 11x11 window.
    """
    if a.shape != b.shape:
        raise ValueError(f"ssim needs two pictures of one shape, got {a.shape} and {b.shape}")
    return ssim_between(ssim_planes(a), ssim_planes(b))


def _structure_of(a: SsimPlanes, b: SsimPlanes) -> NDArray[np.float32]:
    """Return (2 cov + C2) / (var_a + var_b + C2) of each pixel, both parts halved."""
    structure = _blurred(a.pixels * b.pixels)
    structure -= a.mean * b.mean
    structure += 0.5 * _C2
    structure /= a.spread + b.spread
    return structure


def _blurred(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weighted means of a plane where the window lies within the picture."""
    inner = slice(SSIM_RADIUS_PX, -SSIM_RADIUS_PX)
    return np.ascontiguousarray(cv2.sepFilter2D(plane, -1, _WINDOW, _WINDOW)[inner, inner])


def _mean(plane: NDArray[np.float32]) -> float:
    return float(cv2.mean(plane)[0])  # added up in float64
