"""Pictures to enrol for a synthetic scene: like the played ones, never the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import BgrImage, Frame
from edge_sim.errors import ConfigError
from edge_sim.sources.synthetic.nuisances.light import infrared
from edge_sim.sources.synthetic.scenes import SCENES, render
from edge_sim.sources.synthetic.schedule import VARIANTS
from edge_sim.sources.synthetic.source import EPOCH_S
from edge_sim.sources.synthetic.spec import read_spec
from edge_sim.sources.synthetic.texture import to_u8

_SPACING_S = 600.0
# Steps that spread few values evenly whatever their number: the light of the references of a
# state must not happen to lean to one side, or light would tell states apart.
_GOLDEN = np.array((0.6180339887, 0.7548776662))


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
    light = rng.integers(0, 1 << 16, 2) / (1 << 16)
    frames = []
    for index in range(count):
        clean = render(spec.scene, state, first_variant + index)
        picture = _taken(clean, (light + index * _GOLDEN) % 1.0, rng)
        if "ir" in spec.nuisances and index % 2 == 1:
            picture = infrared(picture)
        at_s = (index - count) * _SPACING_S
        frames.append(Frame(picture, at_s, EPOCH_S + at_s, index, f"synthetic:{spec.scene}"))
    return tuple(frames)


def _taken(picture: BgrImage, light: NDArray[np.float64], rng: np.random.Generator) -> BgrImage:
    """Return the picture in light up to 12 % off, with noise of about 2 grey levels.

    `light` is the place of brightness and colour in their range, two numbers in 0 to 1.
    """
    gain = 0.88 + 0.24 * float(light[0])
    tilt = 0.12 * float(light[1]) - 0.06
    gains = np.array((gain * (1.0 - tilt), gain, gain * (1.0 + tilt)), np.float32)
    grain = rng.integers(-3, 4, picture.shape, dtype=np.int8)
    return to_u8(np.asarray(picture * gains + grain, np.float32))
