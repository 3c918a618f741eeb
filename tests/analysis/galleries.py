"""Galleries in which light counts for more than the state, as on a real camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import Embedding, Reference
from edge_sim.gallery.gallery import Gallery
from tests.builders import reference

MODEL = "model@1"
DIMENSION = 24
GRID = (2, 2, 6)


def look(
    state: int, seed: int, *, signal: float = 0.6, cells: bool = True, model_id: str = MODEL
) -> Embedding:
    """A picture of state 0, 1 ...: one direction per state, and more of the light of the moment."""
    rng = np.random.default_rng([seed, 5])
    vector = rng.normal(0.0, 0.05, DIMENSION)
    vector[8:12] += rng.normal(0.0, 1.0, 4)
    vector[0] += 2.0
    vector[1 + state] += signal
    grid = rng.normal(0.0, 0.2, GRID)
    grid[..., 0] += 2.0
    grid[0, 0, 1 + state] += 2.0 * signal
    return Embedding(
        np.asarray(vector / np.linalg.norm(vector), np.float32),
        grid.astype(np.float32) if cells else None,
        model_id,
    )


def gallery_of(
    counts: tuple[int, ...] = (12, 12),
    *,
    seed: int = 0,
    signal: float = 0.6,
    cells: bool = True,
    shuffled: bool = False,
) -> Gallery:
    """References of states `s0`, `s1` ...; `shuffled` labels say nothing of the pictures."""
    states = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(seed).permutation(states) if shuffled else states
    return Gallery(
        _reference(
            number, int(state), look(int(true), 1000 * seed + number, signal=signal, cells=cells)
        )
        for number, (true, state) in enumerate(zip(states, labels, strict=True))
    )


def _reference(number: int, state: int, embedding: Embedding) -> Reference:
    return replace(reference(f"r{number}", f"s{state}", 1.0), embedding=embedding)


def stacked(looks: list[Embedding]) -> NDArray[np.float32]:
    """The global vectors as rows."""
    return np.stack([item.vector for item in looks])
