"""API of the past: events, their pictures, and why they were reported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from edge_sim.analysis.explain import account_of, as_builtins
from edge_sim.core.events import Event, StateChanged, tag_of
from edge_sim.core.files import reading_opener
from edge_sim.core.images import decode, encode_jpeg
from edge_sim.core.types import BgrImage
from edge_sim.errors import DataError, GalleryError
from edge_sim.runtime import assembly
from edge_sim.runtime.daemon.teaching import explanations_path
from edge_sim.runtime.explanations import Explanation, find_explanation, from_event, older_part
from edge_sim.vision.locate import locate
from edge_sim.web.answers import FIRST, JPEG, LAST, ApiRequest, route, time_text
from edge_sim.web.context import WebContext
from edge_sim.web.live import at_most_wide

DEFAULT_LIMIT = 200
MOST_EVENTS = 5000
PNG = "image/png"
_MOST_REFERENCES = 12


def routes() -> list[Route]:
    """Return the routes."""
    return [
        route("/api/events", events),
        route("/api/events/{event}/picture.jpg", event_picture),
        route("/api/explain", explain),
    ]


class _KeptEvent(msgspec.Struct):
    id: str
    watch: str
    at: str
    before: str | None
    after: str
    confidence: float
    before_reason: str | None = None
    reason: str | None = None
    source: str = ""
    condition: str | None = None
    margin: float | None = None
    gallery_revision: int | None = None


class _KeptExplanation(msgspec.Struct, tag="explanation", tag_field="type"):
    """Part of an explanation that a list of events needs; the picture is not decoded."""

    event: _KeptEvent
    picture: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(_KeptExplanation)


def events(asked: ApiRequest) -> list[dict[str, Any]]:
    """Return the events of a time, the newest first."""
    context = asked.context
    watch = asked.query.get("watch") or None
    if watch is not None:
        context.watch(watch)
    since = time_text(asked.time("since"), FIRST)
    until = time_text(asked.time("until"), LAST)
    limit = int(min(max(asked.number("limit", DEFAULT_LIMIT) or 1, 1), MOST_EVENTS))
    known = {row["id"]: row for row in _kept_events(context)}
    for event in recent_events(context):
        row = event_row(event)
        stored = known.get(row["id"])
        row["has_picture"] = bool(stored and stored["has_picture"]) or (
            context.device.event_picture(row["id"]) is not None
        )
        known[row["id"]] = row
    found = [
        _without_hidden_picture(context, row)
        for row in known.values()
        if since <= row["at"] <= until and watch in (None, row.get("watch"))
    ]
    found.sort(key=lambda row: (row["at"], row["id"]), reverse=True)
    return found[:limit]


def recent_events(context: WebContext) -> list[Event]:
    """Return the last events of all kinds, the oldest first."""
    return [event for _, event in context.device.board.events_after(0, 0.0) or ()]


def event_row(event: Event) -> dict[str, Any]:
    """Return an event as a list shows it."""
    if isinstance(event, StateChanged):
        names = (*_KeptEvent.__struct_fields__,)
        facts = {name: getattr(event, name) for name in names}
        return {"type": tag_of(event), **_with_states(facts)}
    facts = msgspec.to_builtins(event)
    return {"watch": None, **facts, "type": tag_of(event)}


def _with_states(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a change with its states named `from` and `to` as well."""
    return {**facts, "from": facts["before"], "to": facts["after"]}


def _kept_events(context: WebContext) -> Iterator[dict[str, Any]]:
    path = explanations_path(context.config)
    for part in () if path is None else (older_part(path), path):
        yield from _events_of(part)


def _events_of(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with open(path, "rb", opener=reading_opener) as lines:
            for raw in lines:
                try:
                    kept = _DECODER.decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue  # cut short by a power failure
                facts = _with_states(msgspec.structs.asdict(kept.event))
                has_picture = bytes(kept.picture) != b"null"
                yield {"type": "state_changed", **facts, "has_picture": has_picture}
    except OSError:
        return  # nothing is kept yet, or what is there is no file


def _without_hidden_picture(context: WebContext, row: dict[str, Any]) -> dict[str, Any]:
    known = context.config.watches.get(row.get("watch") or "")
    if row.get("has_picture") and (known is None or known.private):
        return {**row, "has_picture": False}
    return row


def event_picture(asked: ApiRequest) -> Response:
    """Return the picture of the region at an event."""
    event_id, context = asked.path["event"], asked.context
    width_px = asked.number("w")
    recent = context.device.event_picture(event_id)
    if recent is not None:
        watch, encoded = recent
    else:
        kept = _kept_explanation(context, event_id)
        watch, encoded = kept.event.watch, kept.picture or b""
    context.visible_watch(watch)
    if not encoded:
        raise HTTPException(
            404, "no picture of this event was kept; set explanations.pictures: true for the next"
        )
    headers = {"Cache-Control": "private, max-age=3600"}
    if width_px is None and encoded[:3] != b"\x89PN":
        return Response(encoded, media_type=JPEG, headers=headers)
    pixels = at_most_wide(_decoded(event_id, encoded), width_px)
    return Response(encode_jpeg(pixels, 85), media_type=JPEG, headers=headers)


def _kept_explanation(context: WebContext, wanted: str) -> Explanation:
    path = explanations_path(context.config)
    if path is None:
        raise HTTPException(
            404,
            "no explanations are kept; name a file in explanations.path, with outbox.storage: disk",
        )
    try:
        return find_explanation([path], wanted)
    except DataError as error:
        raise HTTPException(404, str(error)) from error


def explain(asked: ApiRequest) -> dict[str, Any]:
    """Return why an event was reported: that of an id, or the last one before a time."""
    context = asked.context
    explanation = _explanation(asked)
    event = explanation.event
    facts = as_builtins(explanation, account_of(explanation))
    known = context.config.watches.get(event.watch)
    is_visible = known is not None and not known.private
    in_memory = context.device.event_picture(event.id)
    encoded = in_memory[1] if in_memory is not None else explanation.picture
    picture = None
    if is_visible and encoded is not None:
        with suppress(DataError):
            picture = _decoded(event.id, encoded)
    facts["has_picture"] = picture is not None
    facts["regions"] = [] if picture is None else _regions(context, explanation, picture)
    return facts


def _decoded(event_id: str, encoded: bytes) -> BgrImage:
    """Return the kept picture of an event.

    Raises:
        DataError: It is damaged.
    """
    try:
        return decode(encoded)
    except ValueError as error:
        raise DataError(f"the picture of the event {event_id} is damaged: {error}") from error


def _explanation(asked: ApiRequest) -> Explanation:
    context, wanted = asked.context, asked.query.get("event")
    if not wanted:
        wanted = _event_before(asked)
    try:
        return _kept_explanation(context, wanted)
    except HTTPException:
        for event in recent_events(context):
            if event.id == wanted and isinstance(event, StateChanged):
                return from_event(event)
        raise


def _event_before(asked: ApiRequest) -> str:
    """Return the id of the last change of a watch at or before a time."""
    context, watch = asked.context, asked.query.get("watch") or ""
    context.watch(watch)
    at = time_text(asked.time("at"), LAST)
    rows = [row for row in _kept_events(context) if row["watch"] == watch]
    rows += [
        event_row(event) for event in recent_events(context) if isinstance(event, StateChanged)
    ]
    rows = [row for row in rows if row["watch"] == watch and row["at"] <= at]
    if not rows:
        raise HTTPException(404, f"no change of {watch} is kept from before this time")
    return str(max(rows, key=lambda row: row["at"])["id"])


def _regions(
    context: WebContext, explanation: Explanation, picture: BgrImage
) -> list[dict[str, Any]]:
    """Return the parts of the picture that are like no reference of the best state."""
    match = explanation.cause.match
    if match is None:
        return []
    references = reference_pictures(context, explanation.event.watch, match.best.state)
    if not references:
        return []
    return [
        {
            "region": [
                round(value, 5)
                for value in (
                    part.roi.x1,
                    part.roi.y1,
                    part.roi.x2 - part.roi.x1,
                    part.roi.y2 - part.roi.y1,
                )
            ],
            "strength": round(part.strength, 6),
        }
        for part in locate(picture, references)
    ]


def reference_pictures(context: WebContext, watch: str, state: str) -> list[BgrImage]:
    """Return the latest pictures of a state; none where one cannot be read."""
    try:
        with assembly.open_gallery(context.config) as store:
            records = store.records(watch=watch, state=state)
            latest = records[-_MOST_REFERENCES:]
            return [decode(store.crop(record.reference_id)) for record in latest]
    except (GalleryError, ValueError):
        return []
