"""Scene health: the light regime of a look, and whether it can be decided on at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge_sim.domain import GrayImage, Probe, Quality, SceneReading, UnknownReason
from edge_sim.gallery import Gallery

DAY, DUSK, IR, DARK = "day", "dusk", "ir", "dark"
CONDITIONS = (DAY, DUSK, IR, DARK)

_DARK_LUMA = 14.0
_GREY_CHROMA = 3.0  # JPEG and sensor noise leave a grey picture at 0 to 3
_DUSK_LUMA = 62.0
_HYSTERESIS = 0.12  # a level must be passed by this part before the condition changes


def condition_of(quality: Quality, current: str | None = None) -> str:
    """Return the light regime of a picture: `day`, `dusk`, `ir` or `dark`.

    A picture without light is dark, one without colour is infrared (or a black and white camera),
    one with colour and little light is dusk, the rest is day.

    Args:
        quality: Readings of the region.
        current: The condition so far: its borders are moved out by an eighth, so that a reading
            near a border does not flicker. None where there is no past.
    """
    if quality.luma < _border(_DARK_LUMA, current == DARK):
        return DARK
    if quality.chroma < _border(_GREY_CHROMA, current == IR):
        return IR
    return DUSK if quality.luma < _border(_DUSK_LUMA, current == DUSK) else DAY


def _border(level: float, inside: bool) -> float:
    return level * (1.0 + _HYSTERESIS if inside else 1.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the references of a watch look like, for the judgement of a picture.

    Args:
        contrast: Least of the references, grey levels.
        sharpness: Least of the references, as in `Quality`.
        luma_low: Darkest of the references.
        luma_high: Brightest of the references.
    """

    contrast: float = 16.0
    sharpness: float = 0.0
    luma_low: float = 32.0
    luma_high: float = 224.0


def limits_of(thumbnails: Sequence[GrayImage]) -> Limits:
    """Return the limits that the thumbnails of the references set; defaults without any."""
    if not thumbnails:
        return Limits()
    contrasts = [float(np.std(item)) for item in thumbnails]
    lumas = [float(np.mean(item)) for item in thumbnails]
    sharpness = [float(cv2.Laplacian(item, cv2.CV_16S).var()) for item in thumbnails]
    return Limits(min(contrasts), min(sharpness), min(lumas), max(lumas))


def impediment_of(quality: Quality, limits: Limits | None = None) -> UnknownReason | None:
    """Return why a picture cannot be decided on; None if it can.

    A reading that the references share is no impediment: a watch may look at a white wall.

    Args:
        quality: Readings of the region.
        limits: Of the references; None where there are none.
    """
    limits = limits or Limits()
    flat = quality.contrast < min(_FLAT_CONTRAST, 0.5 * limits.contrast)
    if quality.luma < min(_DARK_LUMA, 0.5 * limits.luma_low) and quality.contrast < _DIM_CONTRAST:
        return UnknownReason.DARK
    if quality.clipped_bright > _WHITE_SHARE and quality.luma > limits.luma_high:
        return UnknownReason.OVEREXPOSED
    if flat:
        return UnknownReason.COVERED
    if quality.sharpness < _BLUR_SHARE * limits.sharpness and quality.contrast > _DIM_CONTRAST:
        return UnknownReason.BLURRED
    return None


_FLAT_CONTRAST = 8.0
_DIM_CONTRAST = 10.0
_WHITE_SHARE = 0.95
_BLUR_SHARE = 0.1


class SceneMonitor:
    """Watches over light and camera of one watch.

    Args:
        gallery: Whose references set the limits.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._limits = limits_of([item.thumbnail for item in gallery.references])
        self._condition: str | None = None

    def inspect(self, probe: Probe) -> SceneReading:
        """Return condition and impediment of this look; called once per look, in time order."""
        self._condition = condition_of(probe.quality, self._condition)
        return SceneReading(self._condition, impediment_of(probe.quality, self._limits))
