"""The audit: how sure a gallery will be before it is used, and what to change about it.

left_out = GalleryScorer(gallery).leave_one_out()
print(audit(gallery, left_out, watch="bowl").next_picture)
"""

from __future__ import annotations

from edge_sim.audit.auditing import ANY, SUSPICIOUS, audit
from edge_sim.audit.findings import (
    Audit,
    CoverageCell,
    Gap,
    PairFinding,
    Redundant,
    Share,
    Suspect,
)
from edge_sim.audit.pruning import keepers

__all__ = [
    "ANY",
    "SUSPICIOUS",
    "Audit",
    "CoverageCell",
    "Gap",
    "PairFinding",
    "Redundant",
    "Share",
    "Suspect",
    "audit",
    "keepers",
]
