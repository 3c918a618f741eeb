"""Events from beside the device: delivered once, by a command, while a daemon may be running."""

from __future__ import annotations

from collections.abc import Iterator

from edge_sim.core.events import Event
from edge_sim.errors import ConfigError, SinkError
from edge_sim.io.sinks import open_sink
from edge_sim.io.sinks.options import MqttOptions
from edge_sim.runtime.config import Config
from edge_sim.runtime.config.sinks import kind_of, sink_options

_OF_THE_DEVICE = frozenset({"unix_socket"})
"""Kinds that a second process cannot open without taking them from the device."""


def announce(config: Config, event: Event) -> Iterator[str]:
    """Deliver an event to the configured sinks; yield a line for each that did not take it.

    The outbox of the device is not used: an event that is not taken is not tried again.

    Args:
        config: Configuration of the device.
        event: The event.

    Raises:
        ConfigError: Options of a sink that can never work.
    """
    for at, section in enumerate(config.sinks):
        kind = kind_of(section)
        if kind in _OF_THE_DEVICE:
            yield f"sinks[{at}] ({kind}): only the running device writes there"
            continue
        options = sink_options(section, device=config.device, folder=config.path(""))
        with config.located(f"sinks[{at}]"):
            try:
                _deliver(kind, options, event)
            except ConfigError:
                raise
            except SinkError as error:
                yield f"sinks[{at}] ({kind}): {error}"


def _deliver(kind: str, options: dict[str, object], event: Event) -> None:
    if kind == "mqtt":
        # A second connection under the name of the device would end that of the device.
        from edge_sim.io.sinks.mqtt.client import publish_once
        from edge_sim.io.sinks.mqtt.topics import Topics, messages_of

        broker = MqttOptions(**options)  # type: ignore[arg-type]
        publish_once(broker, messages_of(event, Topics(broker.topic_prefix, broker.device)))
        return
    sink = open_sink(kind, **options)
    try:
        sink.emit(event)
    finally:
        sink.close()
