"""A web server over a device that a test fills, and clients that send anything."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

from edge_sim.core.types import Frame
from edge_sim.errors import CommandError
from edge_sim.gallery.gallery import Gallery
from edge_sim.io.outbox.queue import OutboxCounts
from edge_sim.io.sinks.capabilities import Teach
from edge_sim.runtime.assembly import Device
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.runtime.config.service import WebConfig
from edge_sim.runtime.daemon.access import WatchPicture
from edge_sim.runtime.daemon.teaching import Flip, Lesson
from edge_sim.runtime.health.status import StatusBoard
from edge_sim.runtime.stills import DiverseStills
from edge_sim.vision.probe import Region
from edge_sim.web.server import WebServer
from tests.builders import OUTBOX_COUNTS, BrightnessEmbedder

T = TypeVar("T")
TOKEN = "0123456789abcdef"


class FakeDevice:
    """Daemon as the web server sees it: a board, a configuration, and frames to show."""

    written_bytes = 100

    def __init__(self, board: StatusBoard, config: Config) -> None:
        self.board = board
        self.config = config
        self.frames: dict[str, Frame] = {}
        self.taught: list[Teach] = []
        self.stills = DiverseStills(config)
        self.config_path: Path | None = None

    def counts(self) -> OutboxCounts:
        return OUTBOX_COUNTS

    def failing(self) -> Mapping[str, int]:
        return {"mqtt": 3}

    def frame(self, source: str) -> Frame | None:
        return self.frames.get(source)

    def event_picture(self, event_id: str) -> tuple[str, bytes] | None:
        return None

    def picture(self, watch: str) -> WatchPicture | None:
        frame = next(iter(self.frames.values()), None)
        return None if frame is None else WatchPicture(frame, Region(), BrightnessEmbedder())

    def teach(self, command: Teach, limit_s: float = 10.0) -> Lesson:
        if command.state != "open":
            raise CommandError(f"there is no state {command.state!r}")
        self.taught.append(command)
        return Lesson(command.watch, command.state, "r1", 12, None, ())

    def call(self, job: Callable[[Device], T], limit_s: float = 10.0) -> T:
        raise CommandError("there is no daemon")

    def flips(self, watch: str, gallery: Gallery) -> tuple[Flip, ...]:
        return ()

    def reload(self, limit_s: float = 30.0) -> Config:
        return self.config

    def refresh_gallery(self, limit_s: float = 10.0) -> None:
        return

    def read_config(self) -> Config:
        return self.config


def served(folder: Path | str = ".", **options: Any) -> Config:
    """Configuration of a server on a free port of this machine, with the watch `gate`."""
    web = WebConfig(**{"listen": "127.0.0.1:0", "requests_per_s": 1e6, **options})
    return Config(web=web, watches={"gate": WatchConfig()}, folder=str(folder))


@contextmanager
def serving(board: StatusBoard, config: Config | None = None) -> Iterator[WebServer]:
    config = config or served()
    server = WebServer(config, FakeDevice(board, config))
    server.start()
    try:
        yield server
    finally:
        board.close()
        server.close()


def ask(
    server: WebServer,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Mapping[str, str], bytes]:
    """Return status, headers with lower-case names, and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, answer.read()
    finally:
        connection.close()


def throw(server: WebServer, content: bytes) -> bytes:
    """Send bytes as they are, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
        try:
            wire.sendall(content)
            wire.shutdown(socket.SHUT_WR)
            answer = b""
            while part := wire.recv(65536):
                answer += part
        except OSError:
            return b""
    return answer
