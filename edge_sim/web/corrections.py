"""API of corrections: teach what is seen, and take it back."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.routing import Route

from edge_sim.gallery.gallery import checked_name
from edge_sim.io.sinks.capabilities import Teach
from edge_sim.runtime.fitting import LOCKED_S
from edge_sim.web.answers import ApiRequest, route


def routes() -> list[Route]:
    """Return the routes."""
    return [
        route("/api/watches/{watch}/teach", teach, method="POST"),
        route("/api/watches/{watch}/undo", undo, method="POST"),
    ]


class CorrectionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST api/watches/W/teach`; without `event` the present picture is taught."""

    state: str
    event: str | None = None


class RevertRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST api/watches/W/undo`."""

    revision: int


def teach(asked: ApiRequest) -> dict[str, Any]:
    """Enrol the present picture of a watch, or that of an event, as a reference."""
    request, watch = asked.read(CorrectionRequest), asked.path["watch"]
    asked.context.watch(watch)
    checked_name("state", request.state)
    lesson = asked.context.device.teach(Teach(watch, request.state, request.event))
    facts: dict[str, Any] = msgspec.to_builtins(lesson)
    return {**facts, "undo": lesson.revision}


def undo(asked: ApiRequest) -> dict[str, Any]:
    """Take back the change that gave a revision, if it is the last one."""
    request = asked.read(RevertRequest)
    asked.context.watch(asked.path["watch"])
    with asked.context.open_gallery(LOCKED_S) as store:
        if store.revision != request.revision:
            raise HTTPException(
                409,
                f"the gallery has changed since revision {request.revision}: it is at "
                f"{store.revision}; go back to an earlier revision on the page of the gallery",
            )
        reverted = store.undo()
    asked.context.device.refresh_gallery()
    return {"revision": reverted.number}
