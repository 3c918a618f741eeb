"""What the cameras of a soak show, drawn once: every state, clean and in every kind of trouble."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

STATES = ("left", "right", "both")
SIDE_PX = 64
VARIANTS = 12
"""Noise of a picture; no two frames in a row are the same."""

Pixels = NDArray[np.uint8]


def picture(state: str, rng: np.random.Generator) -> Pixels:
    """Return (64, 64, 3) uint8: bright halves on a dark ground, with noise."""
    pixels = rng.integers(40, 60, (SIDE_PX, SIDE_PX, 3))
    if state in ("left", "both"):
        pixels[8:56, 6:26] += 120
    if state in ("right", "both"):
        pixels[8:56, 38:58, :2] += 120
    return pixels.astype(np.uint8)


def _bright(clean: Pixels) -> Pixels:
    return np.minimum(clean.astype(np.int64) * 4 + 90, 255).astype(np.uint8)


def _torn(clean: Pixels) -> Pixels:
    """The lower half did not arrive: decoders paint it grey."""
    torn = clean.copy()
    torn[SIDE_PX // 2 :] = 128
    return torn


def _noise(low: int, high: int) -> Callable[[Pixels], Pixels]:
    rng = np.random.default_rng(high)
    return lambda clean: rng.integers(low, high, clean.shape).astype(np.uint8)


_SPOILED: dict[str, Callable[[Pixels], Pixels]] = {
    "dark": lambda clean: (clean // 20).astype(np.uint8),
    "bright": _bright,
    "covered": _noise(90, 94),
    "moved": lambda clean: np.roll(clean, (17, 23), axis=(0, 1)),
    "dimmed": lambda clean: (clean * 0.6).astype(np.uint8),
    "torn": _torn,
    "garbage": _noise(0, 256),
    "resized": lambda clean: clean[::2, ::2].copy(),
}


def image_grid(seed: int) -> dict[tuple[str, str], tuple[Pixels, ...]]:
    """Return `VARIANTS` read-only pictures for every (trouble, state); the trouble "" is none."""
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, str], tuple[Pixels, ...]] = {}
    for state in STATES:
        clean = [picture(state, rng) for _ in range(VARIANTS)]
        found["", state] = tuple(clean)
        for trouble, spoiled in _SPOILED.items():
            found[trouble, state] = tuple(spoiled(pixels) for pixels in clean)
    for pictures in found.values():
        for pixels in pictures:
            pixels.flags.writeable = False
    return found
