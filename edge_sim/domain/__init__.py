"""The values that cross the seams. Read this package first, in the order
`names`, `pictures`, `matches`, `decisions`, `notices`.

A frame is cropped to the region of each watch and turned into a probe; the scorer compares the
probe with the references of the watch's gallery and gives a match; the decider turns a row of
observations into state changes; what else is worth telling is a notice. Everything here is frozen
and validated once, at construction.
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
from edge_sim.domain.notices import (
    Drifted,
    EventDraft,
    ImplausibleTransition,
    Notice,
    Overdue,
    OverdueCleared,
    ProblemCleared,
    ProblemRaised,
    SceneProblem,
    TooLong,
    TooShort,
)
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
)

__all__ = [
    "FULL_FRAME",
    "THUMBNAIL_PX",
    "UNKNOWN",
    "BgrImage",
    "Doubt",
    "Drifted",
    "Embedding",
    "EventDraft",
    "FloatCells",
    "FloatMatrix",
    "FloatPlane",
    "FloatVector",
    "Frame",
    "GrayImage",
    "ImplausibleTransition",
    "Match",
    "Notice",
    "Observation",
    "Overdue",
    "OverdueCleared",
    "Probe",
    "ProblemCleared",
    "ProblemRaised",
    "Quality",
    "Reference",
    "Roi",
    "SceneProblem",
    "SceneReading",
    "Score",
    "State",
    "StateChange",
    "StateScore",
    "Threshold",
    "TooLong",
    "TooShort",
    "UnknownReason",
    "is_reserved",
]
