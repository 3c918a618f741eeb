"""Outputs of the daemon: the sinks behind their outbox, the web server, the taker of packs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from edge_sim.core.events import Event, StateChanged
from edge_sim.core.protocols import EventSink
from edge_sim.io.outbox.delivery import Delivery
from edge_sim.io.outbox.queue import OutboxCounts
from edge_sim.io.sinks.capabilities import (
    Attaching,
    Command,
    Dated,
    DeviceInfo,
    DeviceStats,
    EventAttachment,
    Illustrated,
    Remote,
    Reporting,
)
from edge_sim.runtime import assembly
from edge_sim.runtime.config import Config
from edge_sim.runtime.daemon.access import RunningUpdater, RunningWebServer

DRAIN_S = 0.8
"""Time for deliveries at the end, seconds: later events wait on disk for the next start."""


class EventDispatcher:
    """Delivery of events to the sinks of one configuration, through their outbox.

    Args:
        config: Configuration with device, sinks and outbox.
        on_command: Receiver of commands from remote sinks; must return at once.
        open_sinks: Opener of the sinks of the configuration.
        is_trial: Drop nothing that waits for other sinks until `settle`.

    Raises:
        SinkError: A sink or the outbox cannot be opened.
    """

    def __init__(
        self,
        config: Config,
        on_command: Callable[[Command], None],
        *,
        open_sinks: Callable[[Config], list[EventSink]] = assembly.open_sinks,
        is_trial: bool = False,
    ) -> None:
        with contextlib.ExitStack() as opened:
            sinks = open_sinks(config)
            for sink in sinks:
                opened.callback(sink.close)
            self._outbox = assembly.open_outbox(config, sinks, is_trial=is_trial)
            opened.pop_all()
        self._remotes = [sink for sink in sinks if isinstance(sink, Remote)]
        self._galleries = [
            sink for sink in sinks if isinstance(sink, Illustrated) and sink.wants_pictures
        ]
        self._attaching = [sink for sink in sinks if isinstance(sink, Attaching)]
        self._reporting = [
            sink for sink in sinks if isinstance(sink, Reporting) and sink.stats_interval_s > 0.0
        ]
        self._dated = [sink for sink in sinks if isinstance(sink, Dated)]
        self._next_report_s = {sink.name: 0.0 for sink in self._reporting}
        self._delivery = Delivery(self._outbox, sinks)
        for remote in self._remotes:
            remote.listen(on_command)

    def settle(self, config: Config) -> None:
        """Make a trial final: drop what waits for sinks that are gone."""
        assembly.settle_outbox(config, self._outbox)

    def start(self, device_info: DeviceInfo) -> None:
        """Announce the device and begin to deliver."""
        self.describe(device_info)
        self._delivery.start()

    def describe(self, device_info: DeviceInfo) -> None:
        """Announce the present device."""
        for remote in self._remotes:
            remote.describe(device_info)

    def put(self, events: Sequence[Event]) -> None:
        """Store events: on disk when this returns, if the disk is writable."""
        if events:
            self._outbox.put(events)

    @property
    def wants_pictures(self) -> bool:
        """True if a sink shows pictures."""
        return bool(self._galleries)

    def show_picture(self, watch: str, jpeg: bytes) -> None:
        """Send the picture of a watch to the sinks that show pictures."""
        for sink in self._galleries:
            sink.show_picture(watch, jpeg)

    @property
    def wants_embeddings(self) -> bool:
        """True if a sink sends embeddings of events."""
        return any(sink.wants_embeddings for sink in self._attaching)

    @property
    def wants_event_pictures(self) -> bool:
        """True if a sink sends pictures of events."""
        return any(sink.wants_event_pictures for sink in self._attaching)

    def attach(self, attachment: EventAttachment) -> None:
        """Give more of an event, which is not stored yet, to the sinks that send it."""
        for sink in self._attaching:
            sink.attach(attachment)

    def report(self, now_s: float, stats: Callable[[OutboxCounts], DeviceStats]) -> None:
        """Send statistics to the sinks for which they are due; `now_s` is monotonic."""
        due = [sink for sink in self._reporting if now_s >= self._next_report_s[sink.name]]
        if not due:
            return
        figures = stats(self.counts())
        for sink in due:
            self._next_report_s[sink.name] = now_s + sink.stats_interval_s
            sink.show_stats(figures)

    def correct_times(self, step_s: float) -> None:
        """Move the times that sinks show: the clock was set by `step_s` seconds."""
        for sink in self._dated:
            sink.correct_times(step_s)

    def latest(self, device: str) -> Mapping[str, StateChanged]:
        """Return the last reported change of every watch of `device`."""
        latest = self._outbox.latest()
        return {watch: event for watch, event in latest.items() if event.device == device}

    def counts(self) -> OutboxCounts:
        """Return the counts of waiting, delivered and dropped events."""
        return self._outbox.counts()

    def failing(self) -> Mapping[str, int]:
        """Return the number of failures in a row of each sink that fails."""
        return self._delivery.failing()

    def broken(self) -> Mapping[str, str]:
        """Return the errors of deliveries that failed for a reason other than their sink."""
        return self._delivery.broken()

    def close(self, drain_s: float = DRAIN_S) -> None:
        """Deliver for at most `drain_s` seconds; the remaining events wait on disk."""
        self._delivery.close(drain_s)
        self._outbox.close()

    @property
    def lost(self) -> int:
        """Number of events that were lost at the end."""
        return self._outbox.lost


def same_outputs(a: Config, b: Config) -> bool:
    """Return whether two configurations send events the same way."""
    return (a.device, a.sinks, a.outbox, a.folder) == (b.device, b.sinks, b.outbox, b.folder)


class Outputs:
    """Sinks, web server and taker of packs of one configuration; another replaces all or none.

    Args:
        config: Configuration at the start.
        on_command: Receiver of commands from remote sinks; must return at once.
        open_web_server: Opener of the web server; returns None if none is configured.
        open_updater: Opener of the thread that takes packs; returns None if none is configured.

    Raises:
        SinkError: A sink or the outbox cannot be opened.
    """

    def __init__(
        self,
        config: Config,
        on_command: Callable[[Command], None],
        open_web_server: Callable[[Config], RunningWebServer | None],
        open_updater: Callable[[Config], RunningUpdater | None],
    ) -> None:
        self._on_command = on_command
        self._open_web_server = open_web_server
        self._open_updater = open_updater
        self._web_server: RunningWebServer | None = None
        self._updater: RunningUpdater | None = None
        self.dispatcher = EventDispatcher(config, on_command)

    def open_web_server(self, config: Config) -> None:
        """Start the web server.

        Raises:
            ConfigError: It cannot listen, or its certificate cannot be read.
        """
        self._web_server = self._open_web_server(config)

    def open_updater(self, config: Config) -> None:
        """Start to take packs, where that is configured.

        Raises:
            ConfigError: The extra is missing.
        """
        self._updater = self._open_updater(config)

    def change(self, old: Config, new: Config, device_info: DeviceInfo) -> None:
        """Continue with `new`; with `old` if that fails.

        Raises:
            EdgeSimError: `new` cannot be used; all is as before.
        """
        self._swap_dispatcher(old, new, device_info)
        try:
            self._swap_web_server(old, new)
            try:
                self._swap_updater(new)
            except Exception:
                self._swap_web_server(new, old)
                raise
        except Exception:
            self._swap_dispatcher(new, old, device_info)
            raise

    def faults(self) -> dict[str, str]:
        """Return the faults of parts with threads of their own; each part restarts itself."""
        faults = {f"sink {name}": text for name, text in self.dispatcher.broken().items()}
        if self._web_server is not None and self._web_server.fault:
            faults["web server"] = self._web_server.fault
        if self._updater is not None and self._updater.fault:
            faults["updates"] = self._updater.fault
        return faults

    @property
    def lost(self) -> int:
        """Number of events that were lost at the end because the disk was not writable."""
        return self.dispatcher.lost

    def close_web_server(self) -> None:
        """Stop the web server. Safe to call twice."""
        if self._web_server is not None:
            self._web_server.close()

    def close_updater(self) -> None:
        """Take no more packs. Safe to call twice."""
        if self._updater is not None:
            self._updater.close()

    def close(self) -> None:
        """Deliver for a short time and close; the remaining events wait on disk."""
        self.dispatcher.close()

    def _swap_dispatcher(self, old: Config, new: Config, device_info: DeviceInfo) -> None:
        if same_outputs(old, new):
            return
        # Closed first: two connections of one client, or two sockets of one path, cannot be.
        self.dispatcher.close()
        try:
            self.dispatcher = EventDispatcher(new, self._on_command, is_trial=True)
        except Exception:
            self.dispatcher = EventDispatcher(old, self._on_command, is_trial=True)
            raise
        finally:
            self.dispatcher.start(device_info)

    def _swap_updater(self, new: Config) -> None:
        if new.updates.uri is None:
            self.close_updater()
            self._updater = None
        elif self._updater is None:
            self._updater = self._open_updater(new)
        else:
            self._updater.use(new)

    def _swap_web_server(self, old: Config, new: Config) -> None:
        if (old.web, old.folder) == (new.web, new.folder):
            return
        self.close_web_server()
        try:
            self._web_server = self._open_web_server(new)
        except Exception:
            self._web_server = self._open_web_server(old)
            raise
