"""Events on an MQTT broker."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any

import msgspec

from edge_sim.core.events import (
    Event,
    SceneCleared,
    SceneImpaired,
    StateChanged,
    StateOverdue,
    StateOverdueCleared,
)
from edge_sim.errors import CommandError
from edge_sim.io.sinks.capabilities import Command, DeviceInfo, DeviceStats, EventAttachment
from edge_sim.io.sinks.mqtt import discovery
from edge_sim.io.sinks.mqtt.attachments import Attachments
from edge_sim.io.sinks.mqtt.client import Connection, Handlers
from edge_sim.io.sinks.mqtt.topics import (
    OFFLINE,
    ONLINE,
    VERBS,
    Message,
    Topics,
    messages_of,
    moved_since,
    overdue_message,
    problems_message,
    read_command,
    source_message,
    state_messages,
)
from edge_sim.io.sinks.options import MqttOptions

logger = logging.getLogger(__name__)

_MOST_REASONS = 50  # that are told apart; a flood of others is counted together
_MOST_RECENT = 1000
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class MqttSink:
    """Publishes events, and states that the broker retains; sends those again on every connection.

    Announces the device to Home Assistant and passes on commands (`capabilities`).

    Args:
        options: Checked options.
    """

    def __init__(self, options: MqttOptions) -> None:
        self._options = options
        self._discovery = options.discovery_prefix if options.discovery else None
        self._topics = Topics(options.topic_prefix, options.device)
        self._lock = Lock()
        self._device_info = DeviceInfo()
        # Topic -> message, in the order of a new connection.
        self._retained: dict[str, Message] = {}
        self._keep([Message(self._topics.available, ONLINE, retain=True)])
        # Event id -> time of its confirmation, monotonic seconds, and its messages.
        self._recent: dict[str, tuple[float, list[Message]]] = {}
        # Topics with a time that was noted since the start.
        self._own: set[str] = set()
        self._problems: dict[str, dict[str, str]] = {}
        self._rejections: Counter[str] = Counter()
        self._attachments = Attachments(options, self._topics)
        self._on_command: Callable[[Command], None] | None = None
        self._on_ready: Callable[[], None] | None = None
        # Announcements that may hold what is no more: topic -> payload.
        self._former: dict[str, bytes] = {}
        handlers = Handlers(
            will=Message(self._topics.available, OFFLINE, retain=True),
            subscriptions=self._subscriptions(),
            initial=self._initial,
            ready=self._ready,
            received=self._received,
        )
        self._connection = Connection(options, handlers)

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
        sink._connection.start()
        return sink

    @property
    def name(self) -> str:
        """Broker and first topic."""
        return self._options.name

    @property
    def is_connected(self) -> bool:
        """True while the broker accepts the connection."""
        return self._connection.is_up

    @property
    def wants_pictures(self) -> bool:
        """True where the configuration publishes pictures."""
        return self._options.image

    @property
    def wants_embeddings(self) -> bool:
        """True where the configuration publishes embeddings."""
        return self._options.embeddings

    @property
    def wants_event_pictures(self) -> bool:
        """True where the configuration publishes pictures of events."""
        return self._options.event_pictures

    @property
    def stats_interval_s(self) -> float:
        """Seconds between two reports; 0 wants none."""
        return self._options.stats_interval_s

    def retained(self) -> list[Message]:
        """Return the messages that every connection begins with and the broker retains."""
        with self._lock:
            return list(self._retained.values())

    def emit(self, event: Event) -> None:
        """Publish `event` and wait for the broker's confirmation.

        Raises:
            SinkError: No connection, no confirmation in time; or the sink is closed.
        """
        with self._lock:
            if isinstance(event, StateChanged):
                self._own.add(self._topics.attributes(event.watch))
            messages = [*self._lasting(event), *messages_of(event, self._topics)]
            self._keep(message for message in messages if message.retain)
        # The watch may have become private while they waited.
        is_private = isinstance(event, StateChanged) and self._is_private(event.watch)
        attached = [] if is_private else self._attachments.of(event.id)
        self._connection.publish([*messages, *attached])
        self._attachments.drop(event.id)
        if self._options.repeat_s > 0.0:
            self._note_recent(event.id, [item for item in messages if not item.retain])

    def attach(self, attachment: EventAttachment) -> None:
        """Keep embedding and picture of a change, as configured, until its event is confirmed."""
        self._attachments.keep(attachment)

    def close(self) -> None:
        """Publish `offline` and disconnect."""
        self._connection.close()

    def describe(self, device_info: DeviceInfo) -> None:
        """Announce the device as it is now; called at the start and after every change."""
        with self._lock:
            gone = {item.name for item in self._device_info.watches} - {
                item.name for item in device_info.watches
            }
            for topic in (topic for watch in gone for topic in self._topics.of_watch(watch)):
                self._retained.pop(topic, None)
            for topic in [topic for topic in self._retained if self._is_announcement(topic)]:
                self._former[topic] = self._retained.pop(topic).payload
            self._device_info = device_info
            announced = [*self._config(), *self._described()]
            self._keep(announced)
        self._connection.send(announced)
        self._forget_stale()

    def listen(self, on_command: Callable[[Command], None]) -> None:
        """Hand checked commands to `on_command`, which must return at once."""
        self._on_command = on_command

    def resume(self, latest: Sequence[StateChanged]) -> None:
        """Show these states again, without events."""
        with self._lock:
            fresh = [
                each for each in latest if self._topics.state(each.watch) not in self._retained
            ]
            messages = [item for event in fresh for item in state_messages(event, self._topics)]
            self._keep(messages)
        self._connection.send(messages)

    def correct_times(self, step_s: float) -> None:
        """Publish the states again, with the times at which they began moved by `step_s`."""
        with self._lock:
            messages = [
                Message(topic, moved_since(kept.payload, step_s, is_own=topic in self._own), True)
                for watch in self._device_info.watches
                for topic in (self._topics.attributes(watch.name),)
                if (kept := self._retained.get(topic)) is not None
            ]
            self._keep(messages)
        self._connection.send(messages)

    def show_picture(self, watch: str, jpeg: bytes) -> None:
        """Publish the region of a watch as it was when it decided, if that is configured."""
        if self._options.image and not self._is_private(watch):
            self._show(Message(self._topics.image(watch), jpeg, retain=True))

    def show_stats(self, stats: DeviceStats) -> None:
        """Publish figures of the device."""
        self._show(Message(self._topics.stats, msgspec.json.encode(stats), retain=True))

    def when_ready(self, on_ready: Callable[[], None]) -> None:
        """Call `on_ready` whenever a connection is made."""
        self._on_ready = on_ready

    def _initial(self) -> list[Message]:
        """Return the messages that a new connection begins with."""
        oldest_s = time.monotonic() - self._options.repeat_s
        with self._lock:
            repeated = [
                message
                for at_s, messages in self._recent.values()
                if at_s >= oldest_s
                for message in messages
            ]
        return [*self.retained(), *repeated]

    def _note_recent(self, event_id: str, messages: list[Message]) -> None:
        with self._lock:
            self._recent[event_id] = (time.monotonic(), messages)
            if len(self._recent) > _MOST_RECENT:
                del self._recent[next(iter(self._recent))]

    def _is_private(self, watch: str) -> bool:
        with self._lock:
            return any(item.private for item in self._device_info.watches if item.name == watch)

    def _keep(self, messages: Iterable[Message]) -> None:
        self._retained.update((message.topic, message) for message in messages)

    def _show(self, message: Message) -> None:
        with self._lock:
            self._keep([message])
        self._connection.send([message])

    def _lasting(self, event: Event) -> list[Message]:
        """Return the messages that are retained because of an event besides its state."""
        if isinstance(event, SceneImpaired | SceneCleared):
            problems = self._problems.setdefault(event.watch, {})
            if isinstance(event, SceneImpaired):
                problems[event.problem.value] = event.since
            else:
                problems.pop(event.problem.value, None)
            return [problems_message(event.watch, problems, self._topics)]
        if isinstance(event, StateOverdue | StateOverdueCleared):
            is_overdue = isinstance(event, StateOverdue)
            return [overdue_message(event.watch, self._topics, overdue=is_overdue)]
        return []

    def _config(self) -> list[Message]:
        """Return the announcement to Home Assistant."""
        if not self._device_info.watches or self._discovery is None:
            return []
        options = self._options
        return discovery.announcing(
            self._announcement(), self._discovery, options.device, options.discovery_mode
        )

    def _described(self) -> list[Message]:
        """Return the retained messages of sources and watches; values from events stay."""
        topics, watches = self._topics, self._device_info.watches
        sources = dict.fromkeys(item.source for item in watches)
        found = [source_message(source, topics, online=True) for source in sources]
        for item in watches:
            if item.problems is not None:
                problems = self._problems.setdefault(item.name, dict(item.problems))
                found.append(problems_message(item.name, problems, topics))
            if item.overdue is not None:
                found.append(overdue_message(item.name, topics, overdue=item.overdue))
        found = [self._retained.get(message.topic, message) for message in found]
        for item in watches:
            value = f"{item.sensitivity:g}".encode()
            found.append(Message(topics.sensitivity(item.name), value, retain=True))
            if item.private:  # removes the picture of the time before from the broker
                found.append(Message(topics.image(item.name), b"", retain=True))
        return found

    def _announcement(self) -> dict[str, Any]:
        return discovery.announcement(
            self._device_info,
            self._topics,
            images=self._options.image,
            stats=self._options.stats_interval_s > 0.0,
        )

    def _subscriptions(self) -> list[str]:
        found = [self._topics.command("+", verb) for verb in VERBS]
        if self._discovery is not None:
            found.append(discovery.birth_topic(self._discovery))
            found += discovery.former_topics(self._discovery, self._options.device)
        return found

    def _is_announcement(self, topic: str) -> bool:
        prefix = self._discovery
        return prefix is not None and discovery.is_announcement(topic, prefix, self._options.device)

    def _ready(self) -> None:
        if self._on_ready is not None:
            self._on_ready()

    def _received(self, topic: str, payload: bytes, retained: bool) -> None:
        prefix = self._discovery
        if prefix is not None and topic == discovery.birth_topic(prefix):
            if payload == ONLINE and not retained:
                self._connection.send(self.retained())
        elif self._is_announcement(topic):
            if retained:
                with self._lock:
                    self._former[topic] = payload
                self._forget_stale()
        else:
            self._command(topic, payload, retained)

    def _forget_stale(self) -> None:
        """Remove the watches of a former run from Home Assistant and the broker."""
        with self._lock:
            config = self._config()
            if not self._former or not config:
                return
            former, self._former = self._former, {}
            messages, stale = discovery.superseding(former, self._announcement(), config)
            kept = {item.name for item in self._device_info.watches}
        gone = {key.partition(".")[0] for key in stale} - kept
        empty = [topic for watch in gone for topic in self._topics.of_watch(watch)]
        # A picture that is no longer configured must not stay with the broker.
        empty += [
            self._topics.image(key.removesuffix(".image"))
            for key in stale
            if key.endswith(".image") and key.removesuffix(".image") in kept
        ]
        if messages:
            self._connection.send([*messages, *(Message(topic, b"", True) for topic in empty)])

    def _command(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            if retained:
                raise CommandError(f"{topic[:200]!r}: a retained command is old and not executed")
            with self._lock:
                device_info = self._device_info
            command = read_command(topic, payload, self._topics, device_info)
            if self._on_command is None:
                raise CommandError(f"{topic}: no command is accepted")
            self._on_command(command)
        except CommandError as error:
            self._log_rejection(str(error))

    def _log_rejection(self, reason: str) -> None:
        """Log the first rejection for a reason, then the 10th, 100th and so on."""
        is_known = reason in self._rejections or len(self._rejections) < _MOST_REASONS
        kind = reason if is_known else "others"
        self._rejections[kind] += 1
        number = self._rejections[kind]
        if number == 10 ** (len(str(number)) - 1):
            logger.warning("%s: %s (rejection %d)", self.name, reason, number)
