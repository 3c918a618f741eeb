"""The kinds of event: the wire format of every sink, one JSON object a line.

`SCHEMA` goes up when a field changes its meaning or disappears; new fields and new kinds may appear
under the same number. The JSON schema is printed by `edge-sim schema event`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from edge_sim.domain import SceneProblem

SCHEMA = 1


class MatchedState(msgspec.Struct, frozen=True):
    """One state of the match: its best reference and its probability."""

    state: str
    reference_id: str
    cosine: float
    ssim: float | None
    combined: float
    probability: float


class Levels(msgspec.Struct, frozen=True):
    """Levels of `combined` in force for one state."""

    enter: float
    leave: float


class Readings(msgspec.Struct, frozen=True):
    """Quality of the region; units as in `edge_sim.domain.Quality`."""

    luma: float
    contrast: float
    sharpness: float
    chroma: float
    clipped_dark: float
    clipped_bright: float


class StateChanged(msgspec.Struct, frozen=True, tag="state_changed", tag_field="type"):
    """A watch says something else from now on.

    `before` is null at the first decision of a watch. `matches` holds every state of the gallery,
    the most probable first; it is empty if the gallery is. `before_lasted_s` is for how long
    `before` was said while the device was running. `doubts` are what the rules of the watch have
    against this change (`not_allowed`, `too_short`): the evidence for it was the stronger.
    """

    id: str
    device: str
    source: str
    watch: str
    at: str
    captured_at_s: float
    frame: int
    before: str | None
    before_reason: str | None
    after: str
    reason: str | None
    confidence: float
    margin: float | None
    condition: str
    matches: tuple[MatchedState, ...]
    thresholds: dict[str, Levels]
    quality: Readings
    model: str
    gallery_revision: int
    schema: int = SCHEMA
    before_lasted_s: float | None = None
    doubts: tuple[str, ...] = ()


class SourceLost(msgspec.Struct, frozen=True, tag="source_lost", tag_field="type"):
    """A source gives no frames any more; edge_sim goes on trying."""

    id: str
    device: str
    source: str
    at: str
    error: str
    schema: int = SCHEMA


class SourceRestored(msgspec.Struct, frozen=True, tag="source_restored", tag_field="type"):
    """A lost source gives frames again."""

    id: str
    device: str
    source: str
    at: str
    lost_for_s: float
    schema: int = SCHEMA


class OfWatch(msgspec.Struct, frozen=True, kw_only=True):
    """What every event of a watch says besides its kind; times as in `StateChanged`."""

    id: str
    device: str
    source: str
    watch: str
    at: str
    captured_at_s: float
    frame: int
    schema: int = SCHEMA


class SceneImpaired(OfWatch, frozen=True, tag="scene_impaired", tag_field="type"):
    """Something is wrong with what the camera shows, and has been `since` then."""

    problem: SceneProblem
    since: str
    lasted_s: float


class SceneCleared(OfWatch, frozen=True, tag="scene_cleared", tag_field="type"):
    """What `scene_impaired` told is over; it lasted `lasted_s`."""

    problem: SceneProblem
    since: str
    lasted_s: float


class StateOverdue(OfWatch, frozen=True, tag="overdue", tag_field="type"):
    """A state lasts longer than `overdue_s` of the watch allows; `number` counts repetitions."""

    state: str
    since: str
    in_state_s: float
    limit_s: float
    number: int


class StateOverdueCleared(OfWatch, frozen=True, tag="overdue_cleared", tag_field="type"):
    """A state that was overdue is over; it lasted `in_state_s`."""

    state: str
    since: str
    in_state_s: float


class StateTooShort(OfWatch, frozen=True, tag="too_short", tag_field="type"):
    """A state was left sooner than it can have been over; `change` is the id of that event."""

    state: str
    after: str
    since: str
    in_state_s: float
    limit_s: float
    change: str | None


class StateTooLong(OfWatch, frozen=True, tag="too_long", tag_field="type"):
    """A state lasts longer than it can: its end was missed, or the watch is wrong."""

    state: str
    since: str
    in_state_s: float
    limit_s: float


class TransitionImplausible(OfWatch, frozen=True, tag="implausible_transition", tag_field="type"):
    """A state was followed by one that does not follow it; `change` is the id of that event."""

    before: str
    after: str
    change: str | None


class ScoresDrifted(OfWatch, frozen=True, tag="drift", tag_field="type"):
    """Scores no longer lie where the references say; fields as in `edge_sim.domain.Drifted`."""

    state: str
    condition: str
    psi: float | None
    limit: float | None
    expected: float | None
    mean: float
    direction: str | None
    looks: int
    action: str
    model: str
    gallery_revision: int


Event: TypeAlias = (
    StateChanged
    | SourceLost
    | SourceRestored
    | SceneImpaired
    | SceneCleared
    | StateOverdue
    | StateOverdueCleared
    | StateTooShort
    | StateTooLong
    | TransitionImplausible
    | ScoresDrifted
)
"""A tagged union: `type` says which."""
