"""Scenes drawn by the package's own code, with known truth: `synthetic:bowl?seed=3&frames=600`.

Settings after the `?`: `seed` (default 0), `frames` (600), `fps` (5, scene time), `dwell_s` (20,
mean stay in a state) and `nuisances`, a list with commas. The same uri gives the same bytes.
"""

from __future__ import annotations

from edge_sim.sources.synthetic.nuisances import NUISANCES
from edge_sim.sources.synthetic.references import reference_frames
from edge_sim.sources.synthetic.scenes import SCENES, TRANSITION, render
from edge_sim.sources.synthetic.source import (
    SyntheticSource,
    open_synthetic,
    scene_effect,
    scene_lost_at,
    scene_roi,
    scene_seed,
    scene_states,
    scene_truth,
)

__all__ = [
    "NUISANCES",
    "SCENES",
    "TRANSITION",
    "SyntheticSource",
    "open_synthetic",
    "reference_frames",
    "render",
    "scene_effect",
    "scene_lost_at",
    "scene_roi",
    "scene_seed",
    "scene_states",
    "scene_truth",
]
