"""SceneMonitor: light and camera of one watch over a row of looks."""

from __future__ import annotations

from collections.abc import Iterable

import cv2

from edge_sim.conditions import ConditionTracker
from edge_sim.domain import FloatPlane, Probe, Reference, SceneReading, UnknownReason
from edge_sim.scene.alignment import SceneView, still
from edge_sim.scene.impediments import impediment_of, limits_of

LIGHT_STEP = 0.25
"""A change of the mean level by this part from look to look, the structure staying, is light."""
_USUAL_STEPS = 2.5  # ... and by this many times the usual step of the source
_STEP_MEMORY = 0.05
_SAME_STRUCTURE = 0.6
_LOST_LOOKS = 3
_SUDDEN = 3.0
"""A picture that goes dark by this factor within `_SUDDEN_LOOKS` was covered, not left at night."""
_SUDDEN_LOOKS = 4
_BLACK_LUMA = 5.0  # below, there is no light at all: nothing tells a lid from the night
_FROZEN_LOOKS = 10
_LEARNED_LOOKS = 50
_RARE = 0.02  # of the looks; sources that repeat pictures more often are never called frozen


class SceneMonitor:
    """Says per look which condition holds and whether the picture can be decided on.

    - `dark`, `overexposed`, `covered`, `blurred`: from the picture, beside the references; a
      picture that goes dark at once, but not black, was covered.
    - `camera_moved`: no part of the picture shows what any reference shows there, in 3 looks that
      agree with each other; `novel` until then. Shifts up to a tenth of the region's side are
      borne.
    - `lighting`: the mean level has just jumped while the structure stayed.
    - `frozen`: the very same picture again and again from a source whose pictures hardly ever
      repeat.

    Each clears by itself with the first look that does not show it.

    Args:
        references: Pictures of the usual view; without any, only plain readings count.
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
        self._lost_looks = 0
        self._usual_step = 0.0
        self._looks = 0
        self._repeats = 0
        self._same_looks = 0

    def inspect(self, probe: Probe) -> SceneReading:
        """Return condition and impediment of this look; called once per look, in time order."""
        condition = self._tracker.follow(probe.quality)
        seen = self._seen(probe)
        # Every check follows every look, whatever the others say: each has its own past.
        lighting = self._is_lighting(probe)
        frozen = self._is_frozen(probe)
        moved = self._is_moved(probe, readable=seen is None)
        self._previous = probe
        if seen is not None:
            return SceneReading(condition, seen)
        if frozen:
            return SceneReading(condition, UnknownReason.FROZEN)
        if moved:
            return SceneReading(condition, UnknownReason.CAMERA_MOVED)
        if self._lost_looks > 0:
            return SceneReading(condition, UnknownReason.NOVEL)
        return SceneReading(condition, UnknownReason.LIGHTING if lighting else None)

    def _seen(self, probe: Probe) -> UnknownReason | None:
        quality = probe.quality
        seen = impediment_of(quality, self._limits, probe.thumbnail)
        if seen is not UnknownReason.DARK:
            self._was_covered = False
        elif not self._was_covered:
            brightest = max(self._lumas, default=0.0)
            self._was_covered = _BLACK_LUMA < quality.luma < brightest / _SUDDEN
        self._lumas = [*self._lumas[1 - _SUDDEN_LOOKS :], quality.luma]
        return UnknownReason.COVERED if self._was_covered else seen

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
            self._same_looks += 1
        else:
            if self._same_looks < _FROZEN_LOOKS or not self._never_repeats():
                self._looks += self._same_looks + 1
                self._repeats += self._same_looks
            self._same_looks = 0
        return self._same_looks >= _FROZEN_LOOKS and self._never_repeats()

    def _never_repeats(self) -> bool:
        """Whether the source was lively before the present row of equal pictures."""
        return self._looks >= _LEARNED_LOOKS and self._repeats <= _RARE * self._looks

    def _is_lost(self, probe: Probe) -> bool:
        # A look that shows nothing new comes with the edges of the one before it.
        if self._judged is None or self._judged[0] is not probe.edges:
            self._judged = probe.edges, self._view.is_lost(probe.thumbnail, probe.edges)
        return self._judged[1]

    def _is_moved(self, probe: Probe, *, readable: bool) -> bool:
        if not readable:
            return False
        if not self._is_lost(probe):
            self._lost_looks = 0
            return False
        # Somebody right before the lens also hides everything, but does not stand still.
        if self._previous is None or _same_scene(self._previous, probe):
            self._lost_looks += 1
        else:
            self._lost_looks = 1
        return self._lost_looks >= _LOST_LOOKS


def _same_scene(a: Probe, b: Probe) -> bool:
    return still(a.edges, b.edges) > _SAME_STRUCTURE
