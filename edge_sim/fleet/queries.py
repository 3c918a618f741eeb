"""Queries to the vectors of a collection: a picture, words, a file of numbers, or a known event."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np

from edge_sim.core.files import read_bounded
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import BgrImage, Embedding, FloatVector
from edge_sim.errors import VectorError
from edge_sim.search.words import open_words
from edge_sim.vision.embedders import open_embedder

_MAX_BYTES = 1_000_000


class QueryEncoder:
    """Turns pictures and words into vectors of one model, opened when first needed; any thread.

    Args:
        model: A .tflite file, `default` or `thumbnail`.
    """

    def __init__(self, model: str = "default") -> None:
        self._model = model
        self._embedder: Embedder | None = None
        self._lock = threading.RLock()  # a model is used by one thread at a time

    @property
    def embedder(self) -> Embedder:
        """Open model.

        Raises:
            ModelError: It cannot be opened.
        """
        with self._lock:
            if self._embedder is None:
                self._embedder = open_embedder(self._model)
            return self._embedder

    def of_picture(self, pixels: BgrImage) -> Embedding:
        """Return the embedding of a picture, as a device makes it of a region.

        Raises:
            ModelError: The model cannot be opened, or cannot embed it.
        """
        with self._lock:
            return self.embedder.embed(pixels)

    def of_text(self, text: str) -> tuple[Embedding, list[str]]:
        """Return the embedding of words, and a line about each word that is not known.

        Raises:
            ModelError: The words are of another model.
            SearchError: No word is known.
        """
        query, unknown = open_words(self.embedder.model_id).query(text)
        return query.embedding, [str(word) for word in unknown]


def read_vector(path: Path) -> FloatVector:
    """Return the vector in a file: a list of numbers as JSON, or NumPy's .npy.

    Raises:
        VectorError: There is none in it.
    """
    try:
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        else:
            found = np.array(json.loads(read_bounded(path, _MAX_BYTES)), np.float32)
        plain = np.asarray(found, np.float32).ravel()
    except OSError as error:
        raise VectorError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, TypeError, EOFError, RecursionError) as error:
        raise VectorError(f"{path}: a vector is a JSON list of numbers, or .npy") from error
    return plain
