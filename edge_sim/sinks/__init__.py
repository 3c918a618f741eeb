"""Where events go. `KINDS` is the only table from the name of a kind to the code that opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_sim.protocols import EventSink


def open_sink(kind: str, **options: Any) -> EventSink:
    """Return an open sink.

    Args:
        kind: A key of `KINDS`.
        options: Arguments of that kind, as in `configs/default.yaml`.

    Raises:
        SinkError: It cannot be opened.
    """
    return KINDS[kind](**options)


def _open_stdout() -> EventSink:
    from edge_sim.sinks.stdout import StdoutSink

    return StdoutSink()


def _open_file(path: str | Path) -> EventSink:
    from edge_sim.sinks.file import FileSink

    return FileSink.open(Path(path))


KINDS: Mapping[str, Callable[..., EventSink]] = {"stdout": _open_stdout, "file": _open_file}
