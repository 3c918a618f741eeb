"""The page below a path prefix, behind a proxy that signs itself in as Home Assistant's does."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

from edge_sim.web.accounts import Accounts
from edge_sim.web.callers import Role
from tests.runtime.daemon.test_service import show
from tests.web.conftest import OpenPage
from tests.web.devices import serving_lamp

pytestmark = pytest.mark.browser
PREFIX = "/api/hassio_ingress/x_1-Y"
PASSWORD = "correct horse"


@contextmanager
def proxied(port: int) -> Iterator[str]:
    """Serve what is below the prefix from a port; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, *_: object) -> None:
            return

        def forward(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                return
            length = int(self.headers.get("Content-Length", 0))
            headers = {name: value for name, value in self.headers.items() if name != "Connection"}
            headers |= {"X-Ingress-Path": PREFIX, "X-Forwarded-For": "192.0.2.9"}
            there = http.client.HTTPConnection("127.0.0.1", port)
            there.request(
                self.command, self.path.removeprefix(PREFIX), self.rfile.read(length), headers
            )
            answer = there.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.end_headers()
            with suppress(OSError, http.client.HTTPException):
                while part := answer.read1(65536):
                    self.wfile.write(part)
            there.close()

        do_GET = do_POST = forward  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{PREFIX}/"
    finally:
        server.shutdown()
        server.server_close()


def test_the_page_works_below_a_prefix(tmp_path: Path, open_page: OpenPage) -> None:
    Accounts(tmp_path / "accounts.json").put("anna", PASSWORD, Role.OPERATOR)
    web = "web: {listen: '127.0.0.1:0', trusted_proxies: [127.0.0.1]}\n"
    with serving_lamp(tmp_path, web) as lamp, proxied(lamp.page.port) as address:
        show(lamp.daemon, lamp.camera, lamp.frames, "on")
        page = open_page(address)
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Live").wait_for()
        page.wait_for_selector("img[src^='blob:']")
        show(lamp.daemon, lamp.camera, lamp.frames, "off", 8)
        page.locator(".state-badge, .badge", has_text="off").first.wait_for()
        (cookie,) = page.context.cookies()
        assert (cookie["path"], cookie["httpOnly"]) == (f"{PREFIX}/", True)
        page.reload()
        page.get_by_role("heading", name="Live").wait_for()
        page.close()  # it asks for pictures, and what answers ends first
