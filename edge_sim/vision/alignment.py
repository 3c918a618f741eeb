"""Detection of another view, and correction of a small shift of the camera.

The structure of each cell of the picture is compared with the same cell of every reference. An
object that comes or goes changes some cells; a camera that was turned changes all of them.

After a small shift the region is moved, so that the references fit again: a shift of 2 % of the
region's side costs 3 points of accuracy, 7 % cost 6 (ten data sets, five references).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import EDGES_PX, edges_of, local_contrast
from edge_sim.core.types import FloatPlane, GrayImage, Probe, Reference
from edge_sim.core.vectors import median
from edge_sim.vision.probe import Region

_GRID = 4
_CELL_PX = EDGES_PX // _GRID
_SIGMA_PX = 4.0  # of the neighbourhood, at full size
_LEAST_LENGTH = np.float32(1e-12)
_REFERENCES = 32
_TRIED_FOR_SHIFT = 5
_LEAST_GAIN = 0.02  # least gain of mean agreement for a shift to count
_MOST_CELLS = 0.6
"""Least part of the cells that a shift must improve: a knocked camera shifts all cells, a moved
object only its own."""
_USUAL_AGREEMENT = 0.85  # of a picture with other references of the same fixed view
_LOST_SHARE = 0.45
"""Part of the references' agreement with each other below which the view is another one. Over ten
data sets the least 1 % of honest pictures keeps above 0.5, other views stay below 0.43."""
SMALL_SHIFT = 0.1
"""Shifts up to this part of the region's side are a knock, not another view."""

Cells = NDArray[np.float32]


class SceneView:
    """View that the references of a watch show.

    Args:
        thumbnails: (96, 96) uint8 grey, of the references; of many, some are taken evenly.
    """

    def __init__(self, thumbnails: Sequence[GrayImage]) -> None:
        taken = _evenly(thumbnails, _REFERENCES)
        self._cells = np.stack([_cells(edges_of(item)) for item in taken]) if taken else None
        self._tried = tuple(_evenly(taken, _TRIED_FOR_SHIFT))
        self._limit = _LOST_SHARE * self._agreement_among_references()

    def agreement(self, edges: FloatPlane) -> float:
        """Return how well the cells agree with the best reference each, -1 to 1; 1 without any."""
        if self._cells is None:
            return 1.0
        return float(_best_of(edges, self._cells).mean())

    def is_lost(self, thumbnail: GrayImage, edges: FloatPlane) -> bool:
        """Return whether the picture shows another view, not just a slightly shifted one.

        Args:
            thumbnail: (96, 96) uint8 grey.
            edges: Edges of the thumbnail.
        """
        if self.agreement(edges) >= self._limit:
            return False
        return not self._fits_when_shifted(thumbnail)

    def shift_of(self, thumbnail: GrayImage) -> tuple[float, float]:
        """Return the shift of the whole picture to the right and down, thumbnail pixels.

        (0, 0) where no small shift makes it fit the references better in most of its cells.
        """
        if self._cells is None:
            return 0.0, 0.0
        best, best_shift = _best_of(edges_of(thumbnail), self._cells), (0.0, 0.0)
        unshifted = best
        for shift, back in self._shifted_back(thumbnail):
            cells = _best_of(edges_of(back), self._cells)
            gained = float((cells > unshifted).mean())
            if cells.mean() > best.mean() + _LEAST_GAIN and gained >= _MOST_CELLS:
                best, best_shift = cells, shift
        return best_shift

    def _fits_when_shifted(self, thumbnail: GrayImage) -> bool:
        back = (back for _, back in self._shifted_back(thumbnail))
        return any(self.agreement(edges_of(item)) >= self._limit for item in back)

    def _shifted_back(
        self, thumbnail: GrayImage
    ) -> Iterator[tuple[tuple[float, float], GrayImage]]:
        """Yield the small shifts against some references, and the picture without them."""
        side = thumbnail.shape[0]
        window = cv2.createHanningWindow((side, side), cv2.CV_32F)
        plane = _fine_edges(thumbnail)
        for reference in self._tried:
            (x, y), _ = cv2.phaseCorrelate(_fine_edges(reference), plane, window)
            if max(abs(x), abs(y)) > SMALL_SHIFT * side:
                continue
            move = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
            back = cv2.warpAffine(thumbnail, move, (side, side), borderMode=cv2.BORDER_REPLICATE)
            yield (float(x), float(y)), np.asarray(back, np.uint8)

    def _agreement_among_references(self) -> float:
        if self._cells is None or len(self._cells) < 2:
            return _USUAL_AGREEMENT
        between = _likeness(self._cells, self._cells)
        for at in range(len(between)):
            between[at, at] = -1.0
        return median(between.max(axis=1).mean(axis=-1))


def _evenly(items: Sequence[GrayImage], most: int) -> Sequence[GrayImage]:
    """Return the items, or of many an even selection."""
    return items[:: max(1, -(-len(items) // most))]


def edge_similarity(a: FloatPlane, b: FloatPlane) -> float:
    """Return the similarity of the edges of two pictures, -1 to 1."""
    return float(_likeness(_cells(a), _cells(b)[None]).mean())


def _fine_edges(thumbnail: GrayImage) -> FloatPlane:
    """Return the edges at full size, for shifts to a fraction of a pixel."""
    return local_contrast(thumbnail.astype(np.float32), sigma_px=_SIGMA_PX)


def _cells(edges: FloatPlane) -> Cells:
    """Return (16, 36) unit vectors, one per cell."""
    blocks = edges.reshape(_GRID, _CELL_PX, _GRID, _CELL_PX).transpose(0, 2, 1, 3)
    cells = blocks.reshape(_GRID * _GRID, -1)
    lengths = np.sqrt(np.einsum("cp,cp->c", cells, cells))
    return np.asarray(cells / np.maximum(lengths, _LEAST_LENGTH)[:, None], np.float32)


def _best_of(edges: FloatPlane, references: Cells) -> NDArray[Any]:
    """Return (16,) agreement of each cell of a picture with its best reference."""
    return np.asarray(_likeness(_cells(edges), references).max(axis=0))


def _likeness(cells: Cells, others: Cells) -> NDArray[Any]:
    """Return (..., N, 16) likeness of (..., 16, 36) cells with (N, 16, 36) others."""
    return np.asarray(np.einsum("...cp,ncp->...nc", cells, others))


EVERY_S = 5.0
"""Seconds between two estimates."""
_ESTIMATES = 9
_AGREEING = 7
_WITHIN_PX = 0.75
_LEAST_PX = 1.0  # of 96; below, a shift costs less than estimates are worth


class RegionStabilizer:
    """Correction of a region for a shift of the whole picture.

    Every 5 seconds the shift against the references is estimated by phase correlation
    (`SceneView.shift_of`). If seven of nine estimates agree to 0.75 thumbnail pixels on at least
    one, the region moves by their median, by a tenth of its side from home at most. An object that
    moves in the scene shifts only a part of the picture, and is not followed.

    Args:
        references: References of the region at home; without any the region never moves.
    """

    def __init__(self, references: Iterable[Reference]) -> None:
        self._view = SceneView([item.thumbnail for item in references])
        self._shifts: deque[tuple[float, float]] = deque(maxlen=_ESTIMATES)
        self._last_s: float | None = None
        self._last: tuple[GrayImage, tuple[float, float]] | None = None

    def follow(self, probe: Probe, home: Region, region: Region) -> Region:
        """Return the region for the next frames: `region`, or another one near `home`.

        Args:
            probe: Probe of `region` in the current frame.
            home: Region as configured.
            region: Region at present.
        """
        if self._last_s is not None and 0.0 <= probe.captured_at_s - self._last_s < EVERY_S:
            return region
        self._last_s = probe.captured_at_s
        if self._last is None or self._last[0] is not probe.thumbnail:
            self._last = probe.thumbnail, self._view.shift_of(probe.thumbnail)
        self._shifts.append(self._last[1])  # while the gate is shut, the same thumbnail again
        agreed = self._agreed()
        if agreed is None:
            return region
        self._shifts.clear()
        side = probe.thumbnail.shape[0]
        before = region.offset_from(home)
        x, y = (
            min(max(so_far + more / side, -SMALL_SHIFT), SMALL_SHIFT)
            for so_far, more in zip(before, agreed, strict=True)
        )
        return home.moved(x, y)

    def _agreed(self) -> tuple[float, float] | None:
        """Return the shift that the estimates agree on, thumbnail pixels; None if they do not."""
        if len(self._shifts) < _ESTIMATES:
            return None
        shifts = np.array(self._shifts)
        middle = np.array([median(column) for column in shifts.T])
        near = np.abs(shifts - middle).max(axis=1) <= _WITHIN_PX
        if near.sum() < _AGREEING or np.abs(middle).max() < _LEAST_PX:
            return None
        return float(middle[0]), float(middle[1])
