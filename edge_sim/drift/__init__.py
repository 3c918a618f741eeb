"""Drift: whether scores in use still lie where the gallery says that they lie.

Two readings per state and condition. The population stability index compares the distribution with
that of the references, each left out of the gallery; Page-Hinkley finds when the mean began to
move. Feed looks some minutes apart: neighbours in a video are one look, not many.

    drift = ScoreDrift(baselines_of(gallery, GalleryScorer(gallery).leave_one_out()))
    reading = drift.observe("food", "day", 0.71)  # not None at the moment it begins to drift
"""

from __future__ import annotations

from edge_sim.drift.follower import EVERY_S, LEAST_FALL, DriftFollower, DriftMemory
from edge_sim.drift.following import (
    LEAST_BASELINE,
    LEAST_LOOKS,
    DriftReading,
    DriftSnapshot,
    Key,
    ScoreDrift,
    TrackSnapshot,
    baselines_of,
)
from edge_sim.drift.measures import (
    ALARM,
    LEAST_SHARE,
    NOTABLE_PSI,
    TOLERANCE,
    Baseline,
    PageHinkley,
    baseline_of,
    counted,
    psi,
    psi_limit,
)

__all__ = [
    "ALARM",
    "EVERY_S",
    "LEAST_BASELINE",
    "LEAST_FALL",
    "LEAST_LOOKS",
    "LEAST_SHARE",
    "NOTABLE_PSI",
    "TOLERANCE",
    "Baseline",
    "DriftFollower",
    "DriftMemory",
    "DriftReading",
    "DriftSnapshot",
    "Key",
    "PageHinkley",
    "ScoreDrift",
    "TrackSnapshot",
    "baseline_of",
    "baselines_of",
    "counted",
    "psi",
    "psi_limit",
]
