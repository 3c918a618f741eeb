"""Delivery workers: one thread per sink, so that a sink that hangs or fails delays no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event as Signal
from threading import Thread

from edge_sim.core.backoff import BACKOFF_S, pause_s
from edge_sim.core.events import Event
from edge_sim.core.protocols import EventSink
from edge_sim.errors import EventRejectedError, SinkError
from edge_sim.io.outbox.outbox import Outbox
from edge_sim.io.sinks.capabilities import Resumable

logger = logging.getLogger(__name__)

IDLE_S = 60.0
"""With nothing to deliver, the outbox is tidied this often."""

_FAILURES_PER_LINE = 60
_LAST_JOIN_S = 0.5


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Times of attempts, and the way to wait.

    Args:
        backoff_s: Pauses after failures in a row, seconds; the last one is repeated.
        clock: Monotonic seconds.
        wait: Function that waits until the signal is set or the seconds are over.
    """

    backoff_s: Sequence[float] = BACKOFF_S
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[Signal, float], object] = Signal.wait


class DeliveryWorker:
    """Thread that delivers the events of the outbox to one sink, in order.

    Args:
        outbox: Open outbox that knows the sink by its name.
        sink: Open sink, closed by the owner of the worker.
        policy: Times of attempts.
    """

    def __init__(self, outbox: Outbox, sink: EventSink, policy: RetryPolicy | None = None) -> None:
        self._outbox = outbox
        self._sink = sink
        self._policy = policy or RetryPolicy()
        self._stop = Signal()
        self._wake = Signal()
        self._try_now = False
        self._failures = 0
        self._broken = ""
        self._thread = Thread(target=self._run, name=f"delivery {sink.name}", daemon=True)

    @property
    def sink(self) -> EventSink:
        """The receiver."""
        return self._sink

    @property
    def failures(self) -> int:
        """Attempts in a row that failed; 0 while all is well."""
        return self._failures

    @property
    def broken(self) -> str:
        """Error of a failure that is not the receiver's, such as a bug; empty without one."""
        return self._broken

    def start(self) -> None:
        """Start the thread."""
        self._outbox.when_filled(self._wake.set)
        if isinstance(self._sink, Resumable):
            self._sink.resume(self._outbox.settled(self._sink.name))
            self._sink.when_ready(self.retry)
        self._thread.start()

    def retry(self) -> None:
        """Try at once instead of waiting for the end of a pause."""
        self._try_now = True
        self._wake.set()

    def request_stop(self) -> None:
        """Let the thread end after the event at hand."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Return whether the thread has ended, after waiting for it at most `timeout_s`."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def deliver_pending(self) -> float | None:
        """Deliver waiting events in order; return the pause after a failure, None without one."""
        name = self._sink.name
        try:
            while not self._stop.is_set() and (waiting := self._outbox.pending(name)):
                for item in waiting:
                    if self._stop.is_set():
                        return None
                    rejected = self._is_rejected(item.event)
                    self._outbox.confirm(name, item.seq, rejected=rejected)
                    self._recovered()
        except SinkError as error:
            return self._failed(error)
        except Exception as error:
            # A bug in one sink must not end its deliveries for good.
            logger.exception("sink %s broke", name)
            return self._failed(error)
        return None

    def _is_rejected(self, event: Event) -> bool:
        """Deliver `event`; return whether the receiver will never accept it."""
        try:
            self._sink.emit(event)
        except EventRejectedError as error:
            logger.error("event %s is lost for %s: %s", event.id, self._sink.name, error)
            return True
        return False

    def _recovered(self) -> None:
        if self._failures:
            logger.info("sink %s is back after %d failures", self._sink.name, self._failures)
        self._failures = 0
        self._broken = ""

    def _failed(self, error: Exception) -> float:
        self._broken = "" if isinstance(error, SinkError) else f"{type(error).__name__}: {error}"
        if self._failures % _FAILURES_PER_LINE == 0 and not self._stop.is_set():
            logger.warning("not delivered: %s (failure %d)", error, self._failures + 1)
        self._failures += 1
        return pause_s(self._failures, self._policy.backoff_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._try_now = False
            wait_s = self.deliver_pending()
            if wait_s is None:
                self._policy.wait(self._wake, IDLE_S)
                self._wake.clear()
                wait_s = self._tidied()
            if wait_s is not None:
                self._rest(wait_s)

    def _tidied(self) -> float | None:
        """Tidy the outbox; return the pause after a failure, None without one."""
        try:
            self._outbox.flush()
        except Exception as error:
            # An error that ended the thread would end the deliveries for good.
            logger.exception("sink %s: the outbox broke", self._sink.name)
            return self._failed(error)
        if self._broken:
            self._recovered()
        return None

    def _rest(self, pause_s: float) -> None:
        """Wait; `retry` and the end shorten a pause, new events do not."""
        until_s = self._policy.clock() + pause_s
        while not (self._stop.is_set() or self._try_now):
            left_s = until_s - self._policy.clock()
            if left_s <= 0:
                return
            self._policy.wait(self._wake, left_s)
            self._wake.clear()


class Delivery:
    """Delivery workers of all sinks.

    Args:
        outbox: Outbox opened with the names of these sinks; closed by its owner after this.
        sinks: Open sinks, closed by `close`.
        policy: Times of attempts.
    """

    def __init__(
        self, outbox: Outbox, sinks: Sequence[EventSink], policy: RetryPolicy | None = None
    ) -> None:
        self._outbox = outbox
        self.workers = tuple(DeliveryWorker(outbox, sink, policy) for sink in sinks)

    def start(self) -> None:
        """Start delivering."""
        for worker in self.workers:
            worker.start()

    def failing(self) -> Mapping[str, int]:
        """Return the failures in a row of the sinks that fail now."""
        return {each.sink.name: each.failures for each in self.workers if each.failures}

    def broken(self) -> Mapping[str, str]:
        """Return the errors of sinks whose delivery broke for no fault of the receiver."""
        return {each.sink.name: each.broken for each in self.workers if each.broken}

    def close(self, drain_s: float = 1.0) -> bool:
        """Deliver for at most `drain_s`, stop, close the sinks; return whether all was delivered.

        Sinks that fail now are not waited for, and one that hangs is cut off by its own `close`.
        Undelivered events stay in the outbox.
        """
        healthy = [each.sink.name for each in self.workers if not each.failures]
        self._outbox.wait_delivered(drain_s, healthy)
        for worker in self.workers:
            worker.request_stop()
        for worker in self.workers:
            worker.join(0.1)
        for worker in self.workers:
            _close_logged(worker.sink)
        for worker in self.workers:
            if not worker.join(_LAST_JOIN_S):
                logger.error("sink %s does not close", worker.sink.name)
        return self._outbox.wait_delivered(0.0)


def _close_logged(sink: EventSink) -> None:
    try:
        sink.close()
    except SinkError as error:
        logger.error("%s", error)
