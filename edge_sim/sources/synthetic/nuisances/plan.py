"""What every nuisance is made from: its own random numbers and the length of the clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_sim.domain import BgrImage

Effect = Callable[[BgrImage, int], BgrImage]
"""Returns the picture at that frame index with the nuisance on it; may change its argument."""

QUIET_S = 3.0
"""No passing nuisance begins earlier: a watch may settle first."""


@dataclass(frozen=True, slots=True)
class NuisancePlan:
    """The clip that a nuisance is planned for.

    Args:
        rng: Seeded for this nuisance alone, so that adding another one changes nothing here.
        frames: Length of the clip.
        fps: Frames per second of scene time.
    """

    rng: np.random.Generator
    frames: int
    fps: float

    def between(self, low: float, high: float) -> float:
        """Return a number in [low, high), the same on every machine."""
        return low + (high - low) * int(self.rng.integers(0, 1 << 20)) / (1 << 20)

    def spells(self, *, every_s: float, low_s: float, high_s: float) -> tuple[tuple[int, int], ...]:
        """Return (first, end) frames of spells of `low_s` to `high_s`, one in each `every_s`.

        There is at least one, however short the clip.
        """
        quiet = min(round(QUIET_S * self.fps), self.frames // 4)
        block = max(2, min(round(every_s * self.fps), self.frames - quiet))
        found = []
        for start in range(quiet, max(self.frames - block // 2, quiet + 1), block):
            length = max(2, round(self.between(low_s, high_s) * self.fps))
            room = max(1, min(block, self.frames - start) - length)
            first = start + int(self.rng.integers(0, room))
            found.append((first, min(first + length, self.frames)))
        return tuple(found)


def spell_at(spells: tuple[tuple[int, int], ...], index: int) -> tuple[int, int] | None:
    """Return the spell that holds frame `index`, or None."""
    for first, end in spells:
        if first <= index < end:
            return first, end
    return None
