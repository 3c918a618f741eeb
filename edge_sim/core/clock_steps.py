"""Steps of the wall clock: a device without a battery begins in 1970 until its clock is set."""

from __future__ import annotations

_LEAST_S = 60.0
"""A shorter step changes nothing that people would see; clocks are also slewed."""
_BEFORE_ANY_S = 946_684_800.0
"""The year 2000: no earlier time was right when it was noted."""


class ClockSteps:
    """Detector of steps of the wall clock, by comparison with the monotonic one."""

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def step_s(self, monotonic_s: float, unix_time_s: float) -> float:
        """Return by how many seconds the clock was set forward since the last call; mostly 0.

        Args:
            monotonic_s: Time that is never set, such as that of an observation.
            unix_time_s: Clock time of the same moment, seconds since 1970 UTC.
        """
        before_s, self._offset_s = self._offset_s, unix_time_s - monotonic_s
        step_s = 0.0 if before_s is None else self._offset_s - before_s
        return step_s if abs(step_s) >= _LEAST_S else 0.0


def corrected(unix_time_s: float, step_s: float, *, is_own: bool) -> float:
    """Return a time that was noted before the clock was set, as the clock would show it now.

    Args:
        unix_time_s: Seconds since 1970 UTC.
        step_s: Step of the clock.
        is_own: Whether it was noted by this process, so that the step applies to it. Of the times
            from before a restart only those are corrected that cannot be right.
    """
    if is_own or (unix_time_s < _BEFORE_ANY_S < unix_time_s + step_s):
        return unix_time_s + step_s
    return unix_time_s
