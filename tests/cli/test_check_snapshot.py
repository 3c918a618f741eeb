"""`edge-sim check` tells the address of a snapshot from that of a stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge_sim.cli.main import main
from edge_sim.core.images import encode_jpeg
from edge_sim.io.sources.synthetic.source import reference_frames
from tests.devices import make_device
from tests.io.sources.devices import network_camera


@contextmanager
def snapshot() -> Iterator[str]:
    """Address that answers every request with one picture."""
    (frame,) = reference_frames("lamp", "on", 1)
    body = encode_jpeg(frame.pixels)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/snapshot.jpg"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def source_line(folder: Path, uri: str, capfd: pytest.CaptureFixture[str]) -> str:
    main(["check", "-c", str(make_device(folder, uri=uri))])
    lines = capfd.readouterr().out.splitlines()
    return next(line for line in lines if "source camera" in line)


def test_the_address_of_a_snapshot_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with snapshot() as uri:
        line = source_line(tmp_path, uri, capfd)
    assert line.startswith("ok")
    assert "gives single pictures, asked every 1 s" in line


def test_a_stream_is_in_order(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with network_camera() as camera:
        assert source_line(tmp_path, camera.uri, capfd).startswith("ok")
