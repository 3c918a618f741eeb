"""Location of the parts of a picture that differ from every reference.

The picture is compared with an envelope of the references: the grey levels that any of them has
within a small distance of a pixel, and all levels between those. Outlines that lie a little
otherwise, and parts that vary among the references, stay inside it. Light is removed before: slow
changes of level over the picture and a common change of contrast do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import BgrImage, FloatMatrix, FloatPlane, GrayImage, Roi, check_picture
from edge_sim.errors import DataError

MOST_REGIONS = 20
_MOST_SIDE_PX = 640
_SLACK_SHARE = 1.0 / 320.0
"""Tolerated shift of an outline, in parts of the longer side; 2 px of 640."""
_LIGHT_CELLS = 32  # along each side, for the fit of the light
_LIGHT_FITS = 8
_LIGHT_REACH = 1.5  # deviations from which a difference counts half and less as light
_MOST_SHIFT = 0.05  # largest shift of the whole picture, in parts of each side
_SURE_RESPONSE = 0.1  # least response of phase correlation for a shift
_LEAST_LEVELS = 24.0
_NOISES = 6.0
"""A novel pixel lies this many grey levels, and deviations of the noise, outside the envelope."""
_JOIN_SHARE = 1.0 / 80.0  # of the longer side: novel pixels nearer than this form one region
_LEAST_MASS = 0.00008
"""Least area of a region, in parts of the picture, each pixel weighted by its distance from the
envelope, 1 for the full range of the picture. On 80 pairs of circuit boards 0.91 of 534 labelled
faults are hit at 0.94 false regions a picture."""
_MAD_TO_DEVIATION = 1.4826
_LEAST_DRAWN_PX = 320
_RED = (40, 40, 220)  # BGR


@dataclass(frozen=True, slots=True)
class NovelRegion:
    """Part of a picture that differs from every reference.

    Args:
        roi: Bounding box in fractions of the picture.
        strength: Area in parts of the picture, weighted by the distance from the envelope.
    """

    roi: Roi
    strength: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Upper left corner x and y, width and height, fractions with four decimals."""
        roi = self.roi
        corners = roi.x1, roi.y1, roi.x2 - roi.x1, roi.y2 - roi.y1
        return tuple(round(value, 4) for value in corners)  # type: ignore[return-value]


def locate(
    picture: BgrImage | GrayImage,
    references: Sequence[BgrImage | GrayImage],
    *,
    least: float = _LEAST_MASS,
) -> tuple[NovelRegion, ...]:
    """Return the parts of the picture that differ from every reference, the strongest first.

    Args:
        picture: Region of one frame, (H, W, 3) uint8 BGR or (H, W) uint8 grey.
        references: Pictures of the same view, of any size; at least one.
        least: Least strength of a region.

    Returns:
        At most 20 regions.

    Raises:
        DataError: There is no reference.
        PictureError: One of them is no picture.
    """
    for item in (picture, *references):
        if not (isinstance(item, np.ndarray) and item.ndim == 2 and item.dtype == np.uint8):
            check_picture(item)
    novelty = novelty_map(picture, references)
    height, width = novelty.shape
    reach = max(1, round(max(height, width) * _JOIN_SHARE))
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * reach + 1, 2 * reach + 1))
    found = np.asarray(novelty > 0.0, np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(found, kernel))
    here = np.flatnonzero(found)
    sums = np.bincount(labels.ravel()[here], novelty.ravel()[here], minlength=count)
    masses = sums / novelty.size
    regions = [
        NovelRegion(_roi_of(stats[label], reach, (height, width)), float(masses[label]))
        for label in np.argsort(-masses)[:MOST_REGIONS].tolist()
        if label != 0 and masses[label] > 0.0 and masses[label] >= least
    ]
    return tuple(regions)


def novelty_map(
    picture: BgrImage | GrayImage, references: Sequence[BgrImage | GrayImage]
) -> FloatPlane:
    """Return the distance of each pixel from the envelope: (H, W), 0 to 1, mostly 0.

    The plane has at most 640 pixels on its longer side.

    Raises:
        DataError: There is no reference.
    """
    if isinstance(references, np.ndarray):
        raise DataError("references is one picture; give a list of pictures")
    if not len(references):
        raise DataError("nothing to compare the picture with: there is no reference")
    plane = _grey(picture, None)
    others = [_grey(item, plane.shape) for item in references]
    slack = max(1, round(max(plane.shape) * _SLACK_SHARE))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * slack + 1, 2 * slack + 1))
    highest = np.zeros(plane.shape, np.uint8)
    lowest = np.full(plane.shape, 255, np.uint8)
    noise = np.inf
    for other in others:
        aligned = _in_light_of(_moved_onto(other, plane), plane)
        noise = min(noise, _deviation(plane - aligned))
        levels = np.asarray(np.clip(aligned, 0.0, 255.0), np.uint8)  # a quarter of the bytes
        highest = np.maximum(highest, cv2.dilate(levels, kernel))
        lowest = np.minimum(lowest, cv2.erode(levels, kernel))
    own = np.asarray(plane + 0.5, np.uint8)
    outside = cv2.max(cv2.subtract(own, highest), cv2.subtract(lowest, own))
    # A single pixel outside is noise, however far.
    outside = cv2.blur(np.asarray(outside, np.float32), (3, 3))
    level = max(_LEAST_LEVELS, _NOISES * noise)
    span = max(float(plane.max() - plane.min()), level)
    return np.asarray(np.where(outside > level, outside / span, 0.0), np.float32)


def drawn(
    picture: BgrImage | GrayImage, novelty: FloatPlane, regions: Sequence[NovelRegion]
) -> BgrImage:
    """Return the picture in grey, red where it is novel, with a frame around each region.

    Args:
        picture: Region of one frame.
        novelty: Plane from `novelty_map`.
        regions: Regions to frame.

    Returns:
        (H, W, 3) uint8 BGR of the size of `novelty`, enlarged to 320 pixels if it is smaller.
    """
    height, width = novelty.shape
    scale = max(1.0, _LEAST_DRAWN_PX / max(height, width))
    size = (round(width * scale), round(height * scale))
    grey = cv2.resize(np.asarray(_grey(picture, novelty.shape), np.uint8), size)
    where = cv2.resize(np.asarray(novelty > 0.0, np.uint8), size) > 0
    shown = cv2.cvtColor(np.asarray(grey * 0.7 + 70.0, np.uint8), cv2.COLOR_GRAY2BGR)
    shown[where] = (shown[where] * 0.35 + np.array(_RED) * 0.65).astype(np.uint8)
    for region in regions:
        roi = region.roi
        corner = (round(roi.x1 * size[0]) - 3, round(roi.y1 * size[1]) - 3)
        opposite = (round(roi.x2 * size[0]) + 2, round(roi.y2 * size[1]) + 2)
        cv2.rectangle(shown, corner, opposite, _RED, 1 if max(size) < 480 else 2)
    return np.asarray(shown, np.uint8)


def _grey(pixels: BgrImage | GrayImage, shape: tuple[int, ...] | None) -> FloatPlane:
    """Return the grey levels, at most 640 pixels long or of the given shape."""
    plane = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    if shape is None:
        scale = min(1.0, _MOST_SIDE_PX / max(plane.shape))
        shape = tuple(max(8, round(side * scale)) for side in plane.shape)
    if plane.shape != shape:
        plane = cv2.resize(plane, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(plane, np.float32)


def _moved_onto(reference: FloatPlane, plane: FloatPlane) -> FloatPlane:
    """Return the reference moved onto the picture, where a small shift makes it fit better."""
    height, width = plane.shape
    size = (max(16, width // 4), max(16, height // 4))
    small = [cv2.resize(item, size, interpolation=cv2.INTER_AREA) for item in (reference, plane)]
    window = cv2.createHanningWindow(size, cv2.CV_32F)
    (x, y), response = cv2.phaseCorrelate(small[0], small[1], window)
    x, y = x * width / size[0], y * height / size[1]
    is_small = abs(x) <= _MOST_SHIFT * width and abs(y) <= _MOST_SHIFT * height
    if response < _SURE_RESPONSE or not is_small or max(abs(x), abs(y)) < 0.5:
        return reference
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(reference, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    better = float(np.abs(moved - plane).mean()) < float(np.abs(reference - plane).mean())
    return np.asarray(moved if better else reference, np.float32)


def _in_light_of(reference: FloatPlane, plane: FloatPlane) -> FloatPlane:
    """Return the reference with the contrast and the slow changes of level of the picture."""
    own, other = float(plane.std()), float(reference.std())
    gain = min(max(own / max(other, 1.0), 0.5), 2.0)
    scaled = (reference - float(reference.mean())) * gain + float(plane.mean())
    return scaled + _slow(plane - scaled)


def _slow(difference: FloatPlane) -> FloatPlane:
    """Return the part of a difference that changes slowly over the picture, as light does.

    A surface of second order, fitted by reweighted least squares with the weights of Cauchy: a
    part that differs, be it half of the picture, does not bend it.
    """
    height, width = difference.shape
    small = cv2.resize(difference, (_LIGHT_CELLS, _LIGHT_CELLS), interpolation=cv2.INTER_AREA)
    calm = cv2.medianBlur(np.asarray(small, np.float32), 5).ravel()
    weight = np.ones_like(calm)
    surface = np.zeros_like(calm)
    for _ in range(_LIGHT_FITS):
        weighted = _LIGHT_TERMS * weight[:, None]
        terms = np.linalg.lstsq(weighted, calm * weight, rcond=None)[0]
        surface = _LIGHT_TERMS @ terms
        away = calm - surface
        scale = max(_MAD_TO_DEVIATION * float(np.median(np.abs(away))), 1.0)
        weight = 1.0 / np.sqrt(1.0 + np.square(away / (_LIGHT_REACH * scale)))
    smooth = np.asarray(surface.reshape(small.shape), np.float32)
    return np.asarray(cv2.resize(smooth, (width, height)), np.float32)


def _surface_terms() -> FloatMatrix:
    """Return the (cells, 6) values of 1, x, y, x^2, x y, y^2 over the picture, x and y -1 to 1."""
    side = np.linspace(-1.0, 1.0, _LIGHT_CELLS, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    return np.stack([x**0, x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)


_LIGHT_TERMS = _surface_terms()


def _deviation(difference: FloatPlane) -> float:
    """Return the robust deviation of a difference, from one pixel in so many."""
    sample = difference[::4, ::4]
    return _MAD_TO_DEVIATION * float(np.median(np.abs(sample - np.median(sample))))


def _roi_of(box: NDArray[np.int32], reach: int, shape: tuple[int, int]) -> Roi:
    """Return the box of a component that was widened by `reach`, without the widening."""
    left, top, width, height = (int(value) for value in box[:4])
    # At the border of the picture there was no room to widen to.
    right, bottom = left + width, top + height
    x1 = left + reach if left > 0 else 0
    y1 = top + reach if top > 0 else 0
    x2 = right - reach if right < shape[1] else right
    y2 = bottom - reach if bottom < shape[0] else bottom
    return Roi(x1 / shape[1], y1 / shape[0], x2 / shape[1], y2 / shape[0])
