"""The path of one frame: crop, probe, match, decide.

No I/O, no clock: the same frames give the same events.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edge_sim.core.events import Event, EventDraft, EventOrigin, completed, state_changed
from edge_sim.core.protocols import Decider, Embedder, Follower, Monitor, Scorer
from edge_sim.core.raw_pictures import gate_part_of, reduction_of, size_of
from edge_sim.core.types import (
    THUMBNAIL_PX,
    UNKNOWN,
    Frame,
    Match,
    Observation,
    Probe,
    Quality,
    Reference,
    State,
    StateChange,
    Threshold,
    UnknownReason,
)
from edge_sim.decision.rules import TimeInState
from edge_sim.gallery.gallery import Gallery, GallerySummary, ReferenceLoader
from edge_sim.vision.change_gate import Gate
from edge_sim.vision.light import DAY
from edge_sim.vision.locate import locate
from edge_sim.vision.probe import FrameFeatures, Region, RegionFeatures

# where a watch observes is part of this interface


MOST_REGIONS_REPORTED = 5
_MOST_COMPARED = 24
"""References of a state that a novel picture is compared with, part by part."""
_NO_PICTURE = Quality(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ObservationInterval:
    """Interval between the observations of a watch, in seconds of frame time.

    Args:
        interval_s: While nothing changes; 0 observes every frame.
        recheck_s: While a change is being confirmed; never slower than `interval_s`.
    """

    interval_s: float = 0.0
    recheck_s: float = 0.0

    def least_s(self, pending: bool) -> float:
        """Return the least time between two observations, less half a millisecond of slack:
        frame times are rounded by containers."""
        return (min(self.interval_s, self.recheck_s) if pending else self.interval_s) - 5e-4

    def is_due(self, since_last_s: float, pending: bool) -> bool:
        """Return whether an observation is due; time that ran backwards counts as due."""
        return since_last_s < 0 or since_last_s >= self.least_s(pending)


def _as_it_is(match: Match, probe: Probe, recall: ReferenceLoader) -> Match:  # noqa: ARG001
    return match


Steady = Callable[[Probe, Region, Region], Region]
"""(observation, region as configured, region of the observation) -> region of the next
observation."""


def _staying(probe: Probe, home: Region, region: Region) -> Region:  # noqa: ARG001
    return region


OnUse = Callable[[], object]


def _nothing_follows(gallery: Gallery, scorer: Scorer) -> OnUse:  # noqa: ARG001
    return tuple


@dataclass(frozen=True, slots=True)
class Stages:
    """Makers of the parts of a watch for a gallery; called again whenever the gallery changes.

    `followers` is called once: what they follow goes on under another gallery. `detail` adds to
    the match of an observation that is reported to somebody what no decision needs, loading the
    references again. `steady` makes the region follow a camera that was knocked a little; by
    default it stays. `on_use` returns what is to be called when the parts for a gallery come into
    force. All but `followers` change nothing else: they may run while the watch observes.
    """

    scorer: Callable[[Gallery], Scorer]
    decider: Callable[[Gallery, Scorer], Decider]
    monitor: Callable[[Gallery], Monitor]
    followers: Callable[[], Sequence[Follower]] = tuple
    detail: Callable[[Match, Probe, ReferenceLoader], Match] = _as_it_is
    steady: Callable[[Gallery], Steady] = lambda gallery: _staying  # noqa: ARG005
    on_use: Callable[[Gallery, Scorer], OnUse] = _nothing_follows


@dataclass(frozen=True, slots=True, eq=False)
class WatchFit:
    """Parts of a watch, made for one gallery; `Watch.use_fit` brings them into force."""

    gallery: GallerySummary
    scorer: Scorer
    decider: Decider
    monitor: Monitor
    steady: Steady
    on_use: OnUse
    compared: Mapping[str, tuple[str, ...]]


class _LeftOutOnce:
    """Scorer whose matches of the references are computed once, while parts are made from it."""

    def __init__(self, inner: Scorer) -> None:
        self._inner = inner
        self._left_out: tuple[Match | None, ...] | None = None

    def best_match(self, probe: Probe, condition: str | None = None) -> Match | None:
        return self._inner.best_match(probe, condition)

    def leave_one_out(self) -> tuple[Match | None, ...]:
        if self._left_out is None:
            self._left_out = self._inner.leave_one_out()
        return self._left_out


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Result of one observation of a watch; `embedded` is false where the gate spared the
    embedding.

    `before_lasted_s` is for how long the state before a change was said; None without a change.
    """

    watch: str
    probe: Probe
    observation: Observation
    state: State
    thresholds: Mapping[str, Threshold]
    change: StateChange | None
    embedded: bool = True
    before_lasted_s: float | None = None
    drafts: tuple[EventDraft, ...] = ()


class Watch:
    """One region with its gallery and decider.

    Args:
        name: Unique on the device.
        gallery: Its references; may be empty, the watch then says `unknown: no_references`. Only
            the summary is kept.
        stages: How to make scorer, decider and monitor.
        region: Region to observe.
        pace: Interval between observations.
        gate: Spares the embedding of pictures that show nothing new; None embeds every picture.
    """

    def __init__(
        self,
        name: str,
        gallery: Gallery,
        stages: Stages,
        *,
        region: Region | None = None,
        pace: ObservationInterval | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.name = name
        self.region = self._home = region or Region()
        self._pace = pace or ObservationInterval()
        self._gate = gate
        self._stages = stages
        self._last_observed_s: float | None = None
        self._latest: tuple[Probe, Match | None] | None = None
        self._observed: Observation | None = None
        self.is_still = False
        """True if the gate spared the last observation the embedding."""
        self.followers = tuple(stages.followers())
        self._time = TimeInState()
        self._take(self.fit(gallery))

    @property
    def gallery(self) -> GallerySummary:
        """Summary of the gallery in force."""
        return self._gallery

    @property
    def decider(self) -> Decider:
        """In force now."""
        return self._decider

    def use(self, gallery: Gallery) -> None:
        """Take another gallery over, between two frames; what was decided stays in force."""
        self.use_fit(self.fit(gallery))

    def fit(self, gallery: Gallery) -> WatchFit:
        """Return the parts for another gallery; changes nothing, and may run in any thread."""
        scorer = self._stages.scorer(gallery)
        once = _LeftOutOnce(scorer)
        return WatchFit(
            gallery=gallery.summary(),
            scorer=scorer,
            decider=self._stages.decider(gallery, once),
            monitor=self._stages.monitor(gallery),
            steady=self._stages.steady(gallery),
            on_use=self._stages.on_use(gallery, once),
            compared={state: _spread_ids(gallery.of_state(state)) for state in gallery.states},
        )

    def use_fit(self, fit: WatchFit) -> None:
        """Take parts made by `fit` over, between two frames; as `use` otherwise."""
        before = self._decider.state
        self._take(fit)
        self._decider.resume(before)

    def recall_time(self, in_state_s: float) -> None:
        """Say that what is said now has been said for so long: after a restart."""
        self._time = TimeInState(self._decider.state, in_state_s)

    @property
    def due_at_s(self) -> float:
        """Time of a frame from which the next observation is due; minus infinity before the
        first one."""
        if self._last_observed_s is None:
            return -math.inf
        return self._last_observed_s + self._pace.least_s(self._decider.pending)

    def observe(self, frame_features: FrameFeatures) -> Outcome | None:
        """Return the outcome of observing a frame; None if none is due yet."""
        frame = frame_features.frame
        if self._last_observed_s is not None:
            since_last_s = frame.captured_at_s - self._last_observed_s
            if not self._pace.is_due(since_last_s, self._decider.pending):
                return None
        self._last_observed_s = frame.captured_at_s
        probe, embedded = self._seen(frame, frame_features.of(self.region))
        self.is_still = not embedded
        reading = self._monitor.inspect(probe)
        if embedded or self._latest is None:
            # The monitor's word on the light holds for the scorer too: it knows the past.
            self._latest = probe, self._scorer.best_match(probe, reading.condition)
        match = self._latest[1]
        observation = Observation(
            captured_at_s=probe.captured_at_s,
            unix_time_s=probe.unix_time_s,
            frame_index=probe.frame_index,
            match=match,
            condition=reading.condition,
            impediment=reading.impediment,
            quality=probe.quality,
        )
        change = self._decider.observe(observation)
        if change is not None and match is not None:
            match = self._stages.detail(match, probe, self._gallery.recall)
            observation = replace(observation, match=match)
            change = replace(
                change, cause=observation, regions=self._novel_regions(probe, match, change)
            )
        self._observed = observation
        self.region = self._steady(probe, self._home, self.region)
        state = self._decider.state
        lasted_s = self._time.follow(state, observation.captured_at_s)
        follow = [item.follow(observation, state, change) for item in self.followers]
        return Outcome(
            watch=self.name,
            probe=probe,
            observation=observation,
            state=state,
            thresholds=self._decider.thresholds,
            change=change,
            embedded=embedded,
            before_lasted_s=None if change is None else lasted_s,
            drafts=tuple(draft for drafts in follow for draft in drafts),
        )

    def _novel_regions(
        self, probe: Probe, match: Match, change: StateChange
    ) -> tuple[tuple[float, float, float, float], ...]:
        """Return the parts of a novel picture that no reference of the best state shows.

        Where the references vary so much that together they explain every part, the most similar
        one alone is asked. Searched in the thumbnails, which references in memory have too.
        """
        if change.after.reason is not UnknownReason.NOVEL:
            return ()
        nearest = match.best.reference_id
        known = self._gallery.recall({nearest, *self._compared[match.best.state]})
        if nearest not in known:
            return ()
        found = locate(probe.thumbnail, [item.thumbnail for item in known.values()]) or locate(
            probe.thumbnail, [known[nearest].thumbnail]
        )
        roi = self.region.roi
        wide, high = roi.x2 - roi.x1, roi.y2 - roi.y1
        boxes = [item.box for item in found[:MOST_REGIONS_REPORTED]]
        return tuple(
            (
                round(roi.x1 + x * wide, 4),
                round(roi.y1 + y * high, 4),
                round(width * wide, 4),
                round(height * high, 4),
            )
            for x, y, width, height in boxes
        )

    def lose_view(self, unix_time_s: float, silent_s: float) -> tuple[StateChange, float] | None:
        """Say `unknown: stale`: no frame has come for too long.

        The state is decided anew once frames come again; what was learned stays.

        Args:
            unix_time_s: Now, seconds since 1970 UTC.
            silent_s: Seconds since the source was lost.

        Returns:
            The change, and for how long the state before it was said; None if it was said already.
        """
        stale, before = State(UNKNOWN, UnknownReason.STALE), self._decider.state
        if before == stale:
            return None
        last = self._observed
        cause = Observation(
            captured_at_s=(0.0 if last is None else last.captured_at_s) + silent_s,
            unix_time_s=unix_time_s,
            frame_index=0 if last is None else last.frame_index,
            match=None,
            condition=DAY if last is None else last.condition,
            impediment=UnknownReason.STALE,
            quality=_NO_PICTURE if last is None else last.quality,
        )
        self._decider.resume(stale)
        lasted_s = self._time.follow(stale, cause.captured_at_s)
        said = None if before.reason is UnknownReason.STARTING else before
        thresholds = self._decider.thresholds
        return StateChange(said, stale, cause, thresholds, confidence=0.0), lasted_s

    def _seen(self, frame: Frame, features: RegionFeatures) -> tuple[Probe, bool]:
        """Return the probe of `frame`, and whether it was embedded for it."""
        gate, at_s = self._gate, frame.captured_at_s
        repeated = None
        if gate is not None:
            shut = gate.is_shut(features.coarse_image, at_s)
            repeated = gate.is_repeated
            if shut and self._latest is not None:
                # Nothing new to see: neither in the region nor in its light.
                return _as_before(self._latest[0], frame, repeated=repeated), False
        probe = features.probe(at_s, frame.unix_time_s, frame.index, repeated=repeated)
        if gate is not None:
            gate.embedded(features.coarse_image, at_s)
        return probe, True

    def _take(self, fit: WatchFit) -> None:
        self._gallery = fit.gallery
        self._scorer, self._decider = fit.scorer, fit.decider
        self._monitor, self._steady = fit.monitor, fit.steady
        self._compared = fit.compared
        self._latest = None  # another gallery matches differently
        fit.on_use()


def _spread_ids(references: Sequence[Reference]) -> tuple[str, ...]:
    """Return the ids of all references, or of so many, spread evenly."""
    step = max(1, -(-len(references) // _MOST_COMPARED))
    return tuple(item.reference_id for item in references[::step])


def _as_before(probe: Probe, frame: Frame, *, repeated: bool) -> Probe:
    """Return the probe of an earlier observation as that of `frame`."""
    return Probe(
        embedding=probe.embedding,
        thumbnail=probe.thumbnail,
        edges=probe.edges,
        quality=probe.quality,
        captured_at_s=frame.captured_at_s,
        unix_time_s=frame.unix_time_s,
        frame_index=frame.index,
        repeated=repeated,
        is_slate=probe.is_slate,
    )


class Pipeline:
    """All watches on one source.

    Args:
        embedder: Shared by the watches; used from one thread.
        watches: With unique names.
        device: Name of the device, for the events.
    """

    def __init__(self, embedder: Embedder, watches: Sequence[Watch], device: str) -> None:
        self._embedder = embedder
        self.watches = tuple(watches)
        self.device = device
        self.model_id = embedder.model_id

    def process(self, frame: Frame) -> tuple[Outcome, ...]:
        """Return the outcome of every watch that was due."""
        frame_features = FrameFeatures(frame, self._embedder)
        observations = [watch.observe(frame_features) for watch in self.watches]
        return tuple(outcome for outcome in observations if outcome is not None)

    @property
    def due_at_s(self) -> float:
        """Time of a frame from which the next observation of a watch is due; plus infinity where
        there is no watch."""
        return min((watch.due_at_s for watch in self.watches), default=math.inf)

    def part_of(self, frame: Frame) -> int:
        """Return the divisor of both sides, 1, 2, 4 or 8, at which the next picture of this size
        should be decoded: for the gate of a watch that has just been spared, else for its model."""
        side_px = max(self._embedder.input_px, THUMBNAIL_PX)
        size = size_of(frame)
        parts = (
            gate_part_of(size, watch.region.roi)
            if watch.is_still
            else reduction_of(size, watch.region.roi, side_px)
            for watch in self.watches
        )
        return min(parts, default=1)

    def lose_view(self, source: str, unix_time_s: float, silent_s: float) -> Iterator[Event]:
        """Yield the event of each watch that now says `unknown: stale`; see `Watch.lose_view`."""
        for watch in self.watches:
            found = watch.lose_view(unix_time_s, silent_s)
            if found is not None:
                origin = EventOrigin(
                    self.device, source, watch.name, self.model_id, watch.gallery.revision
                )
                yield state_changed(found[0], origin, found[1])

    def events_of(self, outcomes: Sequence[Outcome], source: str) -> Iterator[Event]:
        """Yield the event of each outcome that is a change, and what else there is to report."""
        revision_of = {watch.name: watch.gallery.revision for watch in self.watches}
        for outcome in outcomes:
            if outcome.change is None and not outcome.drafts:
                continue
            revision = revision_of[outcome.watch]
            origin = EventOrigin(self.device, source, outcome.watch, self.model_id, revision)
            change_id = None
            if outcome.change is not None:
                changed = state_changed(outcome.change, origin, outcome.before_lasted_s)
                change_id = changed.id
                yield changed
            for draft in outcome.drafts:
                yield completed(draft, outcome.observation, origin, change_id=change_id)
