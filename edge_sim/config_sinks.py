"""The sections of the configuration that say where events wait and where they go."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec

from edge_sim.config_section import Megabytes, Port, PositiveSeconds, Seconds, Section
from edge_sim.config_yaml import YamlReader
from edge_sim.errors import ConfigError
from edge_sim.sinks import SinkOpener, registered_sink

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


_BUILT_IN = frozenset(member.__struct_config__.tag for member in get_args(SinkConfig))


def registered_section(kind: str) -> type[Section] | None:
    """Return the section of a kind of sink that was registered or installed; None if there is none.

    Raises:
        ConfigError: The package that brings it cannot be used.
    """
    opener = registered_sink(kind)
    return None if opener is None else _section_and_paths(kind, opener)[0]


def read_sinks(plain: Sequence[dict[str, Any]]) -> tuple[SinkConfig, ...]:
    """Return the sections of a list of sinks, of any kind.

    Raises:
        msgspec.ValidationError: A value that cannot be.
    """
    found: list[SinkConfig] = []
    for table in plain:
        own = None if table["kind"] in _BUILT_IN else registered_section(table["kind"])
        kind: Any = SinkConfig if own is None else own
        found.append(msgspec.convert(table, kind))
    return tuple(found)


@lru_cache(maxsize=64)
def _section_and_paths(kind: str, opener: SinkOpener) -> tuple[type[Section], tuple[str, ...]]:
    """Return the section whose keys are the opener's parameters, and which of them are paths.

    The same opener gives the same section, so that two readings of a file are equal.
    """
    keys: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    paths = []
    for parameter in _parameters_of(opener):
        name, default, wanted = parameter.name, parameter.default, parameter.annotation
        if wanted is parameter.empty:
            wanted = Any
        if Path in (wanted, *get_args(wanted)):
            paths.append(name)
            wanted = str if wanted is Path else str | None
        if default is parameter.empty:
            keys.append((name, wanted))
        else:
            keys.append((name, wanted, str(default) if isinstance(default, Path) else default))
    section: Any
    try:
        section = msgspec.defstruct(
            "OwnSink", keys, bases=(Section,), tag=kind, tag_field="kind", frozen=True, kw_only=True
        )
        msgspec.json.schema(section)  # names a type that no configuration can hold
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the opener of the sink {kind!r}: {error}") from error
    return section, tuple(paths)


def _parameters_of(opener: SinkOpener) -> list[inspect.Parameter]:
    """Return the parameters of an opener with their types, as far as these can be known."""
    try:
        return list(inspect.signature(opener, eval_str=True).parameters.values())
    except NameError:  # a type that only a type checker sees: what is given is taken as it is
        plain = inspect.signature(opener).parameters.values()
        return [parameter.replace(annotation=parameter.empty) for parameter in plain]


def sink_options(sink: SinkConfig, *, device: str, folder: Path) -> dict[str, Any]:
    """Return the arguments of `edge_sim.sinks.open_sink` beside the kind.

    Args:
        sink: A section.
        device: Name of the device.
        folder: Where relative paths start.
    """
    options = msgspec.structs.asdict(sink)
    opener = registered_sink(kind_of(sink)) if kind_of(sink) not in _BUILT_IN else None
    paths = [key for key in options if key == "path" or key.endswith("_file")]
    for key in paths if opener is None else _section_and_paths(kind_of(sink), opener)[1]:
        if options[key] is not None:
            options[key] = Path(folder, options[key]).absolute()
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
