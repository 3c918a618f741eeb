"""The only loop: read a frame, process it, hand the events on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event as StopEvent

from edge_sim.domain import Frame
from edge_sim.errors import SinkError, SourceError
from edge_sim.events import Event, SourceLost, SourceRestored, event_id, utc_text
from edge_sim.pipeline import Outcome, Pipeline
from edge_sim.protocols import EventSink, FrameSource

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one turn of the loop gave.

    Args:
        frame: That was read; None at the end of a source or while it is lost.
        outcomes: Of the watches that were due.
        events: Of this turn, already in order.
    """

    frame: Frame | None
    outcomes: tuple[Outcome, ...]
    events: tuple[Event, ...]


class Lane:
    """One source and the pipeline that looks at its frames.

    Args:
        source: Opened.
        pipeline: Its watches.
        live: A live source that fails is reported as lost and tried again; any other ends the run.
        now: Seconds since 1970 UTC, for the times of `source_lost` and `source_restored`.
        clock: Monotonic seconds, for how long the source was lost.
    """

    def __init__(
        self,
        source: FrameSource,
        pipeline: Pipeline,
        *,
        live: bool,
        now: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        self.pipeline = pipeline
        self.ended = False
        self.live = live
        self.now = now
        self.clock = clock
        self._lost_at_s: float | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the source was reported as lost and has not come back."""
        return self._lost_at_s is not None

    def resume_lost(self) -> None:
        """Go on as lost without an event: it was reported before a restart."""
        self._lost_at_s = self.clock()

    def step(self) -> Step:
        """Read one frame and return what it gave.

        Raises:
            SourceError: A source that is not live cannot be read.
        """
        try:
            frame = self.source.read()
        except SourceError as error:
            if not self.live:
                self.ended = True
                raise
            return Step(None, (), tuple(self._lost(error)))
        if frame is None:
            self.ended = True
            return Step(None, (), ())
        outcomes = self.pipeline.process(frame)
        changes = self.pipeline.events_of(outcomes, frame.source)
        return Step(frame, outcomes, (*self._restored(), *changes))

    def _lost(self, error: SourceError) -> list[Event]:
        if self._lost_at_s is not None:
            return []
        self._lost_at_s = self.clock()
        at, device, source = utc_text(self.now()), self.pipeline.device, self.source.name
        logger.warning("source %s lost: %s", source, error)
        return [SourceLost(event_id(device, source, "lost", at), device, source, at, str(error))]

    def _restored(self) -> list[Event]:
        if self._lost_at_s is None:
            return []
        lost_for_s = round(self.clock() - self._lost_at_s, 3)
        self._lost_at_s = None
        at, device, source = utc_text(self.now()), self.pipeline.device, self.source.name
        logger.info("source %s is back after %.1f s", source, lost_for_s)
        key = event_id(device, source, "restored", at)
        return [SourceRestored(key, device, source, at, lost_for_s)]


def steps(
    lanes: Sequence[Lane],
    *,
    stop: StopEvent | None = None,
    between_frames: Callable[[], None] | None = None,
) -> Iterator[Step]:
    """Yield one step per frame, the lanes in turn, until every lane has ended or `stop` is set.

    Args:
        lanes: At least one.
        stop: Ends the loop before the next frame.
        between_frames: Called before each frame; the place to take a changed gallery over.

    Raises:
        SourceError: A source that is not live cannot be read.
    """
    active = list(lanes)
    while active and not (stop is not None and stop.is_set()):
        for lane in active:
            if between_frames is not None:
                between_frames()
            yield lane.step()
        active = [lane for lane in active if not lane.ended]


def deliver(events: Sequence[Event], sinks: Sequence[EventSink]) -> int:
    """Give every event to every sink and return how many deliveries failed.

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
