"""Comparing: which events would be gained and which lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import msgspec

from edge_sim.events import StateChanged
from edge_sim.replaying.reading import ReplayedEvent

MOVED_LOOKS = 15
"""An event for the same state that comes up to so many looks earlier or later is the same one."""


class MovedEvent(msgspec.Struct, frozen=True):
    """An event for the same state, `looks` later than it was; earlier if negative."""

    then: ReplayedEvent
    now: ReplayedEvent
    looks: int


@dataclass(frozen=True, slots=True)
class EventComparison:
    """What was decided at the time, held against what would be decided.

    Args:
        same: Events that would be the very same: id, moment and states.
        moved: Events for the same state, some looks earlier or later or from another state.
        gained: Events that there would be more.
        lost: Events that there would not be.
    """

    same: tuple[ReplayedEvent, ...]
    moved: tuple[MovedEvent, ...]
    gained: tuple[ReplayedEvent, ...]
    lost: tuple[ReplayedEvent, ...]

    @property
    def is_equal(self) -> bool:
        """Whether everything would be as it was."""
        return not (self.moved or self.gained or self.lost)


def compared(
    logged: Sequence[tuple[int, ReplayedEvent]], decided: Sequence[tuple[int, StateChanged]]
) -> EventComparison:
    """Return which of the logged events would be the same, moved or lost, and which are new.

    Args:
        logged: From `Reading.logged`.
        decided: From `ReplayRun.events`.
    """
    known = {event.id for _, event in logged}
    made = [(look, as_replayed(event)) for look, event in decided]
    again = {event.id for _, event in made}
    same = tuple(event for _, event in made if event.id in known)
    fresh = [(look, event) for look, event in made if event.id not in known]
    moved: list[MovedEvent] = []
    lost: list[ReplayedEvent] = []
    for look, then in ((look, event) for look, event in logged if event.id not in again):
        near = [
            (abs(at - look), (at, now))
            for at, now in fresh
            if (then.watch, then.after) == (now.watch, now.after) and abs(at - look) <= MOVED_LOOKS
        ]
        if not near:
            lost.append(then)
            continue
        _, pair = min(near, key=itemgetter(0))
        fresh.remove(pair)
        moved.append(MovedEvent(then, pair[1], pair[0] - look))
    return EventComparison(same, tuple(moved), tuple(event for _, event in fresh), tuple(lost))


def as_replayed(event: StateChanged) -> ReplayedEvent:
    """Return what a comparison says of an event."""
    return ReplayedEvent(
        id=event.id,
        watch=event.watch,
        at=event.at,
        before=event.before,
        before_reason=event.before_reason,
        after=event.after,
        reason=event.reason,
        confidence=event.confidence,
    )
