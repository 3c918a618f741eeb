"""Who does the looking: the worker's own thread, or several, each with one source at a time."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from edge_sim.domain import BgrImage, Embedding
from edge_sim.loop import Step
from edge_sim.protocols import Embedder

MOST = 4
"""Hands that `spare_hands` gives at most: each holds a model, and Python lets one run at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """What a hand brought back: a step or the error instead, and the seconds that it took."""

    source: str
    step: Step | None
    error: Exception | None
    took_s: float


class Hands(Protocol):
    """Does steps; `start` and `finished` are called from one thread."""

    @property
    def free(self) -> int:
        """How many steps can be started now."""

    def start(self, source: str, step: Callable[[], Step]) -> None:
        """Begin a step, or do it at once."""

    def finished(self) -> Done | None:
        """Return the next step that is done; None if none is."""

    def close(self) -> None:
        """Let the threads go. Safe to call twice."""


class OwnHand:
    """The calling thread itself: what is started is done when `start` returns."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._done: Done | None = None

    @property
    def free(self) -> int:
        """One, until what was done is fetched."""
        return int(self._done is None)

    def start(self, source: str, step: Callable[[], Step]) -> None:
        """Do a step."""
        self._done = _done(source, step, self._clock)

    def finished(self) -> Done | None:
        """Return the step that was done."""
        done, self._done = self._done, None
        return done

    def close(self) -> None:
        """Nothing is to be let go."""


class ManyHands:
    """Threads that look at several sources at once.

    Args:
        number: Of threads.
        clock: Monotonic seconds.
        ring: Called, from any thread, when a step is done; must return at once.
    """

    def __init__(
        self, number: int, *, clock: Callable[[], float], ring: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._ring = ring
        self.free = number
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(number, thread_name_prefix="worker")

    def start(self, source: str, step: Callable[[], Step]) -> None:
        """Begin a step in a thread."""
        self.free -= 1
        self._threads.submit(self._do, source, step)

    def finished(self) -> Done | None:
        """Return the next step that is done; None if none is."""
        try:
            done = self._done.get_nowait()
        except queue.Empty:
            return None
        self.free += 1
        return done

    def close(self) -> None:
        """Let the threads end after the steps at hand."""
        self._threads.shutdown(wait=False)

    def _do(self, source: str, step: Callable[[], Step]) -> None:
        self._done.put(_done(source, step, self._clock))
        self._ring()


class SharedEmbedders:
    """Several embedders of one model for as many threads; each is used by one at a time.

    Args:
        embedders: At least one, all of the same model.
    """

    def __init__(self, embedders: list[Embedder]) -> None:
        self._idle: queue.SimpleQueue[Embedder] = queue.SimpleQueue()
        for embedder in embedders:
            self._idle.put(embedder)
        self.model_id = embedders[0].model_id
        self.dimension = embedders[0].dimension
        self.input_px = embedders[0].input_px

    def embed(self, pixels: BgrImage) -> Embedding:
        """Return the embedding from whichever is idle, waiting for one if none is."""
        embedder = self._idle.get()
        try:
            return embedder.embed(pixels)
        finally:
            self._idle.put(embedder)


def hands_for(number: int, sources: int) -> int:
    """Return how many hands to use for so many sources.

    Args:
        number: Wished for; 0 takes what the cores leave beside capture and delivery.
        sources: Hands beyond their number would never have anything to do.
    """
    wished = number or min(MOST, len(os.sched_getaffinity(0)) - 1)
    return max(min(wished, sources), 1)


def _done(source: str, step: Callable[[], Step], clock: Callable[[], float]) -> Done:
    started_s = clock()
    try:
        return Done(source, step(), None, clock() - started_s)
    except Exception as error:  # noqa: BLE001 - raised again where the step is fetched
        return Done(source, None, error, clock() - started_s)
