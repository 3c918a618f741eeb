"""Status board: state of sources and watches, written by the daemon, read by pages and metrics."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from edge_sim.core.events import Event, SourceLost, StateChanged, tag_of
from edge_sim.core.types import UNKNOWN, State, UnknownReason
from edge_sim.decision.drift import DriftReading
from edge_sim.decision.pipeline import Outcome
from edge_sim.runtime.loop import Step

INFERENCE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper limits of the classes of a histogram, seconds."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Status of one source; totals count from the start.

    Args:
        name: Name of the source.
        up: Whether it gives frames.
        frames: Processed frames.
        losses: Number of losses.
        frame_at_s: Monotonic time of the last frame; None before the first.
        frame_unix_s: Time of the last frame, seconds since 1970.
        error: Error of the loss; empty while it is up.
        dropped: Frames that newer ones replaced.
        rejected: Reads that gave no picture.
        repeated: Frames exactly like the one before.
        hanging: Threads that hang in the driver now.
    """

    name: str
    up: bool = False
    frames: int = 0
    losses: int = 0
    frame_at_s: float | None = None
    frame_unix_s: float | None = None
    error: str = ""
    dropped: int = 0
    rejected: int = 0
    repeated: int = 0
    hanging: int = 0


@dataclass(frozen=True, slots=True)
class OpenIssues:
    """Reported issues of a watch that are not over.

    Args:
        problems: Start of each problem (UTC), by name; None if no problem is reported at all.
        overdue: Whether its state lasts too long; None if no state can.
        drifts: Drift of the scores of each state and light.
    """

    problems: Mapping[str, str] | None = None
    overdue: bool | None = None
    drifts: tuple[DriftReading, ...] = ()


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """Status of one watch; totals count from the start.

    Args:
        name: Name of the watch.
        source: Name of its source.
        states: States of its gallery, without `unknown`.
        state: Present state; None before the first observation.
        entered_at_s: Monotonic time at which the state began, the time before a restart included.
        probability: Probability of each state at the last observation, 0 to 1.
        combined: Best combined score of each state at the last observation, 0 to 1.
        margin: Probability margin of the last observation; None without a match.
        condition: Light condition of the last observation.
        observations: Number of observations.
        skipped: Observations that needed no embedding.
        changes: Number of changes by (before, after).
        unknown_s: Seconds in `unknown`, by reason.
        revision: Revision of its gallery.
        observed_at_s: Frame time of the last observation; None before the first.
        issues: Reported issues that are not over.
        outcome: Result of the last observation; None before the first.
    """

    name: str
    source: str
    states: tuple[str, ...]
    state: State | None = None
    entered_at_s: float = 0.0
    probability: Mapping[str, float] = field(default_factory=dict)
    combined: Mapping[str, float] = field(default_factory=dict)
    margin: float | None = None
    condition: str = ""
    observations: int = 0
    skipped: int = 0
    changes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unknown_s: Mapping[str, float] = field(default_factory=dict)
    revision: int = 0
    observed_at_s: float | None = None
    issues: OpenIssues = OpenIssues()
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """Status of the packs of a device.

    Args:
        checked_unix_s: Time of the last check that found a valid list, seconds since 1970; None
            before the first.
        failures: Looks in a row that failed.
        error: Error of the last check; empty if it was well.
        packs: (name, version, outcome) of each version that was activated, refused or rolled back.
    """

    checked_unix_s: float | None = None
    failures: int = 0
    error: str = ""
    packs: tuple[tuple[str, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Durations:
    """Histogram: `counts[i]` lie between two limits of `INFERENCE_BUCKETS_S`, the rest last."""

    counts: tuple[int, ...]
    sum_s: float


@dataclass(frozen=True, slots=True)
class Health:
    """Health of the device.

    Args:
        alive: True if no part of the daemon is broken.
        ready: True if it is alive, has processed a frame, and a source gives frames.
        faults: Faults, one line each.
        stuck: True if only a restart helps: the watchdog of systemd is no longer notified.
    """

    alive: bool
    ready: bool
    faults: tuple[str, ...]
    stuck: bool = False


STALLED_S = 30.0
"""Time without a heartbeat after which the worker counts as stuck, seconds."""
KEPT_EVENTS = 100


class StatusBoard:
    """Status of sources, watches and parts; every method may be called from any thread.

    Args:
        device: Name of the device.
        clock: Monotonic seconds.
    """

    def __init__(self, device: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.device = device
        self.clock = clock
        self.started_s = clock()
        self.model = ""
        self.updates: UpdateStatus | None = None
        """Status of the packs; None where none are taken. Replaced as a whole by one thread."""
        self._lock = threading.Lock()
        self._sources: dict[str, SourceStatus] = {}
        self._watches: dict[str, WatchStatus] = {}
        self._events: deque[tuple[int, Event]] = deque(maxlen=KEPT_EVENTS)
        self._event_count = 0
        self._kinds: Counter[str] = Counter()
        self._arrived = threading.Condition(self._lock)
        self._durations: Counter[int] = Counter()
        self._durations_sum_s = 0.0
        self._beat_s = clock()
        self._was_ready = False
        self._faults: dict[str, str] = {}
        self._dead: set[str] = set()
        self._failures: Counter[str] = Counter()
        self._closed = False
        self._listeners: set[Callable[[], object]] = set()

    def describe(
        self, sources: Iterable[str], watches: Iterable[WatchStatus], *, model: str
    ) -> None:
        """Set the sources and watches; those of the same name keep their totals."""
        with self._lock:
            self.model = model
            old, old_watches = self._sources, self._watches
            self._sources = {name: old.get(name, SourceStatus(name)) for name in sources}
            self._watches = {}
            for item in watches:
                known = old_watches.get(item.name)
                if known is not None:
                    fields = (item.source, item.states, item.revision)
                    source, states, revision = fields
                    item = replace(known, source=source, states=states, revision=revision)
                self._watches[item.name] = item

    def heartbeat(self) -> None:
        """Record that the worker has finished a turn."""
        self._beat_s = self.clock()

    def add_step(self, source: str, step: Step, counts: Mapping[str, int] | None = None) -> None:
        """Record one step of a source; `counts` are fields of `SourceStatus`."""
        now_s = self.clock()
        with self._lock:
            known = self._sources.get(source, SourceStatus(source))
            known = replace(known, **(counts or {}))  # type: ignore[arg-type]
            if step.frame is not None:
                known = replace(
                    known,
                    up=True,
                    error="",
                    frames=known.frames + 1,
                    frame_at_s=now_s,
                    frame_unix_s=step.frame.unix_time_s,
                )
            self._sources[source] = known
            for outcome in step.outcomes:
                self._watches[outcome.watch] = self._after(outcome, now_s)
            self._was_ready = self._was_ready or bool(step.outcomes)

    def add_event(self, event: Event) -> None:
        """Record an event."""
        with self._lock:
            self._event_count += 1
            self._kinds[tag_of(event)] += 1
            self._events.append((self._event_count, event))
            if isinstance(event, StateChanged):
                self._count_change(event)
            elif isinstance(event, SourceLost):
                known = self._sources.get(event.source, SourceStatus(event.source))
                lost = replace(known, up=False, error=event.error, losses=known.losses + 1)
                self._sources[event.source] = lost
            self._arrived.notify_all()
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def subscribe(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call `listener` after every event, in the thread that adds it; return the function that
        ends that. It must return at once and not raise.
        """
        with self._lock:
            self._listeners.add(listener)
        return partial(self._unsubscribe, listener)

    def _unsubscribe(self, listener: Callable[[], object]) -> None:
        with self._lock:
            self._listeners.discard(listener)

    def add_inference(self, took_s: float) -> None:
        """Record the duration of one inference, seconds."""
        with self._lock:
            self._durations[bisect_left(INFERENCE_BUCKETS_S, took_s)] += 1
            self._durations_sum_s += took_s

    def restore_state(self, watch: str, state: State, in_state_s: float) -> None:
        """Set the state of a watch before a restart, and its duration."""
        with self._lock:
            known = self._watches[watch]
            entered_s = self.clock() - in_state_s
            self._watches[watch] = replace(known, state=state, entered_at_s=entered_s)

    def show_issues(self, watch: str, issues: OpenIssues) -> None:
        """Set the open issues of a watch."""
        with self._lock:
            self._watches[watch] = replace(self._watches[watch], issues=issues)

    def in_state_s(self, watch: str) -> float:
        """Return the running time of the device since `watch` entered its state, seconds."""
        with self._lock:
            known = self._watches.get(watch)
            return 0.0 if known is None or known.state is None else self._since_s(known)

    def show_fault(self, part: str, text: str | None, *, for_good: bool = False) -> None:
        """Record that a part of the daemon does not work, or that it works again.

        Args:
            part: Name of the part, for people.
            text: Error; None once it works again.
            for_good: True if the part does not restart itself.
        """
        with self._lock:
            if text is None:
                self._faults.pop(part, None)
                return
            self._failures[part] += self._faults.get(part) != text
            self._faults[part] = text
            if for_good:
                self._dead.add(part)

    @property
    def faults(self) -> Mapping[str, str]:
        """Errors of the parts of the daemon that do not work now, by name."""
        with self._lock:
            return dict(self._faults)

    @property
    def failures(self) -> Mapping[str, int]:
        """Number of failures of each part of the daemon since the start."""
        with self._lock:
            return dict(self._failures)

    @property
    def sources(self) -> tuple[SourceStatus, ...]:
        """Present status of all sources."""
        with self._lock:
            return tuple(self._sources.values())

    @property
    def watches(self) -> tuple[WatchStatus, ...]:
        """Present status of all watches."""
        with self._lock:
            return tuple(self._watches.values())

    @property
    def durations(self) -> Durations:
        """Histogram of the inferences since the start."""
        with self._lock:
            classes = range(len(INFERENCE_BUCKETS_S) + 1)
            return Durations(tuple(self._durations[at] for at in classes), self._durations_sum_s)

    @property
    def event_counts(self) -> Mapping[str, int]:
        """Number of events of each type since the start."""
        with self._lock:
            return dict(self._kinds)

    def health(self) -> Health:
        """Return the health of the device.

        A lost camera is no fault of the daemon: it comes back by itself. A failed part is one,
        though it is tried again. Only a restart helps where the loop is stuck, threads hang in a
        driver, or a thread has ended for good.
        """
        silent_s = self.clock() - self._beat_s
        fatal = [f"the worker is stalled for {silent_s:.0f} s"] if silent_s > STALLED_S else []
        sources = self.sources
        fatal += [
            f"source {item.name}: {item.hanging} reads never returned"
            for item in sources
            if item.hanging >= _HANGING_FOR_GOOD and not item.up
        ]
        lost = [
            f"source {item.name}: {item.error or 'no frame yet'}" for item in sources if not item.up
        ]
        stuck = bool(fatal) or not self._dead.isdisjoint(self.faults)
        fatal += [f"{part}: {text}" for part, text in self.faults.items()]
        ready = self._was_ready and not fatal and any(item.up for item in sources)
        return Health(not fatal, ready, tuple(fatal + lost), stuck)

    def events_after(self, number: int, limit_s: float) -> list[tuple[int, Event]] | None:
        """Return the events after `number`, waiting for one at most `limit_s`; None at the end."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._closed or self._event_count > number, limit_s)
            if self._closed:
                return None
            return [(at, event) for at, event in self._events if at > number]

    @property
    def closed(self) -> bool:
        """True once the daemon ends."""
        return self._closed

    @property
    def last_event(self) -> int:
        """Number of the last event; 0 before the first."""
        with self._lock:
            return self._event_count

    def close(self) -> None:
        """End all waits for events."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def _since_s(self, status: WatchStatus) -> float:
        return max(self.clock() - status.entered_at_s, 0.0)

    def _after(self, outcome: Outcome, now_s: float) -> WatchStatus:
        known = self._watches.get(outcome.watch) or WatchStatus(outcome.watch, "", ())
        match = outcome.observation.match
        at_s = outcome.observation.captured_at_s
        states = () if match is None else match.states
        return replace(
            known,
            state=outcome.state,
            entered_at_s=known.entered_at_s if outcome.state == known.state else now_s,
            probability={item.state: item.probability for item in states},
            combined={item.state: item.score.combined for item in states},
            margin=None if match is None else match.margin,
            condition=outcome.observation.condition,
            observations=known.observations + 1,
            skipped=known.skipped + (not outcome.embedded),
            unknown_s=_with_unknown(known, outcome.state, at_s),
            observed_at_s=at_s,
            outcome=outcome,
        )

    def _count_change(self, event: StateChanged) -> None:
        known = self._watches.get(event.watch)
        if known is None:
            return
        counts = Counter(known.changes)
        counts[event.before or UNKNOWN, event.after] += 1
        if event.reason == UnknownReason.STALE.value:  # no observation brings it
            stale = State(UNKNOWN, UnknownReason.STALE)
            known = replace(known, state=stale, entered_at_s=self.clock())
        self._watches[event.watch] = replace(known, changes=dict(counts))


_HANGING_FOR_GOOD = 3
_LONGEST_GAP_S = 60.0


def _with_unknown(known: WatchStatus, state: State, at_s: float) -> Mapping[str, float]:
    """Return the seconds in `unknown`, the time since the last observation added to its reason."""
    if state.reason is None or known.observed_at_s is None:
        return known.unknown_s
    gap_s = min(max(at_s - known.observed_at_s, 0.0), _LONGEST_GAP_S)
    reason = state.reason.value
    return {**known.unknown_s, reason: known.unknown_s.get(reason, 0.0) + gap_s}
