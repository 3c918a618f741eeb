"""The default model answers as it did when it was exported, in the right colour order.

`tools/export_model.py` writes the model, its card and the golden answers together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.core.resources import default_model_path
from edge_sim.core.types import Embedding
from edge_sim.vision.embedders.tflite import TfliteEmbedder, open_tflite
from tests.conftest import REPOSITORY

Golden = Mapping[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def golden() -> Golden:
    with np.load(REPOSITORY / "tests" / "golden" / "embedder.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def embedder() -> TfliteEmbedder:
    return open_tflite(default_model_path())


def cosines(embedding: Embedding, golden: Golden) -> tuple[float, float]:
    """Return how like the golden answers an embedding is, global and spatial."""
    assert embedding.spatial is not None
    pairs = (embedding.vector, golden["global"]), (embedding.spatial, golden["spatial"])
    found = [
        float(a.ravel() @ b.ravel() / (np.linalg.norm(a) * np.linalg.norm(b))) for a, b in pairs
    ]
    return found[0], found[1]


def bgr(golden: Golden) -> NDArray[np.uint8]:
    """The golden picture is stored RGB, as the model takes it."""
    return np.ascontiguousarray(golden["picture"][:, :, ::-1]).astype(np.uint8)


def test_the_golden_answers_are_of_this_model(golden: Golden, embedder: TfliteEmbedder) -> None:
    assert str(golden["sha256"]) == embedder.model.sha256


def test_the_default_model_answers_as_recorded(golden: Golden, embedder: TfliteEmbedder) -> None:
    # Runtimes and processors round differently; the tolerance is a cosine distance.
    floor = 1.0 - float(golden["tolerance"])
    assert min(cosines(embedder.embed(bgr(golden)), golden)) > floor


def test_swapped_colours_are_further_away_than_the_tolerance(
    golden: Golden, embedder: TfliteEmbedder
) -> None:
    swapped = embedder.embed(np.ascontiguousarray(bgr(golden)[:, :, ::-1]))
    floor = 1.0 - float(golden["tolerance"])
    assert max(cosines(swapped, golden)) < floor


def test_the_default_model_keeps_its_contract(embedder: TfliteEmbedder) -> None:
    assert embedder.card is not None
    assert embedder.dimension == 256
    assert embedder.plan.order == "RGB"
    assert embedder.plan.picture.dtype == "uint8"
    assert embedder.plan.spatial is not None
    assert embedder.plan.spatial.shape[:3] == (1, 4, 4)
    assert embedder.model_id == f"edge_sim_small@{embedder.model.sha256[:12]}/p2"
    assert len(embedder.model.data) < 1_500_000
