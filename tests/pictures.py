"""Pictures for tests of folders: structured, different from each other, small."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_sim.core.types import BgrImage


def picture(seed: int, *, width: int = 160, height: int = 120) -> BgrImage:
    """A picture of blobs, boxes and texture in places of its own."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), rng.integers(60, 180, 3), np.uint8)
    for _ in range(40):
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        at = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        if rng.random() < 0.5:
            cv2.circle(pixels, at, int(rng.integers(3, height // 5)), colour, -1)
        else:
            size = rng.integers(4, height // 3, 2)
            cv2.rectangle(pixels, at, (at[0] + int(size[0]), at[1] + int(size[1])), colour, -1)
    noise = rng.normal(0, 3, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def write(path: Path, pixels: BgrImage) -> Path:
    """Write a picture, PNG or JPEG by its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, pixels)
    assert done
    path.write_bytes(data.tobytes())
    return path
