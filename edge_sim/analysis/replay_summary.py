"""What a replay comes to: the wire format of `edge-sim replay --json`.

Replaying: the decisions of a score log made again, with the settings of then or with others.

course = ReplayRun()
reading = Reading([course])
for seen in reading.looks(read_lines([Path("scores.jsonl")])):
    ...
outcome = compared(reading.logged, course.events)
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edge_sim.analysis.replay import (
    MovedEvent,
    Overrides,
    Reading,
    ReplayedEvent,
    ReplayRun,
    compared,
)
from edge_sim.core.events import StateChanged
from edge_sim.core.types import UNKNOWN


class WatchReplay(msgspec.Struct, frozen=True):
    """One watch decided again.

    `logged` and `decided` count events; `same` of them are the very same.
    """

    watch: str
    logged: int
    decided: int
    same: int
    moved: tuple[MovedEvent, ...]
    gained: tuple[ReplayedEvent, ...]
    lost: tuple[ReplayedEvent, ...]


class SweepRow(msgspec.Struct, frozen=True):
    """What one sensitivity would have given in one watch; `unknown` of the events are for that."""

    watch: str
    sensitivity: float
    events: int
    unknown: int
    same: int
    moved: int
    gained: int
    lost: int


class LogState(msgspec.Struct, frozen=True):
    """How whole the log is; `exact` says that nothing is missing. Fields as in `Reading`."""

    looks: int
    exact: bool
    missing: int
    unread: int
    midway: int
    summaries: int
    bad_lines: int
    faults: tuple[str, ...]
    versions: tuple[str, ...]


class ReplayResult(msgspec.Struct, frozen=True):
    """All watches of a log, decided again with the settings in `asked`, the others as logged."""

    asked: dict[str, float]
    watches: tuple[WatchReplay, ...]
    sweep: tuple[SweepRow, ...]
    log: LogState
    schema: int = 1


def asked_of(wish: Overrides) -> dict[str, float]:
    """Return what a wish changes."""
    names = ("sensitivity", "matches", "of", "enter", "leave")
    values = {name: getattr(wish, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def watch_replays(reading: Reading, course: ReplayRun) -> tuple[WatchReplay, ...]:
    """Return what a course makes of each watch, in the order of the log."""
    return tuple(
        _watch_replay(watch, *_of_watch(watch, reading, course)) for watch in reading.watches
    )


def sweep_rows(reading: Reading, courses: Sequence[ReplayRun]) -> tuple[SweepRow, ...]:
    """Return a row per watch and course, with the sensitivity that it decided with."""
    return tuple(
        _sweep_row(watch, course, *_of_watch(watch, reading, course))
        for watch in reading.watches
        for course in courses
    )


def log_state(reading: Reading) -> LogState:
    """Return how whole the log was."""
    return LogState(
        looks=reading.whole,
        exact=reading.is_exact,
        missing=reading.missing,
        unread=reading.unread,
        midway=reading.midway,
        summaries=reading.summaries,
        bad_lines=reading.bad,
        faults=tuple(reading.faults),
        versions=tuple(sorted(reading.versions)),
    )


def _of_watch(
    watch: str, reading: Reading, course: ReplayRun
) -> tuple[list[tuple[int, ReplayedEvent]], list[tuple[int, StateChanged]]]:
    logged = [item for item in reading.logged if item[1].watch == watch]
    return logged, [item for item in course.events if item[1].watch == watch]


def _watch_replay(
    watch: str, logged: list[tuple[int, ReplayedEvent]], decided: list[tuple[int, StateChanged]]
) -> WatchReplay:
    found = compared(logged, decided)
    return WatchReplay(
        watch=watch,
        logged=len(logged),
        decided=len(decided),
        same=len(found.same),
        moved=found.moved,
        gained=found.gained,
        lost=found.lost,
    )


def _sweep_row(
    watch: str,
    course: ReplayRun,
    logged: list[tuple[int, ReplayedEvent]],
    decided: list[tuple[int, StateChanged]],
) -> SweepRow:
    found = compared(logged, decided)
    return SweepRow(
        watch=watch,
        sensitivity=course.deciders[watch].settings.sensitivity,
        events=len(decided),
        unknown=sum(event.after == UNKNOWN for _, event in decided),
        same=len(found.same),
        moved=len(found.moved),
        gained=len(found.gained),
        lost=len(found.lost),
    )
