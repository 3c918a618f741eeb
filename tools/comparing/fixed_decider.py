"""FixedDecider: a threshold that somebody has guessed, and so many looks in a row."""

from __future__ import annotations

from collections.abc import Mapping

from edge_sim.core.types import UNKNOWN, Observation, State, StateChange, Threshold, UnknownReason

THRESHOLD = 0.9
IN_A_ROW = 3


class FixedDecider:
    """The usual recipe, to be compared with: similarity at least 0.9, three looks in a row.

    Args:
        threshold: Of `Score.combined`.
        in_a_row: Looks that must agree.
        holds: Whether looks below the threshold are passed over, neither counted nor breaking the
            row; else they say `unknown: novel`.
    """

    def __init__(
        self, *, threshold: float = THRESHOLD, in_a_row: int = IN_A_ROW, holds: bool = False
    ) -> None:
        self._threshold = Threshold(threshold, threshold)
        self._holds = holds
        self._in_a_row = in_a_row
        self._said = State(UNKNOWN, UnknownReason.STARTING)
        self._candidate = self._said
        self._count = 0

    @property
    def state(self) -> State:
        """What is said now."""
        return self._said

    @property
    def thresholds(self) -> Mapping[str, Threshold]:
        """None by name: one threshold for all."""
        return {}

    @property
    def pending(self) -> bool:
        """Whether a change is being confirmed."""
        return self._candidate != self._said

    def observe(self, observation: Observation) -> StateChange | None:
        """Return the change that `observation` completes, if it does."""
        match = observation.match
        wanted = State(UNKNOWN, UnknownReason.NOVEL)
        if match is not None and match.best.score.combined >= self._threshold.enter:
            wanted = State(match.best.state)
        elif self._holds:
            return None
        self._count = self._count + 1 if wanted == self._candidate else 1
        self._candidate = wanted
        if self._count < self._in_a_row or wanted == self._said:
            return None
        before, self._said = self._said, wanted
        first = None if before.reason is UnknownReason.STARTING else before
        confidence = match.best.probability if match and wanted.name != UNKNOWN else 0.0
        return StateChange(first, wanted, observation, self.thresholds, confidence)

    def resume(self, state: State) -> None:
        """Say `state` without a change."""
        self._said = self._candidate = state
