"""What disturbs a camera without any change of state, alone or several together."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from edge_sim.domain import BgrImage
from edge_sim.sources.synthetic.nuisances.camera import bump, bump_large, noise, struck_at
from edge_sim.sources.synthetic.nuisances.light import (
    exposure,
    ir_night,
    light_drift,
    light_on,
    shadow,
)
from edge_sim.sources.synthetic.nuisances.passing import covered, hand, person
from edge_sim.sources.synthetic.nuisances.plan import Effect, NuisancePlan

NUISANCES: Mapping[str, Callable[[NuisancePlan], Effect]] = {
    "hand": hand,
    "person": person,
    "shadow": shadow,
    "light_drift": light_drift,
    "light_on": light_on,
    "ir": ir_night,
    "bump": bump,
    "bump_large": bump_large,
    "covered": covered,
    "exposure": exposure,
    "noise": noise,
}
"""In the order in which they act: the scene, its light, the view, the lens, the sensor."""


def compose(names: Iterable[str], *, seed: int, frames: int, fps: float) -> Effect:
    """Return the effect of several nuisances together; the order of `names` does not matter.

    Each draws from its own generator: one more nuisance leaves the others as they were.

    Raises:
        KeyError: There is no such nuisance.
    """
    wanted = frozenset(names)
    missing = wanted - NUISANCES.keys()
    if missing:
        raise KeyError(min(missing))
    effects = [
        make(_plan(name, seed=seed, frames=frames, fps=fps))
        for name, make in NUISANCES.items()
        if name in wanted
    ]

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        for effect in effects:
            pixels = effect(pixels, index)
        return pixels

    return apply


def view_lost_at(names: Iterable[str], *, seed: int, frames: int, fps: float) -> int | None:
    """Return the frame from which on the camera looks elsewhere, for good; None if it never does.

    Arguments as those of `compose`.
    """
    if bump_large.__name__ not in names:
        return None
    return struck_at(_plan(bump_large.__name__, seed=seed, frames=frames, fps=fps))


def _plan(name: str, *, seed: int, frames: int, fps: float) -> NuisancePlan:
    return NuisancePlan(np.random.default_rng([seed, zlib.crc32(name.encode())]), frames, fps)
