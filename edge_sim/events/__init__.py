"""Events: their kinds, how they are made, and how they are written."""

from __future__ import annotations

from edge_sim.events.kinds import (
    SCHEMA,
    Event,
    Levels,
    MatchedState,
    OfWatch,
    Readings,
    SceneCleared,
    SceneImpaired,
    ScoresDrifted,
    SourceLost,
    SourceRestored,
    StateChanged,
    StateOverdue,
    StateOverdueCleared,
    StateTooLong,
    StateTooShort,
    TransitionImplausible,
)
from edge_sim.events.making import Origin, noticed, state_changed
from edge_sim.events.wire import (
    event_id,
    from_json_line,
    json_schema,
    tag_of,
    to_json_line,
    unix_time_s,
    utc_text,
)

__all__ = [
    "SCHEMA",
    "Event",
    "Levels",
    "MatchedState",
    "OfWatch",
    "Origin",
    "Readings",
    "SceneCleared",
    "SceneImpaired",
    "ScoresDrifted",
    "SourceLost",
    "SourceRestored",
    "StateChanged",
    "StateOverdue",
    "StateOverdueCleared",
    "StateTooLong",
    "StateTooShort",
    "TransitionImplausible",
    "event_id",
    "from_json_line",
    "json_schema",
    "noticed",
    "state_changed",
    "tag_of",
    "to_json_line",
    "unix_time_s",
    "utc_text",
]
