"""The lines of a score log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from edge_sim.deciding import LearnedDrift, Level, Memory, Settings, drifts_of
from edge_sim.domain import Observation
from edge_sim.events import Event, SourceLost, SourceRestored, utc_text
from edge_sim.pipeline import Outcome

_LAST_SECOND_S = 253_402_300_799.0  # of the year 9999
SCHEMA = 2
"""Of lines that hold whole looks; 1 is the summary alone, which every schema still has."""


class ScoreLine(msgspec.Struct, frozen=True, tag="score", tag_field="type", omit_defaults=True):
    """One look of one watch.

    `state` is what the watch says; `best` is the most probable state of this very look, and
    `combined` its score. Both are null where there is no gallery.

    Where every look is written, `look` numbers those of the watch from 1, `observation` is all
    that the decision was made from, in full precision, and `event` is the id of the event that it
    gave. With `repeated`, the match is that of the look before and was left out.
    """

    at: str
    watch: str
    state: str
    reason: str | None
    condition: str
    best: str | None
    combined: float | None
    probability: float | None
    gallery_revision: int
    look: int = 0
    observation: Observation | None = None
    repeated: bool = False
    event: str | None = None
    schema: int = 1


class DeciderLine(msgspec.Struct, frozen=True, tag="decider", tag_field="type"):
    """What the decider of a watch goes by from its next look on, and what it says before that.

    `begun` tells a decider that has seen nothing yet from one in the middle of its work, which
    knows more than this line holds: the last votes and the evidence so far.
    """

    at: str
    device: str
    source: str
    watch: str
    model: str
    gallery_revision: int
    settings: Settings
    state: str | None
    reason: str | None
    drifts: tuple[LearnedDrift, ...]
    begun: bool
    look: int
    edge_sim: str
    schema: int = SCHEMA


Line: TypeAlias = ScoreLine | DeciderLine | Event
SourceLines: TypeAlias = SourceLost | SourceRestored


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a log that is none: `place` is file and line number."""

    place: str
    fault: str


def fault_of(observation: Observation, levels: Mapping[str, Level]) -> str:
    """Return why no decider with these levels could have seen this; empty if one could."""
    if not 0.0 <= observation.unix_time_s <= _LAST_SECOND_S:
        return f"there is no time {observation.unix_time_s}"
    for item in () if observation.match is None else observation.match.states:
        if item.state not in levels:
            return f"its decider knows no state {item.state!r}"
        if not 0.0 <= item.probability <= 1.0:
            return f"{item.probability} is no probability"
    return ""


def score_line(outcome: Outcome, gallery_revision: int) -> ScoreLine:
    """Return the summary of a look as a line of the score log."""
    look, state = outcome.observation, outcome.state
    best = None if look.match is None else look.match.best
    return ScoreLine(
        at=utc_text(look.unix_time_s),
        watch=outcome.watch,
        state=state.name,
        reason=state.reason.value if state.reason else None,
        condition=look.condition,
        best=None if best is None else best.state,
        combined=None if best is None else round(best.score.combined, 4),
        probability=None if best is None else round(best.probability, 4),
        gallery_revision=gallery_revision,
    )


def memory_of(line: DeciderLine) -> Memory:
    """Return what the decider of a line knew at that moment."""
    return Memory(line.state, line.reason, drifts_of(line.drifts))
