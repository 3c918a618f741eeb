"""Hypothesis strategies for the values of edge_sim. A new value type gets its strategy here."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edge_sim.core.types import THUMBNAIL_PX, Embedding, Reference
from edge_sim.gallery.records import Enrolled

DIMENSION = 6
GRID = (2, 2, 3)
MODEL = "model@1"

names = st.text("abcXYZ019_-", min_size=1, max_size=64).filter(
    lambda name: name.casefold() not in {"unknown", "none"}
)
"""Names that a watch, state or tag may have."""

free_text = st.text(st.characters(codec="utf-8"), max_size=30)
"""Any text, newlines and other scripts included."""

metadata = st.dictionaries(free_text, free_text, max_size=4)

times = st.integers(0, 4_000_000_000_000_000).map(
    lambda microseconds: (
        datetime.fromtimestamp(0, timezone.utc) + timedelta(microseconds=microseconds)
    )
)
"""Aware, UTC."""


def unit(vector: NDArray[np.float64]) -> NDArray[np.float32]:
    """The vector at length 1."""
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


unit_vectors = (
    arrays(np.float64, DIMENSION, elements=st.floats(-1.0, 1.0))
    .filter(lambda vector: np.linalg.norm(vector) > 1e-3)
    .map(unit)
)
"""(6,) float32 of unit length."""

cells = arrays(np.float32, GRID, elements=st.floats(-4.0, 4.0, width=32))


@st.composite
def embeddings(draw: st.DrawFn, *, model_id: str = MODEL) -> Embedding:
    """An embedding with a 2 x 2 grid."""
    return Embedding(draw(unit_vectors), draw(cells), model_id)


@st.composite
def thumbnails(draw: st.DrawFn) -> NDArray[np.uint8]:
    """A thumbnail, from a drawn seed: its pixels are not worth shrinking."""
    seed = draw(st.integers(0, 2**32 - 1))
    side = THUMBNAIL_PX
    return np.random.default_rng(seed).integers(0, 256, (side, side)).astype(np.uint8)


@st.composite
def enrolled(draw: st.DrawFn, *, state: st.SearchStrategy[str] = names) -> Enrolled:
    """A picture on its way into the gallery; its crop is no picture."""
    return Enrolled(
        state=draw(state),
        embedding=draw(embeddings()),
        thumbnail=draw(thumbnails()),
        crop=draw(st.binary(min_size=1, max_size=40)),
        condition=draw(st.sampled_from(["day", "dusk", "ir", "dark"])),
        enrolled_at=draw(times),
        metadata=draw(metadata),
    )


@st.composite
def references(draw: st.DrawFn, *, max_size: int = 8) -> list[Reference]:
    """References of one model with different ids."""
    count = draw(st.integers(0, max_size))
    thumbnail = np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    return [
        Reference(
            reference_id=f"r{number}",
            state=draw(st.sampled_from(["open", "closed", "ajar"])),
            embedding=draw(embeddings()),
            thumbnail=thumbnail,
            condition="day",
            enrolled_at=datetime(2026, 1, 31, tzinfo=timezone.utc),
        )
        for number in range(count)
    ]
