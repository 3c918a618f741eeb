"""Record of a run in bounded memory, and its summary in numbers and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.events import StateChanged, utc_text
from edge_sim.core.types import (
    UNKNOWN,
    BgrImage,
    Observation,
    State,
    StateChange,
    Threshold,
    UnknownReason,
)
from edge_sim.decision.pipeline import Outcome
from edge_sim.gallery.gallery import GallerySummary
from edge_sim.runtime.explanations import Explanation, from_event

MAX_POINTS = 4000
"""Points kept per watch; above it every second one is dropped and only every second recorded."""
MAX_EVENTS = 500
"""Events kept per watch: above it, the first and the latest half."""
MAX_PICTURES = 60
"""Event pictures kept per watch: above it, the first and the latest half."""
_PICTURE_PX = 192


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """One observation on the time axis.

    Args:
        at_s: Frame time in seconds; never before that of the point before.
        unix_time_s: Frame time in seconds since 1970 UTC.
        state: State in force from then on.
        scores: `Score.combined` per state; empty if the gallery is.
        thresholds: Thresholds in force, per state.
        margin: Lead of the best state, 0 to 1; None without a match.
        luma: Mean grey level of the region, 0 to 255.
        condition: Light regime.
        impediment: Reason for which the observation was not usable; None if it was.
    """

    at_s: float
    unix_time_s: float
    state: State
    scores: Mapping[str, float]
    thresholds: Mapping[str, Threshold]
    margin: float | None
    luma: float
    condition: str
    impediment: UnknownReason | None


@dataclass(frozen=True, slots=True, eq=False)
class TimelineEvent:
    """An event with the point at which it was decided; numbered from 1 per watch."""

    number: int
    point: TimelinePoint
    change: StateChange
    picture: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class StateSpan:
    """A state and the time it was in force, in seconds of frame time."""

    start_s: float
    end_s: float
    state: State


@dataclass(slots=True, eq=False)
class Track:
    """The record of one watch; filled by `Timeline.add` and `Timeline.describe`."""

    watch: str
    source: str = ""
    model_id: str = ""
    gallery_revision: int | None = None
    references: dict[str, int] = field(default_factory=dict)
    points_seen: int = 0
    events_seen: int = 0
    events: list[TimelineEvent] = field(default_factory=list)
    _plain: list[TimelinePoint] = field(default_factory=list)
    _stride: int = 1
    _last_s: float | None = None

    @property
    def points(self) -> tuple[TimelinePoint, ...]:
        """Kept points in time order, those with events included."""
        merged = [*self._plain, *(event.point for event in self.events)]
        return tuple(sorted(merged, key=lambda point: point.at_s))

    @property
    def states(self) -> tuple[str, ...]:
        """States that were compared with or enrolled, sorted."""
        names = set(self.references)
        for point in self.points:
            names.update(point.scores)
        return tuple(sorted(names))

    def spans(self) -> tuple[StateSpan, ...]:
        """Return the reported states with their times, without gaps."""
        points = self.points
        if not points:
            return ()
        starts = [points[0], *(new for old, new in pairwise(points) if new.state != old.state)]
        ends = [*(point.at_s for point in starts[1:]), points[-1].at_s]
        return tuple(
            StateSpan(point.at_s, end_s, point.state)
            for point, end_s in zip(starts, ends, strict=True)
        )

    def record(self, outcome: Outcome, crop: BgrImage | None) -> None:
        """Record an outcome."""
        change = outcome.change
        picture = None if change is None else _picture(outcome, crop)
        self.record_observation(_point_of(outcome), change, picture)

    def record_observation(
        self, point: TimelinePoint, change: StateChange | None, picture: NDArray[np.uint8] | None
    ) -> None:
        """Record an observation whose probe is not at hand."""
        # A source that starts over, such as a file played twice, does not draw lines backwards.
        if self._last_s is not None and point.at_s < self._last_s:
            point = replace(point, at_s=self._last_s)
        self._last_s = point.at_s
        if change is not None:
            self._keep_event(point, change, picture)
        elif self.points_seen % self._stride == 0:
            self._plain.append(point)
        self.points_seen += 1
        if len(self._plain) > MAX_POINTS:
            self._plain = self._plain[::2]
            self._stride *= 2

    def _keep_event(
        self, point: TimelinePoint, change: StateChange, picture: NDArray[np.uint8] | None
    ) -> None:
        self.events_seen += 1
        self.events.append(TimelineEvent(self.events_seen, point, change, picture))
        pictured = [i for i, event in enumerate(self.events) if event.picture is not None]
        if len(pictured) > MAX_PICTURES:
            middle = pictured[MAX_PICTURES // 2]
            self.events[middle] = replace(self.events[middle], picture=None)
        if len(self.events) > MAX_EVENTS:
            del self.events[MAX_EVENTS // 2]


class Timeline:
    """Recorder of the outcomes of a run, which are drawn by `edge_sim.analysis.report.write`.

    Memory stays bounded however long the run is: see `MAX_POINTS`, `MAX_EVENTS`, `MAX_PICTURES`.
    """

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}

    @property
    def tracks(self) -> tuple[Track, ...]:
        """One track per watch, in the order of their first appearance."""
        return tuple(self._tracks.values())

    def describe(self, watch: str, gallery: GallerySummary, *, source: str = "") -> None:
        """Set source and gallery of a watch for the header; the latest call counts.

        Without `source`, the one in the events stays.
        """
        track = self._track(watch)
        track.source = source or track.source
        track.gallery_revision = gallery.revision
        track.references = dict(gallery.counts)
        track.model_id = gallery.model_id or track.model_id

    def add(
        self, outcome: Outcome, event: StateChanged | None = None, crop: BgrImage | None = None
    ) -> None:
        """Record an outcome.

        Args:
            outcome: Outcome of a frame; a change in it becomes a numbered event.
            event: Event of that change; has source and gallery revision where `describe` was not
                called.
            crop: Pixels of the region in colour, for the picture of the event; without it the
                grey thumbnail is shown.
        """
        track = self._track(outcome.watch)
        track.model_id = outcome.probe.embedding.model_id
        if event is not None:
            track.source = event.source
            track.gallery_revision = event.gallery_revision
        track.record(outcome, crop)

    def add_observation(
        self,
        watch: str,
        point: TimelinePoint,
        change: StateChange | None = None,
        picture: NDArray[np.uint8] | None = None,
    ) -> None:
        """Record an observation without an outcome, as in a replay.

        Args:
            watch: Name of the watch.
            point: Values of the observation.
            change: Change that it caused; becomes a numbered event.
            picture: (H, W, 3) or (H, W) uint8 of the event; None shows none.
        """
        self._track(watch).record_observation(point, change, picture)

    def add_lost_view(self, event: StateChanged) -> None:
        """Record a change to `unknown: stale`, which no observation gave."""
        explanation = from_event(event)
        change = change_of(explanation)
        point = point_of(
            explanation.cause, change.after, change.thresholds, explanation.cause.captured_at_s
        )
        self._track(event.watch).record_observation(point, change, None)

    def _track(self, watch: str) -> Track:
        return self._tracks.setdefault(watch, Track(watch))


def change_of(explanation: Explanation) -> StateChange:
    """Return the change of state of an explained event."""
    event = explanation.event
    before = None if event.before is None else state_of(event.before, event.before_reason)
    return StateChange(
        before=before,
        after=state_of(event.after, event.reason),
        cause=explanation.cause,
        thresholds=event.thresholds,
        confidence=event.confidence,
    )


def state_of(name: str, reason: str | None) -> State:
    """Return a state from its name and reason in an event."""
    return State(name, None if reason is None else UnknownReason(reason))


def _point_of(outcome: Outcome) -> TimelinePoint:
    observation = outcome.observation
    return point_of(observation, outcome.state, outcome.thresholds, observation.captured_at_s)


def point_of(
    observation: Observation, state: State, thresholds: Mapping[str, Threshold], at_s: float
) -> TimelinePoint:
    """Return the point of an observation, at a place on the time axis."""
    match = observation.match
    return TimelinePoint(
        at_s=at_s,
        unix_time_s=observation.unix_time_s,
        state=state,
        scores={} if match is None else {s.state: s.score.combined for s in match.states},
        thresholds=thresholds,
        margin=None if match is None else match.margin,
        luma=observation.quality.luma,
        condition=observation.condition,
        impediment=observation.impediment,
    )


def _picture(outcome: Outcome, crop: BgrImage | None) -> NDArray[np.uint8]:
    if crop is None:
        return outcome.probe.thumbnail.copy()
    height, width = crop.shape[:2]
    shrink = min(1.0, _PICTURE_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small: NDArray[np.uint8] = cv2.resize(crop, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return small


TrueStates = Sequence[tuple[float, str]]
"""(captured_at_s, state) from which on each state was true, in time order."""

BETWEEN = "transition"
"""True state of a time in which the scene is changing; the watch is not judged in it."""


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
        span_s: Time from the first point to the last.
        shares: State, `unknown` included -> share of that time, 0 to 1, the largest first.
        agreement: Agreement with the truth; None where it is not known.
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
    if span_s == 0.0:  # a single point
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
    """Return the times at which a false state was in force; `unknown` is never false."""
    return tuple(
        TrueSpan(start_s, end_s, reported)
        for start_s, end_s, reported, true in _overlaps(spans, truth)
        if reported not in (UNKNOWN, true) and true != BETWEEN
    )


def _agreement(spans: Sequence[StateSpan], truth: Sequence[TrueSpan]) -> Agreement | None:
    times = {"right": 0.0, "unknown": 0.0, "wrong": 0.0}
    for start_s, end_s, reported, true in _overlaps(spans, truth):
        if true == BETWEEN:
            continue
        kind = "right" if reported == true else "unknown" if reported == UNKNOWN else "wrong"
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


NO_OBSERVATIONS = "No observations: nothing was seen in this run, so there is nothing to draw."


def started_text(timeline: Timeline) -> str:
    """Return the start of the run in UTC; empty without a point."""
    starts = [track.points[0].unix_time_s for track in timeline.tracks if track.points]
    return utc_text(min(starts)).replace("T", " ").replace("Z", " UTC") if starts else ""


def facts(track: Track) -> tuple[tuple[str, str], ...]:
    """Return source, model and gallery as (word, value) pairs."""
    references = ", ".join(f"{state} {count}" for state, count in track.references.items())
    revision = track.gallery_revision
    pairs = (
        ("source", track.source),
        ("model", track.model_id),
        ("gallery revision", "" if revision is None else str(revision)),
        ("references", references),
        ("observations", f"{track.points_seen:,}"),
    )
    return tuple((word, value) for word, value in pairs if value)


def figures(track: Track, summary: WatchSummary) -> tuple[tuple[str, str], ...]:
    """Return the summary as (figure, caption) pairs, the most important first."""
    pairs = [
        (f"{track.events_seen:,}", "event" if track.events_seen == 1 else "events"),
        (duration_text(summary.span_s), "watched"),
    ]
    if summary.agreement is not None:
        agreement = summary.agreement
        pairs.append((percent(agreement.right), "of the time right"))
        pairs.append((percent(agreement.wrong), "wrong"))
    pairs.append((percent(summary.shares.get(UNKNOWN, 0.0)), "unknown"))
    pairs += [
        (percent(share), state) for state, share in summary.shares.items() if state != UNKNOWN
    ]
    return tuple(pairs)


def left_out(track: Track) -> str:
    """Return a sentence about events that are not listed; empty if all are."""
    missing = track.events_seen - len(track.events)
    return f"{missing:,} events between these are not listed." if missing else ""


def percent(share: float) -> str:
    """Return a share as per cent; only 0 reads as 0 and only 1 as 100."""
    value = 100.0 * share
    if 0.0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100.0:
        return "> 99.9 %"
    return f"{value:.1f} %".replace(".0 %", " %")


_MINUTE_S, _HOUR_S = 60.0, 3600.0


def duration_text(seconds: float) -> str:
    """Return a length of time for people: `0.25 s`, `12.5 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds == 0:
        return "0 s"
    if seconds < _MINUTE_S - 0.05:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / _MINUTE_S)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / _HOUR_S)
    return f"{hours // 24} d {hours % 24:02d} h"
