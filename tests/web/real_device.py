"""A real daemon with a camera on loopback, whose drawn scene a test changes."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from edge_sim.core.types import BgrImage
from edge_sim.io.sources.synthetic.source import render
from tests.web.fake_device import jpeg

FRAME_S = 0.1
PATIENCE_S = 20.0
VARIANTS = 6
CONFIG = """\
# My own device.
device: bench
sinks:
  - {{kind: file, path: events.jsonl}}  # for me
explanations: {{pictures: true}}
web:
  listen: 127.0.0.1:{port}
"""


class Camera:
    """MJPEG camera on loopback; `state` is what it shows, from the next frame on."""

    def __init__(self, scene: str, state: str) -> None:
        self.scene = scene
        self.state = state
        self.ended = threading.Event()
        self._made: dict[tuple[str, int], bytes] = {}
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                return

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    for number in itertools.count():
                        data = camera.picture(number % VARIANTS)
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
                        self.wfile.write(f"{head}\r\n\r\n".encode() + data + b"\r\n")
                        if camera.ended.wait(FRAME_S):
                            return
                except OSError:
                    return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """Address of the stream."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/stream.mjpg"

    def picture(self, variant: int) -> bytes:
        """Return a picture of the present state, with noise of its own."""
        key = self.state, variant
        if key not in self._made:
            noise = np.random.default_rng(variant).normal(0, 3, (480, 640, 3))
            drawn = render(self.scene, self.state, variant).astype(np.float64) + noise
            pixels: BgrImage = np.clip(drawn, 0, 255).astype(np.uint8)
            self._made[key] = jpeg(pixels)
        return self._made[key]

    def close(self) -> None:
        """End the stream."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def filming(scene: str, state: str) -> Iterator[Camera]:
    """Run a camera."""
    camera = Camera(scene, state)
    try:
        yield camera
    finally:
        camera.close()


@contextmanager
def device_running(folder: Path) -> Iterator[str]:
    """Run a daemon without watches in a folder; yield the address of its page."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    (folder / "config.yaml").write_text(CONFIG.format(port=port), encoding="utf-8")
    command = [sys.executable, "-m", "edge_sim", "daemon", "-c", str(folder / "config.yaml")]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}/"
            wait_for(address, process)
            yield address
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the page answers."""
    end = time.monotonic() + PATIENCE_S
    while not answers(address):
        if time.monotonic() > end or process.poll() is not None:
            raise AssertionError(f"the daemon does not answer (exit status {process.poll()})")
        time.sleep(0.05)  # the process has just begun; nothing tells when it listens


def answers(address: str) -> bool:
    """Return whether a page can be had."""
    with suppress(OSError), urllib.request.urlopen(f"{address}api/session", timeout=1):
        return True
    return False


def events(folder: Path) -> list[dict[str, Any]]:
    """Return the events that the daemon has written."""
    file = folder / "events.jsonl"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [json.loads(line) for line in text.splitlines()]
