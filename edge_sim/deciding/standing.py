"""What a decider goes by and where it stands, so that a decision can be explained and repeated."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_sim.deciding.levels import Drift, Level, caution, threshold_of
from edge_sim.domain import Doubt, State, Threshold, UnknownReason
from edge_sim.rules import NO_RULES, Rules

_UNLIKE = frozenset(
    {
        UnknownReason.NOVEL,
        UnknownReason.AMBIGUOUS,
        UnknownReason.UNTAUGHT_LIGHT,
        UnknownReason.CAMERA_MOVED,
    }
)

_NO_DRIFT = Drift()
MARGIN = 0.2
"""Least lead of the best state over the runner-up, in probability, at sensitivity 0.5."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that an `AdaptiveDecider` goes by; another one with the same decides the same.

    Args:
        levels: What the gallery says of the scores of each state.
        sensitivity: 0 to 1; 0.5 is the calibrated point, higher reports weaker changes.
        matches: Votes that a change takes.
        of: Votes that count; at least `matches`.
        enter: Level at which every state is entered, 0 to 1, whatever the gallery says; None lets
            it adapt, never below a fixed `leave`.
        leave: Level below which every state is left, 0 to 1; None lets it adapt, never above a
            fixed `enter`.
        rules: Which changes are implausible.

    Raises:
        ValueError: A number is out of range, or `leave` lies above `enter`.
    """

    levels: Mapping[str, Level] = field(default_factory=dict)
    sensitivity: float = 0.5
    matches: int = 3
    of: int = 5
    enter: float | None = None
    leave: float | None = None
    rules: Rules = NO_RULES

    def __post_init__(self) -> None:
        if not 0.0 <= self.sensitivity <= 1.0:
            raise ValueError(f"sensitivity must be 0 to 1, got {self.sensitivity}")
        if not 1 <= self.matches <= self.of <= sys.maxsize:  # what a row of votes can hold
            raise ValueError(
                f"confirmation needs 1 <= matches <= of, got {self.matches} of {self.of}"
            )
        for name, level in (("enter", self.enter), ("leave", self.leave)):
            if level is not None and not 0.0 <= level <= 1.0:
                raise ValueError(f"{name} must be 0 to 1, got {level}")
        if self.enter is not None and self.leave is not None and self.leave > self.enter:
            raise ValueError(f"leave {self.leave} lies above enter {self.enter}")

    def margin_needed(self, *, stays: bool) -> float:
        """Return the least lead over the runner-up, 0 to 0.9; half as much to stay as to come.

        A state is not left because it became a little unclear.
        """
        return min(MARGIN * caution(self.sensitivity), 0.9) * (0.5 if stays else 1.0)

    def thresholds(
        self, drifts: Mapping[tuple[str, str], Drift], condition: str
    ) -> dict[str, Threshold]:
        """Return the levels in force in a condition, per state.

        Args:
            drifts: (state, condition) -> what was learned since the gallery was made.
            condition: Light regime of the look.
        """
        return {
            state: self.imposed_on(
                threshold_of(level, drifts.get((state, condition), _NO_DRIFT), self.sensitivity)
            )
            for state, level in self.levels.items()
        }

    def imposed_on(self, adapted: Threshold) -> Threshold:
        """Return the threshold with the levels that are fixed; the other one gives way to them."""
        if self.enter is None and self.leave is None:
            return adapted
        enter = adapted.enter if self.enter is None else self.enter
        leave = adapted.leave if self.leave is None else self.leave
        if self.enter is None:
            return Threshold(max(enter, leave), leave)
        return Threshold(enter, min(leave, enter))


@dataclass(frozen=True, slots=True)
class Vote:
    """What one look speaks for.

    Args:
        state: A state, or `unknown` with the reason.
        probability: Of the state, 0 to 1; 0 for `unknown`.
    """

    state: State
    probability: float


@dataclass(frozen=True, slots=True)
class DecisionState:
    """Where a decider stood at its last look, before that look decided anything.

    Args:
        votes: That count, the oldest first; the last one is of this very look.
        evidence: Sum of the log odds of each other state against the last one said, 0 and up.
        evidence_needed: Sum from which a change from one state to another is believed.
        margin_needed: Lead over the runner-up that the look had to have, 0 to 1.
        waited: Whether the look cast no vote because the light was changing.
        doubts: What the rules have against the change that the look speaks for.
        at_border: Whether some of the votes for another state fell in a light it was not taught in:
            then all that count must agree.
    """

    votes: tuple[Vote, ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict)
    evidence_needed: float = 0.0
    margin_needed: float = 0.0
    waited: bool = False
    doubts: tuple[Doubt, ...] = ()
    at_border: bool = False


def agree(a: State, b: State | None) -> bool:
    """Return whether two votes agree; any two that call the picture unlike do."""
    if b is None or a.name != b.name:
        return False
    return a.reason == b.reason or (a.reason in _UNLIKE and b.reason in _UNLIKE)


def votes_needed(settings: Settings, standing: DecisionState) -> int:
    """Return how many votes a change takes as things stand."""
    return settings.of if standing.doubts or standing.at_border else settings.matches
