"""What is known of sources and watches at one moment.

What a running device knows of itself: written by the worker, read by health and metrics.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from edge_sim.core.events import Event, SourceLost, StateChanged, tag_of
from edge_sim.core.types import UNKNOWN, State, UnknownReason
from edge_sim.decision.drift import DriftReading
from edge_sim.decision.pipeline import Outcome
from edge_sim.runtime.loop import Step

INFERENCE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper limits of a histogram, seconds."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source.

    Args:
        name: As configured.
        up: Whether it gives frames.
        frames: Looked at since the start.
        losses: How often it was lost.
        frame_at_s: Monotonic time of the last frame; None before the first.
        frame_unix_s: Time of day of it, seconds since 1970.
        error: Why it is lost; empty if it is not.
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
    """What a watch has told besides its state, and is not over.

    Args:
        problems: Trouble with the picture -> since when (UTC); None if none is ever told.
        overdue: Whether its state lasts too long; None if no state can.
        drifts: Where the scores of each state and light stand.
    """

    problems: Mapping[str, str] | None = None
    overdue: bool | None = None
    drifts: tuple[DriftReading, ...] = ()


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """One watch.

    Args:
        name: As configured.
        source: Name of its source.
        states: That it can say, without `unknown`.
        state: That it says; None before the first look.
        entered_at_s: Monotonic time since when it says so, the time before a restart included.
        probability: Of each state at the last look.
        combined: Best combined score of each state at the last look.
        margin: Of the last look.
        condition: Light regime of the last look.
        looks: Since the start.
        skipped: Of them, those that needed no embedding.
        changes: (before, after) -> how often, since the start.
        unknown_s: Reason -> seconds, since the start.
        revision: Of its gallery.
        looked_at_s: Frame time of the last look; None before the first.
        standing: What else it has told.
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
    looks: int = 0
    skipped: int = 0
    changes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unknown_s: Mapping[str, float] = field(default_factory=dict)
    revision: int = 0
    looked_at_s: float | None = None
    standing: OpenIssues = OpenIssues()


@dataclass(frozen=True, slots=True)
class Durations:
    """A histogram: `counts[i]` lie between two limits of `INFERENCE_BUCKETS_S`, the rest last."""

    counts: tuple[int, ...]
    sum_s: float


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the device works, and if not, why.

    Args:
        alive: No part of the daemon is broken.
        ready: It is alive, has processed a frame, and a source gives frames.
        faults: One line each.
        stuck: Only a restart helps: systemd's watchdog is fed no more.
    """

    alive: bool
    ready: bool
    faults: tuple[str, ...]
    stuck: bool = False


STALLED_S = 30.0
"""A worker that has not come round for this long is stuck in something."""
KEPT_EVENTS = 100


class StatusBoard:
    """Collects what the worker reports; every method may be called from any thread.

    Args:
        device: Name of the device.
        clock: Monotonic seconds.
    """

    def __init__(self, device: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.device = device
        self.clock = clock
        self.model = ""
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

    def describe(
        self, sources: Iterable[str], watches: Iterable[WatchStatus], *, model: str
    ) -> None:
        """Set what there is; what goes on under the same name keeps its figures."""
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

    def beat(self) -> None:
        """The worker came round."""
        self._beat_s = self.clock()

    def looked(self, source: str, step: Step, counts: Mapping[str, int] | None = None) -> None:
        """Note one step of a source; `counts` are fields of `SourceStatus`."""
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

    def went(self, event: Event) -> None:
        """Note an event that was reported."""
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

    def embedded(self, took_s: float) -> None:
        """Note how long one inference took."""
        with self._lock:
            self._durations[bisect_left(INFERENCE_BUCKETS_S, took_s)] += 1
            self._durations_sum_s += took_s

    def recall(self, watch: str, state: State, in_state_s: float) -> None:
        """Say that a watch was in `state` before a restart, for so long."""
        with self._lock:
            known = self._watches[watch]
            entered_s = self.clock() - in_state_s
            self._watches[watch] = replace(known, state=state, entered_at_s=entered_s)

    def stands(self, watch: str, standing: OpenIssues) -> None:
        """Note what a watch has told besides its state."""
        with self._lock:
            self._watches[watch] = replace(self._watches[watch], standing=standing)

    def in_state_s(self, watch: str) -> float:
        """Return for how long `watch` says what it says, while the device was running."""
        with self._lock:
            known = self._watches.get(watch)
            return 0.0 if known is None or known.state is None else self._since_s(known)

    def show_fault(self, part: str, text: str | None, *, for_good: bool = False) -> None:
        """Note that a part of the daemon does not work, or that it works again.

        Args:
            part: Its name, for people.
            text: The error; None once it works again.
            for_good: It does not restart itself.
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
        """Parts of the daemon that do not work now, and why."""
        with self._lock:
            return dict(self._faults)

    @property
    def failures(self) -> Mapping[str, int]:
        """How often each part of the daemon has failed since the start."""
        with self._lock:
            return dict(self._failures)

    @property
    def sources(self) -> tuple[SourceStatus, ...]:
        """All sources now."""
        with self._lock:
            return tuple(self._sources.values())

    @property
    def watches(self) -> tuple[WatchStatus, ...]:
        """All watches now."""
        with self._lock:
            return tuple(self._watches.values())

    @property
    def durations(self) -> Durations:
        """Of inferences since the start."""
        with self._lock:
            slots = range(len(INFERENCE_BUCKETS_S) + 1)
            return Durations(tuple(self._durations[at] for at in slots), self._durations_sum_s)

    @property
    def reported(self) -> Mapping[str, int]:
        """How many events of each type were reported since the start."""
        with self._lock:
            return dict(self._kinds)

    def health(self) -> Health:
        """Return whether the device works.

        A lost camera is no fault of the daemon: it comes back by itself. A part that broke is one,
        though it is tried again. Only a restart helps where the loop is stuck, threads hang in a
        driver, or a thread has died for good.
        """
        silent_s = self.clock() - self._beat_s
        fatal = [f"the worker stands still for {silent_s:.0f} s"] if silent_s > STALLED_S else []
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
    def last_event(self) -> int:
        """Number of the last event; 0 before the first."""
        with self._lock:
            return self._event_count

    def close(self) -> None:
        """Let everybody who waits for an event go."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()

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
            looks=known.looks + 1,
            skipped=known.skipped + (not outcome.embedded),
            unknown_s=_with_unknown(known, outcome.state, at_s),
            looked_at_s=at_s,
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
    """Return the seconds in `unknown`, the time since the last look added to its reason."""
    if state.reason is None or known.looked_at_s is None:
        return known.unknown_s
    gap_s = min(max(at_s - known.looked_at_s, 0.0), _LONGEST_GAP_S)
    reason = state.reason.value
    return {**known.unknown_s, reason: known.unknown_s.get(reason, 0.0) + gap_s}
