"""A web server on loopback that keeps what is posted and answers as told."""

from __future__ import annotations

import ssl
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event as Signal
from threading import Thread


@dataclass(frozen=True)
class Posted:
    path: str
    headers: dict[str, str]
    body: bytes


class Hook:
    """The server; `answers` are used up first, then it says 204."""

    def __init__(self, certificate: Path | None = None, key: Path | None = None) -> None:
        self.posted: list[Posted] = []
        self.answers: deque[tuple[int, dict[str, str]]] = deque()
        self.silent = False
        self.entered = Signal()
        self._over = Signal()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate, key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
            self.scheme = "https"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook?room=1"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers["Content-Length"])
        body = handler.rfile.read(length)
        self.posted.append(Posted(handler.path, dict(handler.headers), body))
        self.entered.set()
        if self.silent:
            self._over.wait(30.0)
            return
        status, headers = self.answers.popleft() if self.answers else (204, {})
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
