"""Notices a camera that repeats one picture: an encoder that hangs and keeps sending."""

from __future__ import annotations

import zlib

from edge_sim.domain import Frame
from edge_sim.errors import SourceError

_STRIDE = 4
"""Every 4th pixel of every 4th row tells a repeated picture: noise is everywhere."""


class Freshness:
    """Compares every frame with the one before, noise included.

    A sensor never gives the same picture twice. Codecs may, in a still scene, until their next
    full picture some seconds later; so only a long row counts.

    Args:
        name: Of the source, for the error.
        limit_s: Seconds of the same picture that make it frozen; None never does.
    """

    def __init__(self, name: str, limit_s: float | None) -> None:
        self._name = name
        self._limit_s = limit_s
        self._digest: int | None = None
        self._since_s = 0.0
        self.repeated = 0
        """Frames that were exactly like the one before."""

    def check(self, frame: Frame) -> None:
        """Look at one frame, in time order.

        Raises:
            SourceError: The picture has been the same for too long.
        """
        if self._limit_s is None:
            return
        sample = frame.pixels[::_STRIDE, ::_STRIDE].tobytes()
        digest = zlib.crc32(sample)
        if digest != self._digest or frame.captured_at_s < self._since_s:
            self._digest = digest
            self._since_s = frame.captured_at_s
            return
        self.repeated += 1
        same_s = frame.captured_at_s - self._since_s
        if same_s >= self._limit_s:
            raise SourceError(f"{self._name}: frozen, the same picture for {same_s:.0f} s")
