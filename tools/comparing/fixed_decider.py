"""FixedDecider: a fixed threshold and a number of observations in a row."""

from __future__ import annotations

from collections.abc import Mapping

from edge_sim.core.types import UNKNOWN, Observation, State, StateChange, Threshold, UnknownReason

THRESHOLD = 0.9
IN_A_ROW = 3


class FixedDecider:
    """The usual recipe: similarity of at least 0.9 in three observations in a row.

    Args:
        threshold: Least `Score.combined`.
        in_a_row: Observations that must agree.
        holds: Whether observations below the threshold are skipped; else they are
            `unknown: novel`.
    """

    def __init__(
        self, *, threshold: float = THRESHOLD, in_a_row: int = IN_A_ROW, holds: bool = False
    ) -> None:
        self._threshold = Threshold(threshold, threshold)
        self._holds = holds
        self._in_a_row = in_a_row
        self._state = State(UNKNOWN, UnknownReason.STARTING)
        self._candidate = self._state
        self._count = 0

    @property
    def state(self) -> State:
        """State in force."""
        return self._state

    @property
    def thresholds(self) -> Mapping[str, Threshold]:
        """None by name: one threshold for all."""
        return {}

    @property
    def pending(self) -> bool:
        """Whether a change is being confirmed."""
        return self._candidate != self._state

    def observe(self, observation: Observation) -> StateChange | None:
        """Return the change that `observation` completes, if it does."""
        match = observation.match
        candidate = State(UNKNOWN, UnknownReason.NOVEL)
        if match is not None and match.best.score.combined >= self._threshold.enter:
            candidate = State(match.best.state)
        elif self._holds:
            return None
        self._count = self._count + 1 if candidate == self._candidate else 1
        self._candidate = candidate
        if self._count < self._in_a_row or candidate == self._state:
            return None
        before, self._state = self._state, candidate
        first = None if before.reason is UnknownReason.STARTING else before
        confidence = match.best.probability if match and candidate.name != UNKNOWN else 0.0
        return StateChange(first, candidate, observation, self.thresholds, confidence)

    def resume(self, state: State) -> None:
        """Set the state without a change."""
        self._state = self._candidate = state
