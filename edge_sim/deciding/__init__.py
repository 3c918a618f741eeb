"""Deciding: from a row of observations to state changes, with thresholds that adapt."""

from __future__ import annotations

from edge_sim.deciding.decider import AdaptiveDecider
from edge_sim.deciding.levels import (
    Drift,
    LearnedDrift,
    Level,
    Memory,
    drifts_of,
    learned,
    level_from,
    levels_of,
    threshold_of,
)
from edge_sim.deciding.lights import is_taught
from edge_sim.deciding.standing import DecisionState, Settings, Vote, agree, votes_needed

__all__ = [
    "AdaptiveDecider",
    "DecisionState",
    "Drift",
    "LearnedDrift",
    "Level",
    "Memory",
    "Settings",
    "Vote",
    "agree",
    "drifts_of",
    "is_taught",
    "learned",
    "level_from",
    "levels_of",
    "threshold_of",
    "votes_needed",
]
