"""Statistics of a log of events and scores: states, scores and drift of each watch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from edge_sim.core.events import SourceLost, StateChanged, WatchEvent, tag_of
from edge_sim.core.types import UNKNOWN
from edge_sim.decision.drift import Baseline, DriftReading, Key, ScoreDrift
from edge_sim.runtime.score_log import BadLine, Line, ScoreLine

SHOWN_FAULTS = 10


class ScoreStats(msgspec.Struct, frozen=True):
    """`combined` of one state in one light, while that state was reported."""

    state: str
    condition: str
    observations: int
    low: float
    median: float
    high: float
    expected: float | None
    psi: float | None
    psi_limit: float | None
    direction: str | None
    drifted: bool
    action: str


class WatchStats(msgspec.Struct, frozen=True):
    """One watch: `low` and `high` of its scores are the 5 % and 95 % points.

    `states` counts observations of the score log by state; `drift_began` is the time of the
    first reading with drift; with `sampled`, `changes` is a lower bound. `other_events` counts
    events other than changes by type.
    """

    watch: str
    first: str
    last: str
    changes: int
    observations: int
    states: Mapping[str, int]
    reasons: Mapping[str, int]
    scores: tuple[ScoreStats, ...]
    drift_began: str | None
    other_events: Mapping[str, int]
    sampled: bool


class LogStats(msgspec.Struct, frozen=True):
    """All watches of a log; `bad_lines` are those that could not be read, the first ten named."""

    watches: tuple[WatchStats, ...]
    sources_lost: Mapping[str, int]
    lines: int
    bad_lines: int
    faults: tuple[str, ...]
    schema: int = 1


@dataclass(slots=True, eq=False)
class Traces:
    """(time, score) of every state and light of one watch, in order; for plots."""

    drift: ScoreDrift
    times: list[str] = field(default_factory=list)
    changes: int = 0
    observations: int = 0
    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    scores: defaultdict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    drift_began: str | None = None
    other_events: Counter[str] = field(default_factory=Counter)
    last_state: tuple[str, str | None] | None = None
    changes_between: int = 0
    changes_noted: int = 0
    is_whole: bool = False


def log_stats(
    lines: Iterable[Line | BadLine], baselines: Mapping[str, Mapping[Key, Baseline]]
) -> tuple[LogStats, dict[str, Traces]]:
    """Return the statistics of the lines, and the scores behind them.

    Args:
        lines: Lines of `score_log.read_lines`, in order of time.
        baselines: Watch -> `drift.baselines_of` its gallery; empty where there is none.

    Observations of the score log are used; where a watch has none, its events, which are few.
    """
    traces: dict[str, Traces] = {}
    lost: Counter[str] = Counter()
    faults: list[str] = []
    number = bad = 0
    from_events: dict[str, list[StateChanged]] = defaultdict(list)
    for line in lines:
        number += 1
        if isinstance(line, BadLine):
            bad += 1
            if len(faults) < SHOWN_FAULTS:
                faults.append(f"{line.place}: {line.fault}")
        elif isinstance(line, SourceLost):
            lost[line.source] += 1
        elif isinstance(line, ScoreLine | StateChanged | WatchEvent):
            if line.watch not in traces:
                traces[line.watch] = Traces(ScoreDrift(baselines.get(line.watch, {})))
            trace = traces[line.watch]
            trace.times.append(line.at)
            if isinstance(line, ScoreLine):
                _observe(trace, line)
            elif isinstance(line, WatchEvent):
                trace.other_events[tag_of(line)] += 1
            else:
                _change(trace, line)
                from_events[line.watch].append(line)
    for watch, events in from_events.items():
        if not traces[watch].observations:
            for event in events:
                _score_of_event(traces[watch], event)
    watches = tuple(_stats(watch, trace) for watch, trace in sorted(traces.items()))
    return LogStats(watches, dict(sorted(lost.items())), number, bad, tuple(faults)), traces


def _observe(trace: Traces, line: ScoreLine) -> None:
    trace.observations += 1
    trace.states[line.state] += 1
    state = line.state, line.reason
    trace.changes_between += trace.last_state not in (None, state)
    trace.last_state = state
    trace.changes_noted += line.event is not None
    trace.is_whole = trace.is_whole or line.number > 0
    if line.reason is not None:
        trace.reasons[line.reason] += 1
    # Only scores of the reported state: those of other states are of another kind.
    if line.combined is not None and line.best == line.state:
        _score(trace, (line.state, line.condition), line.combined, line.at)


def _change(trace: Traces, event: StateChanged) -> None:
    trace.changes += 1
    if event.reason is not None and not trace.observations:
        trace.reasons[event.reason] += 1


def _score_of_event(trace: Traces, event: StateChanged) -> None:
    for item in event.matches:
        if item.state == event.after and event.after != UNKNOWN:
            _score(trace, (item.state, event.condition), item.combined, event.at)


def _score(trace: Traces, key: Key, score: float, at: str) -> None:
    trace.scores[key].append(score)
    if trace.drift.observe(*key, score) is not None and trace.drift_began is None:
        trace.drift_began = at


def _changes(trace: Traces) -> tuple[int, bool]:
    """Return the number of changes of state, and whether it is a lower bound.

    Events are exact, and so is a log of every observation, which names the events. Between the
    lines of a sampled log, short states may be missing.
    """
    if trace.changes or not trace.observations:
        return trace.changes, False
    return (trace.changes_noted, False) if trace.is_whole else (trace.changes_between, True)


def _stats(watch: str, trace: Traces) -> WatchStats:
    changes, is_least = _changes(trace)
    return WatchStats(
        watch=watch,
        first=min(trace.times),
        last=max(trace.times),
        changes=changes,
        observations=trace.observations,
        states=dict(trace.states.most_common()),
        reasons=dict(trace.reasons.most_common()),
        scores=tuple(_scores(trace, reading) for reading in trace.drift.readings()),
        drift_began=trace.drift_began,
        other_events=dict(trace.other_events.most_common()),
        sampled=is_least,
    )


def _scores(trace: Traces, reading: DriftReading) -> ScoreStats:
    values = np.array(trace.scores[reading.state, reading.condition])
    low, median, high = (round(float(v), 4) for v in np.quantile(values, (0.05, 0.5, 0.95)))
    return ScoreStats(
        state=reading.state,
        condition=reading.condition,
        observations=reading.observations,
        low=low,
        median=median,
        high=high,
        expected=_rounded(reading.expected),
        psi=_rounded(reading.psi),
        psi_limit=_rounded(reading.limit),
        direction=reading.direction,
        drifted=reading.drifted,
        action=reading.action,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
