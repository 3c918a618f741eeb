"""Workers of a device: how many there are, and the embedders that they share."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable

from edge_sim.core.protocols import Embedder
from edge_sim.core.types import BgrImage, Embedding

MAX_WORKERS = 4
"""Most workers that `worker_count` chooses by itself: each holds a model, and Python runs one at a
time."""


class TimedEmbedder:
    """Embedder that reports the duration of each embedding."""

    def __init__(
        self, inner: Embedder, clock: Callable[[], float], on_done: Callable[[float], None]
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._on_done = on_done
        self.model_id = inner.model_id
        self.dimension = inner.dimension
        self.input_px = inner.input_px

    def embed(self, pixels: BgrImage) -> Embedding:
        """Return the embedding of `pixels`."""
        started_s = self._clock()
        embedding = self._inner.embed(pixels)
        self._on_done(self._clock() - started_s)
        return embedding


class SharedEmbedders:
    """Embedders of one model for as many threads; each is used by one thread at a time.

    Args:
        embedders: Embedders of the same model; at least one.
    """

    def __init__(self, embedders: list[Embedder]) -> None:
        self._idle: queue.SimpleQueue[Embedder] = queue.SimpleQueue()
        for embedder in embedders:
            self._idle.put(embedder)
        self.model_id = embedders[0].model_id
        self.dimension = embedders[0].dimension
        self.input_px = embedders[0].input_px

    def embed(self, pixels: BgrImage) -> Embedding:
        """Return the embedding of `pixels`, waiting for an idle embedder if there is none."""
        embedder = self._idle.get()
        try:
            return embedder.embed(pixels)
        finally:
            self._idle.put(embedder)


def worker_count(number: int, sources: int) -> int:
    """Return the number of workers for a device.

    Args:
        number: Configured number; 0 takes the cores that capture and delivery leave free.
        sources: Number of sources, the upper limit.
    """
    configured = number or min(MAX_WORKERS, len(os.sched_getaffinity(0)) - 1)
    return max(min(configured, sources), 1)
