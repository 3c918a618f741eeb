"""A device of a drawn lamp for the tests of the API: real files, frames that a test gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

from edge_sim.core.types import Frame
from edge_sim.errors import ConfigError
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.synthetic.source import reference_frames
from edge_sim.runtime import assembly
from edge_sim.runtime.config import Config, load_config
from edge_sim.runtime.daemon.access import WatchPicture
from edge_sim.runtime.daemon.teaching import Flip
from edge_sim.runtime.health.status import StatusBoard
from edge_sim.web.server import WebServer
from tests.runtime.daemon.cameras import lamp_config
from tests.web.servers import FakeDevice, ask

T = TypeVar("T")
SERVED = "web: {listen: '127.0.0.1:0', requests_per_s: 100000}\n"
MODEL = "model: {path: thumbnail}\n"


class WizardDevice(FakeDevice):
    """Daemon over real files, whose frames and reloads a test controls."""

    def __init__(self, path: Path) -> None:
        self.config: Config = load_config(path)
        super().__init__(StatusBoard("bench"), self.config)
        self.config_path = path
        self.embedder = assembly.open_model(self.config)
        self.reloads = 0
        self.rejects = ""
        self.flipped: tuple[Flip, ...] = ()

    def picture(self, watch: str) -> WatchPicture | None:
        frame = self.frames.get(self.config.source_of(watch))
        if frame is None:
            return None
        return WatchPicture(frame, assembly.region_of(self.config, watch), self.embedder)

    def call(self, job: Any, limit_s: float = 10.0) -> Any:
        return job(self)

    def reload(self, limit_s: float = 30.0) -> Config:
        self.reloads += 1
        if self.rejects:
            raise ConfigError(self.rejects)
        self.config = load_config(self.config_path or "")
        self.stills.use(self.config)
        return self.config

    def flips(self, watch: str, gallery: Gallery) -> tuple[Flip, ...]:
        return self.flipped


Answer = tuple[int, Mapping[str, str], bytes]


@dataclass
class WizardBench:
    """Device, its folder, and a person at the machine who asks the API."""

    device: WizardDevice
    folder: Path
    server: WebServer
    csrf: str = ""

    def get(self, path: str, status: int = 200) -> Any:
        return content_of(self.raw("GET", path), status)

    def raw(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return ask(self.server, path, method=method, body=body, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        status: int = 200,
        *,
        files: Mapping[str, bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        kind, data = "application/json", msgspec.json.encode({} if body is None else body)
        if files is not None:
            kind, data = multipart(files)
        sent = {
            "X-CSRF-Token": self.csrf,
            "Origin": f"http://127.0.0.1:{self.server.port}",
            "Content-Type": kind,
            **(headers or {}),
        }
        return content_of(self.raw(method, path, data, sent), status)

    def post(self, path: str, body: Any = None, status: int = 200, **options: Any) -> Any:
        return self.send("POST", path, body, status, **options)

    def show(self, state: str, number: int = 0) -> Frame:
        """Let the camera show a state."""
        frame = reference_frames("lamp", state, 8)[number]
        self.device.frames["camera"] = frame
        return frame

    def store(self) -> GalleryStore:
        return GalleryStore.open(self.folder / "gallery.db")


def content_of(answer: Answer, status: int) -> Any:
    """Return the content of an answer, JSON decoded, after checking its status."""
    found, headers, content = answer
    assert found == status, content
    is_json = headers.get("content-type") == "application/json"
    return msgspec.json.decode(content) if is_json else content


def multipart(files: Mapping[str, bytes]) -> tuple[str, bytes]:
    """Return type and body of a form with files."""
    mark = "b0undary"
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files.items()
    ]
    return f"multipart/form-data; boundary={mark}", b"".join(parts) + f"--{mark}--\r\n".encode()


@contextmanager
def wizard_bench(path: Path) -> Iterator[WizardBench]:
    device = WizardDevice(path)
    server = WebServer(device.config, device)
    server.start()
    try:
        bench = WizardBench(device, path.parent, server)
        bench.csrf = bench.get("/api/session")["csrf"]
        yield bench
    finally:
        device.board.close()
        server.close()


@contextmanager
def lamp_bench(folder: Path, extra: str = "") -> Iterator[WizardBench]:
    """A bench with a lamp of two states and ten references."""
    lamp_config(folder, SERVED + extra)
    with wizard_bench(folder / "config.yaml") as bench:
        yield bench


@contextmanager
def empty_bench(folder: Path) -> Iterator[WizardBench]:
    """A bench of a device that watches nothing yet."""
    (folder / "config.yaml").write_text(f"# Mine.\n{MODEL}{SERVED}")
    GalleryStore.open(folder / "gallery.db", create=True).close()
    with wizard_bench(folder / "config.yaml") as bench:
        yield bench
