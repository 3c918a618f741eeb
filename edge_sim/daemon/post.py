"""Where events go: the outbox, its couriers and the people who talk back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from edge_sim import assembly
from edge_sim.config import Config
from edge_sim.events import Event, StateChanged
from edge_sim.outbox import Delivery, OutboxCounts
from edge_sim.sinks.remote import Command, Remote, Site

DRAIN_S = 0.8
"""At the end: what is not out by then waits on disk for the next start."""


class Post:
    """The sinks of one configuration behind their outbox, delivering.

    Args:
        config: Its device, sinks and outbox.
        on_command: Takes what comes in from remote sinks; must return at once.

    Raises:
        SinkError: A sink or the outbox cannot be opened.
    """

    def __init__(self, config: Config, on_command: Callable[[Command], None]) -> None:
        with contextlib.ExitStack() as opened:
            sinks = assembly.open_sinks(config)
            for sink in sinks:
                opened.callback(sink.close)
            self._outbox = assembly.open_outbox(config, sinks)
            opened.pop_all()
        self._remotes = [sink for sink in sinks if isinstance(sink, Remote)]
        self._delivery = Delivery(self._outbox, sinks)
        for remote in self._remotes:
            remote.listen(on_command)

    def start(self, site: Site) -> None:
        """Announce the device and begin to deliver."""
        self.describe(site)
        self._delivery.start()

    def describe(self, site: Site) -> None:
        """Announce the device as it is now."""
        for remote in self._remotes:
            remote.describe(site)

    def put(self, events: Sequence[Event]) -> None:
        """Take events: on disk when this returns, if the disk takes any."""
        if events:
            self._outbox.put(events)

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

    def close(self, drain_s: float = DRAIN_S) -> None:
        """Deliver what can go at once; the rest waits on disk."""
        self._delivery.close(drain_s)
        self._outbox.close()


def same_post(a: Config, b: Config) -> bool:
    """Whether two configurations send events the same way."""
    return (a.device, a.sinks, a.outbox, a.folder) == (b.device, b.sinks, b.outbox, b.folder)
