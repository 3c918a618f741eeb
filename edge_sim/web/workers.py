"""Threads for requests that wait for files, a camera or the daemon."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
MAX_THREADS = 4
"""Requests that are worked on at the same time; those that only read memory need no thread."""


class Workers:
    """Few threads, started when they are needed; used from one event loop.

    They end with the process: a request that is not finished never holds up the end of the daemon.

    Args:
        most: Number of threads.
    """

    def __init__(self, most: int = MAX_THREADS) -> None:
        self._most = most
        self._threads = 0
        self._unfinished = 0
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return the result of a function, called in one of the threads.

        Cancelled, it does not wait for the function, which goes on.

        Raises:
            RuntimeError: No thread can be started.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._unfinished >= self._threads and self._threads < self._most:
            self._start()
        self._unfinished += 1
        self._jobs.put(partial(self._work, loop, future, partial(function, *arguments)))
        return await future

    def close(self) -> None:
        """End the threads, those that are at work after their present job; wait for none."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0

    def _start(self) -> None:
        name = f"web worker {self._threads}"
        try:
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        except RuntimeError:
            if not self._threads:
                raise
            return
        self._threads += 1

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _work(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], job: Callable[[], T]
    ) -> None:
        try:
            report = partial(future.set_result, job())
        except BaseException as error:  # noqa: BLE001 - raised where the request waits
            report = partial(future.set_exception, error)
        try:
            loop.call_soon_threadsafe(self._finish, future, report)
        except RuntimeError:
            return  # the event loop has ended

    def _finish(self, future: asyncio.Future[Any], report: Callable[[], None]) -> None:
        self._unfinished -= 1
        if not future.done():
            report()
