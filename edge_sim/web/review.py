"""API of the review queue: frames that wait, decisions about many at once, and their undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from edge_sim.web.answers import ApiRequest, route
from edge_sim.web.context import WebContext
from edge_sim.web.references import enrolments_of, refusal_text
from edge_sim.web.review_decisions import Decision, ReviewDecisions


def routes() -> list[Route]:
    """Return the routes."""
    return [
        route("/api/review", frames),
        route("/api/review", decide, method="POST"),
        route("/api/review/undo", undo, method="POST"),
        route("/api/review/{watch}/{name}.png", picture),
    ]


class Decisions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Decisions about frames."""

    decisions: tuple[Decision, ...]


class UndoDecisions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Token of decisions to be taken back."""

    undo: str


def decisions_of(context: WebContext) -> ReviewDecisions:
    """Return the review queue of the device."""
    made = ReviewDecisions(context.device, enrolments_of(context))
    found = context.shared.setdefault("review", made)
    assert isinstance(found, ReviewDecisions)
    return found


def frames(asked: ApiRequest) -> Sequence[Mapping[str, Any]]:
    """Return the frames that wait, the newest first; none where no folder is configured."""
    watch = asked.query.get("watch") or None
    if asked.context.config.review.path is None:
        return ()
    watches = asked.context.config.watches
    return [
        {
            **msgspec.to_builtins(frame),
            "picture": None if watches[frame.watch].private else f"api/review/{frame.id}.png",
        }
        for frame in decisions_of(asked.context).frames(watch)
    ]


def picture(asked: ApiRequest) -> Response:
    """Return the picture of a frame."""
    watch = asked.path["watch"]
    asked.context.visible_watch(watch)
    data = decisions_of(asked.context).picture(f"{watch}/{asked.path['name']}")
    return Response(
        data, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"}
    )


def decide(asked: ApiRequest) -> Mapping[str, Any]:
    """Carry out decisions about frames."""
    wanted = asked.read(Decisions)
    if not wanted.decisions:
        raise HTTPException(422, "decide on one frame at least")
    result = decisions_of(asked.context).decide(wanted.decisions)
    return {
        **msgspec.to_builtins(result),
        "duplicates": [
            {"id": item.name, "like": item.like, "text": refusal_text(item)}
            for item in result.duplicates
        ],
        "refused": [
            {"id": item.name, "reason": item.refused, "text": refusal_text(item)}
            for item in result.refused
        ],
    }


def undo(asked: ApiRequest) -> Mapping[str, Any]:
    """Take decisions back."""
    return {"revision": decisions_of(asked.context).undo(asked.read(UndoDecisions).undo)}
