"""A camera whose frames a test gives one by one, and a device that looks at it."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_sim.core.protocols import FrameSource
from edge_sim.core.types import Frame
from edge_sim.errors import SourceError
from edge_sim.io.sources.synthetic.source import reference_frames
from edge_sim.runtime.assembly import Environment
from edge_sim.runtime.config import Config, load_config
from tests.devices import make_device

LIMIT_S = 20.0
"""Far longer than anything here takes; a test that waits so long has failed."""


class Camera:
    """A live source: `read` waits for what the test gives."""

    def __init__(self, name: str = "camera") -> None:
        self.name = name
        self.closed = False
        self.dropped = self.rejected = self.abandoned = 0
        self._items: queue.Queue[Frame | SourceError | None] = queue.Queue()

    def give(self, *items: Frame | SourceError | None) -> None:
        for item in items:
            self._items.put(item)

    def read(self) -> Frame | None:
        item = self._items.get(timeout=LIMIT_S)
        if isinstance(item, SourceError):
            raise item
        return item

    def close(self) -> None:
        self.closed = True
        self._items.put(SourceError(f"{self.name}: closed"))


class Show:
    """Frames of the drawn lamp, in the order in which a test wants them, a second apart."""

    def __init__(self, *, unix_time_s: float = 1_700_000_000.0) -> None:
        self._index = 0
        self.unix_time_s = unix_time_s

    def frames(self, state: str, count: int) -> Iterator[Frame]:
        for _ in range(count):
            frame = pictures(state)[self._index % 5]
            yield replace(
                frame,
                index=self._index,
                captured_at_s=float(self._index),
                unix_time_s=self.unix_time_s + self._index,
            )
            self._index += 1


@cache
def pictures(state: str) -> tuple[Frame, ...]:
    """Drawn once: drawing is the slow part of these tests."""
    return tuple(reference_frames("lamp", state, 5))


@cache
def device() -> tuple[str, bytes]:
    """Configuration and gallery of a lamp, made once."""
    with TemporaryDirectory() as folder:
        config = make_device(Path(folder))
        return config.read_text(), (Path(folder) / "gallery.db").read_bytes()


def world_of(cameras: Mapping[str, FrameSource]) -> Environment:
    """A world in which the sources of these names are these cameras."""
    return Environment(open_source=lambda config, name: cameras[name], is_live=lambda uri: True)


def lamp_config(folder: Path, extra: str = "") -> Config:
    """A lamp seen by one camera; events go to a file."""
    sinks = "sinks:\n  - {kind: file, path: events.jsonl}\n"
    text, gallery = device()
    (folder / "gallery.db").write_bytes(gallery)
    config = folder / "config.yaml"
    config.write_text(text + sinks + extra)
    return load_config(config)
