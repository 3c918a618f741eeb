"""Map of a collection: every picture as a point in the plane, and groups of similar pictures.

The plane is spanned by the two directions in which the vectors vary most (principal components:
Pearson, On lines and planes of closest fit to systems of points in space, 1901). Groups are those
of k-means (Lloyd, Least squares quantization in PCM, 1982), as OpenCV computes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.ranking import Rows
from edge_sim.core.types import FloatMatrix
from edge_sim.errors import SearchError

MAX_GROUPS = 200
_CHUNK_ROWS = 4096
_REDUCED = 32
"""Principal components that the groups are found in: more take longer and change little."""
_SEED = 1


@dataclass(frozen=True, slots=True, eq=False)
class PictureMap:
    """Points and groups of N pictures.

    Args:
        points: (N, 2) float32, each axis scaled to 0 to 1.
        groups: (N) intp, the number of the group of each picture; the largest group is 0.
        typical: Rows of the picture nearest to the middle of each group.
        odd: Rows of the picture farthest from it.
    """

    points: FloatMatrix
    groups: NDArray[np.intp]
    typical: tuple[int, ...]
    odd: tuple[int, ...]


def picture_map(rows: Rows, groups: int | None = None) -> PictureMap:
    """Return the map of (N, D) rows; equal rows give an equal map.

    Args:
        rows: Vectors in memory or mapped from a file.
        groups: Number of groups, at most 200; None takes about the root of N / 2.

    Raises:
        SearchError: There is no row, or the number of groups is out of range.
    """
    count = len(rows)
    if not count:
        raise SearchError("there is no picture to draw a map of")
    wanted = max(1, round((count / 2) ** 0.5)) if groups is None else groups
    if groups is not None and not 1 <= groups <= MAX_GROUPS:
        raise SearchError(f"the number of groups lies in 1 to {MAX_GROUPS}, got {groups}")
    reduced = _principal(rows)
    labels, centres = _k_means(reduced, min(wanted, MAX_GROUPS, count))
    apart = np.linalg.norm(reduced - centres[labels], axis=1)
    order = np.argsort(-np.bincount(labels, minlength=len(centres)), kind="stable")
    renamed = np.empty(len(order), np.intp)
    renamed[order] = np.arange(len(order))
    typical, odd = [], []
    for group in order:
        members = np.flatnonzero(labels == group)
        if len(members):
            typical.append(int(members[apart[members].argmin()]))
            odd.append(int(members[apart[members].argmax()]))
    return PictureMap(_scaled(reduced[:, :2]), renamed[labels], tuple(typical), tuple(odd))


def _principal(rows: Rows) -> FloatMatrix:
    """Return (N, up to 32) float32, the rows along the directions in which they vary most."""
    count, width = rows.shape
    mean = np.zeros(width)
    for start in range(0, count, _CHUNK_ROWS):
        mean += np.asarray(rows[start : start + _CHUNK_ROWS], np.float64).sum(axis=0)
    mean /= count
    scatter = np.zeros((width, width))
    for start in range(0, count, _CHUNK_ROWS):
        part = np.asarray(rows[start : start + _CHUNK_ROWS], np.float64) - mean
        scatter += part.T @ part
    _, directions = np.linalg.eigh(scatter)
    kept = directions[:, ::-1][:, : max(2, min(_REDUCED, width))]
    # The sign of a direction is arbitrary: the largest part of each is made positive.
    kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    found = np.empty((count, kept.shape[1]), np.float32)
    for start in range(0, count, _CHUNK_ROWS):
        part = np.asarray(rows[start : start + _CHUNK_ROWS], np.float64) - mean
        found[start : start + len(part)] = part @ kept
    if found.shape[1] == 1:
        found = np.pad(found, ((0, 0), (0, 1)))
    return found


def _k_means(rows: FloatMatrix, groups: int) -> tuple[NDArray[np.intp], FloatMatrix]:
    if groups == 1:
        return np.zeros(len(rows), np.intp), rows.mean(axis=0, keepdims=True)
    cv2.setRNGSeed(_SEED)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-4)
    _, labels, centres = cv2.kmeans(
        np.ascontiguousarray(rows), groups, None, criteria, 2, cv2.KMEANS_PP_CENTERS
    )  # type: ignore[call-overload]
    return labels.reshape(-1).astype(np.intp), np.asarray(centres, np.float32)


def _scaled(points: FloatMatrix) -> FloatMatrix:
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    return np.asarray((points - low) / span, np.float32)
