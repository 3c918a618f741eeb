"""Public names of `edge_sim.core.protocols`: the interfaces between the parts."""

from __future__ import annotations

from edge_sim.core.events import Event, EventDraft
from edge_sim.core.protocols import (
    Decider,
    DualEncoder,
    Embedder,
    EventSink,
    Follower,
    FrameSource,
    Index,
    Monitor,
    Scorer,
)
from edge_sim.core.ranking import Neighbours
from edge_sim.core.types import (
    BgrImage,
    Embedding,
    FloatVector,
    Frame,
    Match,
    Observation,
    Probe,
    SceneReading,
    State,
    StateChange,
    Threshold,
)

__all__ = [
    "BgrImage",
    "Decider",
    "DualEncoder",
    "Embedder",
    "Embedding",
    "Event",
    "EventDraft",
    "EventSink",
    "FloatVector",
    "Follower",
    "Frame",
    "FrameSource",
    "Index",
    "Match",
    "Monitor",
    "Neighbours",
    "Observation",
    "Probe",
    "SceneReading",
    "Scorer",
    "State",
    "StateChange",
    "Threshold",
]
