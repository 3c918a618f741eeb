"""A real daemon with its web server, and a client that behaves as the page does."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

from edge_sim.runtime.config import Config
from edge_sim.runtime.daemon.access import DeviceAccess
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.web.server import WebServer, open_server
from tests.runtime.daemon.cameras import LIMIT_S, Camera, Show, lamp_config, world_of

RECORDED = (
    "score_log: {path: scores.jsonl, every_s: 0}\n"
    "explanations: {pictures: true}\n"
    "web: {listen: '127.0.0.1:0', requests_per_s: 1000000}\n"
)


class PageClient:
    """Client of one server with the headers that a page sends.

    Args:
        port: Port on this machine.
        headers: Headers of every request.
    """

    def __init__(self, port: int, headers: Mapping[str, str] | None = None) -> None:
        self.port = port
        self.origin = f"http://127.0.0.1:{port}"
        self.headers = dict(headers or {})
        self.csrf = ""

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Return status and JSON of an answer; other bodies as bytes."""
        status, _, content = self.raw(path, body, method=method, headers=headers)
        try:
            return status, json.loads(content) if content else None
        except ValueError:
            return status, content

    def raw(
        self,
        path: str,
        body: object = None,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer; bytes are sent as they are."""
        sent = dict(self.headers)
        content = None
        method = method or ("GET" if body is None else "POST")
        if method != "GET":
            sent |= {"Origin": self.origin, "X-CSRF-Token": self.csrf or self.session()["csrf"]}
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request(method, path, content, {**sent, **(headers or {})})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def session(self) -> dict[str, Any]:
        """Return the session, and keep its token."""
        found: dict[str, Any] = self.ask("/api/session")[1]
        self.csrf = str(found["csrf"])
        return found


class LampDevice:
    """Running daemon with one drawn lamp, whose frames a test gives."""

    def __init__(self, daemon: Daemon, camera: Camera, page: PageClient) -> None:
        self.daemon = daemon
        self.camera = camera
        self.page = page
        self.frames = Show()


@contextmanager
def serving_lamp(
    folder: Path, extra: str = RECORDED, *, private: bool = False
) -> Iterator[LampDevice]:
    """Run a daemon with its web server until the end of the block."""
    config, camera = lamp_config(folder, extra), Camera()
    watch = msgspec.structs.replace(config.watches["lamp"], private=private)
    config = msgspec.structs.replace(config, watches={"lamp": watch})
    opened: list[WebServer] = []
    is_open = threading.Event()

    def open_web(config: Config, device: DeviceAccess) -> WebServer:
        opened.append(open_server(config, device))
        is_open.set()
        return opened[-1]

    daemon = Daemon(
        config,
        reload=lambda: config,
        environment=world_of({"camera": camera}),
        open_web=open_web,
    )
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        assert is_open.wait(LIMIT_S)
        yield LampDevice(daemon, camera, PageClient(opened[-1].port))
    finally:
        daemon.request_stop()
        thread.join(LIMIT_S)
        assert not thread.is_alive()
