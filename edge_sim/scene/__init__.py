"""Scene: the light regime of a look, and whether it can be decided on at all."""

from __future__ import annotations

from edge_sim.conditions import CONDITIONS, ConditionTracker, condition_of
from edge_sim.scene.alignment import SMALL_SHIFT, SceneView
from edge_sim.scene.impediments import ImageLimits, crispness_of, impediment_of, limits_of
from edge_sim.scene.monitor import SceneMonitor

__all__ = [
    "CONDITIONS",
    "SMALL_SHIFT",
    "ConditionTracker",
    "ImageLimits",
    "SceneMonitor",
    "SceneView",
    "condition_of",
    "crispness_of",
    "impediment_of",
    "limits_of",
]
