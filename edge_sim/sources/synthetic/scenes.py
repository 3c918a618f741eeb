"""The drawn scenes: their names, states and how long they take to change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_sim.domain import BgrImage, Roi
from edge_sim.sources.synthetic.bowl import draw_bowl
from edge_sim.sources.synthetic.gate import draw_gate
from edge_sim.sources.synthetic.lamp import draw_lamp
from edge_sim.sources.synthetic.parking import draw_parking
from edge_sim.sources.synthetic.pose import Pose

TRANSITION = "transition"
"""Truth of a frame in which the scene is moving from one state to the other."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One drawn scene.

    Args:
        states: At level 0 and at level 1.
        roi: The region worth watching.
        transition_s: How long a change takes, seconds.
        draw: Returns a fresh (480, 640, 3) picture of a pose.
    """

    states: tuple[str, str]
    roi: Roi
    transition_s: float
    draw: Callable[[Pose], BgrImage]


SCENES: Mapping[str, Scene] = {
    "bowl": Scene(("empty", "food"), Roi(0.24, 0.32, 0.80, 0.90), 3.0, draw_bowl),
    "gate": Scene(("closed", "open"), Roi(0.20, 0.30, 0.80, 0.82), 2.4, draw_gate),
    "lamp": Scene(("off", "on"), Roi(0.52, 0.20, 0.82, 0.60), 0.4, draw_lamp),
    "parking": Scene(("free", "taken"), Roi(0.34, 0.16, 0.67, 0.82), 2.0, draw_parking),
}


def render(scene: str, state: str, variant: int = 0) -> BgrImage:
    """Return a fresh, clean (480, 640, 3) picture of a scene in a state.

    Raises:
        KeyError: There is no such scene.
        ValueError: The scene has no such state.
    """
    drawn = SCENES[scene]
    return drawn.draw(Pose(level=float(drawn.states.index(state)), variant=variant))
