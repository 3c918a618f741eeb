"""Which state a scene is in at each frame: a seeded row of stays and short transitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_sim.sources.synthetic.pose import Pose
from edge_sim.sources.synthetic.scenes import TRANSITION, Scene

VARIANTS = 1000
"""Played frames use variants below this, references those from it on."""


@dataclass(frozen=True, slots=True)
class ScheduledPose:
    """What one frame shows: the true state, or `transition`, and the pose to draw."""

    state: str
    pose: Pose


def schedule(
    scene: Scene, *, seed: int, frames: int, fps: float, dwell_s: float
) -> tuple[ScheduledPose, ...]:
    """Return one moment per frame.

    A stay lasts 0.6 to 1.4 times `dwell_s`, at random. No change begins so late that less than
    the shortest stay would follow it: every change of the truth can be confirmed.
    """
    rng = np.random.default_rng([seed, 1])
    moves = max(2, round(scene.transition_s * fps))
    shortest = max(1, round(0.6 * dwell_s * fps))
    longest = max(shortest, round(1.4 * dwell_s * fps))
    level = int(rng.integers(0, 2))
    variant = int(rng.integers(0, VARIANTS))
    moments: list[ScheduledPose] = []
    while True:
        rest = ScheduledPose(scene.states[level], Pose(float(level), variant))
        stay = int(rng.integers(shortest, longest + 1))
        if len(moments) + stay + moves + shortest > frames:
            return tuple(moments + [rest] * (frames - len(moments)))
        level = 1 - level
        # What arrives is what then stays; what leaves is what stood there.
        arriving = int(rng.integers(0, VARIANTS))
        shown = arriving if level == 1 else variant
        moments += [rest] * stay + _passage(shown, moves, rising=level == 1)
        variant = arriving


def _passage(variant: int, moves: int, *, rising: bool) -> list[ScheduledPose]:
    moments = []
    for step in range(moves):
        passage = (step + 1) / (moves + 1)
        done = min(max((passage - 0.2) / 0.6, 0.0), 1.0)
        smooth = done * done * (3.0 - 2.0 * done)
        level = smooth if rising else 1.0 - smooth
        moments.append(ScheduledPose(TRANSITION, Pose(level, variant, passage, rising)))
    return moments
