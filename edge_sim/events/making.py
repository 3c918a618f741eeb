"""From what a watch decides and notices to the events that sinks receive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import msgspec

from edge_sim.domain import (
    Drifted,
    EventDraft,
    ImplausibleTransition,
    Match,
    Notice,
    Observation,
    Overdue,
    OverdueCleared,
    ProblemCleared,
    ProblemRaised,
    Quality,
    StateChange,
    StateScore,
    Threshold,
    TooLong,
    TooShort,
)
from edge_sim.events.kinds import (
    Event,
    Levels,
    MatchedState,
    Readings,
    SceneCleared,
    SceneImpaired,
    ScoresDrifted,
    StateChanged,
    StateOverdue,
    StateOverdueCleared,
    StateTooLong,
    StateTooShort,
    TransitionImplausible,
)
from edge_sim.events.wire import event_id, utc_text


class Origin(msgspec.Struct, frozen=True):
    """What an event says about where it comes from."""

    device: str
    source: str
    watch: str
    model: str
    gallery_revision: int


def state_changed(
    change: StateChange, origin: Origin, before_lasted_s: float | None = None
) -> StateChanged:
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
        before_lasted_s=None if before is None else _seconds(before_lasted_s),
        doubts=tuple(doubt.value for doubt in change.doubts),
    )


def noticed(
    notice: Notice, cause: Observation, origin: Origin, *, change_id: str | None = None
) -> Event:
    """Return what a watch noticed as the event that sinks receive.

    Args:
        notice: What there is to tell.
        cause: The look at which it was noticed.
        origin: Where it comes from.
        change_id: Of the change of state at the same look; None if there is none.
    """
    kind, facts = _kind_and_facts(notice, change_id)
    if isinstance(notice, Drifted):
        facts |= {"model": origin.model, "gallery_revision": origin.gallery_revision}
    about: tuple[Any, ...] = (
        kind.__name__,
        facts.get("problem"),
        facts.get("state"),
        facts.get("condition"),
    )
    if isinstance(notice, EventDraft):
        about = (kind.__name__, *sorted(facts.items()))
    key = (cause.frame_index, cause.unix_time_s, *map(str, about))
    event: Event = kind(
        id=event_id(origin.device, origin.watch, repr(key)),
        device=origin.device,
        source=origin.source,
        watch=origin.watch,
        at=utc_text(cause.unix_time_s),
        captured_at_s=round(cause.captured_at_s, 3),
        frame=cause.frame_index,
        **facts,
    )
    return event


def _kind_and_facts(notice: Notice, change_id: str | None) -> tuple[type[Any], dict[str, Any]]:
    """Return the kind of event, and its own fields ready for it."""
    if isinstance(notice, EventDraft):
        return notice.kind, dict(notice.facts)
    kind: type[Any] = _KIND_OF[type(notice)]
    facts = {field.name: getattr(notice, field.name) for field in fields(notice)}
    if "since_unix_s" in facts:
        facts["since"] = utc_text(facts.pop("since_unix_s"))
    if "change" in kind.__struct_fields__:
        facts["change"] = change_id
    for name in ("lasted_s", "in_state_s"):
        if name in facts:
            facts[name] = round(facts[name], 3)
    for name in ("psi", "limit", "expected", "mean"):
        if facts.get(name) is not None:
            facts[name] = round(facts[name], 4)
    return kind, facts


_KIND_OF: Mapping[type[Notice], type[Event]] = {
    ProblemRaised: SceneImpaired,
    ProblemCleared: SceneCleared,
    Overdue: StateOverdue,
    OverdueCleared: StateOverdueCleared,
    TooShort: StateTooShort,
    TooLong: StateTooLong,
    ImplausibleTransition: TransitionImplausible,
    Drifted: ScoresDrifted,
}


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


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
