"""A device that answers the pages as the real one does, from values that a test sets.

The pages are tested against it where a real device would need minutes or luck to come into a state.
Run `python -m tests.web.fake_device` to look at them by hand.
"""

from __future__ import annotations

import json
import queue
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2

import edge_sim
from edge_sim.core.types import BgrImage
from edge_sim.io.sources.synthetic.source import render

PAGES = Path(edge_sim.__file__).parent / "web" / "pages"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
PATIENCE_S = 20.0
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def jpeg(pixels: BgrImage) -> bytes:
    """Return a picture as JPEG."""
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return data.tobytes()


def watch(name: str, states: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    """Return the JSON of a watch that is in its first state; `changes` replace fields."""
    level = {"enter": 0.64, "leave": 0.6}
    made = {
        "name": name,
        "source": "yard",
        "states": list(states),
        "private": False,
        "region": [0.2, 0.25, 0.5, 0.55],
        "has_mask": False,
        "sensitivity": 0.5,
        "kind": "states",
        "state": {
            "name": states[0],
            "reason": None,
            "since": "2026-01-01T12:00:00Z",
            "in_state_s": 75.0,
        },
        "scores": {
            state: round(0.98 - 0.96 * bool(place), 4) for place, state in enumerate(states)
        },
        "similarity": {state: 0.96 - 0.27 * place for place, state in enumerate(states)},
        "margin": 0.9,
        "thresholds": {state: level for state in states},
        "novelty": {"value": 0.2},
        "familiar": True,
        "light": "day",
        "gate": {"open": False, "share_open": 0.04},
        "problems": [],
        "picture": 1,
        "references": {state: {"day": 4} for state in states},
        "gallery_revision": 8,
        "observations": 600,
    }
    return made | changes


Answer = tuple[int, str, bytes]
Route = Callable[[dict[str, Any], dict[str, str], "re.Match[str]"], Any]


@dataclass
class FakeDevice:
    """Routes, the watches they show, and what the pages asked for."""

    watches: dict[str, dict[str, Any]] = field(default_factory=dict)
    session: dict[str, Any] = field(
        default_factory=lambda: {
            "user": None,
            "role": "admin",
            "csrf": "token",
            "needs_login": False,
            "version": "0.0",
            "device": "bench",
        }
    )
    device: dict[str, Any] = field(
        default_factory=lambda: {
            "sources": [{"name": "yard", "uri": "http://camera/", "up": True, "error": None}],
            "outbox": {"waiting": 0, "failing": {}},
            "health": {"alive": True, "ready": True, "faults": []},
        }
    )
    pictures: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    routes: list[tuple[str, re.Pattern[str], Route]] = field(default_factory=list)
    readers: list[queue.Queue[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.route("GET", r"api/session", lambda *_: self.session)
        self.route("GET", r"api/device", lambda *_: self.device)
        self.route("GET", r"api/watches", lambda *_: list(self.watches.values()))
        self.route("GET", r"api/watches/([^/]+)/snapshot\.jpg", self._snapshot)
        self.route("POST", r"api/watches/([^/]+)/(?:teach|undo)", lambda *_: {"undo": 9})

    def route(self, method: str, path: str, answer: Route) -> None:
        """Answer a request; the latest route that fits counts."""
        self.routes.insert(0, (method, re.compile(path), answer))

    def add(self, made: dict[str, Any], pixels: BgrImage | None = None) -> None:
        """Add or replace a watch, and tell the pages that are open."""
        known = self.watches.get(made["name"])
        made["picture"] = made["picture"] if known is None else known["picture"] + 1
        self.watches[made["name"]] = made
        if pixels is not None:
            self.pictures[made["name"]] = jpeg(pixels)
        self.send("watch", made)

    def send(self, kind: str, value: Any) -> None:
        """Send a server-sent event to the pages that are open."""
        for reader in self.readers:
            reader.put(message(kind, value))

    def wait_for_readers(self, count: int) -> None:
        """Wait until so many pages listen; one that has gone is noticed by writing to it."""
        end = time.monotonic() + PATIENCE_S
        while len(self.readers) != count:
            assert time.monotonic() < end, f"{len(self.readers)} pages listen"
            self.send("device", self.device)
            time.sleep(0.02)  # nothing tells when a browser has closed a connection

    def answer(self, method: str, address: str, body: Any) -> Answer:
        """Return status, type and body of an answer."""
        path, _, query = address.partition("?")
        values = dict(urllib.parse.parse_qsl(query))
        self.asked.append((method, path, body))
        for wanted, pattern, route in self.routes:
            found = pattern.fullmatch(path)
            if wanted == method and found:
                value = route(body if isinstance(body, dict) else {}, values, found)
                if isinstance(value, tuple):
                    return value
                return 200, "application/json", json.dumps(value).encode()
        return error(404, f"{path}: not here")

    def _snapshot(self, _: Any, values: dict[str, str], found: re.Match[str]) -> Any:
        data = self.pictures.get(urllib.parse.unquote(found[1]))
        return (204, "image/jpeg", b"") if data is None else (200, "image/jpeg", data)


def error(status: int, text: str) -> Answer:
    """Return an error as the device gives it."""
    return status, "application/json", json.dumps({"error": text}).encode()


def message(kind: str, value: Any) -> str:
    """Return one server-sent event."""
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n"


@contextmanager
def serving(device: FakeDevice) -> Iterator[str]:
    """Serve the pages and the API of a device on loopback; yield the address of the page."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

        def do_GET(self) -> None:
            path = self.path.lstrip("/").partition("?")[0]
            if path == "api/stream":
                self._stream()
            elif not path.startswith("api/"):
                self._file(path or "pages/index.html")
            else:
                self._respond("GET", None)

        def _write(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body: Any = data
            if "json" in (self.headers.get("Content-Type") or ""):
                body = json.loads(data or b"{}")
            if self.headers.get("X-CSRF-Token") != device.session["csrf"]:
                self._send(error(403, "the token of the session is missing"))
                return
            self._respond(self.command, body)

        do_POST = do_PUT = do_PATCH = do_DELETE = _write  # noqa: N815 (names of the base class)

        def _respond(self, method: str, body: Any) -> None:
            self._send(device.answer(method, self.path.lstrip("/"), body))

        def _file(self, path: str) -> None:
            file = PAGES / path.removeprefix("pages/")
            if file.is_file():
                self._send((200, KINDS.get(file.suffix, "text/plain"), file.read_bytes()))
            else:
                self._send(error(404, f"{path}: not here"))

        def _send(self, answer: Answer) -> None:
            status, kind, data = answer
            tag = f'"{sha256(data).hexdigest()[:16]}"'
            if self.headers.get("If-None-Match") == tag and status == 200:
                status, data = 304, b""
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("Cache-Control", "no-cache")
            self.send_header("ETag", tag)
            self.end_headers()
            self.wfile.write(data)

        def _stream(self) -> None:
            reader: queue.Queue[str] = queue.Queue()
            for made in list(device.watches.values()):
                reader.put(message("watch", made))
            reader.put(message("device", device.device))
            device.readers.append(reader)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.close_connection = True
            try:
                while text := reader.get():
                    self.wfile.write(text.encode())
            except OSError:
                pass
            finally:
                device.readers.remove(reader)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        for reader in list(device.readers):
            reader.put("")
        server.shutdown()
        server.server_close()
        thread.join()


def several() -> FakeDevice:
    """Return a device with watches in different conditions."""
    device = FakeDevice()
    device.add(watch("bowl", ("food", "empty")), render("bowl", "food"))
    device.add(
        watch(
            "gate",
            ("open", "closed"),
            state={
                "name": "unknown",
                "reason": "novel",
                "since": "2026-01-01T12:00:00Z",
                "in_state_s": 4000,
            },
            similarity={"open": 0.5, "closed": 0.41},
            familiar=False,
            problems=["camera_moved"],
            light="dusk",
            gate={"open": True, "share_open": 0.4},
        ),
        render("gate", "open"),
    )
    device.add(watch("parking", ("free", "taken"), light="ir"), render("parking", "free"))
    device.add(watch("machine", ("on", "off"), references={"on": {"day": 1}}, private=True))
    return device


def with_wizard(device: FakeDevice, scene: str = "bowl", states: str = "food empty") -> FakeDevice:
    """Answer what the wizard asks; the camera shows the first state of the scene."""
    frame = render(scene, states.split()[0])
    height, width = frame.shape[:2]
    references: dict[str, dict[str, int]] = {}

    def create(body: dict[str, Any], *_: Any) -> Any:
        made = watch(body["name"], tuple(body["states"]), references=references)
        device.add(made | {"region": body["region"]}, frame)
        return {"watch": body["name"], "config_diff": "+  watch"}

    def enrol(body: dict[str, Any], _: Any, found: re.Match[str]) -> Any:
        state = body["state"]
        kept = references.setdefault(state, {"day": 0})
        kept["day"] += 1
        return {
            "reference_id": f"{state}-{kept['day']}",
            "light": "day",
            "kept": True,
            "refused": None,
            "count": kept["day"],
            "picture": f"api/watches/{found[1]}/snapshot.jpg",
        }

    def model(body: dict[str, Any], *_: Any) -> Any:
        x, y, wide, high = body["region"]
        top, left = int(y * height), int(x * width)
        region = frame[top : top + int(high * height), left : left + int(wide * width)]
        small: BgrImage = cv2.resize(region, (96, 96))  # type: ignore[assignment]
        return 200, "image/jpeg", jpeg(small)

    def undo(body: dict[str, Any], *_: Any) -> Any:
        kept = references[body["reference_id"].rpartition("-")[0]]
        kept["day"] -= 1
        return {"count": kept["day"]}

    ready = {
        "pairs": [{"a": "food", "b": "empty", "accuracy": 0.98, "text": "5 and 5 references"}],
        "coverage": {"states": states.split(), "lights": ["day", "ir"], "counts": [[5, 1], [5, 0]]},
        "next": "Take empty at night: there is no infrared picture of it.",
        "ready": True,
    }
    preview = {"id": "p1", "width": width, "height": height, "light": "day"}
    cameras = {
        "v4l2": [{"uri": "/dev/v4l/by-id/usb-cam", "name": "USB camera", "by_id": True}],
        "onvif": [
            {"name": "Door", "address": "192.168.1.20", "service": "s", "error": "wants a user"}
        ],
    }
    stills = [
        {"id": str(n), "at": 1767268800 + 60 * n, "picture": "api/preview/p1/frame.jpg"}
        for n in range(4)
    ]
    device.route("GET", r"api/cameras", lambda *_: cameras)
    device.route("POST", r"api/preview", lambda *_: preview)
    device.route("DELETE", r"api/preview/p1", lambda *_: {})
    device.route("GET", r"api/preview/p1/frame\.jpg", lambda *_: (200, "image/jpeg", jpeg(frame)))
    device.route("POST", r"api/preview/p1/model", model)
    device.route("POST", r"api/watches", create)
    device.route("PATCH", r"api/watches/([^/]+)", lambda *_: {})
    device.route("POST", r"api/watches/([^/]+)/references", enrol)
    device.route("POST", r"api/watches/([^/]+)/references/undo", undo)
    device.route("GET", r"api/watches/([^/]+)/proposals", lambda *_: stills)
    device.route("GET", r"api/watches/([^/]+)/readiness", lambda *_: ready)
    return device


if __name__ == "__main__":
    with serving(with_wizard(several())) as address:
        input(f"{address} - Enter ends it\n")  # keeps serving until then
