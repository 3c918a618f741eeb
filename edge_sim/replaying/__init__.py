"""Replaying: the decisions of a score log made again, with the settings of then or with others.

course = ReplayRun()
reading = Reading([course])
for seen in reading.looks(read_lines([Path("scores.jsonl")])):
    ...
outcome = compared(reading.logged, course.events)
"""

from __future__ import annotations

from edge_sim.replaying.comparing import EventComparison, MovedEvent, compared
from edge_sim.replaying.course import Overrides, ReplayRun
from edge_sim.replaying.explained import explanations
from edge_sim.replaying.reading import Reading, ReplayedEvent, Seen
from edge_sim.replaying.summary import (
    LogState,
    ReplayResult,
    SweepRow,
    WatchReplay,
    asked_of,
    log_state,
    sweep_rows,
    watch_replays,
)

__all__ = [
    "EventComparison",
    "LogState",
    "MovedEvent",
    "Overrides",
    "Reading",
    "ReplayResult",
    "ReplayRun",
    "ReplayedEvent",
    "Seen",
    "SweepRow",
    "WatchReplay",
    "asked_of",
    "compared",
    "explanations",
    "log_state",
    "sweep_rows",
    "watch_replays",
]
