"""Light and camera of a watch: impediments of a single picture, and of successive ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge_sim.core.types import (
    FloatPlane,
    GrayImage,
    Probe,
    Quality,
    Reference,
    SceneReading,
    UnknownReason,
)
from edge_sim.vision.alignment import SceneView, edge_similarity
from edge_sim.vision.light import ConditionTracker

_DARK_LUMA = 14.0
_FLAT_CONTRAST = 8.0
_DIM_CONTRAST = 10.0
_WHITE_SHARE = 0.95
_SOFT_CRISPNESS = 0.9
_SOFT_SHARE = 0.6
"""Sharp pictures of ten data sets have a crispness of 1.5 to 4.3 whatever they show, blurred by 2
pixels of the thumbnail 0.3 to 0.9; where the references are soft themselves, this part of it."""
_CRISP_SHARE = 50  # one pixel in so many: the strongest edges
_UNIFORM_LEVELS = 12
_UNIFORM_SHARE = 0.75
_BLUR_SHARE = 0.12  # of the least detail of the references; a blur of 3 px leaves 0.02 to 0.06


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits that the references of a watch set for a readable picture.

    Args:
        contrast: Least contrast of the references, grey levels.
        detail: Least `detail_of` the references.
        relative_contrast: Least contrast over level of the references.
        luma_low: Mean level of the darkest reference.
        luma_high: Mean level of the brightest reference.
        crispness: Least `crispness_of` the references; the usual one without any.
        uniformity: Largest `uniformity_of` the references.
    """

    contrast: float = 16.0
    detail: float = 0.0
    relative_contrast: float = 0.16
    luma_low: float = 32.0
    luma_high: float = 224.0
    crispness: float = 1.5
    uniformity: float = 0.0


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
        max(uniformity_of(item) for item in thumbnails),
    )


def uniformity_of(thumbnail: GrayImage) -> float:
    """Return the part of a picture, 0 to 1, that has its median grey level, to 12 levels."""
    plane = thumbnail.astype(np.int16)
    middle = np.partition(plane.ravel(), plane.size // 2)[plane.size // 2]
    return float((np.abs(plane - middle) <= _UNIFORM_LEVELS).mean())


def detail_of(sharpness: float, contrast: float) -> float:
    """Return the sharpness relative to the contrast: the same at any exposure, less in a blur."""
    return sharpness / max(contrast, 1.0) ** 2


def crispness_of(thumbnail: GrayImage) -> float:
    """Return the steepness of the strongest edges of a picture relative to their height.

    A smooth car and a rough road have the same crispness when both are in focus: unlike detail it
    does not depend on the content.
    """
    plane = thumbnail.astype(np.float32)
    x = cv2.Sobel(plane, -1, 1, 0, ksize=3, scale=0.125)
    y = cv2.Sobel(plane, -1, 0, 1, ksize=3, scale=0.125)
    number = max(1, plane.size // _CRISP_SHARE)
    slopes = np.partition(cv2.magnitude(x, y).ravel(), -number)[-number:]
    bends = np.partition(np.abs(cv2.Laplacian(plane, cv2.CV_32F)).ravel(), -number)[-number:]
    return float(bends.mean() / max(float(slopes.mean()), 1.0))


def impediment_of(
    quality: Quality,
    limits: ImageLimits | None = None,
    thumbnail: GrayImage | None = None,
    *,
    is_slate: bool = False,
) -> UnknownReason | None:
    """Return the reason why a picture allows no decision; None if it does.

    A reading that the references share is no impediment: a region may be a white wall.

    Args:
        quality: Quality of the region.
        limits: Limits of the references; None without any.
        thumbnail: Thumbnail of the region; a lack of detail is a blur only if its edges are soft as
            well.
        is_slate: True if the picture is a slate of one saturated colour.
    """
    limits = limits or ImageLimits()
    if is_slate and limits.uniformity < _UNIFORM_SHARE:
        return UnknownReason.NO_SIGNAL
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


LIGHT_STEP = 0.25
"""A change of the mean level by this part between two frames of one structure is light."""
_USUAL_STEPS = 2.5  # ... and by this many times the usual step of the source
_STEP_MEMORY = 0.05
_SAME_STRUCTURE = 0.6
_LOST_FRAMES = 3
_SUDDEN = 3.0
"""A picture that goes dark by this factor within `_SUDDEN_FRAMES` was covered: it is no night."""
_SUDDEN_FRAMES = 4
_BLACK_LUMA = 5.0  # below, there is no light at all: a lid and the night are alike
_FROZEN_FRAMES = 10
_LEARNED_FRAMES = 50
_RARE = 0.02  # of the frames; sources that repeat pictures more often are never called frozen


class SceneMonitor:
    """Monitor of light and camera: condition and impediment of each frame.

    - `no_signal`, `dark`, `overexposed`, `covered`, `blurred`: from the picture, relative to the
      references; a picture that goes dark at once, but not black, was covered.
    - `camera_moved`: no part of the picture agrees with any reference, in 3 frames that agree with
      each other; `novel` until then. Shifts up to a tenth of the region's side are tolerated.
    - `lighting`: the mean level has just jumped while the structure stayed.
    - `frozen`: the same picture again and again from a source whose pictures hardly ever repeat.

    Each clears by itself with the first frame that does not show it.

    Args:
        references: References of the usual view; without any, only the readings count.
    """

    def __init__(self, references: Iterable[Reference]) -> None:
        thumbnails = [item.thumbnail for item in references]
        self._limits = limits_of(thumbnails)
        self._view = SceneView(thumbnails)
        self._tracker = ConditionTracker()
        self._previous: Probe | None = None
        self._judged: tuple[FloatPlane, bool] | None = None
        self._lumas: list[float] = []
        self._was_covered = False
        self._lost_count = 0
        self._usual_step = 0.0
        self._frames = 0
        self._repeats = 0
        self._same_count = 0

    def inspect(self, probe: Probe) -> SceneReading:
        """Return condition and impediment of one frame; called once per frame, in time order."""
        condition = self._tracker.follow(probe.quality)
        unreadable = self._unreadable(probe)
        # Every check follows every frame, whatever the others find: each has its own past.
        lighting = self._is_lighting(probe)
        frozen = self._is_frozen(probe)
        moved = self._is_moved(probe, readable=unreadable is None)
        self._previous = probe
        if unreadable is not None:
            return SceneReading(condition, unreadable)
        if frozen:
            return SceneReading(condition, UnknownReason.FROZEN)
        if moved:
            return SceneReading(condition, UnknownReason.CAMERA_MOVED)
        if self._lost_count > 0:
            return SceneReading(condition, UnknownReason.NOVEL)
        return SceneReading(condition, UnknownReason.LIGHTING if lighting else None)

    def _unreadable(self, probe: Probe) -> UnknownReason | None:
        quality = probe.quality
        reason = impediment_of(quality, self._limits, probe.thumbnail, is_slate=probe.is_slate)
        if reason is not UnknownReason.DARK:
            self._was_covered = False
        elif not self._was_covered:
            brightest = max(self._lumas, default=0.0)
            self._was_covered = _BLACK_LUMA < quality.luma < brightest / _SUDDEN
        self._lumas = [*self._lumas[1 - _SUDDEN_FRAMES :], quality.luma]
        return UnknownReason.COVERED if self._was_covered else reason

    def _is_lighting(self, probe: Probe) -> bool:
        if self._previous is None:
            return False
        before, now = self._previous.quality.luma, probe.quality.luma
        step = abs(now - before) / max(before, now, 1.0)
        jumped = step > max(LIGHT_STEP, _USUAL_STEPS * self._usual_step)
        self._usual_step += _STEP_MEMORY * (step - self._usual_step)
        return jumped and _same_scene(self._previous, probe)

    def _is_frozen(self, probe: Probe) -> bool:
        previous = self._previous
        if previous is None:
            return False
        repeated = probe.repeated
        if repeated is None:
            repeated = cv2.norm(probe.thumbnail, previous.thumbnail, cv2.NORM_INF) == 0.0
        if repeated:
            self._same_count += 1
        else:
            if self._same_count < _FROZEN_FRAMES or not self._never_repeats():
                self._frames += self._same_count + 1
                self._repeats += self._same_count
            self._same_count = 0
        return self._same_count >= _FROZEN_FRAMES and self._never_repeats()

    def _never_repeats(self) -> bool:
        """Return whether pictures hardly ever repeated before the present run of equal ones."""
        return self._frames >= _LEARNED_FRAMES and self._repeats <= _RARE * self._frames

    def _is_lost(self, probe: Probe) -> bool:
        # A frame that shows nothing new comes with the edges of the one before it.
        if self._judged is None or self._judged[0] is not probe.edges:
            self._judged = probe.edges, self._view.is_lost(probe.thumbnail, probe.edges)
        return self._judged[1]

    def _is_moved(self, probe: Probe, *, readable: bool) -> bool:
        if not readable:
            return False
        if not self._is_lost(probe):
            self._lost_count = 0
            return False
        # A person right before the lens also hides everything, but moves.
        if self._previous is None or _same_scene(self._previous, probe):
            self._lost_count += 1
        else:
            self._lost_count = 1
        return self._lost_count >= _LOST_FRAMES


def _same_scene(a: Probe, b: Probe) -> bool:
    return edge_similarity(a.edges, b.edges) > _SAME_STRUCTURE
