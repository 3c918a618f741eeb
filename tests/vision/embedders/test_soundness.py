"""An embedder that breaks a promise is rejected."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_sim.core.types import BgrImage, Embedding
from edge_sim.errors import ModelError
from edge_sim.vision.embedders.model_import import red_to_blue_cosine


class Fickle:
    """Answers with the next vector, whatever it sees."""

    model = SimpleNamespace(path=Path("fickle.tflite"))

    def __init__(self, *vectors: tuple[float, float]) -> None:
        self._vectors = iter(vectors)

    def embed(self, pixels: BgrImage) -> Embedding:
        return Embedding(np.array(next(self._vectors), np.float32), None, "fickle@1")


def cosine(*vectors: tuple[float, float]) -> float:
    embedder: Any = Fickle(*vectors)
    return red_to_blue_cosine(embedder)


def test_two_answers_to_one_picture_are_refused() -> None:
    with pytest.raises(
        ModelError, match=r"fickle\.tflite: .*different outputs for the same picture"
    ):
        cosine((1.0, 0.0), (0.0, 1.0))


def test_one_answer_to_two_pictures_is_refused() -> None:
    with pytest.raises(ModelError, match="the same output for different pictures"):
        cosine((1.0, 0.0), (1.0, 0.0), (1.0, 0.0))


def test_a_sound_embedder_has_its_cosine() -> None:
    assert cosine((1.0, 0.0), (1.0, 0.0), (0.6, 0.8)) == pytest.approx(0.6)
