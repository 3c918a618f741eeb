"""Whether an embedder keeps what every embedder promises."""

from __future__ import annotations

import numpy as np

from edge_sim.embedders.tflite import TfliteEmbedder
from edge_sim.errors import ModelError


def red_to_blue_cosine(embedder: TfliteEmbedder) -> float:
    """Return the cosine, -1 to 1, of a red and a blue pattern after checking the embedder.

    Raises:
        ModelError: The model is not deterministic, or gives one answer for every picture.
    """
    path = embedder.model.path
    levels = np.random.default_rng(0).integers(0, 256, (96, 128), dtype=np.uint8)
    red = np.zeros((96, 128, 3), np.uint8)
    red[:, :, 2] = levels
    first, again = embedder.embed(red), embedder.embed(red)
    if not np.array_equal(first.vector, again.vector):
        raise ModelError(f"{path}: the model answers differently to the same picture")
    blue = embedder.embed(np.ascontiguousarray(red[:, :, ::-1]))
    if np.array_equal(first.vector, blue.vector):
        raise ModelError(f"{path}: the model answers the same to different pictures")
    return float(first.vector @ blue.vector)
