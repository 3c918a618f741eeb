"""Event sinks. `KINDS` is the table from the name of a kind to the code that opens it.

Kinds of your own come from `register_sink`, or from the entry points `edge_sim.sinks` of an
installed package.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from edge_sim.core.plugins import check_members, entry_point_names, load_entry_point
from edge_sim.core.protocols import EventSink
from edge_sim.errors import ConfigError
from edge_sim.io.sinks.options import (
    CommandOptions,
    FileOptions,
    MqttOptions,
    UnixSocketOptions,
    WebhookOptions,
)

ENTRY_POINTS = "edge_sim.sinks"
"""Group of entry points whose names are kinds and whose objects are openers."""

SinkOpener = Callable[..., EventSink]
"""Opens a sink; its keyword parameters are the options of the kind."""


def open_sink(kind: str, **options: Any) -> EventSink:
    """Return an open sink.

    Args:
        kind: A key of `KINDS`, or a kind that was registered or installed.
        options: Arguments of that kind, as in `configs/default.yaml`.

    Raises:
        ConfigError: There is no such kind, or its arguments can never work.
        SinkError: It cannot be opened now.
    """
    opener = KINDS.get(kind) or registered_sink(kind)
    if opener is None:
        raise ConfigError(f"no kind of sink {kind!r} (there are {', '.join(sink_kinds())})")
    sink = opener(**options)
    check_members(f"the opener of the sink {kind!r}", sink, ("name", "emit", "close"))
    return sink


def register_sink(kind: str, opener: SinkOpener) -> None:
    """Make `kind` a kind of sink that the configuration understands: `sinks: [{kind: ...}]`.

    The parameters of the opener become the keys of the section: a parameter without a default must
    be given, an annotation is checked, and a `Path` is relative to the configuration's folder.
    Call it before the configuration is read. Registering the same opener again changes nothing.

    Args:
        kind: 1 to 64 letters, digits, `_` and `-`.
        opener: Function of the options as keywords that returns an open sink. It raises
            `ConfigError` for options that can never work and `SinkError` for those that do not
            work now.

    Raises:
        ConfigError: The kind cannot be used or means something else already, or the opener takes
            parameters that no section can have.
    """
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise ConfigError(
            f"{kind!r} cannot be a kind of sink: use 1 to 64 letters, digits, `_` and `-`"
        )
    if not callable(opener):
        raise ConfigError(f"the opener of {kind!r} cannot be called: {opener!r}")
    if kind in KINDS or _REGISTERED.get(kind, opener) is not opener:
        raise ConfigError(f"the kind {kind!r} of sinks is taken; choose another one")
    check_opener(kind, opener)
    _REGISTERED[kind] = opener


def registered_sink(kind: str) -> SinkOpener | None:
    """Return the opener of a kind that was registered or installed; None if there is none.

    Raises:
        ConfigError: The package that brings it cannot be used.
    """
    if kind in _REGISTERED:
        return _REGISTERED[kind]
    opener: SinkOpener | None = load_entry_point(ENTRY_POINTS, kind)
    if opener is not None:
        check_opener(kind, opener)
    return opener


def sink_kinds() -> tuple[str, ...]:
    """Return the names of all kinds."""
    return (*KINDS, *_REGISTERED, *entry_point_names(ENTRY_POINTS))


def check_opener(kind: str, opener: SinkOpener) -> None:
    """Check that every parameter of an opener can be a key of the configuration.

    Raises:
        ConfigError: One of them has no name, or is called `kind`.
    """
    for name, parameter in inspect.signature(opener).parameters.items():
        if parameter.kind not in _BY_NAME or name == "kind":
            raise ConfigError(
                f"the opener of the sink {kind!r} cannot have the parameter {str(parameter)!r}: "
                f"give every option a name of its own, other than `kind`"
            )


def _open_stdout() -> EventSink:
    from edge_sim.io.sinks.stdout import StdoutSink

    return StdoutSink()


def _open_file(**options: Any) -> EventSink:
    from edge_sim.io.sinks.file import FileSink

    return FileSink.open(FileOptions(**options))


def _open_mqtt(**options: Any) -> EventSink:
    from edge_sim.io.sinks.mqtt.sink import MqttSink

    return MqttSink.open(MqttOptions(**options))


def _open_webhook(**options: Any) -> EventSink:
    from edge_sim.io.sinks.webhook import WebhookSink

    return WebhookSink.open(WebhookOptions(**options))


def _open_command(**options: Any) -> EventSink:
    from edge_sim.io.sinks.command import CommandSink

    return CommandSink.open(CommandOptions(**options))


def _open_unix_socket(**options: Any) -> EventSink:
    from edge_sim.io.sinks.unix_socket import UnixSocketSink

    return UnixSocketSink.open(UnixSocketOptions(**options))


KINDS: Mapping[str, Callable[..., EventSink]] = {
    "stdout": _open_stdout,
    "file": _open_file,
    "mqtt": _open_mqtt,
    "webhook": _open_webhook,
    "command": _open_command,
    "unix_socket": _open_unix_socket,
}

_KIND = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_REGISTERED: dict[str, SinkOpener] = {}
