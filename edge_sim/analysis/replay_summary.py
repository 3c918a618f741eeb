"""Summary of a replay: the wire format of `edge-sim replay --json`.

run = ReplayRun()
reading = Reading([run])
for observation in reading.observations(read_lines([Path("scores.jsonl")])):
    ...
comparison = compared(reading.logged, run.events)
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

    `logged` and `decided` count events; `same` of them are equal.
    """

    watch: str
    logged: int
    decided: int
    same: int
    moved: tuple[MovedEvent, ...]
    gained: tuple[ReplayedEvent, ...]
    lost: tuple[ReplayedEvent, ...]


class SweepRow(msgspec.Struct, frozen=True):
    """Events of one watch at one sensitivity; `unknown` of them are for that state."""

    watch: str
    sensitivity: float
    events: int
    unknown: int
    same: int
    moved: int
    gained: int
    lost: int


class LogState(msgspec.Struct, frozen=True):
    """Completeness of the log; `exact` if nothing is missing. Fields as in `Reading`."""

    observations: int
    exact: bool
    missing: int
    unread: int
    midway: int
    summaries: int
    bad_lines: int
    faults: tuple[str, ...]
    versions: tuple[str, ...]


class ReplayResult(msgspec.Struct, frozen=True):
    """All watches of a log, decided again with `overrides` and the other settings as logged."""

    overrides: dict[str, float]
    watches: tuple[WatchReplay, ...]
    sweep: tuple[SweepRow, ...]
    log: LogState
    schema: int = 1


def overridden(overrides: Overrides) -> dict[str, float]:
    """Return the settings that are overridden."""
    names = ("sensitivity", "matches", "of", "enter", "leave")
    values = {name: getattr(overrides, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def watch_replays(reading: Reading, run: ReplayRun) -> tuple[WatchReplay, ...]:
    """Return the replay of each watch, in the order of the log."""
    return tuple(_watch_replay(watch, *_of_watch(watch, reading, run)) for watch in reading.watches)


def sweep_rows(reading: Reading, runs: Sequence[ReplayRun]) -> tuple[SweepRow, ...]:
    """Return a row per watch and run, with the sensitivity that it decided with."""
    return tuple(
        _sweep_row(watch, run, *_of_watch(watch, reading, run))
        for watch in reading.watches
        for run in runs
    )


def log_state(reading: Reading) -> LogState:
    """Return the completeness of the log."""
    return LogState(
        observations=reading.whole,
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
    watch: str, reading: Reading, run: ReplayRun
) -> tuple[list[tuple[int, ReplayedEvent]], list[tuple[int, StateChanged]]]:
    logged = [item for item in reading.logged if item[1].watch == watch]
    return logged, [item for item in run.events if item[1].watch == watch]


def _watch_replay(
    watch: str, logged: list[tuple[int, ReplayedEvent]], decided: list[tuple[int, StateChanged]]
) -> WatchReplay:
    comparison = compared(logged, decided)
    return WatchReplay(
        watch=watch,
        logged=len(logged),
        decided=len(decided),
        same=len(comparison.same),
        moved=comparison.moved,
        gained=comparison.gained,
        lost=comparison.lost,
    )


def _sweep_row(
    watch: str,
    run: ReplayRun,
    logged: list[tuple[int, ReplayedEvent]],
    decided: list[tuple[int, StateChanged]],
) -> SweepRow:
    comparison = compared(logged, decided)
    return SweepRow(
        watch=watch,
        sensitivity=run.deciders[watch].settings.sensitivity,
        events=len(decided),
        unknown=sum(event.after == UNKNOWN for _, event in decided),
        same=len(comparison.same),
        moved=len(comparison.moved),
        gained=len(comparison.gained),
        lost=len(comparison.lost),
    )
