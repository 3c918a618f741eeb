"""The bounded hand-over between a reader thread and the consumer of its frames."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_sim.domain import Frame

_KEPT = 4
"""Lost, back, lost, back: every change is handed over, what is older is out of date."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where time comes from: seconds that never go back, and seconds since 1970 UTC."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a source was lost.

    Args:
        text: One line that names the source.
        pause_s: Seconds until the next attempt to open it; None while it stays open.
        cause: The error behind it, if there is one.
    """

    text: str
    pause_s: float | None = None
    cause: Exception | None = None

    @property
    def line(self) -> str:
        """The text, and when the source is opened again."""
        return self.text if self.pause_s is None else f"{self.text}; next try in {self.pause_s:g} s"


@dataclass(frozen=True, slots=True)
class End:
    """The source has come to its end."""


Item = Frame | Fault | End


class Mailbox:
    """A few items, the newest of each kind in a row; safe to use from several threads.

    Args:
        wake: Called after every change, from any thread; must return at once.
    """

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        self._wake = wake
        self._changed = threading.Condition()
        self._items: deque[Item] = deque(maxlen=_KEPT)
        self._numbered = 0
        self._opened = False
        self._closed = False
        self.dropped = 0
        """Frames that a newer one replaced before they were taken."""
        self.rejected = 0
        """Reads that gave no picture."""
        self.last_fault: Fault | None = None
        """Reason why no frames come; None once they come again."""

    def deliver(self, frame: Frame, *, number: bool = False) -> None:
        """Put a frame in the place of the last one that was not taken.

        Args:
            frame: Read just now.
            number: Count it anew: a device that is opened again starts at 0.
        """
        with self._changed:
            if number:
                frame = replace(frame, index=self._numbered)
                self._numbered += 1
            self.last_fault = None
            self._put(frame)

    def reject(self) -> None:
        """Count a read that gave no picture."""
        with self._changed:
            self.rejected += 1

    def opened(self) -> None:
        """Note that the source is open."""
        with self._changed:
            self._opened = True
            self._changed.notify_all()

    def fail(self, text: str, pause_s: float | None = None, cause: Exception | None = None) -> None:
        """Note a loss."""
        with self._changed:
            self.last_fault = Fault(text, pause_s, cause)
            self._put(self.last_fault)

    def end(self) -> None:
        """Note the end of the source."""
        with self._changed:
            self._put(End())

    def close(self) -> None:
        """Wake a reader that waits; nothing is taken any more."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def has_opened(self) -> bool:
        """Whether the source was open at least once."""
        return self._opened

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        return bool(self._items)

    def wait_open(self, limit_s: float) -> Fault | bool:
        """Return True once the source was open, the fault if it fails, False if neither in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self._closed or self._items, limit_s)
            if self._opened:
                return True
            return self.last_fault or False

    def take(self, limit_s: float = 0.0) -> Item | None:
        """Return the oldest item and forget it; None if there is none in time."""
        with self._changed:
            if limit_s > 0.0:
                self._changed.wait_for(lambda: self._closed or self._items, limit_s)
            return self._items.popleft() if self._items else None

    def _put(self, item: Item) -> None:
        if self._closed:
            return
        if self._items and type(self._items[-1]) is type(item):
            self.dropped += isinstance(item, Frame)
            self._items[-1] = item
        else:
            self._items.append(item)
        self._changed.notify_all()
        if self._wake is not None:
            self._wake()
