"""API of the present: device, watches, their pictures, and the stream of the page."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from edge_sim.core.events import utc_text
from edge_sim.core.images import crop, encode_jpeg
from edge_sim.core.types import BgrImage, Match, Roi, UnknownReason
from edge_sim.errors import GalleryError
from edge_sim.gallery.database import stamp_of
from edge_sim.gallery.records import ReferenceRecord
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime.config import Config
from edge_sim.runtime.daemon.access import DeviceAccess, WatchPicture
from edge_sim.runtime.daemon.reporting import resident_mb
from edge_sim.runtime.health.status import SourceStatus, WatchStatus
from edge_sim.secrets import mask_secrets
from edge_sim.version import __version__
from edge_sim.web.answers import JPEG, ApiRequest, error_response, route
from edge_sim.web.gallery_views import Counts, counts_of

_JPEG_QUALITY = 75
_MAX_WIDTH_PX = 1920
_MIN_WIDTH_PX = 16
_HIDDEN = 128
VIEWS = ("region", "frame", "model")


def routes() -> list[Route]:
    """Return the routes."""
    return [
        route("/api/device", device),
        route("/api/watches", watches),
        route("/api/watches/{watch}/snapshot.jpg", snapshot),
        route("/api/stream", stream),
    ]


def device(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the device."""
    return device_view(asked.context.device)


def watches(asked: ApiRequest) -> list[Mapping[str, Any]]:
    """Return all watches."""
    return list(watch_views(asked.context.device).values())


def snapshot(asked: ApiRequest) -> Response:
    """Return the newest picture of a watch: its region, its frame, or what the model is given."""
    context, name = asked.context, asked.path["watch"]
    context.visible_watch(name)
    view = asked.query.get("view") or "region"
    if view not in VIEWS:
        raise HTTPException(422, f"view: {view[:20]!r} is none of {', '.join(VIEWS)}")
    width_px = asked.number("w")
    picture = context.device.picture(name)
    if picture is None:
        return Response(status_code=204)  # a browser would report a 404 as an error of the page
    return picture_response(asked, picture, view, width_px, _appearance(asked, name))


def _appearance(asked: ApiRequest, watch: str) -> str:
    """Return a text that stays the same while the change gate sees nothing new in a region."""
    board = asked.context.device.board
    known = next((item for item in board.watches if item.name == watch), None)
    embedded = 0 if known is None else known.observations - known.skipped
    return f"{board.started_s!r}-{embedded}"


def picture_response(
    asked: ApiRequest, picture: WatchPicture, view: str, width_px: float | None, appearance: str
) -> Response:
    """Return a view of a picture as JPEG, or that the caller has it already.

    A region is sent again when the gate has seen something new in it; a frame, which holds more,
    when there is another.
    """
    frame, roi = picture.frame, picture.region.roi
    version = f"{appearance}-{roi.x1:.5f},{roi.y1:.5f},{roi.x2:.5f},{roi.y2:.5f}"
    if view == "frame":
        version = f"{frame.captured_at_s!r}-{frame.index}"
    tag = f'"{view}-{width_px or 0:g}-{version}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in asked.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    side_px = wanted_width(width_px)
    if view == "model":
        pixels = picture.model_pixels
    elif view == "region":
        pixels = picture.region_at(side_px)
    else:
        rois = private_rois(asked.context.config, frame.source)
        pixels = without_regions(picture.frame_at(side_px), rois)
    content = encode_jpeg(at_most_wide(pixels, width_px), _JPEG_QUALITY)
    return Response(content, media_type=JPEG, headers=headers)


def private_rois(config: Config, source: str) -> list[Roi]:
    """Return the regions of the private watches of a source."""
    return [
        Roi(*watch.roi)
        for name, watch in config.watches.items()
        if watch.private and config.source_of(name) == source
    ]


def without_regions(pixels: BgrImage, rois: Sequence[Roi]) -> BgrImage:
    """Return (H, W, 3) uint8 BGR with mid-grey in these regions; the argument is not changed."""
    if not rois:
        return pixels
    shown = pixels.copy()
    for roi in rois:
        crop(shown, roi)[:] = _HIDDEN
    return shown


def wanted_width(width_px: float | None) -> int:
    """Return the width of a view that a request asks for, within limits."""
    return int(min(max(width_px or _MAX_WIDTH_PX, _MIN_WIDTH_PX), _MAX_WIDTH_PX))


def at_most_wide(pixels: BgrImage, width_px: float | None) -> BgrImage:
    """Return a picture not wider than this, in its proportions; None keeps up to 1920 pixels."""
    limit_px = wanted_width(width_px)
    height_px, had_px = pixels.shape[:2]
    if had_px <= limit_px:
        return pixels
    size = limit_px, max(round(height_px * limit_px / had_px), 1)
    small: BgrImage = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return small


async def stream(asked: ApiRequest) -> Response:
    """Return the stream of the page."""
    context, caller = asked.context, asked.caller
    if context.broadcast.is_full:
        return error_response(503, "too many pages are open: close one")

    def is_valid() -> bool:
        return not caller.session or context.sessions.role(caller.session) is not None

    return StreamingResponse(
        context.broadcast.messages(is_valid), headers={"Content-Type": "text/event-stream"}
    )


def device_view(access: DeviceAccess) -> dict[str, Any]:
    """Return the description of the device."""
    board, config = access.board, access.config
    health, counts = board.health(), access.counts()
    return {
        "device": board.device,
        "version": __version__,
        "model": {"id": board.model},
        "uptime_s": round(board.clock() - board.started_s, 1),
        "process": {"rss_mb": resident_mb(), "cpu_s": round(time.process_time(), 2)},
        "storage": _storage(config, access.written_bytes + counts.written_bytes),
        "sources": [_source_view(item, config, board.clock()) for item in board.sources],
        "outbox": {"waiting": counts.waiting, "failing": dict(access.failing())},
        "health": {"alive": health.alive, "ready": health.ready, "faults": health.faults},
        "private_watches": sorted(name for name, item in config.watches.items() if item.private),
    }


def _storage(config: Config, written_bytes: int) -> dict[str, Any]:
    view: dict[str, Any] = {"written_bytes": written_bytes}
    try:
        disk = os.statvfs(config.path(""))
    except OSError:
        return view
    return {
        **view,
        "free_bytes": disk.f_bavail * disk.f_frsize,
        "total_bytes": disk.f_blocks * disk.f_frsize,
    }


def _source_view(item: SourceStatus, config: Config, now_s: float) -> dict[str, Any]:
    known = config.sources.get(item.name)
    return {
        "name": item.name,
        "uri": None if known is None else mask_secrets(known.uri),
        "up": item.up,
        "error": item.error or None,
        "frames": item.frames,
        "frame_age_s": None
        if item.frame_at_s is None
        else round(max(now_s - item.frame_at_s, 0.0), 3),
        "losses": item.losses,
        "dropped": item.dropped,
        "rejected": item.rejected,
    }


def watch_views(access: DeviceAccess) -> dict[str, dict[str, Any]]:
    """Return the description of every watch, by name; the gallery may have to be read."""
    board, config = access.board, access.config
    references = references_of(config, max((item.revision for item in board.watches), default=0))
    return {
        item.name: {
            **watch_view(item, config, board.in_state_s(item.name)),
            "references": references.get(item.name, {}),
        }
        for item in board.watches
    }


@lru_cache(maxsize=2)
def _references_of(
    path: Path,
    revision: int,  # noqa: ARG001 - names the content, with the stamps
    stamps: tuple[tuple[int, int], ...],  # noqa: ARG001 - an import may bring the same revision
) -> dict[str, Counts]:
    """Return the number of references by watch, state and light."""
    by_watch: defaultdict[str, list[ReferenceRecord]] = defaultdict(list)
    with GalleryStore.open(path, read_only=True) as store:
        for record in store.records():
            by_watch[record.watch].append(record)
    return {watch: counts_of(records) for watch, records in by_watch.items()}


def references_of(config: Config, revision: int) -> dict[str, Counts]:
    """Return the number of references by watch, state and light; none if they cannot be read."""
    path = config.path(config.gallery.path)
    stamps = tuple(stamp_of(Path(f"{path}{suffix}")) for suffix in ("", "-wal"))
    try:
        return _references_of(path, revision, stamps)
    except GalleryError:
        return {}


def watch_view(item: WatchStatus, config: Config, in_state_s: float) -> dict[str, Any]:
    """Return the description of one watch."""
    watch = config.watches.get(item.name)
    configured = () if watch is None else watch.states
    states = list(dict.fromkeys([*configured, *item.states]))  # some may have no reference yet
    state, outcome = item.state, item.outcome
    match = None if outcome is None else outcome.observation.match
    embedded = item.observations - item.skipped
    return {
        "name": item.name,
        "source": item.source,
        "states": states,
        "private": watch is not None and watch.private,
        "region": None if watch is None else _fractions(watch.roi),
        "has_mask": watch is not None and watch.mask is not None,
        "sensitivity": None if watch is None else watch.sensitivity,
        "kind": "one_state" if len(states) == 1 else "states",
        "state": None
        if state is None
        else {
            "name": state.name,
            "reason": state.reason.value if state.reason else None,
            "since": utc_text(time.time() - in_state_s),
            "in_state_s": round(in_state_s, 1),
        },
        "scores": {name: round(value, 4) for name, value in sorted(item.probability.items())},
        "similarity": {name: round(value, 4) for name, value in sorted(item.combined.items())},
        "margin": None if item.margin is None else round(item.margin, 4),
        "thresholds": {}
        if outcome is None
        else {
            name: {"enter": round(level.enter, 4), "leave": round(level.leave, 4)}
            for name, level in outcome.thresholds.items()
        },
        "novelty": _novelty(match),
        "familiar": None
        if match is None or state is None
        else state.reason is not UnknownReason.NOVEL,
        "light": item.condition or None,
        "gate": {
            "open": None if outcome is None else outcome.embedded,
            "share_open": round(embedded / item.observations, 2) if item.observations else None,
        },
        "picture": embedded,
        "problems": list(item.issues.problems or ()),
        "overdue": item.issues.overdue,
        "gallery_revision": item.revision,
        "observations": item.observations,
    }


def _novelty(match: Match | None) -> dict[str, Any] | None:
    value = None if match is None else match.best.score.novelty
    return None if value is None else {"value": round(value, 4)}


def _fractions(roi: tuple[float, float, float, float]) -> list[float]:
    """Return the corners of a region as [x, y, width, height]."""
    x1, y1, x2, y2 = roi
    return [round(value, 5) for value in (x1, y1, x2 - x1, y2 - y1)]
