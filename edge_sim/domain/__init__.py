"""The values that cross the seams. Read this package first, in the order
`names`, `pictures`, `matches`, `decisions`.

A frame is cropped to the region of each watch and turned into a probe; the scorer compares the
probe with the references of the watch's gallery and gives a match; the decider turns a row of
observations into state changes. Everything here is frozen and validated once, at construction.
"""

from __future__ import annotations

from edge_sim.domain.decisions import (
    Doubt,
    Observation,
    SceneReading,
    State,
    StateChange,
)
from edge_sim.domain.matches import Match, Score, StateScore, Threshold
from edge_sim.domain.names import UNKNOWN, UnknownReason, is_reserved
from edge_sim.domain.pictures import (
    FULL_FRAME,
    THUMBNAIL_PX,
    BgrImage,
    Embedding,
    FloatCells,
    FloatMatrix,
    FloatPlane,
    FloatVector,
    Frame,
    GrayImage,
    Probe,
    Quality,
    Reference,
    Roi,
    check_picture,
    pixels_hint,
)

__all__ = [
    "FULL_FRAME",
    "THUMBNAIL_PX",
    "UNKNOWN",
    "BgrImage",
    "Doubt",
    "Embedding",
    "FloatCells",
    "FloatMatrix",
    "FloatPlane",
    "FloatVector",
    "Frame",
    "GrayImage",
    "Match",
    "Observation",
    "Probe",
    "Quality",
    "Reference",
    "Roi",
    "SceneReading",
    "Score",
    "State",
    "StateChange",
    "StateScore",
    "Threshold",
    "UnknownReason",
    "check_picture",
    "is_reserved",
    "pixels_hint",
]
