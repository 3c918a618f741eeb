"""A health server over a board that a test fills, and a client that sends anything."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from edge_sim.errors import CommandError
from edge_sim.io.outbox.queue import OutboxCounts
from edge_sim.runtime.config.service import HealthConfig
from edge_sim.runtime.health.routes import Pages
from edge_sim.runtime.health.server import HealthServer
from edge_sim.runtime.health.status import StatusBoard

TOKEN = "0123456789abcdef"
COUNTS = OutboxCounts(
    waiting=2,
    waiting_bytes=900,
    unsaved=0,
    pending={"mqtt": 2},
    delivered={"mqtt": 5},
    dropped={("mqtt", "age"): 1},
    written_bytes=4096,
    written_bytes_last_day=4096,
    over_budget=False,
)


def taught(body: bytes) -> Mapping[str, object]:
    if b"open" not in body:
        raise CommandError("the body is no teach order")
    return {"revision": 12}


def pages_of(board: StatusBoard) -> Pages:
    return Pages(
        board,
        counts=lambda: COUNTS,
        failing=lambda: {"mqtt": 3},
        written_bytes=lambda: 100,
        teach=taught,
    )


def served(**options: Any) -> HealthConfig:
    """Options of a server on a free port of this machine."""
    return HealthConfig(**{"listen": "127.0.0.1:0", **options})


@contextmanager
def serving(board: StatusBoard, config: HealthConfig | None = None) -> Iterator[HealthServer]:
    config = config or served(requests_per_s=1e6)
    server = HealthServer(pages_of(board), config)
    server.start()
    try:
        yield server
    finally:
        board.close()
        server.close()


def ask(
    server: HealthServer,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def throw(server: HealthServer, content: bytes) -> bytes:
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
