"""Where events go. `KINDS` is the only table from the name of a kind to the code that opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_sim.protocols import EventSink


def open_sink(kind: str, **options: Any) -> EventSink:
    """Return an open sink.

    Args:
        kind: A key of `KINDS`.
        options: Arguments of that kind, as in `configs/default.yaml`.

    Raises:
        ConfigError: Its arguments can never work.
        SinkError: It cannot be opened now.
    """
    return KINDS[kind](**options)


def _open_stdout() -> EventSink:
    from edge_sim.sinks.stdout import StdoutSink

    return StdoutSink()


def _open_file(path: str | Path, **options: Any) -> EventSink:
    from edge_sim.sinks.file import FileSink

    return FileSink.open(Path(path), **options)


def _open_mqtt(**options: Any) -> EventSink:
    from edge_sim.sinks.mqtt import MqttOptions, MqttSink

    return MqttSink.open(MqttOptions(**options))


def _open_webhook(url: str, **options: Any) -> EventSink:
    from edge_sim.sinks.webhook import WebhookSink

    return WebhookSink.open(url, **options)


def _open_command(argv: Sequence[str], **options: Any) -> EventSink:
    from edge_sim.sinks.command import CommandSink

    return CommandSink.open(argv, **options)


def _open_unix_socket(path: str | Path, **options: Any) -> EventSink:
    from edge_sim.sinks.unix_socket import UnixSocketSink

    return UnixSocketSink.open(Path(path), **options)


KINDS: Mapping[str, Callable[..., EventSink]] = {
    "stdout": _open_stdout,
    "file": _open_file,
    "mqtt": _open_mqtt,
    "webhook": _open_webhook,
    "command": _open_command,
    "unix_socket": _open_unix_socket,
}
