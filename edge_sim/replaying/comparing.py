"""Comparing: which events would be gained and which lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sim.events import StateChanged
from edge_sim.replaying.reading import LoggedChange

MOVED_LOOKS = 15
"""An event for the same state that comes up to so many looks earlier or later is the same one."""


@dataclass(frozen=True, slots=True)
class Moved:
    """An event that would have come at another moment: `looks` later, earlier if negative."""

    then: LoggedChange
    now: StateChanged
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

    same: tuple[StateChanged, ...]
    moved: tuple[Moved, ...]
    gained: tuple[StateChanged, ...]
    lost: tuple[LoggedChange, ...]

    @property
    def is_equal(self) -> bool:
        """Whether everything would be as it was."""
        return not (self.moved or self.gained or self.lost)


def compared(
    logged: Sequence[LoggedChange], decided: Sequence[tuple[int, StateChanged]]
) -> EventComparison:
    """Return which of the logged events would be the same, moved or lost, and which are new.

    Args:
        logged: From `Reading.logged`.
        decided: From `ReplayRun.events`.
    """
    known = {item.event_id for item in logged}
    again = {event.id for _, event in decided}
    same = tuple(event for _, event in decided if event.id in known)
    gone = [item for item in logged if item.event_id not in again]
    fresh = [(look, event) for look, event in decided if event.id not in known]
    moved: list[Moved] = []
    lost: list[LoggedChange] = []
    for item in gone:
        pair = min(
            (each for each in fresh if _is_like(item, *each)),
            key=lambda each: abs(each[0] - item.look),
            default=None,
        )
        if pair is None:
            lost.append(item)
            continue
        fresh.remove(pair)
        moved.append(Moved(item, pair[1], pair[0] - item.look))
    return EventComparison(same, tuple(moved), tuple(event for _, event in fresh), tuple(lost))


def _is_like(then: LoggedChange, look: int, now: StateChanged) -> bool:
    return (
        then.watch == now.watch
        and then.after.name == now.after
        and abs(look - then.look) <= MOVED_LOOKS
    )
