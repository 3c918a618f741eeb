"""Connection of the HTTP server with the parts of the daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from edge_sim.core.types import is_reserved
from edge_sim.errors import CommandError
from edge_sim.gallery.gallery import checked_name
from edge_sim.io.sinks.capabilities import Teach
from edge_sim.runtime.config import Config
from edge_sim.runtime.daemon.outputs import EventDispatcher
from edge_sim.runtime.daemon.state_file import StateStore
from edge_sim.runtime.daemon.teaching import Lesson
from edge_sim.runtime.health.routes import Pages
from edge_sim.runtime.health.status import StatusBoard

if TYPE_CHECKING:
    from edge_sim.runtime.health.server import HealthServer


class TeachRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /teach`; without `event` the present picture is taught."""

    watch: str
    state: str
    event: str | None = None


def open_http_server(
    config: Config,
    board: StatusBoard,
    dispatcher: EventDispatcher,
    state_store: StateStore,
    teach: Callable[[Teach], Lesson],
) -> HealthServer | None:
    """Return the running server of `config`; None if none is configured.

    Raises:
        ConfigError: It cannot listen, or its certificate cannot be read.
    """
    section = config.health
    if section.address is None:
        return None
    # Only here: `ssl` and `http.server` take 7 MB, which a device without a server need not hold.
    from edge_sim.runtime.health.server import HealthServer

    pages = Pages(
        board,
        counts=dispatcher.counts,
        failing=dispatcher.failing,
        written_bytes=lambda: state_store.written_bytes,
        teach=lambda body: _teach_from(teach, body),
    )
    files = {
        name: str(config.path(path))
        for name, path in (("certificate", section.certificate), ("key", section.key))
        if path is not None
    }
    server = HealthServer(pages, msgspec.structs.replace(section, **files))
    server.start()
    return server


def _teach_from(teach: Callable[[Teach], Lesson], body: bytes) -> Mapping[str, object]:
    try:
        request = msgspec.json.decode(body, type=TeachRequest)
    except msgspec.DecodeError as error:
        raise CommandError(f"the body is no teach request: {error}") from error
    for name in (request.watch, request.state):
        if is_reserved(name):
            raise CommandError(f"the name {name!r} is reserved")
    checked_name("state", request.state)
    lesson = teach(Teach(request.watch, request.state, request.event))
    answer: Mapping[str, object] = msgspec.to_builtins(lesson)
    return answer
