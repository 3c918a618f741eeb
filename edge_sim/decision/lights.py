"""In which light a state was taught: in another one its word is weak."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.light import DAY, DUSK, IR

Lights = Mapping[str, tuple[float, float]]
"""Condition -> least and greatest mean grey level of the references of one state in it."""
_NEAR = 1.4
"""Day and dusk are one light, less and more of it: within this factor of a taught level it is the
taught one, whatever it is called."""


def lights_of(gallery: Gallery) -> dict[str, Lights]:
    """Return the lights in which each state has references."""
    lumas: dict[str, dict[str, list[float]]] = {state: {} for state in gallery.states}
    for item in gallery.references:
        level = float(np.mean(item.thumbnail))
        lumas[item.state].setdefault(item.condition, []).append(level)
    return {
        state: {light: (min(levels), max(levels)) for light, levels in known.items()}
        for state, known in lumas.items()
    }


def share_light(a: Lights, b: Lights) -> bool:
    """Return whether two states were taught in one light, and about equally bright in it."""
    return any(
        a[light][0] <= b[light][1] * _NEAR and b[light][0] <= a[light][1] * _NEAR
        for light in a.keys() & b.keys()
    )


def is_level_taught(lights: Lights, condition: str, luma: float) -> bool:
    """Return whether references of a state in this light, or in its daylight, are about as bright.

    Where no lights are known every level counts as taught.
    """
    alike = [
        levels
        for light, levels in lights.items()
        if light == condition or {light, condition} <= {DAY, DUSK}
    ]
    return not lights or any(low / _NEAR <= luma <= high * _NEAR for low, high in alike)


def is_taught(lights: Lights, condition: str, luma: float) -> bool:
    """Return whether a state with these lights was taught in that of an observation.

    Where no lights are known every one counts as taught.
    """
    if not lights or condition in lights:
        return True
    if condition == IR and DUSK in lights:
        # The last light of dusk has no colour left; an infrared lamp would be brighter.
        darkest = lights[DUSK][0]
        return darkest / _NEAR <= luma <= darkest
    if condition not in (DAY, DUSK):
        return False
    coloured = [levels for light, levels in lights.items() if light in (DAY, DUSK)]
    return any(low / _NEAR <= luma <= high * _NEAR for low, high in coloured)
