"""Joins the HTTP server with the parts that it shows."""

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
    """The body of `POST /teach`; without `event` it is about what is seen now."""

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
    """Return the running server of `config`; None if it wants none.

    Raises:
        ConfigError: It cannot listen, or its certificate cannot be read.
    """
    section = config.health
    if section.address is None:
        return None
    # Only here: `ssl` and `http.server` take 7 MB, which a device without a server need not hold.
    from edge_sim.runtime.health.server import Access, HealthServer

    access = Access(
        token=section.token,
        certificate=None if section.certificate is None else config.path(section.certificate),
        key=None if section.key is None else config.path(section.key),
        requests_per_s=section.requests_per_s,
    )
    pages = Pages(
        board,
        counts=dispatcher.counts,
        failing=dispatcher.failing,
        written_bytes=lambda: state_store.written_bytes,
        teach=lambda body: _taught(teach, body),
    )
    server = HealthServer(section.address, pages, access)
    server.start()
    return server


def _taught(teach: Callable[[Teach], Lesson], body: bytes) -> Mapping[str, object]:
    try:
        order = msgspec.json.decode(body, type=TeachRequest)
    except msgspec.DecodeError as error:
        raise CommandError(f"the body is no teach order: {error}") from error
    for word in (order.watch, order.state):
        if is_reserved(word):
            raise CommandError(f"the name {word!r} is reserved")
    checked_name("state", order.state)
    lesson = teach(Teach(order.watch, order.state, order.event))
    answer: Mapping[str, object] = msgspec.to_builtins(lesson)
    return answer
