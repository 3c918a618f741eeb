"""API of references: enrolment of pictures, proposals, and how ready a watch is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from edge_sim.core.events import utc_text
from edge_sim.core.options import Name
from edge_sim.errors import CommandError, GalleryError
from edge_sim.runtime import assembly
from edge_sim.runtime.stills import Still
from edge_sim.web.answers import JPEG, ApiRequest, route
from edge_sim.web.context import WebContext
from edge_sim.web.enrolments import (
    MAX_FILE_BYTES,
    EnrolledPicture,
    Enrolments,
    UploadedPicture,
)
from edge_sim.web.gallery_views import counts_of
from edge_sim.web.readiness import audited, readiness_of

MAX_UPLOAD_BYTES = 128_000_000
MAX_PICKS = 64

REFUSALS: Mapping[str, str] = {
    "unreadable": "it is no picture that can be read",
    "no_signal": "the camera gives no picture",
    "dark": "it is too dark to see anything",
    "overexposed": "it is too bright to see anything",
    "covered": "something is in front of the camera",
    "blurred": "it is blurred",
    "duplicate": "it shows the same as a reference that is there",
    "conflict": "it looks like another state",
}
"""Reasons against a picture, in words."""


def routes() -> list[Route]:
    """Return the routes."""
    watch = "/api/watches/{watch}"
    return [
        route(f"{watch}/references", enrol_present, method="POST"),
        route(f"{watch}/references/undo", undo_reference, method="POST"),
        route(f"{watch}/references/files", enrol_files, method="POST", max_bytes=MAX_UPLOAD_BYTES),
        route(f"{watch}/proposals", proposals),
        route(f"{watch}/proposals", enrol_proposals, method="POST"),
        route(f"{watch}/proposals/{{id}}.jpg", proposal_picture),
        route(f"{watch}/readiness", readiness),
    ]


class PresentRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State that the camera shows now; `force` enrols what the checks would reject."""

    state: Name
    force: bool = False


class UndoneReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Reference to be removed again."""

    reference_id: str


class Pick(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Proposed still and the state that it shows."""

    id: str
    state: Name


class Picks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One proposed still, or several."""

    picks: tuple[Pick, ...] = ()
    id: str | None = None
    state: Name | None = None
    force: bool = False


def enrolments_of(context: WebContext) -> Enrolments:
    """Return the enrolment of the device."""
    found = context.shared.setdefault("enrolments", Enrolments(context.device))
    assert isinstance(found, Enrolments)
    return found


def enrol_present(asked: ApiRequest) -> Mapping[str, Any]:
    """Enrol the present picture of a watch."""
    watch, wanted = _watch(asked), asked.read(PresentRequest)
    result = enrolments_of(asked.context).present(watch, wanted.state, force=wanted.force)
    outcome = _outcome(result.pictures[0], watch, asked.context)
    return {**outcome, "count": result.count}


def undo_reference(asked: ApiRequest) -> Mapping[str, Any]:
    """Remove a reference that was just added."""
    watch, wanted = _watch(asked), asked.read(UndoneReference)
    with asked.context.open_gallery() as store:
        record = store.record(wanted.reference_id)
        if record.watch != watch:
            raise GalleryError(f"watch {watch} has no reference {wanted.reference_id!r}")
        revision = store.remove([wanted.reference_id]).number
        references = counts_of(store.records(watch=watch))
    count = sum(references.get(record.state, {}).values())
    return {"revision": revision, "count": count, "references": references}


def enrol_files(asked: ApiRequest) -> Sequence[Mapping[str, Any]]:
    """Enrol pictures that were dropped on the page, all of one state."""
    watch, state = _watch(asked), asked.query.get("state", "")
    if not asked.files:
        raise HTTPException(422, "send the pictures as files")
    whole = {"frame": True, "region": False}.get(asked.query.get("kind", ""))
    files = (
        UploadedPicture(file.filename or "", file.file.read(MAX_FILE_BYTES + 1))
        for file in asked.files
    )
    force = asked.query.get("force") == "1"
    result = enrolments_of(asked.context).files(watch, state, files, force=force, whole=whole)
    return [_outcome(item, watch, asked.context) for item in result.pictures]


def proposals(asked: ApiRequest) -> Sequence[Mapping[str, Any]]:
    """Return stills that differ from each other; none of a private watch."""
    watch = _watch(asked)
    asked.context.visible_watch(watch)
    return [_proposal(still) for still in asked.context.device.stills.of(watch)]


def proposal_picture(asked: ApiRequest) -> Response:
    """Return the picture of a still."""
    watch = _watch(asked)
    asked.context.visible_watch(watch)
    still = asked.context.device.stills.still(watch, asked.path["id"])
    return Response(still.jpeg, media_type=JPEG, headers={"Cache-Control": "private, max-age=3600"})


def enrol_proposals(asked: ApiRequest) -> Mapping[str, Any]:
    """Enrol stills that a person has picked."""
    watch, wanted = _watch(asked), asked.read(Picks)
    picks = wanted.picks
    if wanted.id is not None and wanted.state is not None:
        picks = (*picks, Pick(wanted.id, wanted.state))
    if not 0 < len(picks) <= MAX_PICKS:
        raise HTTPException(422, f"pick 1 to {MAX_PICKS} stills")
    enrolments, kept, refused = enrolments_of(asked.context), 0, []
    for pick in picks:
        try:
            result = enrolments.still(watch, pick.state, pick.id, force=wanted.force)
        except CommandError as error:
            refused.append({"id": pick.id, "reason": "gone", "text": str(error)})
            continue
        (picture,) = result.pictures
        kept += picture.reference_id is not None
        if picture.refused is not None:
            refused.append(
                {"id": pick.id, "reason": picture.refused, "text": refusal_text(picture)}
            )
    with assembly.open_gallery(asked.context.config) as store:
        references = counts_of(store.records(watch=watch))
    return {"kept": kept, "refused": refused, "references": references}


def readiness(asked: ApiRequest) -> Mapping[str, Any]:
    """Return how sure a watch will be, what its references cover, and what to add next."""
    name, context = _watch(asked), asked.context
    with assembly.open_gallery(context.config) as store:
        gallery = store.gallery(name)
        references = counts_of(store.records(watch=name))
    found = readiness_of(name, context.watch(name), gallery, audited(name, gallery))
    return {**msgspec.to_builtins(found), "references": references}


def refusal_text(picture: EnrolledPicture) -> str:
    """Return the reason against a picture, in one line."""
    words = REFUSALS.get(picture.refused or "", picture.refused or "")
    about = f" ({picture.like})" if picture.like else ""
    if picture.refused == "unreadable" and picture.detail:
        return f"{words}: {picture.detail}"
    return f"{words}{about}"


def _outcome(picture: EnrolledPicture, watch: str, context: WebContext) -> dict[str, Any]:
    is_kept = picture.reference_id is not None
    is_shown = is_kept and not context.watch(watch).private
    return {
        "name": picture.name,
        "reference_id": picture.reference_id,
        "light": picture.light,
        "kept": is_kept,
        "refused": None if is_kept else refusal_text(picture),
        "reason": picture.refused,
        "like": picture.like,
        "picture": f"api/watches/{watch}/gallery/{picture.reference_id}.jpg" if is_shown else None,
    }


def _proposal(still: Still) -> dict[str, Any]:
    return {
        "id": still.still_id,
        "at": utc_text(still.unix_time_s),
        "light": still.condition,
        "guess": still.best,
        "picture": f"api/watches/{still.watch}/proposals/{still.still_id}.jpg",
    }


def _watch(asked: ApiRequest) -> str:
    name = asked.path["watch"]
    asked.context.watch(name)
    return name
