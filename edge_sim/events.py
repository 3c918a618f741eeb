"""Events as they are written: the wire format of every sink, one JSON object a line.

`SCHEMA` goes up when a field changes its meaning or disappears; new fields may appear under the
same number. The JSON schema is printed by `edge-sim schema event`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, TypeAlias

import msgspec

from edge_sim.domain import Match, Quality, StateChange, StateScore, Threshold

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
    the most probable first; it is empty if the gallery is.
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


Event: TypeAlias = StateChanged | SourceLost | SourceRestored


class Origin(msgspec.Struct, frozen=True):
    """What an event says about where it comes from."""

    device: str
    source: str
    watch: str
    model: str
    gallery_revision: int


def state_changed(change: StateChange, origin: Origin) -> StateChanged:
    """Return `change` as the event that sinks receive.

    The id is a digest of device, watch, time and states: the same frames give the same id, so a
    receiver can drop what it has seen before.
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
        matches=_matched_states(match),
        thresholds=_levels(change.thresholds),
        quality=_readings(cause.quality),
        model=origin.model,
        gallery_revision=origin.gallery_revision,
    )


def event_id(*parts: str) -> str:
    """Return 16 hexadecimal digits that depend on every part."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def utc_text(unix_time_s: float) -> str:
    """Return ISO 8601 with milliseconds and Z, as in `2026-01-31T12:00:00.250Z`."""
    moment = datetime.fromtimestamp(unix_time_s, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_json_line(event: Event) -> bytes:
    """Return `event` as one line of JSON, newline included."""
    return msgspec.json.encode(event) + b"\n"


def from_json_line(line: bytes) -> Event:
    """Return the event in one line of JSON.

    Raises:
        ValueError: The line is no event of this schema.
    """
    event: Event = msgspec.json.decode(line, type=StateChanged | SourceLost | SourceRestored)
    return event


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of `Event`."""
    return msgspec.json.schema(StateChanged | SourceLost | SourceRestored)


def _matched_states(match: Match | None) -> tuple[MatchedState, ...]:
    return () if match is None else tuple(_matched_state(state) for state in match.states)


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


def _levels(thresholds: Mapping[str, Threshold]) -> dict[str, Levels]:
    return {
        state: Levels(enter=round(level.enter, 4), leave=round(level.leave, 4))
        for state, level in thresholds.items()
    }


def _readings(quality: Quality) -> Readings:
    return Readings(
        luma=round(quality.luma, 2),
        contrast=round(quality.contrast, 2),
        sharpness=round(quality.sharpness, 2),
        chroma=round(quality.chroma, 2),
        clipped_dark=round(quality.clipped_dark, 4),
        clipped_bright=round(quality.clipped_bright, 4),
    )
