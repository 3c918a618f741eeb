"""Health, metrics and state for other programs: /healthz /readyz /metrics /state /events /teach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from edge_sim.core.events import Event, tag_of, utc_text
from edge_sim.decision.drift import DriftReading
from edge_sim.errors import AgainstEvidenceError, CommandError
from edge_sim.gallery.gallery import checked_name
from edge_sim.io.sinks.capabilities import Teach
from edge_sim.runtime.daemon.access import DeviceAccess
from edge_sim.runtime.health.status import SourceStatus, WatchStatus
from edge_sim.web.answers import ApiRequest, JsonResponse, route
from edge_sim.web.stream import KEEP_ALIVE_S, MAX_STREAMS

MAX_BODY_BYTES = 4096
EVENT_STREAM = "text/event-stream"


class TeachRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /teach`; without `event` the present picture is taught."""

    watch: str
    state: str
    event: str | None = None
    force: bool = True


def routes() -> list[Route]:
    """Return the routes."""
    return [
        route("/healthz", healthz),
        route("/readyz", readyz),
        route("/metrics", metrics),
        route("/state", state),
        Route("/events", events, methods=["GET"]),
        route("/teach", teach, method="POST", max_bytes=MAX_BODY_BYTES),
    ]


async def healthz(asked: ApiRequest) -> Response:
    """Return whether a part of the daemon is broken."""
    health = asked.context.device.board.health()
    body = {"alive": health.alive, "ready": health.ready, "faults": health.faults}
    return JsonResponse(body, 200 if health.alive else 503)


async def readyz(asked: ApiRequest) -> Response:
    """Return whether frames are processed."""
    health = asked.context.device.board.health()
    body = {"ready": health.ready, "faults": health.faults}
    return JsonResponse(body, 200 if health.ready else 503)


def metrics(asked: ApiRequest) -> Response:
    """Return the metrics for Prometheus."""
    try:
        from edge_sim.runtime.health import metrics as exporter
    except ImportError:
        text = "metrics need prometheus_client: pip install 'edge_sim[metrics]'\n"
        return PlainTextResponse(text, 501)
    device = asked.context.device
    collector = exporter.StatusCollector(
        device.board, device.counts, device.failing, lambda: device.written_bytes
    )
    return Response(exporter.exposition(collector), headers={"Content-Type": exporter.CONTENT_TYPE})


def state(asked: ApiRequest) -> Mapping[str, object]:
    """Return the state of the device."""
    return state_view(asked.context.device)


def state_view(device: DeviceAccess) -> Mapping[str, Any]:
    """Return the state of a device."""
    board = device.board
    return {
        "device": board.device,
        "model": board.model,
        "sources": {item.name: _source(item, board.clock()) for item in board.sources},
        "watches": {item.name: _watch(item, board.in_state_s(item.name)) for item in board.watches},
        "outbox": {"waiting": device.counts().waiting, "failing": dict(device.failing())},
    }


def teach(asked: ApiRequest) -> object:
    """Enrol the present picture of a watch, or that of an event, as a reference."""
    if not asked.body:
        raise HTTPException(411, "the body is missing")
    try:
        return taught(asked.context.device, asked.body)
    except AgainstEvidenceError as error:
        return JsonResponse({"error": str(error), "against_evidence": True}, 409)


def taught(device: DeviceAccess, body: bytes) -> object:
    """Return the result of a correction.

    Raises:
        EdgeSimError: The request or the picture is rejected.
    """
    try:
        request = msgspec.json.decode(body, type=TeachRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"the body is no teach request: {error}") from error
    checked_name("state", request.state)
    lesson = device.teach(Teach(request.watch, request.state, request.event, request.force))
    return msgspec.to_builtins(lesson)


async def events(request: Request) -> Response:
    """Return the stream of events, from the last one that the caller has."""
    context = request.app.state.context
    shared = context.shared
    if shared.get("streams", 0) >= MAX_STREAMS:
        return PlainTextResponse("too many streams\n", 503)
    known = request.headers.get("last-event-id", "")
    number = context.device.board.last_event
    if known.isascii() and known.isdecimal() and len(known) < 18:
        number = min(number, int(known))

    async def chunks() -> AsyncIterator[bytes]:
        shared["streams"] = shared.get("streams", 0) + 1
        try:
            async for chunk in _events_after(context.device, number):
                yield chunk
        finally:
            shared["streams"] -= 1

    return StreamingResponse(chunks(), headers={"Content-Type": EVENT_STREAM})


async def _events_after(device: DeviceAccess, number: int) -> AsyncIterator[bytes]:
    board = device.board
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()

    def notify() -> None:
        with suppress(RuntimeError):  # the server has just ended
            loop.call_soon_threadsafe(arrived.set)

    unsubscribe = board.subscribe(notify)
    try:
        yield b": edge_sim\n\n"
        while not board.closed:
            found = board.events_after(number, 0.0) or []
            if found:
                number = found[-1][0]
                yield b"".join(stream_chunk(at, event) for at, event in found)
            arrived.clear()
            if board.last_event > number or board.closed:
                continue
            try:
                await asyncio.wait_for(arrived.wait(), KEEP_ALIVE_S)
            except asyncio.TimeoutError:
                yield b": still here\n\n"
    finally:
        unsubscribe()


def stream_chunk(number: int, event: Event) -> bytes:
    """Return one server-sent event."""
    data = msgspec.json.encode(event)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, tag_of(event).encode(), data)


def _source(item: SourceStatus, now_s: float) -> dict[str, object]:
    age_s = None if item.frame_at_s is None else round(max(now_s - item.frame_at_s, 0.0), 3)
    at = None if item.frame_unix_s is None else utc_text(item.frame_unix_s)
    return {
        "up": item.up,
        "frames": item.frames,
        "frame_age_s": age_s,
        "last_frame_at": at,
        "losses": item.losses,
        "dropped": item.dropped,
        "error": item.error or None,
    }


def _watch(item: WatchStatus, in_state_s: float) -> dict[str, object]:
    state = item.state
    return {
        "source": item.source,
        "state": None if state is None else state.name,
        "reason": state.reason.value if state is not None and state.reason else None,
        "in_state_s": round(in_state_s, 3),
        "probability": {name: round(value, 4) for name, value in item.probability.items()},
        "margin": None if item.margin is None else round(item.margin, 4),
        "condition": item.condition or None,
        "problems": item.issues.problems,
        "overdue": item.issues.overdue,
        "drift": [_drift(reading) for reading in item.issues.drifts],
        "observations": item.observations,
        "gallery_revision": item.revision,
    }


def _drift(reading: DriftReading) -> dict[str, object]:
    return {
        "state": reading.state,
        "condition": reading.condition,
        "observations": reading.observations,
        "psi": None if reading.psi is None else round(reading.psi, 4),
        "drifted": reading.drifted,
        "action": reading.action or None,
    }
