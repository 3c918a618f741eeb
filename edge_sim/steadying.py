"""A camera that was knocked a little: its region follows, so that the references fit again.

A shift of 2 % of the region's side costs 3 points of accuracy, 7 % cost 6 (ten data sets, five
references): the embedding's cells and the views of the thumbnail say what is seen where.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from edge_sim.domain import Probe, Reference
from edge_sim.quantiles import median
from edge_sim.scene import SMALL_SHIFT, SceneView
from edge_sim.sight import Region

EVERY_S = 5.0
"""Scene time between two estimates: a knock stays, so there is no hurry."""
_ESTIMATES = 9
_AGREEING = 7
_WITHIN_PX = 0.75
_LEAST_PX = 1.0  # of 96; below, a shift costs less than estimates are worth


class RegionStabilizer:
    """Moves a region after a picture that was shifted as a whole.

    Every 5 seconds the shift against the references is estimated by phase correlation
    (`scene.SceneView.shift_of`). If seven of nine estimates agree to 0.75 thumbnail pixels on at
    least one, the region moves by their median, by a tenth of its side from home at most. A thing
    that moves in the scene shifts only a part of the picture, and is not followed.

    Args:
        references: Pictures of the region at home; without any nothing moves.
    """

    def __init__(self, references: Iterable[Reference]) -> None:
        self._view = SceneView([item.thumbnail for item in references])
        self._shifts: deque[tuple[float, float]] = deque(maxlen=_ESTIMATES)
        self._last_s: float | None = None

    def follow(self, probe: Probe, home: Region, region: Region) -> Region:
        """Return where to look from now on: `region`, or another one not far from `home`.

        Args:
            probe: Of the look at `region` that was just taken.
            home: As configured.
            region: That the probe was taken of.
        """
        if self._last_s is not None and 0.0 <= probe.captured_at_s - self._last_s < EVERY_S:
            return region
        self._last_s = probe.captured_at_s
        self._shifts.append(self._view.shift_of(probe.thumbnail))
        agreed = self._agreed()
        if agreed is None:
            return region
        self._shifts.clear()
        side = probe.thumbnail.shape[0]
        before = region.aside_of(home)
        x, y = (
            min(max(so_far + more / side, -SMALL_SHIFT), SMALL_SHIFT)
            for so_far, more in zip(before, agreed, strict=True)
        )
        return home.moved(x, y)

    def _agreed(self) -> tuple[float, float] | None:
        """Return the shift that the estimates agree on, thumbnail pixels; None if they do not."""
        if len(self._shifts) < _ESTIMATES:
            return None
        shifts = np.array(self._shifts)
        middle = np.array([median(column) for column in shifts.T])
        near = np.abs(shifts - middle).max(axis=1) <= _WITHIN_PX
        if near.sum() < _AGREEING or np.abs(middle).max() < _LEAST_PX:
            return None
        return float(middle[0]), float(middle[1])
