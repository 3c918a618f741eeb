"""Threads of requests: few, and none that holds up the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from edge_sim.web.workers import Workers
from tests.threads import none_left


def run(work: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine in a thread of its own: that of the tests may hold the loop of a browser."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, work).result()


def test_results_and_errors_come_back() -> None:
    async def both() -> None:
        workers = Workers(2)
        assert await workers.run(pow, 2, 5) == 32
        with pytest.raises(ZeroDivisionError):
            await workers.run(divmod, 1, 0)
        workers.close()

    with none_left():
        run(both())


def test_no_more_threads_than_allowed_work_at_once() -> None:
    most, now, lock = [0], [0], threading.Lock()
    together = threading.Barrier(3)

    def work() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait(10.0)
        with lock:
            now[0] -= 1

    async def many() -> None:
        workers = Workers(3)
        await asyncio.gather(*(workers.run(work) for _ in range(9)))
        workers.close()

    with none_left():
        run(many())
    assert most == [3]


def test_a_job_that_goes_on_does_not_keep_its_caller() -> None:
    begun, release = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait(10.0)

    async def cancelled() -> None:
        workers = Workers(1)
        waiting = asyncio.create_task(workers.run(work))
        while not begun.is_set():
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        workers.close()

    with none_left():
        run(cancelled())
        assert not release.is_set(), "the event loop has ended, the job has not"
        release.set()


def test_the_first_thread_that_cannot_be_started_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def first() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            await Workers().run(pow, 2, 2)

    run(first())
