"""JSON API over a collection: devices, history, counts, pictures, and search across devices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, cast
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from edge_sim.core.events import utc_text
from edge_sim.core.images import decode
from edge_sim.core.types import Embedding, FloatVector
from edge_sim.errors import CollectionError, VectorError
from edge_sim.fleet.collection import SiteCollection
from edge_sim.fleet.queries import QueryEncoder
from edge_sim.fleet.vectors import FoundVector, VectorFilter
from edge_sim.web.answers import JPEG, ApiRequest, route, time_text
from edge_sim.web.callers import Role
from edge_sim.web.context import ServerContext

MAX_PICTURE_BYTES = 20_000_000
MOST_SHOWN = 200
MOST_DAYS = 3660
_DAY_S = 86_400.0


class CollectionPool:
    """Open collections, each used by one request at a time; those that failed are not used again.

    Args:
        database: Address of the database.
        vectors: Address of the vectors where they are kept elsewhere.
    """

    def __init__(self, database: str, vectors: str | None = None) -> None:
        self._database = database
        self._vectors = vectors
        self._free: SimpleQueue[SiteCollection] = SimpleQueue()

    @contextmanager
    def borrow(self) -> Iterator[SiteCollection]:
        """Give a collection for the time of a request.

        Raises:
            HTTPException: The database cannot be reached; status 503.
        """
        opened: SiteCollection | None = None
        with suppress(Empty):
            opened = self._free.get_nowait()
        try:
            if opened is None:
                opened = SiteCollection(self._database, vectors=self._vectors, create=False)
            yield opened
        except CollectionError as error:
            if opened is not None and isinstance(error, VectorError):
                self._free.put(opened)
                raise
            if opened is not None:
                opened.close()
            raise HTTPException(503, str(error)) from error
        except BaseException:
            assert opened is not None
            self._free.put(opened)
            raise
        self._free.put(opened)

    def close(self) -> None:
        """Close those that are not in use."""
        with suppress(Empty):
            while True:
                self._free.get_nowait().close()


@dataclass(slots=True, eq=False, kw_only=True)
class FleetContext(ServerContext):
    """Collections, model and sessions of the server of a collection.

    Args:
        pool: Collections.
        encoder: Model for queries.
        name: Name of the server, in the head of the page.
        now: Seconds since 1970.
    """

    pool: CollectionPool
    encoder: QueryEncoder
    name: str = "edge_sim"
    now: Callable[[], float] = time.time

    @property
    def described(self) -> dict[str, Any]:
        """Name of the server."""
        return {"device": self.name, "collection": False}


def routes() -> list[Route]:
    """Return the routes."""
    return [
        route("/api/devices", devices),
        route("/api/events", events),
        route("/api/counts", counts),
        route("/api/models", models),
        route("/api/search", search),
        route(
            "/api/search",
            search_upload,
            method="POST",
            role=Role.VIEWER,
            max_bytes=MAX_PICTURE_BYTES,
        ),
        route("/api/pictures/{site}/{device}/{id}.jpg", picture),
    ]


def context_of(asked: ApiRequest) -> FleetContext:
    """Return the context of the server of a collection."""
    return cast(FleetContext, asked.context)


def devices(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the devices with their watches, the worst first."""
    with context_of(asked).pool.borrow() as collection:
        found = collection.status(asked.query.get("site") or None)
    return {"schema": 1, "now": utc_text(context_of(asked).now()), "devices": found}


def events(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the last events, or the last before a time, the newest first."""
    limit = int(min(max(asked.number("limit", 50) or 1, 1), MOST_SHOWN))
    before_s = asked.time("before")
    with context_of(asked).pool.borrow() as collection:
        found = collection.events(
            **_place(asked), before=None if before_s is None else time_text(before_s, ""),
            limit=limit,
        )  # fmt: skip
        shown = collection.with_pictures([(i.site, i.device, i.event.get("id")) for i in found])
    views = [
        {
            "site": item.site,
            "device": item.device,
            "received_at": item.received_at,
            "event": item.event,
            "picture": picture_address(item.site, item.device, item.event.get("id"), shown),
        }
        for item in found
    ]
    return {"schema": 1, "events": views}


def counts(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the changes of state by day and state, of the last days."""
    days = min(max(asked.number("days", 30) or 1, 1), MOST_DAYS)
    now_s = context_of(asked).now()
    since, until = time_text(now_s - days * _DAY_S, ""), time_text(now_s + _DAY_S, "")
    with context_of(asked).pool.borrow() as collection:
        return {"schema": 1, "counts": collection.counts(since, until, **_place(asked))}


def models(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the models with vectors."""
    with context_of(asked).pool.borrow() as collection:
        return {"schema": 1, "models": collection.vectors.models()}


def search(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the events whose pictures are most like some words, or like that of an event."""
    context = context_of(asked)
    text = (asked.query.get("text") or "").strip()
    if text:
        embedding, unknown = context.encoder.of_text(text)
        return {**_found(asked, embedding), "unknown": unknown}
    parts = (asked.query.get("event") or "").split("/")
    if len(parts) != 3:
        raise HTTPException(422, "give text, or event as SITE/DEVICE/ID")
    with context.pool.borrow() as collection:
        for model in collection.vectors.models():
            vector = collection.vectors.vector(model.model, *parts)
            if vector is not None:
                return _answer(asked, collection, model.model, vector)
    raise HTTPException(404, "the event has no vector")


def search_upload(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the events whose pictures are most like an uploaded one."""
    if len(asked.files) != 1:
        raise HTTPException(422, "send one picture")
    try:
        pixels = decode(asked.files[0].file.read())
    except ValueError as error:
        raise HTTPException(422, f"the picture cannot be read: {error}") from error
    return _found(asked, context_of(asked).encoder.of_picture(pixels))


def picture(asked: ApiRequest) -> Response:
    """Return the picture of an event."""
    place = asked.path
    with context_of(asked).pool.borrow() as collection:
        found = collection.picture(place["site"], place["device"], place["id"])
    if found is None:
        raise HTTPException(404, "there is no picture of this event")
    return Response(found, media_type=JPEG, headers={"Cache-Control": "private, max-age=3600"})


def _found(asked: ApiRequest, embedding: Embedding) -> dict[str, Any]:
    with context_of(asked).pool.borrow() as collection:
        return _answer(asked, collection, embedding.model_id, embedding.vector)


def _answer(
    asked: ApiRequest, collection: SiteCollection, model: str, vector: FloatVector
) -> dict[str, Any]:
    count = int(min(max(asked.number("k", 24) or 1, 1), MOST_SHOWN))
    found = collection.vectors.search(model, vector, count, _filter(asked))
    shown = collection.with_pictures([(item.site, item.device, item.id) for item in found])
    return {"schema": 1, "model": model, "found": [_view(item, shown) for item in found]}


def _view(item: FoundVector, shown: set[tuple[str, str, str]]) -> dict[str, Any]:
    return {
        "site": item.site,
        "device": item.device,
        "id": item.id,
        "at": item.at,
        "watch": item.watch,
        "state": item.state,
        "score": round(item.score, 4),
        "picture": picture_address(item.site, item.device, item.id, shown),
    }


def picture_address(
    site: str, device: str, name: object, shown: set[tuple[str, str, str]]
) -> str | None:
    """Return the address of the picture of an event below that of the page; None if there is none.

    Args:
        site: Site of the event; any text without a slash, like the others.
        device: Device of the event.
        name: Id of the event.
        shown: Events with a picture, as (site, device, id).
    """
    if (site, device, name) not in shown:
        return None
    parts = (quote(str(part), safe="") for part in (site, device, name))
    return f"api/pictures/{'/'.join(parts)}.jpg"


def _place(asked: ApiRequest) -> dict[str, str | None]:
    return {name: asked.query.get(name) or None for name in ("site", "device", "watch")}


def _filter(asked: ApiRequest) -> VectorFilter:
    times = {name: asked.time(name) for name in ("since", "until")}
    return VectorFilter(
        **_place(asked),
        state=asked.query.get("state") or None,
        **{name: None if at_s is None else time_text(at_s, "") for name, at_s in times.items()},
    )
