"""A web server on loopback that sends one file, well or badly."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from edge_sim.vision.embedders.model_pull import PublicModel
from tests.vision.embedders.tiny_models import classifier_model

# No proxy, whatever the machine that runs the tests uses.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
MEMBER = "tiny_uint8.tflite"


@dataclass
class Shop:
    """Content and manner of the answers; `asked` counts the requests."""

    content: bytes
    cut_after: int | None = None
    status: int | None = None
    tells_length: bool = True
    asked: int = 0
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        if self.status is not None:
            handler.send_error(self.status)
            return
        handler.send_response(200)
        body = self.content
        if self.tells_length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body if self.cut_after is None else body[: self.cut_after])


@contextmanager
def serving(content: bytes) -> Iterator[Shop]:
    """Serve `content` until the block ends; change the shop to make it worse."""
    shop = Shop(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shop.answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        shop.url = f"http://127.0.0.1:{server.server_port}/tiny.tgz"
        try:
            yield shop
        finally:
            server.shutdown()
            thread.join()


def packed(files: dict[str, bytes]) -> bytes:
    """Return a .tgz archive of files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def tiny_archive() -> bytes:
    """Return the archive of the tiny classifier, with something else before it."""
    return packed({"tiny/checkpoint": bytes(range(256)) * 40, f"tiny/{MEMBER}": classifier_model()})


def tiny(url: str) -> PublicModel:
    """Return the tiny classifier as a public model."""
    digest = hashlib.sha256(classifier_model()).hexdigest()
    return PublicModel("tiny", url, MEMBER, digest, "MIT", "a classifier of five classes")
