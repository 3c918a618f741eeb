"""Vectors of a collection: the protocol of the stores, its values, and the choice by address.

A vector belongs to one event of one device and to the model that made it. Those of two models are
never compared: each model has a table or a collection of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from edge_sim.core.events import unix_time_s
from edge_sim.core.types import FloatVector
from edge_sim.core.vectors import normalised
from edge_sim.errors import VectorError

MOST_DIMENSIONS = 4000
"""Length of the longest vector: pgvector's index of half-precision vectors takes no longer ones."""
MOST_FOUND = 1000
MOST_MODELS = 100
"""Models of a collection: each has tables and indexes of its own."""
MOST_MODELS_OF_DEVICE = 16
"""Models of one device beyond which its vectors make no new one: one that errs must not take all of
`MOST_MODELS`, and one that gets a new model now and then has years."""


@dataclass(frozen=True, slots=True, eq=False)
class CollectedVector:
    """Embedding of the picture of one event.

    Args:
        site: Site.
        device: Device.
        id: Id of the event.
        at: Time of the event, as `utc_text` writes it.
        model: Id of the model.
        vector: (D,) float, any length but 0; stored with length 1, in half precision.
        watch: Name of the watch.
        state: State after the event.
    """

    site: str
    device: str
    id: str
    at: str
    model: str
    vector: FloatVector
    watch: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class VectorFilter:
    """Conditions that all hold for a vector that is found; None lets everything through.

    Args:
        site: Site.
        device: Device.
        watch: Name of the watch.
        state: State.
        since: Earliest time, as `utc_text` writes it.
        until: Time before which the event was.

    Raises:
        VectorError: A time is none.
    """

    site: str | None = None
    device: str | None = None
    watch: str | None = None
    state: str | None = None
    since: str | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        for text in (self.since, self.until):
            if text is not None:
                _check_time(text)

    @property
    def equal(self) -> Mapping[str, str]:
        """Values of `site`, `device`, `watch` and `state` that are given, by name."""
        names = [item.name for item in fields(self) if item.name not in ("since", "until")]
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


def _check_time(text: str) -> None:
    try:
        unix_time_s(text)
    except (ValueError, OverflowError):
        raise VectorError(f"{text[:40]!r} is no time: write 2026-01-31") from None


@dataclass(frozen=True, slots=True)
class FoundVector:
    """Event whose picture is like a query; `score` is the cosine, -1 to 1."""

    site: str
    device: str
    id: str
    at: str
    watch: str
    state: str
    score: float


@dataclass(frozen=True, slots=True)
class CollectedModel:
    """Model with vectors in a collection.

    Args:
        model: Id of the model.
        dimension: Length of its vectors.
        vectors: Number of them; None where the store has not counted them yet.
    """

    model: str
    dimension: int
    vectors: int | None


class VectorCollection(Protocol):
    """Store of vectors; used from one thread at a time.

    Every method raises `CollectionError` where the store cannot be reached or refuses.
    """

    def add(self, rows: Sequence[CollectedVector]) -> None:
        """Add vectors; one that is there already, by site, device and id, stays as it is.

        All of them are stored when this returns, or it raises.

        Raises:
            VectorError: A vector has no direction, or another length than those of its model.
        """

    def search(
        self, model: str, vector: FloatVector, k: int = 10, where: VectorFilter | None = None
    ) -> list[FoundVector]:
        """Return the k most similar, the best first; fewer only if fewer pass the filter.

        Args:
            model: Id of the model that made `vector`.
            vector: (D,) float.
            k: 1 to `MOST_FOUND`.
            where: Conditions.

        Raises:
            VectorError: There is no such model, or the query is not valid.
        """

    def vector(self, model: str, site: str, device: str, name: str) -> FloatVector | None:
        """Return the vector of an event, (D,) float32 of length 1; None if there is none.

        Raises:
            CollectionError: There is no such model.
        """

    def models(self) -> list[CollectedModel]:
        """Return the models, in the order of their ids."""

    def forget(self, site: str, before: str) -> None:
        """Delete the vectors of a site of events before a time."""

    def close(self) -> None:
        """Close the connection. Safe to call twice."""


def checked_rows(rows: Sequence[CollectedVector]) -> dict[str, list[CollectedVector]]:
    """Return vectors with length 1, by model, each event once.

    Raises:
        VectorError: A vector cannot be stored.
    """
    found: dict[str, dict[tuple[str, str, str], CollectedVector]] = {}
    for row in rows:
        unit = _unit(row.vector, f"{row.site}/{row.device}, event {row.id}")
        model = found.setdefault(row.model, {})
        known = next(iter(model.values()), None)
        if known is not None and known.vector.size != unit.size:
            raise VectorError(wrong_length(row.model, unit.size, known.vector.size))
        model.setdefault(
            (row.site, row.device, row.id),
            CollectedVector(
                row.site, row.device, row.id, row.at, row.model, unit, row.watch, row.state
            ),
        )
    return {model: list(kept.values()) for model, kept in found.items()}


def check_new_model(row: CollectedVector, models: int, of_device: int) -> None:
    """Raise `VectorError` unless a collection takes a model that it does not know.

    Args:
        row: First vector of the model.
        models: Number of models of the collection.
        of_device: Number of those with vectors of the same device.
    """
    if of_device >= MOST_MODELS_OF_DEVICE:
        raise VectorError(
            f"{row.site}/{row.device}: a device has vectors of at most "
            f"{MOST_MODELS_OF_DEVICE} models"
        )
    if models >= MOST_MODELS:
        raise VectorError(f"a collection has vectors of at most {MOST_MODELS} models")


def checked_query(
    model: str, vector: FloatVector, k: int, models: Sequence[CollectedModel]
) -> FloatVector:
    """Return a query with length 1.

    Raises:
        VectorError: It does not fit.
    """
    if not 1 <= k <= MOST_FOUND:
        raise VectorError(f"1 to {MOST_FOUND} can be found at once, not {k}")
    size = check_model(model, models)
    unit = _unit(vector, "the query")
    if unit.size != size:
        raise VectorError(wrong_length(model, unit.size, size))
    return unit


def check_model(model: str, models: Sequence[CollectedModel]) -> int:
    """Return the length of the vectors of a model.

    Raises:
        VectorError: There is no such model.
    """
    known = {item.model: item.dimension for item in models}
    if model not in known:
        names = ", ".join(known) or "none"
        raise VectorError(f"the collection has no vectors of model {model} (known: {names})")
    return known[model]


def wrong_length(model: str, given: int, known: int) -> str:
    """Return the message about a vector that is not of its model."""
    return f"a vector of {given} numbers is none of model {model}: its vectors have {known}"


def _unit(vector: FloatVector, name: str) -> FloatVector:
    plain = np.asarray(vector, np.float32)
    length = float(np.linalg.norm(plain.astype(np.float64)))
    if plain.ndim != 1 or not 1 <= plain.size <= MOST_DIMENSIONS:
        raise VectorError(f"{name}: a vector has 1 to {MOST_DIMENSIONS} numbers in a row")
    if not math.isfinite(length) or length == 0.0:
        raise VectorError(f"{name}: the vector has no direction")
    return np.asarray(normalised(plain[None])[0], np.float32)
