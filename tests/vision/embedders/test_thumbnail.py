"""The baseline without a model."""

from __future__ import annotations

import numpy as np

from edge_sim.vision.embedders.thumbnail import ThumbnailEmbedder


def test_brightness_alone_hardly_counts() -> None:
    levels = np.random.default_rng(0).integers(60, 120, (16, 16), dtype=np.uint8)
    dark = np.repeat(levels[:, :, None], 3, axis=2)
    embedder = ThumbnailEmbedder()
    assert embedder.embed(dark).vector @ embedder.embed(dark + 60).vector > 0.999


def test_cells_say_where_something_is() -> None:
    pixels = np.full((64, 64, 3), 100, np.uint8)
    changed = pixels.copy()
    changed[:16, 48:] = (0, 0, 255)
    embedder = ThumbnailEmbedder()
    before, after = embedder.embed(pixels).spatial, embedder.embed(changed).spatial
    assert before is not None
    assert after is not None
    assert before.shape == (4, 4, 18)
    distances = np.linalg.norm(after - before, axis=2)
    assert np.unravel_index(distances.argmax(), distances.shape) == (0, 3)
    colour = np.abs(after - before)[:, :, 16:].max(axis=2)
    assert (colour > 0.01).sum() == 1
