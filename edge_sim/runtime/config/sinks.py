"""Sections of the configuration for the outbox and the sinks."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from edge_sim.core.options import Options
from edge_sim.errors import ConfigError
from edge_sim.io.sinks import SinkOpener, registered_sink
from edge_sim.io.sinks.options import MqttOptions, SinkOptions
from edge_sim.runtime.config.yaml_reader import YamlReader

PositiveMegabytes = Annotated[float, msgspec.Meta(gt=0)]
PositiveDays = Annotated[float, msgspec.Meta(gt=0)]


class OutboxConfig(Options, frozen=True):
    """Storage of events until every sink has them.

    Args:
        storage: `disk`, or `memory`: then a restart forgets events that wait.
        path: File of the events.
        max_mb: Size above which the oldest events are dropped, and counted.
        max_days: Running time after which an event is dropped, and counted.
        write_budget_mb_per_day: Writing above which the progress of the sinks is written later.
    """

    storage: Literal["disk", "memory"] = "disk"
    path: str = "outbox.db"
    max_mb: PositiveMegabytes = 16.0
    max_days: PositiveDays = 7.0
    write_budget_mb_per_day: PositiveMegabytes = 64.0


_BUILT_IN = frozenset(member.__struct_config__.tag for member in get_args(SinkOptions))


def registered_section(kind: str) -> type[Options] | None:
    """Return the section of a kind of sink that is registered or installed; None if there is none.

    Raises:
        ConfigError: Its package cannot be used.
    """
    opener = registered_sink(kind)
    return None if opener is None else _section_and_paths(kind, opener)[0]


def read_sinks(plain: Sequence[dict[str, Any]]) -> tuple[SinkOptions, ...]:
    """Return the sections of a list of sinks, of any kind.

    Raises:
        msgspec.ValidationError: A value is invalid.
    """
    sections: list[SinkOptions] = []
    for table in plain:
        own = None if table["kind"] in _BUILT_IN else registered_section(table["kind"])
        kind: Any = SinkOptions if own is None else own
        sections.append(msgspec.convert(table, kind))
    return tuple(sections)


@lru_cache(maxsize=64)
def _section_and_paths(kind: str, opener: SinkOpener) -> tuple[type[Options], tuple[str, ...]]:
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
            "OwnSink", keys, bases=(Options,), tag=kind, tag_field="kind", frozen=True, kw_only=True
        )
        msgspec.json.schema(section)  # raises for a type that no configuration can hold
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the opener of the sink {kind!r}: {error}") from error
    return section, tuple(paths)


def _parameters_of(opener: SinkOpener) -> list[inspect.Parameter]:
    """Return the parameters of an opener with their types, as far as these are known."""
    try:
        return list(inspect.signature(opener, eval_str=True).parameters.values())
    except NameError:  # a type for type checkers only: values are taken unchecked
        plain = inspect.signature(opener).parameters.values()
        return [parameter.replace(annotation=parameter.empty) for parameter in plain]


def sink_options(sink: SinkOptions, *, device: str, folder: Path) -> dict[str, Any]:
    """Return the arguments of `edge_sim.io.sinks.open_sink` besides the kind.

    Args:
        sink: Section of the sink.
        device: Name of the device.
        folder: Folder that relative paths start from.
    """
    options = msgspec.structs.asdict(sink)
    opener = registered_sink(kind_of(sink)) if kind_of(sink) not in _BUILT_IN else None
    paths = [key for key in options if key == "path" or key.endswith("_file")]
    for key in paths if opener is None else _section_and_paths(kind_of(sink), opener)[1]:
        if options[key] is not None:
            path = Path(folder, options[key]).absolute()
            options[key] = str(path) if opener is None else path
    if isinstance(sink, MqttOptions):
        options["device"] = device
    return options


def check_images(sinks: Sequence[SinkOptions], *, on_disk: bool, reader: YamlReader) -> None:
    """Raise `ConfigError` for pictures at a broker or collector where the outbox is in memory."""
    for at, sink in enumerate(sinks):
        for key, place in (("image", "broker"), ("event_pictures", "collector")):
            if isinstance(sink, MqttOptions) and getattr(sink, key) and not on_disk:
                raise reader.error(
                    f"sinks[{at}].{key}",
                    f"sinks[{at}].{key}: the {place} keeps a picture of every event, and "
                    "outbox.storage: memory keeps nothing of an event; choose one",
                )


def kind_of(sink: SinkOptions) -> str:
    """Return the kind of a sink, a key of `edge_sim.io.sinks.KINDS`."""
    return str(sink.__struct_config__.tag)
