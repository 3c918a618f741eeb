"""Drawn pictures: sharp, coloured, different from each other in the way that is asked for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_sim.core.types import BgrImage


def scene(
    layout: int, *, noise: int = 0, light: float = 1.0, shape: tuple[int, int] = (120, 160)
) -> BgrImage:
    """Boxes in places that follow from `layout`, over a textured ground; noise from its seed."""
    ground = np.random.default_rng(99).integers(60, 140, (30, 40, 3)).astype(np.uint8)
    drawn = cv2.resize(ground, (160, 120), interpolation=cv2.INTER_NEAREST)
    places = np.random.default_rng(layout)
    for _ in range(6):
        x, y = (int(places.integers(0, side - 30)) for side in (160, 120))
        drawn[y : y + 28, x : x + 28] = places.integers(0, 256, 3)
    pixels = cv2.resize(drawn, shape[::-1], interpolation=cv2.INTER_NEAREST)
    grain = np.random.default_rng(noise).normal(0.0, 2.0 if noise else 0.0, pixels.shape)
    return np.asarray(np.clip(pixels * light + grain, 0, 255), np.uint8)


def saved(folder: Path, name: str, pixels: BgrImage) -> str:
    """Write a picture and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    assert cv2.imwrite(str(path), pixels)
    return str(path)
