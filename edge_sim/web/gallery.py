"""API of the gallery of a watch: references with findings, changes, revisions, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from edge_sim.core.images import decode
from edge_sim.core.types import Roi
from edge_sim.errors import GalleryError
from edge_sim.runtime import assembly
from edge_sim.web.answers import JPEG, ApiRequest, route
from edge_sim.web.enrolments import checked_undo
from edge_sim.web.gallery_views import (
    GalleryChange,
    change_gallery,
    gallery_view,
    revision_views,
)
from edge_sim.web.previews import jpeg_of
from edge_sim.web.readiness import audited

PNG = "image/png"
MOST_REVISIONS = 100
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # an id is never given twice


def routes() -> list[Route]:
    """Return the routes."""
    watch = "/api/watches/{watch}"
    return [
        route(f"{watch}/gallery", gallery),
        route(f"{watch}/gallery", change, method="POST"),
        route(f"{watch}/gallery/undo", undo, method="POST"),
        route(f"{watch}/gallery/{{id}}.jpg", picture),
        route(f"{watch}/gallery/{{id}}.png", whole_picture),
        route(f"{watch}/revisions", revisions),
        route(f"{watch}/revisions/{{number}}", roll_back, method="POST"),
    ]


class UndoChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Revision to be taken back; it must be the last one."""

    revision: int


def gallery(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the references of a watch, each with what the audit says of it."""
    name, context = asked.path["watch"], asked.context
    watch = context.watch(name)
    with assembly.open_gallery(context.config) as store:
        references = store.gallery(name)
        records = store.records(watch=name, revision=references.revision)
    roi = Roi(*watch.roi)
    view = gallery_view(name, roi, watch.states, records, audited(name, references))
    found: dict[str, Any] = msgspec.to_builtins(view)
    for item in found["references"]:
        url = f"api/watches/{name}/gallery/{item['id']}.jpg"
        item["picture"] = None if watch.private else url
    return found


def picture(asked: ApiRequest) -> Response:
    """Return the picture of a reference as JPEG, at most `w` pixels wide."""
    data = _stored(asked)
    width = asked.number("w")
    try:
        jpeg = jpeg_of(decode(data), None if width is None else int(width))
    except ValueError as error:
        raise GalleryError(f"the picture of {asked.path['id']} is damaged: {error}") from error
    return Response(jpeg, media_type=JPEG, headers=_FOREVER)


def whole_picture(asked: ApiRequest) -> Response:
    """Return the picture of a reference as it is stored."""
    return Response(_stored(asked), media_type=PNG, headers=_FOREVER)


def change(asked: ApiRequest) -> Mapping[str, Any]:
    """Move, remove or tag references."""
    name = asked.path["watch"]
    watch, wanted = asked.context.watch(name), asked.read(GalleryChange)
    with asked.context.open_gallery() as store:
        return {"revision": change_gallery(store, name, watch.states, wanted)}


def undo(asked: ApiRequest) -> Mapping[str, Any]:
    """Take the last change back, if it is the one that the page knows."""
    asked.context.watch(asked.path["watch"])
    with asked.context.open_gallery() as store:
        return {"revision": checked_undo(store, asked.read(UndoChange).revision)}


def revisions(asked: ApiRequest) -> Sequence[Any]:
    """Return the last changes of the gallery file, which all watches share, the newest first."""
    asked.context.watch(asked.path["watch"])
    with assembly.open_gallery(asked.context.config) as store:
        return revision_views(store.log(limit=MOST_REVISIONS))


def roll_back(asked: ApiRequest) -> Mapping[str, Any]:
    """Make the gallery again what it was at a revision."""
    asked.context.watch(asked.path["watch"])
    number = asked.path["number"]
    if not number.isascii() or not number.isdecimal() or len(number) > 9:
        raise HTTPException(422, f"{number[:40]!r} is no revision")
    with asked.context.open_gallery() as store:
        return {"revision": store.rollback(int(number)).number}


def _stored(asked: ApiRequest) -> bytes:
    """Return the stored picture of a reference that belongs, or has belonged, to the watch."""
    name, reference_id = asked.path["watch"], asked.path["id"]
    asked.context.visible_watch(name)
    with assembly.open_gallery(asked.context.config) as store:
        present = {record.reference_id: record for record in store.records()}
        record = present.get(reference_id)
        if record is None or record.watch != name:
            raise HTTPException(404, f"watch {name} has no reference {reference_id[:40]!r}")
        return store.crop(reference_id)
