"""Outputs of the daemon: the sinks behind their outbox, and the HTTP server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from edge_sim.core.events import Event, StateChanged
from edge_sim.core.protocols import EventSink
from edge_sim.io.outbox.delivery import Delivery
from edge_sim.io.outbox.queue import OutboxCounts
from edge_sim.io.sinks.capabilities import (
    Command,
    DeviceInfo,
    DeviceStats,
    Illustrated,
    Remote,
    Reporting,
)
from edge_sim.runtime import assembly
from edge_sim.runtime.config import Config

if TYPE_CHECKING:
    from edge_sim.runtime.health.server import HealthServer


DRAIN_S = 0.8
"""At the end: what is not out by then waits on disk for the next start."""


class EventDispatcher:
    """The sinks of one configuration behind their outbox, delivering.

    Args:
        config: Its device, sinks and outbox.
        on_command: Takes what comes in from remote sinks; must return at once.
        open_sinks: Opens the sinks of the configuration.

    Raises:
        SinkError: A sink or the outbox cannot be opened.
    """

    def __init__(
        self,
        config: Config,
        on_command: Callable[[Command], None],
        *,
        open_sinks: Callable[[Config], list[EventSink]] = assembly.open_sinks,
    ) -> None:
        with contextlib.ExitStack() as opened:
            sinks = open_sinks(config)
            for sink in sinks:
                opened.callback(sink.close)
            self._outbox = assembly.open_outbox(config, sinks)
            opened.pop_all()
        self._remotes = [sink for sink in sinks if isinstance(sink, Remote)]
        self._galleries = [
            sink for sink in sinks if isinstance(sink, Illustrated) and sink.wants_pictures
        ]
        self._reporting = [
            sink for sink in sinks if isinstance(sink, Reporting) and sink.stats_interval_s > 0.0
        ]
        self._next_report_s = {sink.name: 0.0 for sink in self._reporting}
        self._delivery = Delivery(self._outbox, sinks)
        for remote in self._remotes:
            remote.listen(on_command)

    def start(self, device_info: DeviceInfo) -> None:
        """Announce the device and begin to deliver."""
        self.describe(device_info)
        self._delivery.start()

    def describe(self, device_info: DeviceInfo) -> None:
        """Announce the device as it is now."""
        for remote in self._remotes:
            remote.describe(device_info)

    def put(self, events: Sequence[Event]) -> None:
        """Take events: on disk when this returns, if the disk takes any."""
        if events:
            self._outbox.put(events)

    @property
    def wants_pictures(self) -> bool:
        """Whether a sink is to show pictures."""
        return bool(self._galleries)

    def show_picture(self, watch: str, jpeg: bytes) -> None:
        """Show the region of a watch wherever that is configured."""
        for sink in self._galleries:
            sink.show_picture(watch, jpeg)

    def report(self, now_s: float, stats: Callable[[OutboxCounts], DeviceStats]) -> None:
        """Show how the device does where it is time to; `now_s` is monotonic."""
        due = [sink for sink in self._reporting if now_s >= self._next_report_s[sink.name]]
        if not due:
            return
        figures = stats(self.counts())
        for sink in due:
            self._next_report_s[sink.name] = now_s + sink.stats_interval_s
            sink.show_stats(figures)

    def latest(self, device: str) -> Mapping[str, StateChanged]:
        """Return the last reported change of every watch of `device`."""
        latest = self._outbox.latest()
        return {watch: event for watch, event in latest.items() if event.device == device}

    def counts(self) -> OutboxCounts:
        """Return what waits and what went."""
        return self._outbox.counts()

    def failing(self) -> Mapping[str, int]:
        """Return failures in a row of the sinks that fail now."""
        return self._delivery.failing()

    def broken(self) -> Mapping[str, str]:
        """Return the errors of deliveries that broke for no fault of their sink."""
        return self._delivery.broken()

    def close(self, drain_s: float = DRAIN_S) -> None:
        """Deliver what can go at once; the rest waits on disk."""
        self._delivery.close(drain_s)
        self._outbox.close()

    @property
    def lost(self) -> int:
        """Events that were lost at the end."""
        return self._outbox.lost


def same_outputs(a: Config, b: Config) -> bool:
    """Whether two configurations send events the same way."""
    return (a.device, a.sinks, a.outbox, a.folder) == (b.device, b.sinks, b.outbox, b.folder)


class Outputs:
    """Both of one configuration; another one takes over whole or not at all.

    Args:
        config: In force at the start.
        on_command: Takes what comes in from remote sinks; must return at once.
        open_http_server: Opens the HTTP server of a configuration; None if it wants none.

    Raises:
        SinkError: A sink or the outbox cannot be opened.
    """

    def __init__(
        self,
        config: Config,
        on_command: Callable[[Command], None],
        open_http_server: Callable[[Config, EventDispatcher], HealthServer | None],
    ) -> None:
        self._on_command = on_command
        self._open_http_server = open_http_server
        self._http_server: HealthServer | None = None
        self.dispatcher = EventDispatcher(config, on_command)

    def open_http_server(self, config: Config) -> None:
        """Begin to answer.

        Raises:
            ConfigError: It cannot listen, or its certificate cannot be read.
        """
        self._http_server = self._open_http_server(config, self.dispatcher)

    def change(self, old: Config, new: Config, device_info: DeviceInfo) -> None:
        """Go on by `new`; by `old` if that cannot be.

        Raises:
            EdgeSimError: It cannot be; all is as it was.
        """
        self._swap_dispatcher(old, new, device_info)
        try:
            self._swap_http_server(old, new)
        except Exception:
            self._swap_dispatcher(new, old, device_info)
            raise

    def faults(self) -> dict[str, str]:
        """Return why parts with threads of their own do not work now; each restarts itself."""
        found = {f"sink {name}": text for name, text in self.dispatcher.broken().items()}
        if self._http_server is not None and self._http_server.fault:
            found["HTTP server"] = self._http_server.fault
        return found

    @property
    def lost(self) -> int:
        """Events that were lost at the end, because the disk took nothing."""
        return self.dispatcher.lost

    def close_http_server(self) -> None:
        """Answer no more. Safe to call twice."""
        if self._http_server is not None:
            self._http_server.close()

    def close(self) -> None:
        """Deliver what can go at once and close; the rest waits on disk."""
        self.dispatcher.close()

    def _swap_dispatcher(self, old: Config, new: Config, device_info: DeviceInfo) -> None:
        if same_outputs(old, new):
            return
        # Closed first: two connections of one client, or two sockets of one path, cannot be.
        self.dispatcher.close()
        try:
            self.dispatcher = EventDispatcher(new, self._on_command)
        except Exception:
            self.dispatcher = EventDispatcher(old, self._on_command)
            raise
        finally:
            self.dispatcher.start(device_info)

    def _swap_http_server(self, old: Config, new: Config) -> None:
        if old.health == new.health and same_outputs(old, new):
            return
        self.close_http_server()
        try:
            self._http_server = self._open_http_server(new, self.dispatcher)
        except Exception:
            self._http_server = self._open_http_server(old, self.dispatcher)
            raise
