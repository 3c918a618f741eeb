"""API of the settings: schema, configuration, checks, sinks, log, export and import."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import Any, BinaryIO

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from edge_sim.core.options import SECRETS, json_schema_of, keys_of
from edge_sim.core.types import Frame
from edge_sim.errors import ConfigError, DataError, EdgeSimError
from edge_sim.io.sources.uri import masked
from edge_sim.runtime.checks import (
    ReadFrame,
    device_findings,
    opened_frame,
    sink_finding,
    sink_findings,
)
from edge_sim.runtime.config import Config
from edge_sim.runtime.config.sinks import kind_of
from edge_sim.runtime.config.yaml_reader import nearest
from edge_sim.runtime.daemon.access import DeviceAccess
from edge_sim.runtime.log_tail import LOG_TAIL
from edge_sim.secrets import MASK
from edge_sim.web.answers import ApiRequest, JsonResponse, route
from edge_sim.web.archives import (
    MAX_ARCHIVE_BYTES,
    check_programs,
    export_to,
    import_from,
)
from edge_sim.web.callers import Role
from edge_sim.web.config_changes import config_file, take_over
from edge_sim.web.config_file import ConfigEdit, ConfigFile, Written, edited_text, faults_of
from edge_sim.web.context import WebContext
from edge_sim.web.watch_edits import set_value


def routes() -> list[Route]:
    """Return the routes."""
    admin = Role.ADMIN
    return [
        route("/api/schema", schema),
        route("/api/config", configuration, role=admin),
        route("/api/config", replace_configuration, method="PUT", role=admin),
        route("/api/config", set_key, method="PATCH", role=admin),
        route("/api/check", check, method="POST", role=admin),
        route("/api/sinks", sinks, role=admin),
        route("/api/sinks/{name}/test", try_sink, method="POST", role=admin),
        route("/api/log", log, role=admin),
        route("/api/export", export, role=admin),
        route("/api/import", take_archive, method="POST", role=admin, max_bytes=MAX_ARCHIVE_BYTES),
    ]


class NewText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Text of a configuration; `version` is that of the text it was made from."""

    text: str
    version: str | None = None
    dry_run: bool = False


class NewValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Value of one key, such as `watches.bowl.sensitivity`."""

    path: str
    value: Any = None
    version: str | None = None


async def schema(asked: ApiRequest) -> Mapping[str, Any]:  # noqa: ARG001
    """Return the JSON schema of the configuration."""
    return json_schema_of(Config)


def configuration(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the text of the configuration, and its values with secrets masked."""
    file = config_file(asked.context)
    text = file.text()
    faults: Sequence[Any] = ()
    try:
        values = values_of(file.checked(text))
    except ConfigError as error:
        values, faults = values_of(asked.context.config), faults_of(error)
    return {
        "text": text,
        "version": version_of(text),
        "path": str(asked.context.device.config_path),
        "values": values,
        "errors": faults,
    }


def replace_configuration(asked: ApiRequest) -> Any:
    """Replace the text of the configuration; the device goes on with it at once."""
    wanted = asked.read(NewText)
    file = config_file(asked.context)
    before, version = file.text(), wanted.version
    return _changed(asked.context, file, before, wanted.text, version, dry_run=wanted.dry_run)


def set_key(asked: ApiRequest) -> Any:
    """Set one key of the configuration; all else in the file stays."""
    wanted = asked.read(NewValue)
    file = config_file(asked.context)
    edit: ConfigEdit = set_value(wanted.path, wanted.value)
    before = file.text()
    try:
        text = edited_text(before, edit)
    except ConfigError as error:
        return _rejected(error)
    return _changed(asked.context, file, before, text, wanted.version)


def check(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the result of trying the configuration of the file, sinks included."""
    config = asked.context.device.read_config()
    found = [
        *device_findings(config, read_frame=_frames_of(asked.context.device)),
        *sink_findings(config),
    ]
    problems = [f"{item.part}: {item.detail}" for item in found if not item.ok]
    lines = [f"{item.part}: {item.detail}" for item in found if item.ok]
    return {"ok": not problems, "findings": found, "problems": problems, "lines": lines}


def sinks(asked: ApiRequest) -> Sequence[Mapping[str, Any]]:
    """Return the sinks, each with the name that its test has."""
    return [
        {"name": f"{number}-{kind_of(sink)}", "kind": kind_of(sink)}
        for number, sink in enumerate(asked.context.config.sinks, start=1)
    ]


def try_sink(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the result of trying one sink; no event is sent."""
    name, config = asked.path["name"], asked.context.config
    names = [item["name"] for item in sinks(asked)]
    if name not in names:
        raise HTTPException(404, f"there is no sink {name[:40]!r}{nearest(name, names)}")
    found = sink_finding(config, names.index(name) + 1)
    return {"ok": found.ok, "text": found.detail}


async def log(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the last lines of the log, the newest last."""
    lines = asked.number("lines", 200.0) or 200.0
    return {"lines": LOG_TAIL.lines(max(int(lines), 1))[::-1]}


def export(asked: ApiRequest) -> Response:
    """Return configuration, masks, gallery and model card as one archive."""
    context = asked.context
    config = context.config
    try:
        with _temporary_file(config, ".edge_sim-export-") as path:
            export_to(path, config, config_file(context), now_s=time.time())
            archive = path.open("rb")  # what is open can still be sent
    except OSError as error:
        if isinstance(error, EdgeSimError):
            raise
        raise DataError(f"the archive cannot be written ({error.strerror})") from error
    day = time.strftime("%Y%m%d", time.gmtime())
    headers = {
        "Content-Length": str(os.fstat(archive.fileno()).st_size),
        "Content-Disposition": f'attachment; filename="{config.device}-{day}.zip"',
    }
    return StreamingResponse(_parts_of(archive), media_type="application/zip", headers=headers)


def _parts_of(archive: BinaryIO) -> Iterator[bytes]:
    with archive:
        while part := archive.read(1 << 18):
            yield part


def take_archive(asked: ApiRequest) -> Mapping[str, Any]:
    """Take an archive of `export` over, all of it or nothing."""
    if len(asked.files) != 1:
        raise HTTPException(422, "send the archive as one file")
    context = asked.context
    config, file = context.config, config_file(context)
    try:
        with _temporary_file(config, ".edge_sim-import-") as path:
            with path.open("wb") as target:
                shutil.copyfileobj(asked.files[0].file, target)
            imported = import_from(path, config, file)
    except OSError as error:
        if isinstance(error, EdgeSimError):
            raise
        raise DataError(f"the archive cannot be unpacked ({error.strerror})") from error
    wanted = imported.written.config
    restarts = take_over(context.device, file, imported.written, imported.undoing.close)
    return {
        "revision": imported.revision,
        "watches": list(wanted.watches),
        "restarts": restarts,
        "config_diff": "\n".join(imported.written.diff),
    }


def version_of(text: str) -> str:
    """Return a word that changes with the text of a configuration."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def values_of(config: Config) -> dict[str, Any]:
    """Return the values of a configuration, secrets masked."""
    plain: dict[str, Any] = _masked(config)
    return plain


def _masked(value: Any, key: str = "") -> Any:
    if isinstance(value, msgspec.Struct):
        shown = {
            name: _masked(getattr(value, field.name), name)
            for name, field in keys_of(type(value)).items()
        }
        tag = value.__struct_config__.tag
        return {"kind": tag, **shown} if tag else shown
    if isinstance(value, dict):
        return {name: _masked(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    if isinstance(value, str) and key in SECRETS and value:
        return masked(value) if key in ("uri", "url") else MASK
    return msgspec.to_builtins(value)


def _changed(
    context: WebContext,
    file: ConfigFile,
    before: str,
    text: str,
    version: str | None,
    *,
    dry_run: bool = False,
) -> Any:
    """Write a text made from that before and let the device take it over.

    The errors in it are listed by line.
    """
    if version is not None and version != version_of(before):
        raise HTTPException(409, "the configuration was changed meanwhile; read it again")
    try:
        wanted = file.checked(text)
        check_programs(context.config, wanted)
        if dry_run:
            return {"version": version, "restarts": False, "config_diff": "", "errors": ()}
        written = file.replace(text, base=before)
        restarts = take_over(context.device, file, written)
    except ConfigError as error:
        return _rejected(error)
    return _accepted(written, text, restarts)


def _accepted(written: Written, text: str, restarts: bool) -> Mapping[str, Any]:
    return {
        "version": version_of(text),
        "restarts": restarts,
        "config_diff": "\n".join(written.diff),
        "hints": written.config.hints,
        "errors": (),
    }


def _rejected(error: ConfigError) -> JsonResponse:
    return JsonResponse({"error": str(error), "errors": faults_of(error)}, 422)


def _frames_of(device: DeviceAccess) -> ReadFrame:
    """Return a reader that takes the frame of a source that runs: a camera opens only once."""

    def read(config: Config, name: str) -> tuple[Frame, str]:
        frame = device.frame(name)
        same = device.config.sources.get(name) == config.sources[name]
        up = any(item.name == name and item.up for item in device.board.sources)
        return (frame, "") if frame is not None and same and up else opened_frame(config, name)

    return read


@contextmanager
def _temporary_file(config: Config, prefix: str) -> Iterator[Path]:
    """Provide an empty file beside the gallery, which is deleted after the block."""
    folder = config.path(config.gallery.path).parent
    descriptor, name = mkstemp(".zip", prefix, dir=folder)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        with suppress(OSError):
            Path(name).unlink()
