"""DriftFollower: follows the scores of a running watch, and tells when they drift."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edge_sim.domain import UNKNOWN, Observation, State, StateChange
from edge_sim.drift.following import LEAST_LOOKS, DriftReading, DriftSnapshot, Key, ScoreDrift
from edge_sim.drift.measures import Baseline
from edge_sim.events import EventDraft, ScoresDrifted, draft

EVERY_S = 1800.0
"""Between two looks that count: twenty of them, the least that say anything, take ten hours, so
that a steady afternoon is not taken for a drift."""
LEAST_FALL = 0.05
"""Of the mean score, and at least one deviation of the references: less decides nothing, and a rise
does no harm. On ten labelled sets, with every look counting, that tells 10 of 15 states and lights
when the references are the first frames alone, and 5 of 94 when they are drawn from all of them."""


class DriftMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a `DriftFollower` knows, to be kept over a restart."""

    scores: DriftSnapshot = DriftSnapshot()
    told: tuple[Key, ...] = ()


class DriftFollower:
    """Takes a look now and then, of those at which the watch stands by what it sees.

    It tells of a state and light once, when the scores have drifted and their mean has fallen by so
    much that it matters; again when it did so anew after it was half as bad.

    Args:
        every_s: Seconds of frame time between two looks that count; None follows nothing.
    """

    def __init__(self, every_s: float | None = EVERY_S) -> None:
        self._every_s = every_s
        self._baselines: Mapping[Key, Baseline] = {}
        self._drift = ScoreDrift({})
        self._told: set[Key] = set()
        self._last_s: float | None = None
        self.readings: tuple[DriftReading, ...] = ()
        """Where every state and light stands; replaced as a whole, so any thread may read it."""

    def compare_with(self, baselines: Mapping[Key, Baseline]) -> None:
        """Follow against these from now on; what was seen against others is forgotten."""
        self._go_on(ScoreDrift(baselines, self._drift.snapshot()), baselines)

    def follow(
        self, look: Observation, said: State, change: StateChange | None
    ) -> list[EventDraft]:
        """Return what there is to tell after a look; called once per look, in time order."""
        match = look.match
        if self._every_s is None or match is None or look.impediment is not None:
            return []
        if change is not None or said.name == UNKNOWN or match.best.state != said.name:
            return []
        if not self._is_due(look.captured_at_s):
            return []
        self._drift.observe(said.name, look.condition, match.best.score.combined)
        self.readings = self._drift.readings()
        key = (said.name, look.condition)
        (reading,) = [item for item in self.readings if (item.state, item.condition) == key]
        return [_draft(reading)] if self._is_news(key, reading) else []

    def snapshot(self) -> DriftMemory:
        """Return what to keep over a restart."""
        return DriftMemory(self._drift.snapshot(), tuple(sorted(self._told)))

    def restore(self, memory: DriftMemory) -> None:
        """Go on from there, as far as it was seen against the same references."""
        self._told = set(memory.told)
        self._go_on(ScoreDrift(self._baselines, memory.scores), self._baselines)

    def _is_news(self, key: Key, reading: DriftReading) -> bool:
        baseline = self._baselines.get(key)
        if baseline is None or reading.looks < LEAST_LOOKS:
            return False
        fallen = (baseline.mean - reading.mean) / max(LEAST_FALL, baseline.deviation)
        if fallen < 0.5:
            self._told.discard(key)
        if fallen < 1.0 or not reading.drifted or key in self._told:
            return False
        self._told.add(key)
        return True

    def _go_on(self, drift: ScoreDrift, baselines: Mapping[Key, Baseline]) -> None:
        self._drift, self._baselines = drift, baselines
        self.readings = drift.readings()
        self._told &= {(item.state, item.condition) for item in self.readings}

    def _is_due(self, at_s: float) -> bool:
        last_s, every_s = self._last_s, self._every_s or 0.0
        # Time that ran backwards counts as due.
        if last_s is not None and 0.0 <= at_s - last_s < every_s:
            return False
        self._last_s = at_s
        return True


def _draft(reading: DriftReading) -> EventDraft:
    has_psi = reading.psi is not None
    return draft(
        ScoresDrifted,
        state=reading.state,
        condition=reading.condition,
        psi=_rounded(reading.psi),
        limit=_rounded(reading.limit) if has_psi else None,
        expected=_rounded(reading.expected),
        mean=round(reading.mean, 4),
        direction=reading.direction,
        looks=reading.looks,
        action=reading.action,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
