"""Pictures to enrol for a synthetic scene: like the played ones, never the same."""

from __future__ import annotations

import math

import numpy as np

from edge_sim.domain import BgrImage, Frame
from edge_sim.errors import ConfigError
from edge_sim.sources.synthetic.nuisances.light import infrared
from edge_sim.sources.synthetic.scenes import SCENES, render
from edge_sim.sources.synthetic.schedule import VARIANTS
from edge_sim.sources.synthetic.source import EPOCH_S
from edge_sim.sources.synthetic.spec import read_spec
from edge_sim.sources.synthetic.texture import to_u8

_SPACING_S = 600.0


def reference_frames(scene: str, state: str, count: int, *, seed: int = 0) -> tuple[Frame, ...]:
    """Return `count` frames of a scene in a state, as a user would take them on different days.

    Each shows another variant (heap, car) in somewhat different light with a little noise. If
    the uri has the nuisance `ir`, every second frame is an infrared one: who watches at night
    enrols at night. Times lie before those of the played clip, ten minutes apart.

    Args:
        scene: Name of the scene, or the uri of a clip.
        state: One of `scene_states(scene)`.
        count: How many frames.
        seed: Other seeds give other frames.

    Raises:
        ConfigError: There is no such scene or state.
    """
    spec = read_spec(scene)
    states = SCENES[spec.scene].states
    if state not in states:
        raise ConfigError(
            f"synthetic:{spec.scene}: no state named {state!r}; there are {', '.join(states)}"
        )
    rng = np.random.default_rng([seed, states.index(state), 2])
    first_variant = VARIANTS + int(rng.integers(0, VARIANTS))
    frames = []
    for index in range(count):
        picture = _taken(render(spec.scene, state, first_variant + index), rng)
        if "ir" in spec.nuisances and index % 2 == 1:
            picture = infrared(picture)
        at_s = (index - count) * _SPACING_S
        frames.append(Frame(picture, at_s, EPOCH_S + at_s, index, f"synthetic:{spec.scene}"))
    return tuple(frames)


def _taken(picture: BgrImage, rng: np.random.Generator) -> BgrImage:
    """Return the picture in light up to 12 % off, with noise of about 2 grey levels."""
    draws = rng.integers(0, 1 << 16, 2) / (1 << 16)
    gain = 0.88 + 0.24 * float(draws[0])
    tilt = 0.06 * math.cos(math.tau * float(draws[1]))
    gains = np.array((gain * (1.0 - tilt), gain, gain * (1.0 + tilt)), np.float32)
    grain = rng.integers(-3, 4, picture.shape, dtype=np.int8)
    return to_u8(np.asarray(picture * gains + grain, np.float32))
