"""Vectors in Qdrant: one of its collections for each model, half precision."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from edge_sim.core.events import unix_time_s
from edge_sim.core.types import FloatVector
from edge_sim.errors import CollectionError, VectorError
from edge_sim.fleet.vectors import (
    CollectedModel,
    CollectedVector,
    FoundVector,
    VectorFilter,
    check_model,
    check_new_model,
    checked_query,
    checked_rows,
    wrong_length,
)
from edge_sim.secrets import register_secret

try:
    from qdrant_client import QdrantClient, models
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException
except ImportError as missing:
    raise CollectionError(
        "vectors in Qdrant need qdrant-client: pip install 'edge_sim[qdrant]'"
    ) from missing

PORT = 6333
SCHEMES = {"qdrant": "http", "qdrant+https": "https"}
_REGISTRY = "edge_sim_models"
_PAYLOAD = ("site", "device", "id", "watch", "state")
_BATCH = 1000
_TIMEOUT_S = 30


class QdrantVectors:
    """Vectors in the collections of a client whose names begin with `edge_sim_`.

    Args:
        client: Open client; closed by `close`.
        is_local: Whether it is Qdrant's in-process mode, which has no indexes.
    """

    def __init__(self, client: QdrantClient, *, is_local: bool = False) -> None:
        self._client = client
        self._is_local = is_local
        self._known: dict[str, int] = {}
        with _translated():
            if not client.collection_exists(_REGISTRY):
                self._make(_REGISTRY, 1)

    @classmethod
    def open(cls, address: str) -> QdrantVectors:
        """Return the vectors at an address, `qdrant://HOST:PORT`, with `qdrant+https` encrypted.

        A key is given as the password: `qdrant+https://:KEY@HOST`.

        Raises:
            CollectionError: There is no such server.
        """
        try:
            parts = urlsplit(address)
            port = parts.port or PORT
        except ValueError:
            parts, port = urlsplit(""), PORT
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise CollectionError(
                "an address of Qdrant is qdrant://HOST:PORT, or qdrant+https://HOST:PORT"
            )
        key = unquote(parts.password or "")
        register_secret(key)
        with _translated():
            client = QdrantClient(
                url=f"{SCHEMES[parts.scheme]}://{parts.hostname}:{port}",
                api_key=key or None,
                timeout=_TIMEOUT_S,
                check_compatibility=False,
            )
        try:
            return cls(client)
        except CollectionError:
            client.close()
            raise

    def close(self) -> None:
        """Close the client. Safe to call twice."""
        self._client.close()

    def add(self, rows: Sequence[CollectedVector]) -> None:
        """Add vectors, as `VectorCollection.add`.

        Raises:
            CollectionError: As there.
        """
        ready = checked_rows(rows)
        for model, kept in ready.items():
            name = self._collection(model, kept[0])
            for start in range(0, len(kept), _BATCH):
                self._add_some(name, kept[start : start + _BATCH])

    def _add_some(self, name: str, rows: Sequence[CollectedVector]) -> None:
        points = {_point_id(row): row for row in rows}
        with _translated():
            present = self._client.retrieve(
                name, list(points), with_payload=False, with_vectors=False
            )
            for item in present:
                points.pop(str(item.id), None)
            if points:
                self._client.upsert(name, [_point(key, row) for key, row in points.items()])

    def search(
        self, model: str, vector: FloatVector, k: int = 10, where: VectorFilter | None = None
    ) -> list[FoundVector]:
        """Return the most similar, as `VectorCollection.search`.

        Raises:
            CollectionError: As there.
        """
        unit = checked_query(model, vector, k, self.models())
        with _translated():
            answer = self._client.query_points(
                _name(model),
                query=unit.tolist(),
                query_filter=_condition(where),
                limit=k,
                with_payload=True,
            )
        return [_found(item.payload or {}, item.score) for item in answer.points]

    def vector(self, model: str, site: str, device: str, name: str) -> FloatVector | None:
        """Return the vector of an event, as `VectorCollection.vector`.

        Raises:
            CollectionError: As there.
        """
        check_model(model, self.models())
        with _translated():
            rows = self._client.retrieve(
                _name(model), [_uuid(site, device, name)], with_payload=False, with_vectors=True
            )
        return np.array(rows[0].vector, np.float32) if rows else None

    def models(self) -> list[CollectedModel]:
        """Return the models.

        Raises:
            CollectionError: The server cannot be reached.
        """
        found = []
        with _translated():
            rows, _ = self._client.scroll(_REGISTRY, limit=10_000, with_payload=True)
            for row in rows:
                model, size = str((row.payload or {})["model"]), int((row.payload or {})["size"])
                count = self._client.count(_name(model), exact=False).count
                found.append(CollectedModel(model, size, count))
        self._known = {item.model: item.dimension for item in found}
        return sorted(found, key=lambda item: item.model)

    def forget(self, site: str, before: str) -> None:
        """Delete the vectors of a site of events before a time.

        Raises:
            CollectionError: The server cannot be reached.
        """
        condition = _condition(VectorFilter(site=site, until=before))
        assert condition is not None
        for item in self.models():
            with _translated():
                self._client.delete(_name(item.model), models.FilterSelector(filter=condition))

    def _collection(self, model: str, first: CollectedVector) -> str:
        """Return the collection of a model, made if it is new.

        Raises:
            VectorError: Its vectors have another length.
        """
        name, size = _name(model), first.vector.size
        if model not in self._known:
            self.models()
        if model not in self._known:
            check_new_model(first, len(self._known), self._models_of(first.site, first.device))
            with _translated():
                if not self._client.collection_exists(name):
                    self._make(name, size)
                payload = {"model": model, "size": size}
                point = models.PointStruct(id=_uuid(model), vector=[1.0], payload=payload)
                self._client.upsert(_REGISTRY, [point])
            self._known[model] = size
        if self._known[model] != size:
            raise VectorError(wrong_length(model, size, self._known[model]))
        return name

    def _models_of(self, site: str, device: str) -> int:
        """Return the number of models with vectors of a device."""
        condition = _condition(VectorFilter(site=site, device=device))
        found = 0
        for model in self._known:
            with _translated():
                points, _ = self._client.scroll(
                    _name(model), condition, limit=1, with_payload=False
                )
            found += bool(points)
        return found

    def _make(self, name: str, size: int) -> None:
        self._client.create_collection(
            name,
            vectors_config=models.VectorParams(
                size=size, distance=models.Distance.COSINE, datatype=models.Datatype.FLOAT16
            ),
        )
        if self._is_local or name == _REGISTRY:
            return
        for key in _PAYLOAD:
            kind: Any = models.PayloadSchemaType.KEYWORD
            if key == "site":
                # Points of one site lie together: most searches are within one.
                kind = models.KeywordIndexParams(
                    type=models.KeywordIndexType.KEYWORD, is_tenant=True
                )
            self._client.create_payload_index(name, key, kind)
        self._client.create_payload_index(name, "at", models.PayloadSchemaType.DATETIME)


def _name(model: str) -> str:
    return f"edge_sim_{hashlib.sha256(model.encode()).hexdigest()[:24]}"


def _uuid(*parts: str) -> str:
    return str(uuid.UUID(bytes=hashlib.sha256("\0".join(parts).encode()).digest()[:16]))


def _point_id(row: CollectedVector) -> str:
    return _uuid(row.site, row.device, row.id)


def _point(key: str, row: CollectedVector) -> models.PointStruct:
    payload = {name: getattr(row, name) for name in (*_PAYLOAD, "at")}
    return models.PointStruct(id=key, vector=row.vector.tolist(), payload=payload)


def _condition(where: VectorFilter | None) -> models.Filter | None:
    if where is None:
        return None
    conditions: list[Any] = [
        models.FieldCondition(key=name, match=models.MatchValue(value=value))
        for name, value in where.equal.items()
    ]
    if where.since is not None or where.until is not None:
        span = models.DatetimeRange(gte=_moment(where.since), lt=_moment(where.until))
        conditions.append(models.FieldCondition(key="at", range=span))
    return models.Filter(must=conditions)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromtimestamp(unix_time_s(text), timezone.utc)


def _found(payload: dict[str, Any], score: float) -> FoundVector:
    values = {name: str(payload[name]) for name in (*_PAYLOAD, "at")}
    return FoundVector(**values, score=max(-1.0, min(1.0, score)))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ApiException, ResponseHandlingException, OSError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CollectionError(f"Qdrant: {reason}; check its address and that it runs") from error
