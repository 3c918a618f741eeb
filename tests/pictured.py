"""Small drawn pictures of states, and an embedder that sees where things are."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import cv2
import numpy as np

from edge_sim.core.images import squash
from edge_sim.core.types import BgrImage, Embedding, Probe, Reference
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.probe import make_probe

SIDE_PX = 96
_PLACES = {"empty": None, "left": (24, 48), "right": (72, 48), "top": (48, 20)}


class CellsEmbedder:
    """Mean and gradient of each cell of a 4 x 4 grid; the global vector is all of them."""

    model_id = "cells@1"
    dimension = 64
    input_px = 64

    def embed(self, pixels: BgrImage) -> Embedding:
        small = squash(pixels, 64).astype(np.float32) / 255.0
        luma = small.mean(axis=2)
        planes = np.stack(
            [luma, np.abs(cv2.Sobel(luma, -1, 1, 0)), np.abs(cv2.Sobel(luma, -1, 0, 1)), 1 - luma]
        )
        cells = planes.reshape(4, 4, 16, 4, 16).mean(axis=(2, 4)).transpose(1, 2, 0)
        vector = cells.reshape(-1).astype(np.float32)
        vector /= np.linalg.norm(vector)
        return Embedding(vector, np.ascontiguousarray(cells, np.float32), self.model_id)


def picture(state: str, seed: int, *, gain: float = 1.0) -> BgrImage:
    """A textured wall, with a disc on it unless it is empty, in light of its own, with noise."""
    wall = np.random.default_rng(7).integers(60, 160, (12, 12, 3)).astype(np.uint8)
    pixels = cv2.resize(wall, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    rng = np.random.default_rng([seed, 11])
    place = _PLACES[state]
    if place is not None:
        x, y = (int(value + rng.integers(-2, 3)) for value in place)
        cv2.circle(pixels, (x, y), 15, (30.0, 220.0, 230.0), -1)
    pixels *= gain * rng.uniform(0.92, 1.08)
    pixels += rng.normal(0.0, 3.0, pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def probe(state: str, seed: int, *, gain: float = 1.0, at_s: float = 0.0) -> Probe:
    """A look at such a picture."""
    made = make_probe(CellsEmbedder(), picture(state, seed, gain=gain))
    return replace(made, captured_at_s=at_s, unix_time_s=1_700_000_000.0 + at_s)


def enrolled(
    state: str, seed: int, *, name: str | None = None, condition: str = "day"
) -> Reference:
    """Such a picture as a reference."""
    look = probe(state, seed)
    return Reference(
        reference_id=name or f"{state}-{seed}",
        state=state,
        embedding=look.embedding,
        thumbnail=look.thumbnail,
        condition=condition,
        enrolled_at=datetime(2026, 1, 31, tzinfo=timezone.utc),
    )


def gallery(count: int = 5, states: tuple[str, ...] = ("empty", "left", "right")) -> Gallery:
    """A gallery of `count` references per state."""
    return Gallery(
        enrolled(state, 100 * number + seed)
        for number, state in enumerate(states, start=1)
        for seed in range(count)
    )
