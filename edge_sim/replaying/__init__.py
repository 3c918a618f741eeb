"""Replaying: the decisions of a score log made again, with the settings of then or with others.

course = Course()
reading = Reading([course])
for seen in reading.looks(read_lines([Path("scores.jsonl")])):
    ...
outcome = compared(reading.logged, course.events)
"""

from __future__ import annotations

from edge_sim.replaying.comparing import Comparison, Moved, compared
from edge_sim.replaying.course import Course, Wish
from edge_sim.replaying.explained import explanations
from edge_sim.replaying.reading import Happened, Reading, Seen
from edge_sim.replaying.summary import (
    LogState,
    ReplayedEvent,
    ReplayResult,
    SweepRow,
    WatchReplay,
    asked_of,
    log_state,
    sweep_rows,
    watch_replays,
)

__all__ = [
    "Comparison",
    "Course",
    "Happened",
    "LogState",
    "Moved",
    "Reading",
    "ReplayResult",
    "ReplayedEvent",
    "Seen",
    "SweepRow",
    "WatchReplay",
    "Wish",
    "asked_of",
    "compared",
    "explanations",
    "log_state",
    "sweep_rows",
    "watch_replays",
]
