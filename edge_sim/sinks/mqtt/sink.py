"""Events on an MQTT broker."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from edge_sim.errors import CommandError
from edge_sim.events import Event, StateChanged
from edge_sim.sinks.mqtt import discovery
from edge_sim.sinks.mqtt.commands import VERBS, read_command
from edge_sim.sinks.mqtt.link import Link, Talk
from edge_sim.sinks.mqtt.options import MqttOptions
from edge_sim.sinks.mqtt.showing import Showing
from edge_sim.sinks.mqtt.standing import RetainedMessages
from edge_sim.sinks.mqtt.topics import (
    OFFLINE,
    ONLINE,
    Message,
    Topics,
    messages_of,
    source_message,
    source_of,
    state_messages,
)
from edge_sim.sinks.remote import Command, DeviceStats, Site

logger = logging.getLogger(__name__)

_REFUSALS_PER_LINE = 100


class MqttSink:
    """Publishes events, and states that the broker retains; sends those again on every connection.

    It announces the device to Home Assistant and hands commands on (`edge_sim.sinks.remote`).

    Args:
        options: Checked.
    """

    def __init__(self, options: MqttOptions) -> None:
        self._options = options
        self._discovery = options.discovery_prefix if options.discovery else None
        self._topics = Topics(options.topic_prefix, options.device)
        self._lock = Lock()
        self._site = Site()
        self._shown: dict[str, StateChanged] = {}
        self._sources: dict[str, bool] = {}
        self._standing = RetainedMessages(self._topics)
        self._showing = Showing(self._topics, images=options.image)
        self._refusals = 0
        self._on_command: Callable[[Command], None] | None = None
        self._on_ready: Callable[[], None] | None = None
        self._former: bytes | None = None
        talk = Talk(
            will=Message(self._topics.available, OFFLINE, retain=True),
            subscriptions=self._subscriptions(),
            greeting=self._greeting,
            ready=self._ready,
            received=self._received,
        )
        self._link = Link(options, talk)

    @classmethod
    def open(cls, options: MqttOptions) -> MqttSink:
        """Start connecting; a broker that is away is no error.

        Raises:
            ConfigError: Settings that contradict each other.
            SinkError: A certificate or password file cannot be used.
        """
        options.check()
        options.current_password()
        if options.password and not options.tls and options.host not in _HERE:
            logger.warning("%s: the password goes over the network in the clear", options.name)
        sink = cls(options)
        sink._link.start()
        return sink

    @property
    def name(self) -> str:
        """Broker and first topic."""
        return self._options.name

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection."""
        return self._link.is_up

    def emit(self, event: Event) -> None:
        """Publish `event` and wait for the broker's confirmation.

        Raises:
            SinkError: No connection, no confirmation in time; or the sink is closed.
        """
        with self._lock:
            if isinstance(event, StateChanged):
                self._shown[event.watch] = event
            elif (about := source_of(event)) is not None:
                self._sources[about[0]] = about[1]
            retained = self._standing.after(event)
        self._link.publish([*retained, *messages_of(event, self._topics)])

    def close(self) -> None:
        """Say `offline` and disconnect."""
        self._link.close()

    def describe(self, site: Site) -> None:
        """Announce the device as it is now; called at the start and after every change."""
        with self._lock:
            self._site = site
            for card in site.watches:
                self._sources.setdefault(card.source, True)
                self._standing.describe(card)
        self._showing.keep(card.name for card in site.watches)
        self._link.send(self._announcement())
        self._forget_stale()

    def listen(self, on_command: Callable[[Command], None]) -> None:
        """Hand checked commands to `on_command`, which must return at once."""
        self._on_command = on_command

    def resume(self, latest: Sequence[StateChanged]) -> None:
        """Show these states again, without events."""
        with self._lock:
            for event in latest:
                self._shown.setdefault(event.watch, event)
        self._link.send(self._states())

    @property
    def wants_pictures(self) -> bool:
        """Whether it is configured to show them."""
        return self._options.image

    @property
    def stats_interval_s(self) -> float:
        """Seconds between two reports; 0 wants none."""
        return self._options.stats_interval_s

    def show_picture(self, watch: str, jpeg: bytes) -> None:
        """Publish the region of a watch as it was when it decided."""
        self._link.send(self._showing.picture(watch, jpeg))

    def show_stats(self, stats: DeviceStats) -> None:
        """Publish how the device does."""
        self._link.send(self._showing.stats(stats))

    def when_ready(self, on_ready: Callable[[], None]) -> None:
        """Call `on_ready` whenever a connection stands."""
        self._on_ready = on_ready

    def _subscriptions(self) -> list[str]:
        found = [self._topics.command("+", verb) for verb in VERBS]
        if self._discovery is not None:
            found.append(discovery.birth_topic(self._discovery))
            found.append(self._discovery_topic(self._discovery))
        return found

    def _discovery_topic(self, prefix: str) -> str:
        return discovery.discovery_topic(prefix, self._options.device)

    def _greeting(self) -> list[Message]:
        """Return what a new connection begins with."""
        return [*self._announcement(), *self._states(), *self._showing.messages()]

    def _ready(self) -> None:
        if self._on_ready is not None:
            self._on_ready()

    def _announcement(self) -> list[Message]:
        with self._lock:
            site, sources = self._site, dict(self._sources)
            standing = [item for card in site.watches for item in self._standing.messages(card)]
        found = [Message(self._topics.available, ONLINE, retain=True)]
        if site.watches and self._discovery is not None:
            payload = json.dumps(self._described(site)).encode()
            found.append(Message(self._discovery_topic(self._discovery), payload, retain=True))
        found += [source_message(name, self._topics, online=sources[name]) for name in sources]
        for card in site.watches:
            topic = self._topics.sensitivity(card.name)
            found.append(Message(topic, f"{card.sensitivity:g}".encode(), retain=True))
        return [*found, *standing]

    def _described(self, site: Site) -> dict[str, Any]:
        return discovery.announcement(
            site,
            self._topics,
            images=self._options.image,
            stats=self._options.stats_interval_s > 0.0,
        )

    def _states(self) -> list[Message]:
        with self._lock:
            shown = tuple(self._shown.values())
        return [message for event in shown for message in state_messages(event, self._topics)]

    def _received(self, topic: str, payload: bytes, retained: bool) -> None:
        prefix = self._discovery
        if prefix is not None and topic == discovery.birth_topic(prefix):
            if payload == ONLINE and not retained:
                self._link.send(self._greeting())
        elif prefix is not None and topic == self._discovery_topic(prefix):
            if retained:
                with self._lock:
                    self._former = payload
                self._forget_stale()
        else:
            self._command(topic, payload, retained)

    def _forget_stale(self) -> None:
        """Make Home Assistant and the broker forget watches that a former run announced."""
        with self._lock:
            site, former = self._site, self._former
            if former is None or not site.watches or self._discovery is None:
                return
            self._former = None
        current = self._described(site)
        stale = discovery.stale_components(former, current)
        if not stale:
            return
        payload = json.dumps(discovery.removing(stale, current)).encode()
        kept = {card.name for card in site.watches}
        gone = {key.partition(".")[0] for key in stale} - kept
        empty = [topic for watch in gone for topic in self._topics.of_watch(watch)]
        # A picture that is not to be shown any more must not stay with the broker.
        empty += [
            self._topics.image(key.removesuffix(".image"))
            for key in stale
            if key.endswith(".image") and key.removesuffix(".image") in kept
        ]
        self._link.send(
            [
                Message(self._discovery_topic(self._discovery), payload, retain=True),
                *(Message(topic, b"", retain=True) for topic in empty),
                *self._announcement(),
            ]
        )

    def _command(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            if retained:
                raise CommandError(f"{topic[:200]!r}: a retained command is old; not obeyed")
            with self._lock:
                site = self._site
            command = read_command(topic, payload, self._topics, site)
            if self._on_command is None:
                raise CommandError(f"{topic}: nobody takes commands here")
            self._on_command(command)
        except CommandError as error:
            if self._refusals % _REFUSALS_PER_LINE == 0:
                logger.warning("%s: %s (refusal %d)", self.name, error, self._refusals + 1)
            self._refusals += 1


_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
