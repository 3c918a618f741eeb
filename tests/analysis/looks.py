"""References on a circle: the angle is what they show, so that distances are known by heart."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np

from edge_sim.core.types import Embedding, Match, Reference, Score, StateScore
from edge_sim.gallery.gallery import Gallery


def look(
    reference_id: str, state: str, degrees: float, *, condition: str = "day", seed: int = 1
) -> Reference:
    """A reference whose embedding is a direction; looks of one seed have equal thumbnails."""
    angle = np.radians(degrees)
    vector = np.array([np.cos(angle), np.sin(angle), 0.0], np.float32)
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12), np.uint8)
    return Reference(
        reference_id=reference_id,
        state=state,
        embedding=Embedding(vector / np.linalg.norm(vector), None, "fake@1"),
        thumbnail=noise.repeat(8, axis=0).repeat(8, axis=1),
        condition=condition,
        enrolled_at=datetime(2026, 1, 31, tzinfo=timezone.utc),
    )


def answers(gallery: Gallery, **odds: float) -> list[Match | None]:
    """Leave-one-out answers: the own state with 0.95, or as `odds` say by id."""
    left_out: list[Match | None] = []
    for item in gallery.references:
        own = odds.get(item.reference_id, 0.95)
        others = [state for state in gallery.states if state != item.state]
        rows = [(item.state, own), *((state, (1.0 - own) / len(others)) for state in others)]
        rows.sort(key=lambda row: -row[1])
        left_out.append(
            Match(tuple(StateScore(name, "x", Score(0.9, None, p), p) for name, p in rows))
        )
    return left_out
