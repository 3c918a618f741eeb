"""What a track comes to in a few numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edge_sim.domain import UNKNOWN
from edge_sim.report.timeline import StateSpan, Track

TrueStates = Sequence[tuple[float, str]]
"""(captured_at_s, state) from which on each state was true, in time order."""

BETWEEN = "transition"
"""A truth that is no state: the thing is changing, so whatever the watch says is not judged."""


@dataclass(frozen=True, slots=True)
class TrueSpan:
    """A state that was true and the time it was so."""

    start_s: float
    end_s: float
    state: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """Shares of the time at which a state was known to be true, 0 to 1; they sum to 1."""

    right: float
    unknown: float
    wrong: float


@dataclass(frozen=True, slots=True)
class WatchSummary:
    """The figures of one watch.

    Args:
        span_s: From the first look to the last.
        shares: State, `unknown` included -> share of that time, 0 to 1, the largest first.
        agreement: With the truth; None where it is not known.
    """

    span_s: float
    shares: Mapping[str, float]
    agreement: Agreement | None


def summarise(track: Track, truth: TrueStates = ()) -> WatchSummary:
    """Return the figures of a track; `truth` may be empty."""
    spans = track.spans()
    if not spans:
        return WatchSummary(0.0, {}, None)
    span_s = spans[-1].end_s - spans[0].start_s
    times: dict[str, float] = {}
    for span in spans:
        times[span.state.name] = times.get(span.state.name, 0.0) + span.end_s - span.start_s
    if span_s == 0.0:  # one look: what it gave is all there is
        return WatchSummary(0.0, {spans[-1].state.name: 1.0}, None)
    shares = sorted(((name, t / span_s) for name, t in times.items()), key=lambda pair: -pair[1])
    true = true_spans(truth, spans[0].start_s, spans[-1].end_s)
    return WatchSummary(span_s, dict(shares), _agreement(spans, true))


def true_spans(truth: TrueStates, start_s: float, end_s: float) -> tuple[TrueSpan, ...]:
    """Return the true states inside `start_s..end_s`; neighbours with one state become one."""
    starts = [item for i, item in enumerate(truth) if i == 0 or item[1] != truth[i - 1][1]]
    closed = [*starts, (end_s, "")]
    return tuple(
        TrueSpan(max(from_s, start_s), min(to_s, end_s), state)
        for (from_s, state), (to_s, _) in pairwise(closed)
        if min(to_s, end_s) > max(from_s, start_s)
    )


def wrong_spans(spans: Iterable[StateSpan], truth: Iterable[TrueSpan]) -> tuple[TrueSpan, ...]:
    """Return when the watch named a state that was not true; `unknown` is never wrong."""
    return tuple(
        TrueSpan(start_s, end_s, said)
        for start_s, end_s, said, true in _overlaps(spans, truth)
        if said not in (UNKNOWN, true) and true != BETWEEN
    )


def _agreement(spans: Sequence[StateSpan], truth: Sequence[TrueSpan]) -> Agreement | None:
    times = {"right": 0.0, "unknown": 0.0, "wrong": 0.0}
    for start_s, end_s, said, true in _overlaps(spans, truth):
        if true == BETWEEN:
            continue
        kind = "right" if said == true else "unknown" if said == UNKNOWN else "wrong"
        times[kind] += end_s - start_s
    total = sum(times.values())
    if total == 0:
        return None
    return Agreement(**{kind: time_s / total for kind, time_s in times.items()})


def _overlaps(
    spans: Iterable[StateSpan], truth: Iterable[TrueSpan]
) -> Iterable[tuple[float, float, str, str]]:
    true_list = tuple(truth)
    for span in spans:
        for true in true_list:
            start_s, end_s = max(span.start_s, true.start_s), min(span.end_s, true.end_s)
            if end_s > start_s:
                yield start_s, end_s, span.state.name, true.state
