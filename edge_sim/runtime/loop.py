"""Frame loop: takes a frame, processes it and hands the events on; the sources in turn.

A live source is read in a thread of its own (`io.sources.live`), which rings the `Wakeup` of the
loop, so that a camera whose read blocks never holds up another. A file is read in the loop. The
API (`Device.steps`), `edge-sim run` and the daemon all run this loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from edge_sim.core.backoff import HELD_S, pause_s
from edge_sim.core.events import Event, SourceLost, SourceRestored, StateChanged, event_id, utc_text
from edge_sim.core.protocols import EventSink, FrameSource
from edge_sim.core.types import UNKNOWN, Frame, State
from edge_sim.decision.pipeline import Outcome, Pipeline
from edge_sim.errors import SinkError, SourceError
from edge_sim.io.sources.live import LiveSource

logger = logging.getLogger(__name__)

TICK_S = 1.0
"""Longest wait of one turn without a frame, seconds."""
STALE_AFTER_S = 60.0
"""Time without a frame after a loss until the watches of a source become `unknown: stale`,
seconds."""
_BURST_S = 1.0
"""CPU time that may be used at once after a quiet time: a pending change must not wait, seconds."""
_LONGEST_REST_S = 1.0
_SHORTEST_REST_S = 1e-3


class Wakeup:
    """Wakes one waiting thread; may be rung from threads and signal handlers.

    Rung any number of times before a wait, it ends that wait once. `SimpleQueue.put` is reentrant,
    which an `Event` is not: a signal handler that sets an event while the same thread is inside its
    lock would wait for itself for ever.
    """

    def __init__(self) -> None:
        self._rings: SimpleQueue[None] = SimpleQueue()
        self._rung = False

    def ring(self) -> None:
        """End the wait in progress, or the next one."""
        if not self._rung:
            self._rung = True
            self._rings.put(None)

    def wait(self, limit_s: float) -> bool:
        """Return whether it was rung, after waiting for that at most `limit_s` seconds."""
        try:
            self._rings.get(timeout=max(limit_s, 0.0))
        except Empty:
            return False
        # A ring that comes just now is not lost: the caller checks its own conditions next.
        self._rung = False
        return True


class Throttle:
    """CPU cap: a bucket of CPU seconds that fills with `share` per second of time.

    Args:
        share: Share of one core, above 0; 1.5 is one and a half cores.
        used: CPU seconds of the whole process, so that decoding in other threads counts too.
        clock: Monotonic seconds.

    Raises:
        ValueError: `share` is not above 0.
    """

    def __init__(
        self,
        share: float,
        *,
        used: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not share > 0.0:
            raise ValueError(f"share must be above 0, got {share}")
        self._share = share
        self._used = used
        self._clock = clock
        self._owed_s = 0.0
        self._last = (clock(), used())

    def rest_s(self) -> float:
        """Return how long to rest now, at most one second; ask again after it."""
        now_s, used_s = self._clock(), self._used()
        last_now_s, last_used_s = self._last
        self._last = (now_s, used_s)
        self._owed_s += (used_s - last_used_s) - self._share * (now_s - last_now_s)
        self._owed_s = max(self._owed_s, -_BURST_S)
        rest_s = min(max(self._owed_s, 0.0) / self._share, _LONGEST_REST_S)
        # A rest shorter than a clock can measure would be requested again and again.
        return rest_s if rest_s >= _SHORTEST_REST_S else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Result of one turn of one source.

    Args:
        frame: Frame that was processed; None at the end of a source or while it is lost.
        outcomes: Results of the watches that were due.
        events: Events of this turn, in order.
        source: Name of the source.
    """

    frame: Frame | None
    outcomes: tuple[Outcome, ...]
    events: tuple[Event, ...]
    source: str = ""


class SourceRunner:
    """Processing of one source: its frames, its pipeline, and its losses and returns.

    A source that is lost again within a minute of its return is reported as back only once its
    frames have come for a minute: one that opens and fails at once, again and again, gives three
    events and not thousands. Its frames are processed all the same.

    Args:
        source: Open source, or a `LiveSource`.
        pipeline: Pipeline of its watches.
        live: Whether a failing source is reported as lost and tried again; any other ends the run.
        now: Seconds since 1970 UTC, for the times of `source_lost` and `source_restored`.
        clock: Monotonic seconds, for how long the source was lost.
        stale_after_s: Seconds without a frame after a loss until its watches become `unknown:
            stale`; None never.
        held_s: Seconds that frames must have come for a source to count as steady.
    """

    def __init__(
        self,
        source: FrameSource,
        pipeline: Pipeline,
        *,
        live: bool,
        now: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        stale_after_s: float | None = STALE_AFTER_S,
        held_s: float = HELD_S,
    ) -> None:
        self.source = source
        self.pipeline = pipeline
        self.ended = False
        self.live = live
        self.now = now
        self.clock = clock
        self.failures = 0
        """Turns in a row that failed for a reason other than the source."""
        self.rests_until_s: float | None = None
        self._stale_after_s = stale_after_s
        self._held_s = held_s
        self._lost_at_s: float | None = None
        self._restored_at_s: float | None = None
        self._frames_since_s: float | None = None
        self._silent_since_s: float | None = None
        self._reported_stale = False
        self._unsteady = False

    @property
    def is_lost(self) -> bool:
        """True while the source is reported as lost and not yet as back."""
        return self._lost_at_s is not None

    @property
    def ready(self) -> bool:
        """True if a step would not wait for a camera and has something to do."""
        if self.ended:
            return False
        if self.rests_until_s is not None and self.clock() < self.rests_until_s:
            return False
        return bool(getattr(self.source, "ready", True)) or self._is_stale_due

    def resume_lost(self) -> None:
        """Continue as lost without an event: the loss was reported before a restart."""
        self._lost_at_s = self._silent_since_s = self.clock()

    def resume(self, before: SourceRunner) -> None:
        """Continue from another runner of the same source, after a reload."""
        # The source may have ended while the new configuration was being built.
        self.ended = before.ended
        self._lost_at_s = before._lost_at_s
        self._restored_at_s = before._restored_at_s
        self._frames_since_s = before._frames_since_s
        self._silent_since_s = before._silent_since_s
        self._reported_stale = before._reported_stale
        self._unsteady = before._unsteady

    def step(self) -> Step:
        """Take one frame and return its result, or that of a loss.

        Raises:
            SourceError: A source that is not live cannot be read.
        """
        if self._is_stale_due and not getattr(self.source, "ready", True):
            return self._stale()
        try:
            source = self.source
            frame = source.read_now() if isinstance(source, LiveSource) else source.read()
        except SourceError as error:
            if not self.live:
                self.ended = True
                raise
            return self._step(events=tuple(self._lost(error)))
        if frame is None:
            self.ended = True
            return self._step()
        self._silent_since_s, self._reported_stale = None, False
        outcomes = self.pipeline.process(frame)
        if isinstance(source, LiveSource):
            source.due_from(self.pipeline.due_at_s, self.pipeline.part_of(frame))
        elif hasattr(source, "part"):
            source.part = self.pipeline.part_of(frame)
        changes = self.pipeline.events_of(outcomes, frame.source)
        return self._step(frame, outcomes, (*self._restored(), *changes))

    def _step(
        self,
        frame: Frame | None = None,
        outcomes: tuple[Outcome, ...] = (),
        events: tuple[Event, ...] = (),
    ) -> Step:
        return Step(frame, outcomes, events, self.source.name)

    @property
    def _is_stale_due(self) -> bool:
        since_s, after_s = self._silent_since_s, self._stale_after_s
        return since_s is not None and after_s is not None and self.clock() - since_s >= after_s

    def _stale(self) -> Step:
        since_s = self._silent_since_s
        silent_s = 0.0 if since_s is None else self.clock() - since_s
        self._silent_since_s, self._reported_stale = None, True  # until frames come and go again
        events = self.pipeline.lose_view(self.source.name, self.now(), silent_s)
        return self._step(events=tuple(events))

    def _lost(self, error: SourceError) -> list[Event]:
        now_s = self.clock()
        self._frames_since_s = None
        if self._silent_since_s is None and not self._reported_stale:
            self._silent_since_s = now_s
        if self._lost_at_s is not None:
            return []
        self._lost_at_s = now_s
        self._unsteady = (
            self._restored_at_s is not None and now_s - self._restored_at_s < self._held_s
        )
        at, device, source = utc_text(self.now()), self.pipeline.device, self.source.name
        logger.warning("source %s lost: %s", source, error)
        return [SourceLost(event_id(device, source, "lost", at), device, source, at, str(error))]

    def _restored(self) -> list[Event]:
        if self._lost_at_s is None:
            return []
        now_s = self.clock()
        if self._frames_since_s is None:
            self._frames_since_s = now_s
        if self._unsteady and now_s - self._frames_since_s < self._held_s:
            return []
        lost_for_s = round(now_s - self._lost_at_s, 3)
        self._lost_at_s = None
        self._restored_at_s = now_s
        at, device, source = utc_text(self.now()), self.pipeline.device, self.source.name
        logger.info("source %s is back after %.1f s", source, lost_for_s)
        key = event_id(device, source, "restored", at)
        return [SourceRestored(key, device, source, at, lost_for_s)]


OnFault = Callable[[str, Exception | None], None]
"""Receiver of the name of a source and the error of its turn; None once a turn succeeds again."""


class Loop:
    """Round robin over sources, one frame of each at a time.

    With several workers, sources are processed at the same time, but never one source twice: its
    frames stay in order. All else belongs to one thread.

    Args:
        runners: Sources to begin with; see `use`.
        wakeup: Wakeup rung by the reader threads, and by callers that want `next` to return.
        clock: Monotonic seconds.
        wait: Function that waits for the wakeup, at most so many seconds.
        on_fault: Receiver of errors that are not the source's, such as a bug in the processing;
            the source then rests, longer after each failure. Without it they are raised.
    """

    def __init__(
        self,
        runners: Iterable[SourceRunner] = (),
        *,
        wakeup: Wakeup | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[Wakeup, float], object] = Wakeup.wait,
        on_fault: OnFault | None = None,
    ) -> None:
        self._wakeup = wakeup or Wakeup()
        self._clock = clock
        self._wait = wait
        self._on_fault = on_fault
        self._throttle: Throttle | None = None
        self._rest_until_s: float | None = None
        self._runners: deque[SourceRunner] = deque(runners)
        self._busy: set[SourceRunner] = set()
        self._done: SimpleQueue[tuple[SourceRunner, Step | Exception]] = SimpleQueue()
        self._failed = False
        self._workers = 1
        self._jobs: SimpleQueue[SourceRunner | None] = SimpleQueue()

    def use(
        self, runners: Iterable[SourceRunner], *, throttle: Throttle | None = None, workers: int = 1
    ) -> None:
        """Process these sources from now on; only to be called while no step is in progress.

        Args:
            runners: Sources, in the order of their turns.
            throttle: CPU cap; None for none.
            workers: Number of sources processed at the same time; 1 uses the calling thread.
        """
        self._runners = deque(runners)
        self._throttle = throttle
        self._rest_until_s = None
        if workers != self._workers:
            self.close()
            self._workers = self._started(workers) if workers > 1 else 1

    @property
    def done(self) -> bool:
        """True if every source has ended."""
        return not self._busy and all(runner.ended for runner in self._runners)

    def next(self, limit_s: float = TICK_S) -> Step | None:
        """Return a finished step and begin others; None if none is finished within `limit_s`.

        Raises:
            SourceError: A source that is not live cannot be read.
        """
        step = self._finished()
        if step is not None or self._is_resting(limit_s):
            return step
        self._begin()
        step = self._finished()
        if step is None and not self._failed and not (self._runners and self.done):
            self._wait(self._wakeup, limit_s)
            step = self._finished()
        return step

    def settle(self) -> Iterator[Step]:
        """Yield the steps in progress, each when it is finished; no other begins meanwhile.

        Raises:
            SourceError: A source that is not live cannot be read.
        """
        while self._busy:
            step = self._finished()
            if step is not None:
                yield step
            elif self._busy:
                self._wait(self._wakeup, TICK_S)

    def close(self) -> None:
        """End the workers. Safe to call twice."""
        for _ in range(self._workers if self._workers > 1 else 0):
            self._jobs.put(None)
        self._workers = 1

    def _started(self, number: int) -> int:
        """Start workers, as many as the system gives; return the number of workers to use."""
        self._jobs = SimpleQueue()
        for at in range(number):
            worker = threading.Thread(
                target=self._work, args=(self._jobs,), name=f"worker {at}", daemon=True
            )
            try:
                worker.start()
            except RuntimeError as error:
                logger.warning("only %d of %d workers can be started: %s", at, number, error)
                if at < 2:
                    self._jobs.put(None)
                return at if at > 1 else 1
        return number

    def _work(self, jobs: SimpleQueue[SourceRunner | None]) -> None:
        while (runner := jobs.get()) is not None:
            self._run(runner)
            self._wakeup.ring()

    def _begin(self) -> None:
        """Give every idle worker a source."""
        while len(self._busy) < self._workers:
            runner = self._pick()
            if runner is None:
                return
            self._busy.add(runner)
            if self._workers == 1:
                self._run(runner)
            else:
                self._jobs.put(runner)

    def _pick(self) -> SourceRunner | None:
        for _ in range(len(self._runners)):
            runner = self._runners[0]
            self._runners.rotate(-1)
            if runner not in self._busy and runner.ready:
                return runner
        return None

    def _run(self, runner: SourceRunner) -> None:
        try:
            self._done.put((runner, runner.step()))
        except Exception as error:  # noqa: BLE001 - raised or reported where the step is fetched
            self._done.put((runner, error))

    def _finished(self) -> Step | None:
        """Return a finished step; None if there is none, or if it failed."""
        self._failed = False
        try:
            runner, result = self._done.get_nowait()
        except Empty:
            return None
        self._busy.discard(runner)
        if self._throttle is not None:
            self._rest_until_s = self._clock() + self._throttle.rest_s()
        if isinstance(result, Step):
            if runner.failures and self._on_fault is not None:
                self._on_fault(runner.source.name, None)
            runner.failures, runner.rests_until_s = 0, None
            return result
        if self._on_fault is None or isinstance(result, SourceError):
            raise result
        runner.failures += 1
        runner.rests_until_s = runner.clock() + pause_s(runner.failures)
        self._on_fault(runner.source.name, result)
        self._failed = True
        return None

    def _is_resting(self, limit_s: float) -> bool:
        if self._rest_until_s is None:
            return False
        left_s = self._rest_until_s - self._clock()
        if left_s <= 0.0:
            # A rest is at most a second; an expensive frame may owe several.
            left_s = 0.0 if self._throttle is None else self._throttle.rest_s()
            self._rest_until_s = self._clock() + left_s if left_s > 0.0 else None
        if left_s <= 0.0:
            return False
        self._wait(self._wakeup, min(left_s, limit_s))
        return True


def steps(
    runners: Sequence[SourceRunner],
    *,
    stop: threading.Event | None = None,
    between_frames: Callable[[], object] | None = None,
    wakeup: Wakeup | None = None,
) -> Iterator[Step]:
    """Yield one step per frame, the sources in turn, until all have ended or `stop` is set.

    Args:
        runners: Sources; at least one.
        stop: Event that ends the loop before the next frame.
        between_frames: Function called before each frame, such as the reading of a changed gallery.
        wakeup: Wakeup that live sources ring, and callers that set `stop`.

    Raises:
        SourceError: A source that is not live cannot be read.
    """
    loop = Loop(runners, wakeup=wakeup)
    while not loop.done and not (stop is not None and stop.is_set()):
        if between_frames is not None:
            between_frames()
        step = loop.next(TICK_S)
        if step is not None:
            yield step


def deliver(events: Sequence[Event], sinks: Sequence[EventSink]) -> int:
    """Give every event to every sink and return the number of failed deliveries.

    A failing sink is logged and never keeps an event from the others.
    """
    return sum(not _is_delivered(event, sink) for event in events for sink in sinks)


def _is_delivered(event: Event, sink: EventSink) -> bool:
    try:
        sink.emit(event)
    except SinkError as error:
        logger.error("event %s not delivered to %s: %s", event.id, sink.name, error)
        return False
    return True


class Tally:
    """Totals of a run."""

    def __init__(self) -> None:
        self.frames = 0
        self.events = 0
        self.changes: Counter[str] = Counter()
        self.observations: defaultdict[str, Counter[State]] = defaultdict(Counter)

    def add(self, step: Step) -> None:
        """Count one step; a step without a frame counts its events only."""
        self.frames += step.frame is not None
        self.events += len(step.events)
        for event in step.events:
            if isinstance(event, StateChanged):
                self.changes[event.watch] += 1
        for outcome in step.outcomes:
            self.observations[outcome.watch][outcome.state] += 1

    def shares(self, watch: str) -> dict[str, float]:
        """Return the share of observations in each state, 0 to 1; `unknown` with its reason."""
        counts = self.observations[watch]
        total = sum(counts.values())
        return {_label(state): count / total for state, count in counts.most_common()}

    def text(self) -> str:
        """Return one line per watch for people."""
        lines = [f"{self.frames} frames, {self.events} events"]
        for watch in self.observations:
            shares = ", ".join(f"{name} {share:.0%}" for name, share in self.shares(watch).items())
            lines.append(f"  {watch}: {self.changes[watch]} changes; {shares}")
        return "\n".join(lines)


def _label(state: State) -> str:
    return f"{UNKNOWN} ({state.reason.value})" if state.reason else state.name
