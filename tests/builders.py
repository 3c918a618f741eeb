"""Small values for tests, each with a sensible default for everything."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

import numpy as np

from edge_sim.core.types import (
    BgrImage,
    Embedding,
    Frame,
    Match,
    Observation,
    Quality,
    Reference,
    Score,
    State,
    StateChange,
    StateScore,
    Threshold,
)
from edge_sim.errors import SourceError
from edge_sim.io.outbox.queue import OutboxCounts

GOOD_QUALITY = Quality(
    luma=120.0, contrast=45.0, sharpness=300.0, chroma=20.0, clipped_dark=0.0, clipped_bright=0.0
)
OUTBOX_COUNTS = OutboxCounts(
    waiting=2,
    waiting_bytes=900,
    unsaved=0,
    pending={"mqtt": 2},
    delivered={"mqtt": 5},
    dropped={("mqtt", "age"): 1},
    written_bytes=4096,
    written_bytes_last_day=4096,
    over_budget=False,
)


def flat_frame(
    level: int = 120,
    *,
    index: int = 0,
    at_s: float | None = None,
    shape: tuple[int, int] = (24, 32),
) -> Frame:
    """One grey frame, taken at `index` seconds unless said otherwise."""
    time_s = float(index) if at_s is None else at_s
    pixels = np.full((*shape, 3), level, np.uint8)
    return Frame(pixels, time_s, 1_700_000_000.0 + time_s, index, "fake")


def match(*states: tuple[str, float], cosine: float = 0.9) -> Match:
    """A match with these (state, probability) pairs, in this order."""
    return Match(
        tuple(
            StateScore(name, f"{name}-1", Score(cosine, 0.8, probability), probability)
            for name, probability in states
        )
    )


def observation(
    best: Match | None = None, *, index: int = 0, at_s: float | None = None
) -> Observation:
    """A look at good light."""
    time_s = float(index) if at_s is None else at_s
    return Observation(
        captured_at_s=time_s,
        unix_time_s=1_700_000_000.0 + time_s,
        frame_index=index,
        match=best,
        condition="day",
        impediment=None,
        quality=GOOD_QUALITY,
    )


def change(before: State | None, after: State, *, index: int = 7) -> StateChange:
    """A change decided by a clear match."""
    return StateChange(
        before=before,
        after=after,
        cause=observation(match(("open", 0.93), ("closed", 0.07)), index=index),
        thresholds={"open": Threshold(0.6, 0.5), "closed": Threshold(0.7, 0.55)},
        confidence=0.93,
    )


def embedding(*numbers: float, model_id: str = "fake@1") -> Embedding:
    """A unit vector in the direction of `numbers`."""
    vector = np.asarray(numbers, np.float32)
    return Embedding(vector / np.float32(np.linalg.norm(vector)), None, model_id)


def reference(reference_id: str, state: str, *numbers: float) -> Reference:
    """An enrolled vector."""
    return Reference(
        reference_id=reference_id,
        state=state,
        embedding=embedding(*numbers),
        thumbnail=np.full((96, 96), 120, np.uint8),
        condition="day",
        enrolled_at=datetime(2026, 1, 31, tzinfo=timezone.utc),
    )


class BrightnessEmbedder:
    """An embedder for tests: an angle that grows with the mean level of the region."""

    model_id = "brightness@1"
    dimension = 2
    input_px = 1

    def embed(self, pixels: BgrImage) -> Embedding:
        angle = float(pixels.mean()) / 255.0 * np.pi / 2.0
        vector = np.array([np.cos(angle), np.sin(angle)], np.float32)
        return Embedding(vector, None, self.model_id)


class ListSource:
    """A source that gives the frames and raises the errors in a list, then ends."""

    name = "fake"

    def __init__(self, items: Iterable[Frame | SourceError]) -> None:
        self._items = list(items)
        self.closed = False

    def read(self) -> Frame | None:
        if self.closed:
            raise SourceError("fake: closed")
        if not self._items:
            return None
        item = self._items.pop(0)
        if isinstance(item, SourceError):
            raise item
        return item

    def close(self) -> None:
        self.closed = True
