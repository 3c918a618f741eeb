"""What decisions are made from, and what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from edge_sim.domain.matches import Match, Threshold
from edge_sim.domain.names import UNKNOWN, UnknownReason
from edge_sim.domain.pictures import Quality


@dataclass(frozen=True, slots=True)
class SceneReading:
    """What the scene monitor says of one look.

    Args:
        condition: Light regime: `day`, `dusk`, `ir` or `dark`.
        impediment: Why the picture cannot be decided on; None if it can.
    """

    condition: str
    impediment: UnknownReason | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a watch: all that a decision is made from.

    Args:
        captured_at_s: Of the frame.
        unix_time_s: Of the frame.
        frame_index: Of the frame.
        match: None if the gallery is empty.
        condition: Light regime of the frame.
        impediment: Why the picture cannot be decided on; None if it can.
        quality: Readings of the region.
    """

    captured_at_s: float
    unix_time_s: float
    frame_index: int
    match: Match | None
    condition: str
    impediment: UnknownReason | None
    quality: Quality


@dataclass(frozen=True, slots=True)
class State:
    """What a watch says: the name of a state, or `unknown` with the reason.

    Raises:
        ValueError: `unknown` without a reason, or a reason with another state.
    """

    name: str
    reason: UnknownReason | None = None

    def __post_init__(self) -> None:
        if (self.name == UNKNOWN) != (self.reason is not None):
            raise ValueError(f"exactly `unknown` carries a reason, got {self.name}, {self.reason}")


class Doubt(str, Enum):
    """Why a change is implausible by the rules of the watch."""

    NOT_ALLOWED = "not_allowed"
    """The state before is not followed by this one."""
    TOO_SHORT = "too_short"
    """The state before never lasts so short."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """A decision: what a watch said before and says now, and what decided it.

    Args:
        before: None at the first decision.
        after: In force from now on.
        cause: The observation that decided.
        thresholds: In force at that moment, per state.
        confidence: In `after`, 0 to 1; 0 for `unknown`.
        doubts: What the rules of the watch have against it; the evidence was the stronger for it.
    """

    before: State | None
    after: State
    cause: Observation
    thresholds: Mapping[str, Threshold]
    confidence: float
    doubts: tuple[Doubt, ...] = ()
