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
    """

    contrast: float = 16.0
    detail: float = 0.0
    relative_contrast: float = 0.16
    luma_low: float = 32.0
    luma_high: float = 224.0


def limits_of(thumbnails: Sequence[GrayImage]) -> ImageLimits:
    """Return the limits that the thumbnails of the references set; defaults without any."""
    if not thumbnails:
        return ImageLimits()
    contrasts = [float(np.std(item)) for item in thumbnails]
    lumas = [float(np.mean(item)) for item in thumbnails]
    sharpness = [float(cv2.Laplacian(item, cv2.CV_16S).var()) for item in thumbnails]
    details = [detail_of(a, b) for a, b in zip(sharpness, contrasts, strict=True)]
    relative = [a / max(b, 1.0) for a, b in zip(contrasts, lumas, strict=True)]
    return ImageLimits(min(contrasts), min(details), min(relative), min(lumas), max(lumas))


def detail_of(sharpness: float, contrast: float) -> float:
    """Return the sharpness relative to the contrast: the same at any exposure, less in a blur."""
    return sharpness / max(contrast, 1.0) ** 2


def impediment_of(quality: Quality, limits: ImageLimits | None = None) -> UnknownReason | None:
    """Return why a picture cannot be decided on; None if it can.

    A reading that the references share is no impediment: a watch may look at a white wall.

    Args:
        quality: Readings of the region.
        limits: Of the references; None where there are none.
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
    if detail < _BLUR_SHARE * limits.detail and quality.contrast > _DIM_CONTRAST:
        return UnknownReason.BLURRED
    return None
