"""The CPU cap: how long to rest so that the process keeps below a share of one core."""

from __future__ import annotations

import time
from collections.abc import Callable

_BURST_S = 1.0
"""Seconds of CPU that may be used at once after a quiet time: a pending change must not wait."""
_LONGEST_REST_S = 1.0
_SHORTEST_REST_S = 1e-3


class Throttle:
    """A bucket of CPU seconds that fills with `share` per second of time.

    Args:
        share: Of one core, above 0; 1.5 is one and a half cores.
        used: CPU seconds of the whole process, so that decoding in other threads counts too.
        clock: Monotonic seconds.

    Raises:
        ValueError: `share` is not above 0.
    """

    def __init__(
        self,
        share: float,
        *,
        used: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not share > 0.0:
            raise ValueError(f"share must be above 0, got {share}")
        self._share = share
        self._used = used
        self._clock = clock
        self._owed_s = 0.0
        self._last = (clock(), used())

    def rest_s(self) -> float:
        """Return how long to rest now, at most one second; ask again after it."""
        now_s, used_s = self._clock(), self._used()
        last_now_s, last_used_s = self._last
        self._last = (now_s, used_s)
        self._owed_s += (used_s - last_used_s) - self._share * (now_s - last_now_s)
        self._owed_s = max(self._owed_s, -_BURST_S)
        rest_s = min(max(self._owed_s, 0.0) / self._share, _LONGEST_REST_S)
        # What is less than a clock can tell would be asked for again and again.
        return rest_s if rest_s >= _SHORTEST_REST_S else 0.0
