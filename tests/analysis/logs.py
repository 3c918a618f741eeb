"""Score logs of made-up looks, with the events that were decided while they were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from edge_sim.core.events import EventOrigin, StateChanged, state_changed
from edge_sim.core.types import Match, Observation, Score, StateScore, UnknownReason
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.pipeline import Outcome
from edge_sim.decision.thresholds import Level, Memory, Settings
from edge_sim.runtime.score_log import DecisionOrigin, ScoreLog
from tests import pictured
from tests.builders import observation

PROBE = pictured.probe("left", 1)
LEVELS = {
    "open": Level(0.8, 0.05, 0.3, 6),
    "shut": Level(0.7, 0.08, 0.25, 6),
}
SETTINGS = Settings(LEVELS)
ORIGIN = EventOrigin("porch", "cam", "gate", PROBE.embedding.model_id, 3)


def seen(combined: float, probability: float, best: str = "open") -> Match:
    """A match of the two states, `best` first."""
    other = "shut" if best == "open" else "open"
    return Match(
        (
            StateScore(best, f"{best}-1", Score(0.9, 0.8, combined), probability),
            StateScore(other, f"{other}-1", Score(0.4, 0.3, 1.0 - combined), 1.0 - probability),
        )
    )


def looks(text: str, *, step_s: float = 1.0) -> list[Observation]:
    """One look per letter: open, shut, novel, doubtful; a capital is impeded by darkness."""
    matches = {
        "o": seen(0.85, 0.97),
        "s": seen(0.8, 0.96, "shut"),
        "n": seen(0.2, 0.9),
        "d": seen(0.7, 0.54),
    }
    made = []
    for place, letter in enumerate(text):
        look = observation(matches[letter.lower()], index=place, at_s=place * step_s)
        if letter.isupper():
            look = replace(look, impediment=UnknownReason.DARK)
        made.append(look)
    return made


def written(
    path: Path,
    observations: Sequence[Observation],
    settings: Settings = SETTINGS,
    *,
    memory: Memory | None = None,
    max_mb: float = 20.0,
) -> list[StateChanged]:
    """Decide the looks, log every one of them, and return the events."""
    decider = AdaptiveDecider.following(settings)
    if memory is not None:
        decider.restore(memory)
    log = ScoreLog(path, every_s=0.0, max_mb=max_mb)
    events = []
    for look in observations:
        change = decider.observe(look)
        outcome = Outcome("gate", PROBE, look, decider.state, decider.thresholds, change)
        log.note(outcome, 3, DecisionOrigin("porch", "cam", decider))
        if change is not None:
            events.append(state_changed(change, ORIGIN))
    log.close()
    return events


@st.composite
def random_looks(draw: st.DrawFn) -> list[Observation]:
    """Looks of any scores, with impediments, time that jumps, and matches that stay the same."""
    made: list[Observation] = []
    at_s = 1000.0
    length = draw(st.integers(1, 60))
    match: Match | None = None
    for place in range(length):
        at_s += draw(st.sampled_from([0.2, 0.2, 0.2, 0.2, 0.21, 3.0, 0.0, -5.0, 86_400.0]))
        kind = draw(st.sampled_from(["open", "shut", "open", "shut", "same", "none"]))
        if kind == "none":
            match = None
        elif kind != "same":
            unit = st.floats(0.0, 1.0, width=32)
            match = seen(draw(unit), draw(st.floats(0.5, 1.0)), kind)
        made.append(
            replace(
                observation(match, index=place, at_s=at_s),
                condition=draw(st.sampled_from(["day", "day", "ir"])),
                impediment=draw(st.sampled_from([None, None, None, None, None, *UnknownReason])),
            )
        )
    return made
