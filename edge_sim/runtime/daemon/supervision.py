"""Parts of the daemon that keep it going: its command queue, and the supervision of its parts."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from edge_sim.core.backoff import pause_s
from edge_sim.errors import CommandError, ConfigError, EdgeSimError
from edge_sim.runtime.health.status import StatusBoard
from edge_sim.runtime.loop import Wakeup

logger = logging.getLogger(__name__)

T = TypeVar("T")
MAX_WAITING = 16


class CommandQueue:
    """Bounded queue of jobs for the thread of the daemon; safe to use from any thread."""

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self._waiting: queue.Queue[tuple[Callable[[], Any], Future[Any]]] = queue.Queue(MAX_WAITING)

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Queue `job` and return the future of its result.

        Raises:
            CommandError: Too many are waiting.
        """
        future: Future[T] = Future()
        try:
            self._waiting.put_nowait((job, future))
        except queue.Full:
            raise CommandError(f"{MAX_WAITING} commands wait already; try again later") from None
        self._wakeup.ring()
        return future

    @property
    def waiting(self) -> bool:
        """True if a job is queued."""
        return not self._waiting.empty()

    def run_one(self) -> bool:
        """Run the oldest job; return whether there was one. Its error goes to its future."""
        try:
            job, future = self._waiting.get_nowait()
        except queue.Empty:
            return False
        if not future.set_running_or_notify_cancel():
            return True
        try:
            future.set_result(job())
        except BaseException as error:
            future.set_exception(error)  # raised where the job was queued
            if not isinstance(error, Exception):
                raise
        return True

    def cancel_all(self) -> None:
        """Cancel the queued jobs, at the end of the daemon."""
        while True:
            try:
                _, future = self._waiting.get_nowait()
            except queue.Empty:
                return
            future.cancel()


class Supervisor:
    """Runner of parts of the daemon whose failure must not end it.

    A part that raises is logged, makes the health red, and rests, longer after each failure.

    Args:
        board: Status board that shows the faults.
        clock: Monotonic seconds.
    """

    def __init__(self, board: StatusBoard, clock: Callable[[], float]) -> None:
        self._board = board
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._rests_until_s: dict[str, float] = {}
        self._outputs: frozenset[str] = frozenset()

    def run(self, part: str, job: Callable[[], T], *, rests: bool = True) -> T | None:
        """Return the result of `job`; None if it raised, or rests after that.

        Args:
            part: Name of the part, for people.
            job: Function to call, unless the part rests.
            rests: Whether calls during the pause after a failure are skipped.
        """
        if rests and self._clock() < self._rests_until_s.get(part, 0.0):
            return None
        try:
            result = job()
        except Exception as error:  # noqa: BLE001 - reported
            self.report(part, error)
            return None
        if part in self._failures:
            self.report(part, None)
        return result

    def report(self, part: str, error: Exception | None) -> None:
        """Record that a part has failed, or that it works again."""
        if error is None:
            failures = self._failures.pop(part, 0)
            self._rests_until_s.pop(part, None)
            self._board.show_fault(part, None)
            logger.info("%s works again after %d failures", part, failures)
            return
        failures = self._failures[part] = self._failures.get(part, 0) + 1
        wait_s = pause_s(failures)
        self._rests_until_s[part] = self._clock() + wait_s
        text = f"{type(error).__name__}: {error}"
        trace = (
            None if isinstance(error, ConfigError) else error
        )  # a mistake of the user is one line
        logger.error(
            "%s failed (%d): %s; next try in %g s", part, failures, text, wait_s, exc_info=trace
        )
        self._board.show_fault(part, f"{text} (failure {failures})")

    @contextmanager
    def watched_threads(self, is_stopping: Callable[[], bool]) -> Iterator[None]:
        """Report every thread that ends with an error inside the block."""
        before = threading.excepthook

        def died(args: threading.ExceptHookArgs) -> None:
            name = "a thread" if args.thread is None else f"thread {args.thread.name}"
            text = f"it has ended with {args.exc_type.__name__}: {args.exc_value}"
            logger.error("%s: %s", name, text, exc_info=args.exc_value)
            if not is_stopping():
                self._board.show_fault(name, text, for_good=True)

        threading.excepthook = died
        try:
            yield
        finally:
            threading.excepthook = before

    def show(self, faults: dict[str, str]) -> None:
        """Show the faults of parts that run in threads of their own and restart themselves."""
        for part in self._outputs.difference(faults):
            self._board.show_fault(part, None)
        for part, text in faults.items():
            self._board.show_fault(part, text)
        self._outputs = frozenset(faults)


@contextmanager
def enough_threads() -> Iterator[None]:
    """Raise one line of error for a thread that cannot be started inside the block."""
    try:
        yield
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        raise EdgeSimError(
            "no thread can be started: raise the limit of tasks (TasksMax= of the unit, ulimit -u)"
        ) from error
