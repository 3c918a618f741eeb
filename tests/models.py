"""Models that a test makes: they have no card, and nobody has verified them."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.embedders.model_trial import record_verified

open_unverified = partial(open_embedder, verified_only=False)


def write_verified(path: Path, data: bytes) -> Path:
    """Write a model as `model verify` leaves it."""
    path.write_bytes(data)
    record_verified(path, hashlib.sha256(data).hexdigest())
    return path
