"""DriftFollower: follows the scores of a running watch, and tells when they drift."""

from __future__ import annotations

from collections.abc import Mapping

from edge_sim.domain import UNKNOWN, Drifted, Notice, Observation, State, StateChange
from edge_sim.drift.following import DriftReading, DriftSnapshot, Key, ScoreDrift
from edge_sim.drift.measures import Baseline

EVERY_S = 1800.0
"""Between two looks that count: twenty of them, the least that say anything, take ten hours, so
that a steady afternoon is not taken for a drift."""


class DriftFollower:
    """Takes a look now and then, of those at which the watch stands by what it sees.

    Args:
        every_s: Seconds of frame time between two looks that count; None follows nothing.
    """

    def __init__(self, every_s: float | None = EVERY_S) -> None:
        self._every_s = every_s
        self._baselines: Mapping[Key, Baseline] = {}
        self._drift = ScoreDrift({})
        self._last_s: float | None = None
        self.readings: tuple[DriftReading, ...] = ()
        """Where every state and light stands; replaced as a whole, so any thread may read it."""

    def compare_with(self, baselines: Mapping[Key, Baseline]) -> None:
        """Follow against these from now on; what was seen against others is forgotten."""
        self._go_on(ScoreDrift(baselines, self._drift.snapshot()), baselines)

    def follow(self, look: Observation, said: State, change: StateChange | None) -> list[Notice]:
        """Return what there is to tell after a look; called once per look, in time order."""
        match = look.match
        if self._every_s is None or match is None or look.impediment is not None:
            return []
        if change is not None or said.name == UNKNOWN or match.best.state != said.name:
            return []
        if not self._is_due(look.captured_at_s):
            return []
        told = self._drift.observe(said.name, look.condition, match.best.score.combined)
        self.readings = self._drift.readings()
        return [] if told is None else [_notice(told)]

    def snapshot(self) -> DriftSnapshot:
        """Return what to keep over a restart."""
        return self._drift.snapshot()

    def restore(self, memory: DriftSnapshot) -> None:
        """Go on from there, as far as it was seen against the same references."""
        self._go_on(ScoreDrift(self._baselines, memory), self._baselines)

    def _go_on(self, drift: ScoreDrift, baselines: Mapping[Key, Baseline]) -> None:
        self._drift, self._baselines = drift, baselines
        self.readings = drift.readings()

    def _is_due(self, at_s: float) -> bool:
        last_s, every_s = self._last_s, self._every_s or 0.0
        # Time that ran backwards counts as due.
        if last_s is not None and 0.0 <= at_s - last_s < every_s:
            return False
        self._last_s = at_s
        return True


def _notice(reading: DriftReading) -> Drifted:
    return Drifted(
        state=reading.state,
        condition=reading.condition,
        psi=reading.psi,
        limit=None if reading.psi is None else reading.limit,
        expected=reading.expected,
        mean=reading.mean,
        direction=reading.direction,
        looks=reading.looks,
        action=reading.action,
    )
