"""A bell that wakes one waiting thread; it may be rung from threads and signal handlers."""

from __future__ import annotations

from queue import Empty, SimpleQueue


class Bell:
    """Rung any number of times before a wait, it wakes that wait once.

    `SimpleQueue.put` is reentrant, which an `Event` is not: a signal handler that sets an event
    while the same thread is inside its lock would wait for itself for ever.
    """

    def __init__(self) -> None:
        self._rings: SimpleQueue[None] = SimpleQueue()
        self._rung = False

    def ring(self) -> None:
        """Wake whoever waits, or the next one who does."""
        if not self._rung:
            self._rung = True
            self._rings.put(None)

    def wait(self, limit_s: float) -> bool:
        """Return whether it rang, after waiting for that at most `limit_s` seconds."""
        try:
            self._rings.get(timeout=max(limit_s, 0.0))
        except Empty:
            return False
        # What was stored before a ring that comes just now is seen by the caller's next look.
        self._rung = False
        return True
