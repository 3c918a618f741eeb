"""Kinds of events and their form on the wire, one JSON object a line.

Every kind is one struct, in memory and on the wire. `state_changed` makes the event of a change of
state; followers report everything else with `draft`, and the pipeline adds origin, time and id
(`completed`).

`SCHEMA` goes up when a field changes its meaning or disappears; new fields and new kinds may appear
under the same number. The JSON schema is printed by `edge-sim schema event`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any, TypeAlias, TypeVar, Union, get_args

import msgspec

from edge_sim.core.types import Observation, Quality, StateChange, StateScore, Threshold
from edge_sim.errors import ConfigError

SCHEMA = 1


class SceneProblem(str, Enum):
    """Lasting problem with what a camera shows."""

    CAMERA_MOVED = "camera_moved"
    NO_SIGNAL = "no_signal"
    """The source shows a slate of one colour instead of a picture."""
    COVERED = "covered"
    LIGHTING = "lighting"
    DEFOCUSED = "defocused"
    """Observations stay blurred: the camera is out of focus."""
    FROZEN = "frozen"
    DARK = "dark"
    OVEREXPOSED = "overexposed"
    REGION_MOVED = "region_moved"
    """References were taken of another region than the watch observes."""


class MatchedState(msgspec.Struct, frozen=True):
    """One state of the match: its best reference and its probability."""

    state: str
    reference_id: str
    cosine: float
    ssim: float | None
    combined: float
    probability: float


class StateChanged(msgspec.Struct, frozen=True, tag="state_changed", tag_field="type"):
    """Change of the state of a watch.

    `before` is null at the first decision of a watch. `matches` holds every state of the gallery,
    the most probable first; it is empty if the gallery is. `before_lasted_s` is the time that
    `before` was in force while the device was running. `doubts` are the rules of the watch that
    the change breaks (`not_allowed`, `too_short`); such a change needed stronger evidence.
    `untaught` are the states without a reference in the light of `condition`, where that is a
    reason of `unknown`; the field is absent otherwise. `regions` are the parts of a `novel` picture
    that no reference of the most probable state shows, the strongest first, each `[x, y, width,
    height]` in fractions of the frame; absent where none is found.
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
    thresholds: dict[str, Threshold]
    quality: Quality
    model: str
    gallery_revision: int
    schema: int = SCHEMA
    before_lasted_s: float | None = None
    doubts: tuple[str, ...] = ()
    untaught: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    regions: tuple[tuple[float, float, float, float], ...] | msgspec.UnsetType = msgspec.UNSET


class SourceLost(msgspec.Struct, frozen=True, tag="source_lost", tag_field="type"):
    """A source gives no frames any more; edge_sim keeps trying to reopen it."""

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


class PackReported(msgspec.Struct, frozen=True, tag="pack_reported", tag_field="type"):
    """A version of a pack is in force on this device, was refused, or was taken back.

    Args:
        pack: Name of the pack.
        version: Version that it is about.
        outcome: `activated`, `refused` or `rolled_back`.
        reason: Reason of a refusal, one line; null otherwise.
        gallery_revision: Revision of the gallery that the pack made; null where it made none.
        observations: Observations of the device's last day that the pack was held against.
    """

    id: str
    device: str
    at: str
    pack: str
    version: int
    outcome: str
    reason: str | None
    gallery_revision: int | None
    observations: int = 0
    schema: int = SCHEMA


class WatchEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that every kind of event of a watch has; times as in `StateChanged`.

    A kind that also has `change`, `model` or `gallery_revision` gets those from the pipeline: the
    id of the change of state at the same observation (null without one), the model, the gallery.
    """

    id: str
    device: str
    source: str
    watch: str
    at: str
    captured_at_s: float
    frame: int
    schema: int = SCHEMA


class SceneImpaired(WatchEvent, frozen=True, tag="scene_impaired", tag_field="type"):
    """Something is wrong with what the camera shows, and has been `since` then."""

    problem: SceneProblem
    since: str
    lasted_s: float


class SceneCleared(WatchEvent, frozen=True, tag="scene_cleared", tag_field="type"):
    """A reported problem is over; `lasted_s` runs to the first observation without it."""

    problem: SceneProblem
    since: str
    lasted_s: float


class StateOverdue(WatchEvent, frozen=True, tag="overdue", tag_field="type"):
    """A state lasts longer than `overdue_s` of the watch allows; `number` counts repetitions."""

    state: str
    since: str
    in_state_s: float
    limit_s: float
    number: int


class StateOverdueCleared(WatchEvent, frozen=True, tag="overdue_cleared", tag_field="type"):
    """A state that was overdue is over or allowed again; it lasted `in_state_s`."""

    state: str
    since: str
    in_state_s: float


class StateTooShort(WatchEvent, frozen=True, tag="too_short", tag_field="type"):
    """A state was left sooner than it can have been over; `change` is the id of that event."""

    state: str
    after: str
    since: str
    in_state_s: float
    limit_s: float
    change: str | None


class StateTooLong(WatchEvent, frozen=True, tag="too_long", tag_field="type"):
    """A state lasts longer than it can: its end was missed, or the watch is wrong."""

    state: str
    since: str
    in_state_s: float
    limit_s: float


class TransitionImplausible(
    WatchEvent, frozen=True, tag="implausible_transition", tag_field="type"
):
    """A state was followed by one that does not follow it; `change` is the id of that event."""

    before: str
    after: str
    change: str | None


class ScoresDrifted(WatchEvent, frozen=True, tag="drift", tag_field="type"):
    """The scores of a state, in one light, no longer fit the references.

    Args:
        state: Name of the state.
        condition: Light regime.
        psi: Population stability index; null before there are enough observations.
        limit: Largest index without drift; null with it.
        expected: Mean score of the references.
        mean: Mean of recent scores.
        direction: `rise` or `fall` where the mean moved; null if only the distribution did.
        action: Advice in one sentence.
        observations: Number of observations; null in events of older files.
    """

    state: str
    condition: str
    psi: float | None
    limit: float | None
    expected: float | None
    mean: float
    direction: str | None
    action: str
    model: str
    gallery_revision: int
    observations: int | None = None


class IndexReady(msgspec.Struct, frozen=True, tag="index_ready", tag_field="type"):
    """An index of pictures is complete after `edge-sim index build`, `add` or `import`.

    Args:
        source: Folder of the pictures.
        index: Folder of the index.
        pictures: Number of pictures and frames that can be searched.
        new: Number of them that were not in it before.
        model: Model of their embeddings.
        kind: Kind of search, as in `edge-sim index info`.
        took_s: Seconds that the update took.
    """

    id: str
    device: str
    source: str
    at: str
    index: str
    pictures: int
    new: int
    model: str
    kind: str
    took_s: float
    schema: int = SCHEMA


Event: TypeAlias = (
    StateChanged
    | SourceLost
    | SourceRestored
    | IndexReady
    | PackReported
    | SceneImpaired
    | SceneCleared
    | StateOverdue
    | StateOverdueCleared
    | StateTooShort
    | StateTooLong
    | TransitionImplausible
    | ScoresDrifted
)
"""Union of all built-in kinds, tagged by `type`."""


class EventOrigin(msgspec.Struct, frozen=True):
    """Device, source, watch, model and gallery that an event comes from."""

    device: str
    source: str
    watch: str
    model: str
    gallery_revision: int


@dataclass(frozen=True, slots=True)
class EventDraft:
    """Event of a watch without its origin and time; `draft` makes it, `completed` the event.

    Args:
        kind: Kind of event, one of `event_kinds`.
        facts: Values of the fields that the kind adds to every event of a watch.
    """

    kind: type[Any]
    facts: Mapping[str, Any]


def state_changed(
    change: StateChange, origin: EventOrigin, before_lasted_s: float | None = None
) -> StateChanged:
    """Return the event of a change of state.

    The id is a digest of device, watch, time and states: the same frames give the same id, so a
    receiver can drop duplicates.
    """
    cause = change.cause
    before = change.before
    key = (cause.frame_index, cause.unix_time_s, before, change.after)
    match = cause.match
    return StateChanged(
        id=event_id(origin.device, origin.watch, repr(key)),
        device=origin.device,
        source=origin.source,
        watch=origin.watch,
        at=utc_text(cause.unix_time_s),
        captured_at_s=round(cause.captured_at_s, 3),
        frame=cause.frame_index,
        before=before.name if before else None,
        before_reason=before.reason.value if before and before.reason else None,
        after=change.after.name,
        reason=change.after.reason.value if change.after.reason else None,
        confidence=round(change.confidence, 4),
        margin=None if match is None else round(match.margin, 4),
        condition=cause.condition,
        matches=() if match is None else tuple(map(_matched_state, match.states)),
        thresholds={name: level.rounded() for name, level in change.thresholds.items()},
        quality=cause.quality.rounded(),
        model=origin.model,
        gallery_revision=origin.gallery_revision,
        before_lasted_s=None
        if before is None or before_lasted_s is None
        else round(before_lasted_s, 3),
        doubts=tuple(doubt.value for doubt in change.doubts),
        untaught=change.untaught or msgspec.UNSET,
        regions=change.regions or msgspec.UNSET,
    )


def draft(kind: type[WatchEvent], **facts: Any) -> EventDraft:
    """Return an event for a follower to report; the pipeline adds origin, time and id.

    Args:
        kind: Built-in or registered kind.
        facts: Values of the fields that the kind adds, but `change`, `model`, `gallery_revision`.

    Raises:
        ConfigError: The kind is not registered.
        TypeError: A field is missing, or there is no such field.
    """
    if kind not in _BUILT_IN.values() and kind not in _REGISTERED.values():
        raise ConfigError(f"{kind.__name__} is not registered; call register_event first")
    own = {
        field.name: field
        for field in msgspec.structs.fields(kind)
        if field.name not in WatchEvent.__struct_fields__ and field.name not in _FROM_PIPELINE
    }
    unknown = sorted(facts.keys() - own.keys())
    missing = [name for name, field in own.items() if field.required and name not in facts]
    if unknown or missing:
        problem = f"no field {unknown[0]!r}" if unknown else f"no value for {missing[0]!r}"
        raise TypeError(f"{kind.__name__}: {problem} (its fields are {', '.join(own)})")
    return EventDraft(kind, facts)


def completed(
    drafted: EventDraft, cause: Observation, origin: EventOrigin, *, change_id: str | None = None
) -> Event:
    """Return the event of a draft.

    Args:
        drafted: Draft of a follower.
        cause: Observation at which it was reported.
        origin: Device, source, watch, model and gallery.
        change_id: Id of the change of state at the same observation; None if there is none.
    """
    kind, facts = drafted.kind, drafted.facts
    if kind in _BUILT_IN.values():
        about = [str(facts.get(name)) for name in _IDENTIFYING]
    else:
        about = [str(item) for item in sorted(facts.items())]
    key = (cause.frame_index, cause.unix_time_s, kind.__name__, *about)
    known = {
        "change": change_id,
        "model": origin.model,
        "gallery_revision": origin.gallery_revision,
    }
    event: Event = kind(
        id=event_id(origin.device, origin.watch, repr(key)),
        device=origin.device,
        source=origin.source,
        watch=origin.watch,
        at=utc_text(cause.unix_time_s),
        captured_at_s=round(cause.captured_at_s, 3),
        frame=cause.frame_index,
        **{name: known[name] for name in _FROM_PIPELINE if name in kind.__struct_fields__},
        **facts,
    )
    return event


def _matched_state(item: StateScore) -> MatchedState:
    score = item.score
    return MatchedState(
        state=item.state,
        reference_id=item.reference_id,
        cosine=round(score.cosine, 4),
        ssim=None if score.ssim is None else round(score.ssim, 4),
        combined=round(score.combined, 4),
        probability=round(item.probability, 4),
    )


_FROM_PIPELINE = ("change", "model", "gallery_revision")
_IDENTIFYING = ("problem", "state", "condition")
"""Facts that distinguish two built-in events of one kind and moment."""
_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_BUILT_IN: dict[str, type[Any]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(Event)
}
_REGISTERED: dict[str, type[WatchEvent]] = {}
_Kind = TypeVar("_Kind", bound=type[WatchEvent])


def register_event(kind: _Kind) -> _Kind:
    """Add a kind of event, for every sink, the outbox and `from_json_line`.

        @register_event
        class VisitorCounted(WatchEvent, frozen=True, tag="visitor_counted", tag_field="type"):
            visitors: int

    A follower reports it with `draft(VisitorCounted, visitors=3)`. Registering the same kind again
    changes nothing.

    Args:
        kind: Subclass of `WatchEvent` with `frozen=True`, a `tag` and `tag_field="type"`; its own
            fields are of types that JSON can hold.

    Raises:
        ConfigError: It is no such class, or the tag is taken.
    """
    global _DECODER
    is_kind = isinstance(kind, type) and issubclass(kind, WatchEvent)
    config = kind.__struct_config__ if is_kind else None
    if config is None or config.tag_field != "type" or not config.frozen:
        raise ConfigError(
            f"{getattr(kind, '__name__', kind)!r} is no kind of event: derive it from WatchEvent, "
            f'with frozen=True, tag="..." and tag_field="type"'
        )
    tag = str(config.tag)
    if tag in _BUILT_IN or _REGISTERED.get(tag, kind) is not kind:
        raise ConfigError(f"the type {tag!r} of events is taken; choose another tag")
    if tag in _REGISTERED:
        return kind
    try:
        decoder: Any = msgspec.json.Decoder(_union((*event_kinds().values(), kind)))
    except TypeError as error:
        raise ConfigError(f"events of the type {tag!r} cannot be written: {error}") from error
    _REGISTERED[tag] = kind
    _DECODER = decoder
    return kind


def event_kinds() -> dict[str, type[Any]]:
    """Return every kind of event by its `type`: those of edge_sim, then registered ones."""
    return {**_BUILT_IN, **_REGISTERED}


def event_id(*parts: str) -> str:
    """Return 16 hexadecimal digits that depend on every part."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def utc_text(unix_time_s: float) -> str:
    """Return ISO 8601 with milliseconds and Z, as in `2026-01-31T12:00:00.250Z`."""
    moment = datetime.fromtimestamp(unix_time_s, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_time_s(text: str) -> float:
    """Return seconds since 1970 of a time in ISO 8601; without a zone it is UTC, as of `utc_text`.

    Raises:
        ValueError: It is not such a text.
    """
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp()


def tag_of(event: Event) -> str:
    """Return the `type` of `event`, as in `state_changed`."""
    return str(event.__struct_config__.tag)


def to_json_line(event: Event) -> bytes:
    """Return `event` as one line of JSON, newline included."""
    return msgspec.json.encode(event) + b"\n"


def from_json_line(line: bytes) -> Event:
    """Return the event in one line of JSON.

    Raises:
        ValueError: The line is no event of this schema.
    """
    return _DECODER.decode(line)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of `Event`."""
    return msgspec.json.schema(_union(tuple(event_kinds().values())))


def _union(kinds: tuple[type[Any], ...]) -> Any:
    return Union[kinds]  # noqa: UP007 a union that is only known while running
