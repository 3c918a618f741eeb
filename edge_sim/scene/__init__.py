"""Scene: the light regime of a look, and whether it can be decided on at all."""

from __future__ import annotations

from edge_sim.conditions import CONDITIONS, ConditionTracker, condition_of
from edge_sim.scene.alignment import View
from edge_sim.scene.impediments import Limits, impediment_of, limits_of
from edge_sim.scene.monitor import SceneMonitor

__all__ = [
    "CONDITIONS",
    "ConditionTracker",
    "Limits",
    "SceneMonitor",
    "View",
    "condition_of",
    "impediment_of",
    "limits_of",
]
