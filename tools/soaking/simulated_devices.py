"""Devices that only publish: many connections in one thread, each as the MQTT sink behaves."""

from __future__ import annotations

import random
import selectors
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

from edge_sim.core.events import MatchedState, StateChanged, event_id, utc_text
from edge_sim.core.types import Quality, Threshold
from edge_sim.errors import EdgeSimError
from edge_sim.io.sinks.mqtt.client import BoundedClient, tls_context
from edge_sim.io.sinks.mqtt.topics import ONLINE, Message, Topics, messages_of
from edge_sim.io.sinks.options import MqttOptions

REPEAT_S = 600.0
STATES = ("empty", "food", "unknown")
_BACKOFF_S = (1.0, 5.0, 10.0)
_STATS_S = 60.0
_MISC_S = 0.25
_STATS = (
    b'{"uptime_s":86400.0,"rss_mb":118.2,"cpu_share":0.021,"frames":432000,"observations":86400,'
    b'"events":120,"sources":1,"sources_up":1,"outbox_waiting":0,"outbox_dropped":0,'
    b'"written_mb_last_day":1.2}'
)


def made_event(device: str, number: int, now_s: float) -> StateChanged:
    """Return a change of state of a usual size."""
    after, before = STATES[number % 3], STATES[(number + 2) % 3]
    matches = tuple(
        MatchedState(state, f"r{at:05}", 0.91 - 0.2 * at, 0.82, 0.9 - 0.3 * at, 0.98 - 0.97 * at)
        for at, state in enumerate(("food", "empty"))
    )
    return StateChanged(
        id=event_id(device, str(number), repr(now_s)),
        device=device,
        source="camera",
        watch="bowl",
        at=utc_text(now_s),
        captured_at_s=round(now_s % 1e6, 3),
        frame=number,
        before=before,
        before_reason="novel" if before == "unknown" else None,
        after=after,
        reason="novel" if after == "unknown" else None,
        confidence=0.97,
        margin=0.93,
        condition="day",
        matches=matches,
        thresholds={"food": Threshold(0.6, 0.5), "empty": Threshold(0.62, 0.52)},
        quality=Quality(120.0, 40.0, 900.0, 20.0, 0.01, 0.02),
        model="minimalistic-small-128@2f6c1d/p2",
        gallery_revision=12,
        before_lasted_s=5400.0,
    )


@dataclass
class SimulatedDevice:
    """One device: its connection, the events that are not confirmed, and recent ones."""

    options: MqttOptions
    client: BoundedClient | None = None
    is_up: bool = False
    waiting: dict[str, list[Message]] = field(default_factory=dict)
    recent: deque[tuple[float, list[Message]]] = field(default_factory=deque)
    open_ids: dict[int, str] = field(default_factory=dict)
    open_counts: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    connect_s: float = 0.0
    stats_s: float = 0.0
    events: int = 0

    def __post_init__(self) -> None:
        self.topics = Topics(self.options.topic_prefix, self.options.device)
        self.tls = tls_context(self.options)

    def connected(self) -> BoundedClient:
        """Return a new client that has shaken hands, as the sink makes one; in any thread."""
        client = BoundedClient.of(
            self.options, self.tls, self.options.own_client_id, MQTTProtocolVersion.MQTTv5
        )
        client.will_set(self.topics.available, b"offline", qos=1, retain=True)
        client.on_connect = self._connected
        client.on_publish = self._confirmed
        client.reach(self.options)
        return client

    def emit(self, event: StateChanged) -> None:
        """Publish an event, or keep it until there is a connection."""
        messages = messages_of(event, self.topics)
        self.waiting[event.id] = messages
        if self.is_up:
            self._publish(event.id, messages)

    def say_stats(self) -> None:
        """Publish figures."""
        if self.client is not None and self.is_up:
            self.client.publish(self.topics.stats, _STATS, qos=1, retain=True)

    def lose(self, now_s: float) -> None:
        """Note that the connection is gone."""
        self.client, self.is_up = None, False
        self.open_ids.clear()
        self.open_counts.clear()
        pause = _BACKOFF_S[min(self.failures, len(_BACKOFF_S) - 1)]
        self.failures += 1
        self.connect_s = now_s + pause * random.uniform(0.8, 1.2)

    def _connected(self, client: paho.Client, *rest: object) -> None:
        if getattr(rest[2], "is_failure", False):
            return
        self.is_up, self.failures = True, 0
        client.publish(self.topics.available, ONLINE, qos=1, retain=True)
        oldest_s = time.monotonic() - REPEAT_S
        for at_s, messages in self.recent:
            if at_s >= oldest_s:
                client.publish(messages[-1].topic, messages[-1].payload, qos=1)
        for event_id_, messages in list(self.waiting.items()):
            self._publish(event_id_, messages)

    def _publish(self, event_id_: str, messages: list[Message]) -> None:
        assert self.client is not None
        self.open_counts[event_id_] = len(messages)
        for message in messages:
            sent = self.client.publish(message.topic, message.payload, 1, message.retain)
            self.open_ids[sent.mid] = event_id_

    def _confirmed(self, _client: paho.Client, _data: object, mid: int, *_: object) -> None:
        event_id_ = self.open_ids.pop(mid, None)
        if event_id_ is None:
            return
        self.open_counts[event_id_] -= 1
        if not self.open_counts[event_id_]:
            del self.open_counts[event_id_]
            self.recent.append((time.monotonic(), self.waiting.pop(event_id_)))


class Crowd:
    """All devices, driven by one thread.

    Args:
        devices: The devices.
        rate: Events a second, of all together.
        seed: Seed of who reports when.
    """

    def __init__(self, devices: list[SimulatedDevice], rate: float, seed: int) -> None:
        self.devices, self.sent = devices, list[str]()
        self.connects = 0
        self._rate, self._random = rate, random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[int, Any] = {}
        # A handshake waits for the broker: many at once, as of devices of their own.
        self._pool = ThreadPoolExecutor(64)
        self._connecting: dict[int, tuple[SimulatedDevice, Future[BoundedClient]]] = {}
        self._next_event_s = self._next_misc_s = time.monotonic()
        self._misc_at = 0
        self.is_reporting = False

    def turn(self, limit_s: float = 0.05) -> None:
        """Serve connections for a moment, and let events happen."""
        for key, _ in self._selector.select(limit_s):
            self._read(key.data)
        now_s = time.monotonic()
        while self.is_reporting and now_s >= self._next_event_s:
            self._next_event_s += self._random.expovariate(self._rate)
            device = self._random.choice(self.devices)
            event = made_event(device.options.device, device.events, time.time())
            device.events += 1
            self.sent.append(event.id)
            device.emit(event)
        if not self.is_reporting:
            self._next_event_s = now_s
        if now_s >= self._next_misc_s:
            self._next_misc_s = now_s + _MISC_S
            self._connect_some(now_s)
            self._look_after_some(now_s)

    @property
    def up(self) -> int:
        """Number of devices that are connected."""
        return sum(item.is_up for item in self.devices)

    @property
    def unconfirmed(self) -> int:
        """Number of events that the broker has not confirmed."""
        return sum(len(item.waiting) for item in self.devices)

    def _connect_some(self, now_s: float) -> None:
        for key, (device, future) in list(self._connecting.items()):
            if future.done():
                del self._connecting[key]
                self._use(device, future, now_s)
        for device in self.devices:
            is_idle = device.client is None and id(device) not in self._connecting
            if is_idle and now_s >= device.connect_s:
                self._connecting[id(device)] = device, self._pool.submit(device.connected)

    def _use(self, device: SimulatedDevice, future: Future[BoundedClient], now_s: float) -> None:
        try:
            client = future.result()
            sock: Any = client.socket()
            self._selector.register(sock, selectors.EVENT_READ, device)
        except (OSError, ValueError, EdgeSimError):
            device.lose(now_s)
            return
        self.connects += 1
        device.client = client
        self._sockets[id(device)] = sock

    def _read(self, device: SimulatedDevice) -> None:
        client = device.client
        if client is None:
            return
        code = client.loop_read(100)
        sock: Any = client.socket()
        while code == MQTTErrorCode.MQTT_ERR_SUCCESS and sock is not None and sock.pending():
            code = client.loop_read(100)
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
            self._lose(device)

    def _lose(self, device: SimulatedDevice) -> None:
        sock = self._sockets.pop(id(device), None)
        if sock is not None:
            self._selector.unregister(sock)
        device.lose(time.monotonic())

    def _look_after_some(self, now_s: float) -> None:
        """Write what is left, keep connections alive and say figures, of a twentieth of them."""
        count = max(len(self.devices) // 20, 1)
        for _ in range(count):
            device = self.devices[self._misc_at]
            self._misc_at = (self._misc_at + 1) % len(self.devices)
            client = device.client
            if client is None:
                continue
            if client.want_write():
                client.loop_write()
            if client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
                self._lose(device)
            elif now_s >= device.stats_s and self.is_reporting:
                device.stats_s = now_s + _STATS_S * self._random.uniform(0.9, 1.1)
                device.say_stats()
