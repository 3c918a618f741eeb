"""What other threads ask of the daemon: done between two frames, on its own thread."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from edge_sim.daemon.bell import Bell
from edge_sim.errors import CommandError

T = TypeVar("T")
MAX_WAITING = 16


class Orders:
    """A short queue; safe to use from any thread."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._waiting: queue.Queue[tuple[Callable[[], Any], Future[Any]]] = queue.Queue(MAX_WAITING)

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Have `job` done soon; the future tells what came of it.

        Raises:
            CommandError: Too many are waiting.
        """
        future: Future[T] = Future()
        try:
            self._waiting.put_nowait((job, future))
        except queue.Full:
            raise CommandError(f"{MAX_WAITING} commands wait already; try again later") from None
        self._bell.ring()
        return future

    @property
    def waiting(self) -> bool:
        """Whether there is a job to do."""
        return not self._waiting.empty()

    def run_one(self) -> bool:
        """Do the oldest job; return whether there was one. Its error goes to its future."""
        try:
            job, future = self._waiting.get_nowait()
        except queue.Empty:
            return False
        if not future.set_running_or_notify_cancel():
            return True
        try:
            future.set_result(job())
        except Exception as error:  # noqa: BLE001 - the one who asked learns of it
            future.set_exception(error)
        return True

    def refuse_all(self) -> None:
        """Cancel what waits: the daemon ends."""
        while True:
            try:
                _, future = self._waiting.get_nowait()
            except queue.Empty:
                return
            future.cancel()
