"""What a single picture tells about whether it can be decided on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge_sim.domain import GrayImage, Quality, UnknownReason

_DARK_LUMA = 14.0
_FLAT_CONTRAST = 8.0
_DIM_CONTRAST = 10.0
_WHITE_SHARE = 0.95
_SOFT_CRISPNESS = 0.9
_SOFT_SHARE = 0.6
"""Sharp pictures of ten data sets have a crispness of 1.5 to 4.3 whatever they show, blurred by 2
pixels of the thumbnail 0.3 to 0.9; where the references are soft themselves, this part of it."""
_CRISP_SHARE = 50  # one pixel in so many: the strongest edges
_BLUR_SHARE = 0.12  # of the least detail of the references; a blur of 3 px leaves 0.02 to 0.06


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What the references of a watch look like, for the judgement of a picture.

    Args:
        contrast: Least of the references, grey levels.
        detail: Least `detail_of` the references.
        relative_contrast: Least contrast over level of the references.
        luma_low: Darkest of the references.
        luma_high: Brightest of the references.
        crispness: Least `crispness_of` the references; the usual one without any.
    """

    contrast: float = 16.0
    detail: float = 0.0
    relative_contrast: float = 0.16
    luma_low: float = 32.0
    luma_high: float = 224.0
    crispness: float = 1.5


def limits_of(thumbnails: Sequence[GrayImage]) -> ImageLimits:
    """Return the limits that the thumbnails of the references set; defaults without any."""
    if not thumbnails:
        return ImageLimits()
    contrasts = [float(np.std(item)) for item in thumbnails]
    lumas = [float(np.mean(item)) for item in thumbnails]
    sharpness = [float(cv2.Laplacian(item, cv2.CV_16S).var()) for item in thumbnails]
    details = [detail_of(a, b) for a, b in zip(sharpness, contrasts, strict=True)]
    relative = [a / max(b, 1.0) for a, b in zip(contrasts, lumas, strict=True)]
    return ImageLimits(
        min(contrasts),
        min(details),
        min(relative),
        min(lumas),
        max(lumas),
        min(crispness_of(item) for item in thumbnails),
    )


def detail_of(sharpness: float, contrast: float) -> float:
    """Return the sharpness relative to the contrast: the same at any exposure, less in a blur."""
    return sharpness / max(contrast, 1.0) ** 2


def crispness_of(thumbnail: GrayImage) -> float:
    """Return how steep the strongest edges of a picture are for their height.

    A smooth car and a rough road have the same when both are in focus: unlike detail it is no
    matter of what is shown.
    """
    plane = thumbnail.astype(np.float32)
    x = cv2.Sobel(plane, -1, 1, 0, ksize=3, scale=0.125)
    y = cv2.Sobel(plane, -1, 0, 1, ksize=3, scale=0.125)
    number = max(1, plane.size // _CRISP_SHARE)
    slopes = np.partition(cv2.magnitude(x, y).ravel(), -number)[-number:]
    bends = np.partition(np.abs(cv2.Laplacian(plane, cv2.CV_32F)).ravel(), -number)[-number:]
    return float(bends.mean() / max(float(slopes.mean()), 1.0))


def impediment_of(
    quality: Quality, limits: ImageLimits | None = None, thumbnail: GrayImage | None = None
) -> UnknownReason | None:
    """Return why a picture cannot be decided on; None if it can.

    A reading that the references share is no impediment: a watch may look at a white wall.

    Args:
        quality: Readings of the region.
        limits: Of the references; None where there are none.
        thumbnail: Of the picture; a lack of detail is a blur only if its edges are soft as well.
    """
    limits = limits or ImageLimits()
    if quality.luma < min(_DARK_LUMA, 0.5 * limits.luma_low) and quality.contrast < _DIM_CONTRAST:
        return UnknownReason.DARK
    if quality.clipped_bright > _WHITE_SHARE and quality.luma > limits.luma_high + 2.0:
        return UnknownReason.OVEREXPOSED
    # Little light makes a picture flat too, but not flatter than its level.
    relative = quality.contrast / max(quality.luma, 1.0)
    is_flat = quality.contrast < min(_FLAT_CONTRAST, 0.5 * limits.contrast)
    if is_flat and relative < 0.5 * limits.relative_contrast:
        return UnknownReason.COVERED
    detail = detail_of(quality.sharpness, quality.contrast)
    lacks_detail = detail < _BLUR_SHARE * limits.detail and quality.contrast > _DIM_CONTRAST
    if lacks_detail and (thumbnail is None or _is_soft(thumbnail, limits)):
        return UnknownReason.BLURRED
    return None


def _is_soft(thumbnail: GrayImage, limits: ImageLimits) -> bool:
    return crispness_of(thumbnail) < min(_SOFT_CRISPNESS, _SOFT_SHARE * limits.crispness)
