"""Scoring: how like the references of each state a probe is, and which state that makes it."""

from __future__ import annotations

from edge_sim.scoring.conflicts import Conflict, conflicts
from edge_sim.scoring.gallery_scorer import GalleryScorer, check_model
from edge_sim.scoring.structural import Structural, with_structure

__all__ = [
    "Conflict",
    "GalleryScorer",
    "Structural",
    "check_model",
    "conflicts",
    "with_structure",
]
