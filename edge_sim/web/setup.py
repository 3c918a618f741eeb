"""API of the watch wizard: cameras, previews, and watches that are made, changed and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import cv2
import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from edge_sim.core.types import Frame
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources.cameras import list_cameras
from edge_sim.io.sources.discovery import (
    CameraLogin,
    NetworkCamera,
    discover,
    with_login,
    with_streams,
)
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.pictures import read_mask
from edge_sim.io.sources.uri import masked
from edge_sim.runtime import assembly
from edge_sim.runtime.daemon.access import DeviceAccess
from edge_sim.vision.probe import Region
from edge_sim.web.answers import JPEG, ApiRequest, route
from edge_sim.web.callers import Role
from edge_sim.web.config_changes import change_config, config_file
from edge_sim.web.context import WebContext
from edge_sim.web.previews import PreviewSessions, check_address, jpeg_of, model_png
from edge_sim.web.watch_edits import (
    CornerAndSize,
    NewWatch,
    WatchChange,
    added_watch,
    changed_watch,
    check_mask,
    forget_mask,
    keep_mask,
    removed_watch,
    roi_of,
)

MAX_MASK_BYTES = 4_000_000
PNG = "image/png"


def routes() -> list[Route]:
    """Return the routes."""
    admin = Role.ADMIN
    preview, watch = "/api/preview/{id}", "/api/watches/{watch}"
    return [
        route("/api/cameras", cameras, role=admin),
        route("/api/cameras", streams, method="POST", role=admin),
        route("/api/preview", open_preview, method="POST", role=admin),
        route(f"{preview}/frame.jpg", preview_frame, role=admin),
        route(f"{preview}/model.jpg", preview_model, role=admin),
        route(
            f"{preview}/model", masked_model, method="POST", role=admin, max_bytes=MAX_MASK_BYTES
        ),
        route(preview, close_preview, method="DELETE", role=admin),
        route("/api/watches", add_watch, method="POST", role=admin, max_bytes=MAX_MASK_BYTES),
        route(watch, change_watch, method="PATCH", role=admin, max_bytes=MAX_MASK_BYTES),
        route(watch, remove_watch, method="DELETE", role=admin),
        route(f"{watch}/mask.png", mask_picture),
    ]


class StreamRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Camera of `GET /api/cameras` that wants a user."""

    address: str
    service: str
    user: str
    password: str


class PreviewRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Address to open, or the name of a configured source."""

    uri: str | None = None
    source: str | None = None
    user: str | None = None
    password: str | None = None
    rotate: Literal[0, 90, 180, 270] = 0


class ModelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Region of a preview, and a mask over it as base64 of a PNG."""

    region: CornerAndSize = (0.0, 0.0, 1.0, 1.0)
    mask_png: bytes | None = None


def cameras(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the cameras of this machine and of the local network, and configured sources."""
    try:
        network, error = discover(), None
    except SourceError as fault:
        network, error = (), str(fault)
    config = asked.context.config
    return {
        "v4l2": [
            {"uri": item.path, "name": item.label, "by_id": item.path != item.device}
            for item in list_cameras()
        ],
        "onvif": [_camera(item) for item in network],
        "sources": [
            {"name": name, "uri": masked(source.uri)} for name, source in config.sources.items()
        ],
        "error": error,
    }


def streams(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the streams of a camera that tells them to its users only."""
    wanted = asked.read(StreamRequest)
    camera = NetworkCamera(wanted.address, wanted.service, "")
    return _camera(with_streams(camera, CameraLogin(wanted.user, wanted.password)))


def _camera(camera: NetworkCamera) -> dict[str, Any]:
    return {
        "name": camera.name,
        "address": camera.address,
        "service": camera.service,
        "uri": camera.streams[0] if camera.streams else None,
        "uris": camera.streams,
        "error": camera.error,
    }


def previews_of(context: WebContext) -> PreviewSessions:
    """Return the open previews of a server."""
    found = context.shared.setdefault("previews", PreviewSessions())
    assert isinstance(found, PreviewSessions)
    return found


def open_preview(asked: ApiRequest) -> Mapping[str, Any]:
    """Open a source to be seen."""
    wanted = asked.read(PreviewRequest)
    context, previews = asked.context, previews_of(asked.context)
    name = wanted.source or _same_source(context, wanted.uri)
    if name is not None:
        info = previews.adopt(name, _configured(context, name))
        return {**msgspec.to_builtins(info), "source": name}
    if not wanted.uri:
        raise HTTPException(422, "give the address of a camera, or the name of a source")
    uri = wanted.uri.strip()
    if wanted.user is not None:
        uri = with_login(uri, CameraLogin(wanted.user, wanted.password or ""))
    info = previews.open(uri, SourceOptions(rotate=wanted.rotate))
    return {**msgspec.to_builtins(info), "source": None}


def preview_frame(asked: ApiRequest) -> Response:
    """Return the newest frame of a preview."""
    name = asked.path["id"]
    frame = previews_of(asked.context).frame(name)
    # The index alone starts again when a camera is opened again.
    moment = f"{frame.index}-{frame.captured_at_s!r}"
    tag = f'"{name[:8]}-{moment}-{asked.query.get("w", "")[:5]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if asked.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    width = asked.number("w")
    picture = jpeg_of(frame.pixels, None if width is None else int(width))
    return Response(picture, media_type=JPEG, headers=headers)


def preview_model(asked: ApiRequest) -> Response:
    """Return the picture that the model would be given for a region without a mask."""
    try:
        corners = [float(part) for part in asked.query.get("region", "0,0,1,1").split(",")]
        region = msgspec.convert(corners, CornerAndSize)
    except (ValueError, msgspec.ValidationError) as error:
        raise HTTPException(422, "region: give x,y,width,height in fractions") from error
    return _model_picture(asked, ModelRequest(region))


def masked_model(asked: ApiRequest) -> Response:
    """Return the picture that the model would be given for a region and a mask."""
    return _model_picture(asked, asked.read(ModelRequest))


def close_preview(asked: ApiRequest) -> None:
    """Close a preview."""
    previews_of(asked.context).close(asked.path["id"])


def add_watch(asked: ApiRequest) -> Mapping[str, Any]:
    """Add a watch to the configuration; it runs at once."""
    wanted = asked.read(NewWatch)
    context = asked.context
    if wanted.name in context.config.watches:
        raise HTTPException(409, f"there is a watch {wanted.name!r} already; choose another name")
    if wanted.source.uri is not None:
        _check_new_address(context, wanted.source.uri)
    folder = config_file(context).path.parent
    mask = None if not wanted.mask_png else keep_mask(folder, wanted.name, wanted.mask_png)
    try:
        written = change_config(context, added_watch(wanted, mask))
    except Exception:
        forget_mask(folder, mask)
        raise
    return {"watch": wanted.name, "config_diff": "\n".join(written.diff)}


def change_watch(asked: ApiRequest) -> Mapping[str, Any]:
    """Change keys of a watch; it goes on with them at once."""
    name, context = asked.path["watch"], asked.context
    context.watch(name)
    wanted = asked.read(WatchChange)
    mask = None
    if wanted.mask_png is not None:
        folder = config_file(context).path.parent
        mask = keep_mask(folder, name, wanted.mask_png) if wanted.mask_png else ""
    written = change_config(context, changed_watch(name, wanted, mask))
    return {"watch": name, "config_diff": "\n".join(written.diff)}


def remove_watch(asked: ApiRequest) -> Mapping[str, Any]:
    """Remove a watch from the configuration; its references stay in the gallery."""
    name = asked.path["watch"]
    asked.context.watch(name)
    written = change_config(asked.context, removed_watch(name))
    return {"watch": name, "config_diff": "\n".join(written.diff)}


def mask_picture(asked: ApiRequest) -> Response:
    """Return the mask of a watch, as PNG."""
    watch = asked.context.visible_watch(asked.path["watch"])
    if watch.mask is None:
        raise HTTPException(404, "this watch has no mask")
    plane = read_mask(asked.context.config.path(watch.mask))
    done, data = cv2.imencode(".png", plane)
    if not done:
        raise ConfigError("the mask cannot be shown")
    return Response(data.tobytes(), media_type=PNG)


class _RunningSource:
    """Frames of a source that the daemon reads."""

    def __init__(self, device: DeviceAccess, name: str) -> None:
        self.name = name
        self._device = device

    def read(self) -> Frame | None:
        """Return the newest frame.

        Raises:
            SourceError: There is none yet.
        """
        frame = self._device.frame(self.name)
        if frame is None:
            known = {item.name: item.error for item in self._device.board.sources}
            raise SourceError(f"{self.name}: {known.get(self.name) or 'no frame yet'}")
        return frame

    def close(self) -> None:
        """Do nothing: the source is the daemon's."""


def _configured(context: WebContext, name: str) -> Any:
    """Return a configured source: as the daemon reads it, or opened where no watch uses it."""
    config = context.config
    if name not in config.sources:
        raise HTTPException(404, f"there is no source {name[:64]!r}")
    if any(item.name == name for item in context.device.board.sources):
        return _RunningSource(context.device, name)
    return assembly.open_configured(config, name, threaded=True)


def _same_source(context: WebContext, uri: str | None) -> str | None:
    """Return the configured source of an address: a camera cannot be opened twice."""
    sources = context.config.sources
    wanted = None if uri is None else uri.strip()
    return next((name for name, source in sources.items() if source.uri == wanted), None)


def _check_new_address(context: WebContext, uri: str) -> None:
    if _same_source(context, uri) is None:
        check_address(uri.strip())


def _model_picture(asked: ApiRequest, wanted: ModelRequest) -> Response:
    context = asked.context
    mask = None
    if wanted.mask_png:
        mask = check_mask(wanted.mask_png)
    frame = previews_of(context).frame(asked.path["id"])
    embedder = context.device.call(lambda device: device.embedder)
    picture = model_png(frame.pixels, Region(roi_of(wanted.region), mask), embedder)
    return Response(picture, media_type=PNG)
