"""What a watch has to tell besides its state: trouble with the picture, and broken rules.

Durations are monotonic seconds during which the device was running; `since_unix_s` is for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias


class SceneProblem(str, Enum):
    """What may be wrong with what a camera shows, while it lasts."""

    CAMERA_MOVED = "camera_moved"
    COVERED = "covered"
    LIGHTING = "lighting"
    DEFOCUSED = "defocused"
    """A look is blurred; a camera whose looks stay blurred is out of focus."""
    FROZEN = "frozen"
    DARK = "dark"
    OVEREXPOSED = "overexposed"


@dataclass(frozen=True, slots=True)
class ProblemRaised:
    """A problem has lasted long enough to be told; `lasted_s` is for how long."""

    problem: SceneProblem
    since_unix_s: float
    lasted_s: float


@dataclass(frozen=True, slots=True)
class ProblemCleared:
    """A problem that was told is over; `lasted_s` runs to the first look without it."""

    problem: SceneProblem
    since_unix_s: float
    lasted_s: float


@dataclass(frozen=True, slots=True)
class Overdue:
    """A state lasts longer than it should; `number` counts from 1 where it is repeated."""

    state: str
    since_unix_s: float
    in_state_s: float
    limit_s: float
    number: int = 1


@dataclass(frozen=True, slots=True)
class OverdueCleared:
    """A state that was overdue was left, or may last as long as it likes by now."""

    state: str
    since_unix_s: float
    in_state_s: float


@dataclass(frozen=True, slots=True)
class TooShort:
    """A state was left before it can have been over, for the state `after`."""

    state: str
    after: str
    since_unix_s: float
    in_state_s: float
    limit_s: float


@dataclass(frozen=True, slots=True)
class TooLong:
    """A state lasts longer than it can: its end was missed, or the watch is wrong."""

    state: str
    since_unix_s: float
    in_state_s: float
    limit_s: float


@dataclass(frozen=True, slots=True)
class ImplausibleTransition:
    """A state was followed by one that does not follow it."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Drifted:
    """The scores of a state, in one light, no longer lie where the references say.

    Args:
        state: Name of the state.
        condition: Light regime.
        psi: Population stability index; None before there are enough looks.
        limit: Above which the index tells; None with it.
        expected: Mean score of the references.
        mean: Mean of recent scores.
        direction: `rise` or `fall` where the mean moved; None if only the distribution did.
        looks: That were followed.
        action: What to do about it, in one sentence.
    """

    state: str
    condition: str
    psi: float | None
    limit: float | None
    expected: float | None
    mean: float
    direction: str | None
    looks: int
    action: str


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An event of a registered kind, without its origin and time; `events.draft` makes it.

    Args:
        kind: A kind of event that `events.register_event` knows.
        facts: Values of the fields that the kind adds to every event of a watch.
    """

    kind: type[Any]
    facts: Mapping[str, Any]


Notice: TypeAlias = (
    ProblemRaised
    | ProblemCleared
    | Overdue
    | OverdueCleared
    | TooShort
    | TooLong
    | ImplausibleTransition
    | Drifted
    | EventDraft
)
