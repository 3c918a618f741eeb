"""TimeInState: for how long a watch has been saying what it says."""

from __future__ import annotations

from edge_sim.domain import State


class TimeInState:
    """Adds up the time between looks; time that ran backwards counts as none.

    Args:
        said: What was said before; None before anything was.
        lasted_s: For so long.
    """

    def __init__(self, said: State | None = None, lasted_s: float = 0.0) -> None:
        self._said = said
        self._lasted_s = lasted_s
        self._last_s: float | None = None

    def follow(self, said: State, at_s: float) -> float:
        """Return for how long was said what was said until this look; called once per look."""
        if self._last_s is not None:
            self._lasted_s += max(at_s - self._last_s, 0.0)
        self._last_s = at_s
        lasted_s = self._lasted_s
        if said != self._said:
            self._said, self._lasted_s = said, 0.0
        return lasted_s
