"""Frames of a live source that are not to be used: black first ones, and a picture that repeats."""

from __future__ import annotations

import zlib

from edge_sim.core.raw_pictures import sample_of
from edge_sim.core.types import Frame
from edge_sim.io.sources.options import SourceOptions

_BLACK = 8
"""Highest value of a black pixel; sensors add some noise."""


class WarmUp:
    """Skips the first frames after a device was opened: a given number, and black ones.

    Args:
        options: `warm_up_frames` and `warm_up_s`.
    """

    def __init__(self, options: SourceOptions) -> None:
        self._to_skip = options.warm_up_frames
        self._limit_s = options.warm_up_s
        self._first_s: float | None = None
        self._is_black = True

    @property
    def pending(self) -> bool:
        """True while a further frame may have to be skipped, for which its pixels are needed."""
        return self._to_skip > 0 or self._is_black

    def skips(self, frame: Frame) -> bool:
        """Return whether the next frame is not to be used."""
        at_s = frame.captured_at_s
        self._first_s = at_s if self._first_s is None else self._first_s
        self._is_black = (
            self._is_black
            and at_s - self._first_s < self._limit_s
            and int(sample_of(frame).max(initial=0)) <= _BLACK
        )
        if self._to_skip > 0:
            self._to_skip -= 1
            return True
        return self._is_black


class FreezeDetector:
    """Detector of a camera that repeats one picture: an encoder that hangs and keeps sending.

    A sensor never gives the same picture twice. Codecs may, in a still scene, until their next
    full picture some seconds later; so only a long row counts.

    Args:
        limit_s: Seconds of the same picture, noise included, that make it frozen; None never does.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._digest: int | None = None
        self._since_s = 0.0
        self.repeated = 0
        """Frames that were exactly like the one before."""

    def frozen_s(self, frame: Frame) -> float | None:
        """Return the time that the picture has been the same, if that is too long; else None.

        Args:
            frame: Next frame in time order.
        """
        if self._limit_s is None:
            return None
        digest = zlib.crc32(sample_of(frame).tobytes())
        if digest != self._digest or frame.captured_at_s < self._since_s:
            self._digest = digest
            self._since_s = frame.captured_at_s
            return None
        self.repeated += 1
        same_s = frame.captured_at_s - self._since_s
        return same_s if same_s >= self._limit_s else None
