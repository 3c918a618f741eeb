"""How much is written, because SD cards wear out: a total and the last day."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

_HOUR_S = 3600.0
_HOURS = 24


class WriteMeter:
    """Counts bytes, in total and over the last 24 hours, by the hour.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._total = 0
        self._hours: deque[tuple[int, int]] = deque()

    def add(self, written: int) -> None:
        """Count `written` bytes now."""
        if written <= 0:
            return
        self._total += written
        hour = self._hour()
        before = self._hours.pop()[1] if self._hours and self._hours[-1][0] == hour else 0
        self._hours.append((hour, before + written))
        self._forget(hour)

    @property
    def total(self) -> int:
        """Bytes since the start."""
        return self._total

    @property
    def last_day(self) -> int:
        """Bytes of this hour and the 23 before it."""
        self._forget(self._hour())
        return sum(written for _, written in self._hours)

    def _hour(self) -> int:
        return int(self._clock() // _HOUR_S)

    def _forget(self, hour: int) -> None:
        while self._hours and self._hours[0][0] <= hour - _HOURS:
            self._hours.popleft()
