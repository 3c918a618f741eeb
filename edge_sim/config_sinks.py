"""The sections of the configuration that say where events wait and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from edge_sim.config_section import Megabytes, Port, PositiveSeconds, Seconds, Section
from edge_sim.config_yaml import YamlReader

Mode = Annotated[str, msgspec.Meta(pattern=r"^[0-7]{3}$")]
PositiveMegabytes = Annotated[float, msgspec.Meta(gt=0)]
PositiveDays = Annotated[float, msgspec.Meta(gt=0)]
Whole = Annotated[int, msgspec.Meta(ge=0)]
KeepAlive = Annotated[int, msgspec.Meta(ge=5, le=3600)]


class StdoutSink(Section, frozen=True, tag="stdout", tag_field="kind"):
    """Events as JSON lines on standard output."""


class FileSink(Section, frozen=True, tag="file", tag_field="kind"):
    """Events as JSON lines appended to a file."""

    path: str = "events.jsonl"
    max_mb: Megabytes = 10.0
    keep: Whole = 5


class MqttSink(Section, frozen=True, tag="mqtt", tag_field="kind"):
    """Events and states on an MQTT broker."""

    host: str = "localhost"
    port: Port | None = None
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    topic_prefix: str = "edge_sim"
    client_id: str | None = None
    keepalive_s: KeepAlive = 60
    timeout_s: PositiveSeconds = 10.0
    discovery: bool = True
    discovery_prefix: str = "homeassistant"
    image: bool = False
    stats_interval_s: Seconds = 60.0


class WebhookSink(Section, frozen=True, tag="webhook", tag_field="kind"):
    """Events posted to a web address."""

    url: str
    timeout_s: PositiveSeconds = 10.0
    secret: str | None = None
    token: str | None = None
    ca_file: str | None = None


class CommandSink(Section, frozen=True, tag="command", tag_field="kind"):
    """Events on the standard input of a program."""

    argv: tuple[str, ...]
    timeout_s: PositiveSeconds = 10.0


class UnixSocketSink(Section, frozen=True, tag="unix_socket", tag_field="kind"):
    """Events streamed to every program connected to a Unix socket."""

    path: str = "edge_sim.sock"
    mode: Mode = "660"


class OutboxConfig(Section, frozen=True):
    """Where the daemon keeps events until every sink has them."""

    storage: Literal["disk", "memory"] = "disk"
    path: str = "outbox.db"
    max_mb: PositiveMegabytes = 16.0
    max_days: PositiveDays = 7.0
    write_budget_mb_per_day: PositiveMegabytes = 64.0


SinkConfig: TypeAlias = (
    StdoutSink | FileSink | MqttSink | WebhookSink | CommandSink | UnixSocketSink
)


def sink_options(sink: SinkConfig, *, device: str, folder: Path) -> dict[str, Any]:
    """Return the arguments of `edge_sim.sinks.open_sink` beside the kind.

    Args:
        sink: A section.
        device: Name of the device.
        folder: Where relative paths start.
    """
    options = msgspec.structs.asdict(sink)
    for key, value in options.items():
        if value is not None and (key == "path" or key.endswith("_file")):
            options[key] = Path(folder, value).absolute()
    if isinstance(sink, FileSink):
        options["max_mb"] = sink.max_mb or None
    if isinstance(sink, MqttSink):
        options["device"] = device
    if isinstance(sink, UnixSocketSink):
        options["mode"] = int(sink.mode, 8)
    return options


def check_images(sinks: Sequence[SinkConfig], *, on_disk: bool, reader: YamlReader) -> None:
    """Raise `ConfigError` for pictures from a device that is to keep nothing of an event."""
    for at, sink in enumerate(sinks):
        if isinstance(sink, MqttSink) and sink.image and not on_disk:
            raise reader.error(
                f"sinks[{at}].image",
                f"sinks[{at}].image: the broker keeps a picture of every event, and "
                "outbox.storage: memory keeps nothing of an event; choose one",
            )


def kind_of(sink: SinkConfig) -> str:
    """Return the kind of a sink, a key of `edge_sim.sinks.KINDS`."""
    return str(sink.__struct_config__.tag)
