"""What a run did, recorded look by look in bounded memory.

What a track comes to in a few numbers.

The sentences of a report, the same in HTML and PNG.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.report.drawing import duration_text
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

MAX_LOOKS = 4000
"""Looks kept per watch; above it every second one is dropped and only every second recorded."""
MAX_MOMENTS = 500
"""Events kept per watch: above it, the first and the latest half."""
MAX_PICTURES = 60
"""Event pictures kept per watch: above it, the first and the latest half."""
_PICTURE_PX = 192


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """What one look at a watch adds to the lines of the picture.

    Args:
        at_s: Of the frame; never before the look before.
        unix_time_s: Of the frame.
        state: What the watch said from then on.
        scores: `Score.combined` per state; empty if the gallery is.
        thresholds: In force, per state.
        margin: Of the match; None without one.
        luma: 0 to 255.
        condition: Light regime.
        impediment: Why this look could not be decided on; None if it could.
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
    """An event with the look that decided it; numbered from 1 per watch."""

    number: int
    look: TimelinePoint
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
    looks_seen: int = 0
    moments_seen: int = 0
    moments: list[TimelineEvent] = field(default_factory=list)
    _plain: list[TimelinePoint] = field(default_factory=list)
    _stride: int = 1
    _last_s: float | None = None

    @property
    def looks(self) -> tuple[TimelinePoint, ...]:
        """Kept looks in time order, those with events included."""
        merged = [*self._plain, *(moment.look for moment in self.moments)]
        return tuple(sorted(merged, key=lambda look: look.at_s))

    @property
    def states(self) -> tuple[str, ...]:
        """Every state that was compared with or enrolled, sorted."""
        names = set(self.references)
        for look in self.looks:
            names.update(look.scores)
        return tuple(sorted(names))

    def spans(self) -> tuple[StateSpan, ...]:
        """Return what the watch said, as states with their times, without gaps."""
        looks = self.looks
        if not looks:
            return ()
        starts = [looks[0], *(new for old, new in pairwise(looks) if new.state != old.state)]
        ends = [*(look.at_s for look in starts[1:]), looks[-1].at_s]
        return tuple(
            StateSpan(look.at_s, end_s, look.state)
            for look, end_s in zip(starts, ends, strict=True)
        )

    def record(self, outcome: Outcome, crop: BgrImage | None) -> None:
        """Take one look over."""
        change = outcome.change
        picture = None if change is None else _picture(outcome, crop)
        self.record_observation(_look_of(outcome), change, picture)

    def record_observation(
        self, look: TimelinePoint, change: StateChange | None, picture: NDArray[np.uint8] | None
    ) -> None:
        """Take one look over that is known without its probe."""
        # A source that starts over, such as a file played twice, must not draw lines backwards.
        if self._last_s is not None and look.at_s < self._last_s:
            look = replace(look, at_s=self._last_s)
        self._last_s = look.at_s
        if change is not None:
            self._keep_moment(look, change, picture)
        elif self.looks_seen % self._stride == 0:
            self._plain.append(look)
        self.looks_seen += 1
        if len(self._plain) > MAX_LOOKS:
            self._plain = self._plain[::2]
            self._stride *= 2

    def _keep_moment(
        self, look: TimelinePoint, change: StateChange, picture: NDArray[np.uint8] | None
    ) -> None:
        self.moments_seen += 1
        self.moments.append(TimelineEvent(self.moments_seen, look, change, picture))
        pictured = [i for i, moment in enumerate(self.moments) if moment.picture is not None]
        if len(pictured) > MAX_PICTURES:
            middle = pictured[MAX_PICTURES // 2]
            self.moments[middle] = replace(self.moments[middle], picture=None)
        if len(self.moments) > MAX_MOMENTS:
            del self.moments[MAX_MOMENTS // 2]


class Timeline:
    """Records the outcomes of a run, to be drawn by `edge_sim.analysis.report.write`.

    Memory stays bounded however long the run is: see `MAX_LOOKS`, `MAX_MOMENTS`, `MAX_PICTURES`.
    """

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}

    @property
    def tracks(self) -> tuple[Track, ...]:
        """One per watch, in the order of their first appearance."""
        return tuple(self._tracks.values())

    def describe(self, watch: str, gallery: GallerySummary, *, source: str = "") -> None:
        """Note what a watch is compared with, for the header; the latest call counts.

        Without `source`, the one that the events name stays.
        """
        track = self._track(watch)
        track.source = source or track.source
        track.gallery_revision = gallery.revision
        track.references = dict(gallery.counts)
        track.model_id = gallery.model_id or track.model_id

    def add(
        self, outcome: Outcome, event: StateChanged | None = None, crop: BgrImage | None = None
    ) -> None:
        """Record one look.

        Args:
            outcome: Of the look; a change in it becomes a numbered event.
            event: Of that change; tells source and gallery revision where `describe` was not
                called.
            crop: The region's pixels in colour, for the picture of the event; without it the
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
        look: TimelinePoint,
        change: StateChange | None = None,
        picture: NDArray[np.uint8] | None = None,
    ) -> None:
        """Record one look of which no outcome is at hand, as in a replay.

        Args:
            watch: Whose look it is.
            look: Its readings; `TimelinePoint.at_s` is the place on the time axis.
            change: That it decided; becomes a numbered event.
            picture: (H, W, 3) or (H, W) uint8 of the event; None shows none.
        """
        self._track(watch).record_observation(look, change, picture)

    def _track(self, watch: str) -> Track:
        return self._tracks.setdefault(watch, Track(watch))


def _look_of(outcome: Outcome) -> TimelinePoint:
    observation = outcome.observation
    return look_of(observation, outcome.state, outcome.thresholds, observation.captured_at_s)


def look_of(
    observation: Observation, state: State, thresholds: Mapping[str, Threshold], at_s: float
) -> TimelinePoint:
    """Return what an observation adds to the lines, at a place on the time axis."""
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


NO_LOOKS = "No observations: nothing was seen in this run, so there is nothing to draw."


def started_text(timeline: Timeline) -> str:
    """Return when the run started, in UTC; empty without a look."""
    starts = [track.looks[0].unix_time_s for track in timeline.tracks if track.looks]
    return utc_text(min(starts)).replace("T", " ").replace("Z", " UTC") if starts else ""


def facts(track: Track) -> tuple[tuple[str, str], ...]:
    """Return what was run, as (word, value) pairs."""
    references = ", ".join(f"{state} {count}" for state, count in track.references.items())
    revision = track.gallery_revision
    pairs = (
        ("source", track.source),
        ("model", track.model_id),
        ("gallery revision", "" if revision is None else str(revision)),
        ("references", references),
        ("looks", f"{track.looks_seen:,}"),
    )
    return tuple((word, value) for word, value in pairs if value)


def figures(track: Track, summary: WatchSummary) -> tuple[tuple[str, str], ...]:
    """Return the summary as (figure, caption) pairs, the most telling first."""
    pairs = [
        (f"{track.moments_seen:,}", "event" if track.moments_seen == 1 else "events"),
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
    missing = track.moments_seen - len(track.moments)
    return f"{missing:,} events between these are not listed." if missing else ""


def percent(share: float) -> str:
    """Return a share as per cent; what is not nothing never reads as 0, nor all but all as 100."""
    value = 100.0 * share
    if 0.0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100.0:
        return "> 99.9 %"
    return f"{value:.1f} %".replace(".0 %", " %")
