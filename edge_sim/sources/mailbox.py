"""The hand-over between a reader thread and the caller: room for one frame, the newest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_sim.domain import BgrImage, Frame


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where time comes from: seconds that never go back, and seconds since 1970 UTC."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a device was lost.

    Args:
        text: One line that names the source.
        pause_s: Seconds until the next attempt to open it.
        before_index: Index of the first frame after the loss.
        cause: The error behind it, if there is one.
    """

    text: str
    pause_s: float
    before_index: int
    cause: Exception | None = None


class Mailbox:
    """One frame and one fault, each the newest; safe to use from several threads."""

    def __init__(self, name: str, clocks: Clocks) -> None:
        self._name = name
        self._clocks = clocks
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._fault: Fault | None = None
        self._captured = 0
        self._opened = False
        self._closed = False
        self.dropped = 0
        self.rejected = 0
        self.last_fault: Fault | None = None
        """What keeps frames from coming; None once they come again."""

    def deliver(self, pixels: BgrImage) -> None:
        """Put a picture, taken now, in the place of the last one."""
        now_s, unix_s = self._clocks.monotonic(), self._clocks.wall()
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = Frame(pixels, now_s, unix_s, self._captured, self._name)
            self._captured += 1
            self.last_fault = None
            self._changed.notify_all()

    def reject(self) -> None:
        """Count a read of the device that gave no picture."""
        with self._changed:
            self.rejected += 1

    def opened(self) -> None:
        """Note that the device is open."""
        with self._changed:
            self._opened = True
            self._changed.notify_all()

    def fail(self, text: str, pause_s: float, cause: Exception | None = None) -> None:
        """Note a loss."""
        with self._changed:
            self._fault = self.last_fault = Fault(text, pause_s, self._captured, cause)
            self._changed.notify_all()

    def close(self) -> None:
        """Wake whoever waits; nothing is taken any more."""
        with self._changed:
            self._closed = True
            self._frame = None
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def wait_open(self, limit_s: float) -> Fault | bool:
        """Return True once the device was open, the fault if it fails, False if neither in time."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._opened or self._closed or self._fault is not None, limit_s
            )
            if self._opened or self._fault is None:
                return self._opened
            return self._fault

    def take(self, limit_s: float) -> Frame | Fault | None:
        """Return frame or fault, whichever came first, and forget it; None if none in time."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._frame is not None or self._fault is not None, limit_s
            )
            frame, fault = self._frame, self._fault
            if fault is not None and (frame is None or frame.index >= fault.before_index):
                self._fault = None
                return fault
            self._frame = None
            return frame
