"""Change detectors to compare with: they report when a picture changes, not to which state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import cv2

from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from edge_sim.analysis.evaluation.events import Played
from edge_sim.core.images import halved
from edge_sim.core.types import BgrImage
from edge_sim.errors import DataError

SIDE_PX = 256
"""Pictures are halved to no less than this: both detectors are meant for small ones."""
_FOREGROUND = 255  # MOG2 marks shadows with 127
FOREGROUND_SHARE = 0.1
"""Part of the region in the foreground that is a change: of 0.02 to 0.6 the one with the best mean
F1 for MOG2 on eight labelled sets in order and one clip."""
IN_A_ROW = 3
LEAST_SCENE_FRAMES = 3


class ChangeDetector(Protocol):
    """Detector that takes the pictures of a clip in order."""

    def observe(self, pixels: BgrImage) -> bool:
        """Return whether this (H, W, 3) uint8 BGR picture completes a change."""


class ForegroundShare:
    """OpenCV's MOG2 as it comes; a number of frames in a row with much foreground is a change.

    The next change can only come after as many frames with little.
    """

    def __init__(self, *, level: float = FOREGROUND_SHARE, in_a_row: int = IN_A_ROW) -> None:
        self._subtractor = cv2.createBackgroundSubtractorMOG2()
        self._level = level
        self._in_a_row = in_a_row
        self._is_changed = False
        self._count = 0

    def observe(self, pixels: BgrImage) -> bool:
        """Return whether this picture completes a change."""
        mask = self._subtractor.apply(pixels)
        is_high = float((mask == _FOREGROUND).mean()) > self._level
        self._count = self._count + 1 if is_high != self._is_changed else 0
        if self._count < self._in_a_row:
            return False
        self._count, self._is_changed = 0, is_high
        return is_high


class AdaptiveCuts:
    """PySceneDetect's AdaptiveDetector as it comes, but for scenes of three frames.

    A cut is reported two frames late, since it needs its neighbours.

    Raises:
        DataError: PySceneDetect is not installed.
    """

    def __init__(self) -> None:
        try:
            from scenedetect import FrameTimecode
            from scenedetect.detectors import AdaptiveDetector
        except ImportError as error:
            raise DataError(
                "scenedetect needs PySceneDetect; run `pip install 'edge_sim[bench]'`"
            ) from error
        self._timecode = FrameTimecode
        self._detector = AdaptiveDetector(min_scene_len=LEAST_SCENE_FRAMES)
        self._place = -1

    def observe(self, pixels: BgrImage) -> bool:
        """Return whether a cut is found now."""
        self._place += 1
        return bool(self._detector.process_frame(self._timecode(self._place, fps=1.0), pixels))


def watched(
    clip: EmbeddedSet, rows: Sequence[int], make_detector: Callable[[], ChangeDetector]
) -> Played:
    """Return the places of the alarms of a detector on the rows in order.

    Raises:
        DataError: The set has no pictures, one cannot be read, or a package is missing.
    """
    detector = make_detector()
    alarms = [
        place
        for place, row in enumerate(rows)
        if detector.observe(halved(clip.pixels(row), SIDE_PX, SIDE_PX))
    ]
    return Played(tuple(rows), (), (), (), tuple(alarms))
