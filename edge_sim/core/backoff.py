"""Schedule of pauses between attempts: to open a camera, to deliver, to restart a part."""

from __future__ import annotations

from collections.abc import Sequence

BACKOFF_S = (1.0, 5.0, 10.0, 60.0)
"""Pauses after failures in a row, seconds; the last one is repeated for ever."""

HELD_S = 60.0
"""Seconds of frames after which a source counts as steady, so that the pauses start anew. A source
that opens and fails at once, again and again, is tried less and less often."""


def pause_s(failures: int, steps_s: Sequence[float] = BACKOFF_S) -> float:
    """Return the pause before the next attempt.

    Args:
        failures: Attempts in a row that failed, at least 1.
        steps_s: Pauses; at least one.
    """
    return steps_s[min(max(failures, 1), len(steps_s)) - 1]
