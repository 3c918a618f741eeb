"""Pictures for the gallery file, made from a number: the same number, the same picture."""

from __future__ import annotations

from datetime import datetime, timezone

import cv2
import numpy as np

from edge_sim.core.types import THUMBNAIL_PX, Embedding
from edge_sim.gallery.records import Enrolled

AT = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
MODEL = "model@1"


def picture(number: int, side_px: int = 16) -> bytes:
    """Noise as PNG."""
    pixels = np.random.default_rng(number).integers(0, 256, (side_px, side_px, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def embedding(number: int, *, model_id: str = MODEL, dimension: int = 8) -> Embedding:
    """A direction and a 2 x 2 grid."""
    generator = np.random.default_rng(number)
    vector = generator.normal(size=dimension)
    vector /= np.linalg.norm(vector)
    cells = generator.normal(size=(2, 2, 3)).astype(np.float32)
    return Embedding(vector.astype(np.float32), cells, model_id)


def enrolled(
    number: int, state: str = "open", *, model_id: str = MODEL, side_px: int = 16
) -> Enrolled:
    """A picture of a state."""
    generator = np.random.default_rng(number)
    return Enrolled(
        state=state,
        embedding=embedding(number, model_id=model_id),
        thumbnail=generator.integers(0, 256, (THUMBNAIL_PX, THUMBNAIL_PX), np.uint8),
        crop=picture(number, side_px),
        condition="day",
        enrolled_at=AT,
        metadata={"number": str(number)},
    )
