"""What is kept of a picture. A reference is computed from exactly what is kept.

PNG, not JPEG: it decodes to the same pixels everywhere and for ever, so `reembed` and `verify`
reproduce a reference to the last bit, and the picture that was enrolled matches itself with a
cosine of 1. JPEG decoders differ by a grey level from one version and processor to the next.
"""

from __future__ import annotations

from datetime import datetime, timezone

import cv2

from edge_sim.domain import BgrImage, Reference
from edge_sim.imaging import halved
from edge_sim.pipeline import make_probe
from edge_sim.protocols import Embedder
from edge_sim.scene import condition_of

LEAST_SIDE_PX = 256
"""Regions are halved as long as no side falls below this: a PNG of 12 megapixels has 20 MB, and no
embedder in use looks at more than 224 pixels. The live path halves too, so that the reduced
region gives the same probe but for rounding."""


def as_stored(pixels: BgrImage) -> BgrImage:
    """Return what is kept of a region: itself, or halved until one side is below 512 px."""
    while min(pixels.shape[:2]) >= 2 * LEAST_SIDE_PX:
        pixels = halved(pixels, pixels.shape[0] // 2, pixels.shape[1] // 2)
    return pixels


def encoded_crop(stored: BgrImage) -> bytes:
    """Return pixels from `as_stored` as PNG bytes."""
    done, buffer = cv2.imencode(".png", stored)
    if not done:
        raise ValueError(f"OpenCV cannot encode a picture of shape {stored.shape} as PNG")
    return buffer.tobytes()


def reference_of(
    embedder: Embedder, pixels: BgrImage, reference_id: str, state: str, unix_time_s: float = 0.0
) -> Reference:
    """Return a reference that is in no gallery file, from the pixels of a region.

    Raises:
        ModelError: The embedder cannot embed them.
    """
    probe = make_probe(embedder, as_stored(pixels))
    return Reference(
        reference_id=reference_id,
        state=state,
        embedding=probe.embedding,
        thumbnail=probe.thumbnail,
        condition=condition_of(probe.quality),
        enrolled_at=datetime.fromtimestamp(unix_time_s, tz=timezone.utc),
    )
