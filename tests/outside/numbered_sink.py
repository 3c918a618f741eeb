"""A sink from outside: `{kind: numbered, folder: events}` writes a file per event."""

from __future__ import annotations

from pathlib import Path

import edge_sim
from edge_sim import events


class NumberedSink:
    """Writes `000001.json`, `000002.json`, ... into a folder."""

    def __init__(self, folder: Path, digits: int) -> None:
        self.name = f"numbered {folder}"
        self._folder = folder
        self._digits = digits
        self._count = 0
        self._closed = False

    def emit(self, event: events.Event) -> None:
        if self._closed:
            raise edge_sim.SinkError(f"{self.name}: closed")
        self._count += 1
        path = self._folder / f"{self._count:0{self._digits}}.json"
        try:
            path.write_bytes(events.to_json_line(event))
        except OSError as error:
            raise edge_sim.SinkError(f"{path}: {error.strerror}") from error

    def close(self) -> None:
        self._closed = True


def open_numbered(folder: Path, digits: int = 6, token: str | None = None) -> NumberedSink:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise edge_sim.SinkError(f"{folder}: {error.strerror}") from error
    return NumberedSink(folder, digits)


edge_sim.register_sink("numbered", open_numbered)
