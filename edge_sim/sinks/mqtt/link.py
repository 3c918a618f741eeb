"""The connection to a broker: one thread that owns it and makes it again when it is lost."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event as Signal
from threading import Thread
from typing import Any

from edge_sim.errors import SinkError
from edge_sim.sinks.mqtt.options import MqttOptions
from edge_sim.sinks.mqtt.topics import Message

try:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion  # new in version 2
except ImportError as missing:
    raise SinkError("mqtt needs paho-mqtt 2 or later: pip install 'edge_sim[mqtt]'") from missing

logger = logging.getLogger(__name__)

_LOOP_S = 1.0
_POLL_S = 0.2
_FAREWELL_S = 0.5
_JOIN_S = 2.0
_FAILURES_PER_LINE = 60


@dataclass(frozen=True, slots=True)
class Talk:
    """What is said on a connection; every function is called on the link's thread.

    Args:
        will: What the broker says when the connection is lost; also said on a clean end.
        subscriptions: Topic filters.
        greeting: Returns what every connection begins with.
        ready: Called when the greeting is on its way.
        received: Called with topic, payload and whether the broker had retained it.
    """

    will: Message
    subscriptions: Sequence[str]
    greeting: Callable[[], Sequence[Message]]
    ready: Callable[[], None]
    received: Callable[[str, bytes, bool], None]


class Link:
    """Publishes and receives; every connection is a new client, so that none replays old messages.

    Args:
        options: Checked.
        talk: What is said.
    """

    def __init__(self, options: MqttOptions, talk: Talk) -> None:
        self._options = options
        self._talk = talk
        self._tls = options.tls_context()
        self._stop = Signal()
        self._tried = Signal()
        self._client: paho.Client | None = None
        self._goodbye: paho.MQTTMessageInfo | None = None
        self._trouble = "not yet"
        self._thread = Thread(target=self._run, name=options.name, daemon=True)

    @property
    def is_up(self) -> bool:
        """Whether the broker has accepted the connection."""
        return self._client is not None

    def start(self) -> None:
        """Start connecting; a broker that is not there yet is tried again and again."""
        self._thread.start()

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish and wait until the broker has confirmed everything.

        Raises:
            SinkError: No connection, or no confirmation in time.
        """
        self._tried.wait(self._options.timeout_s)  # the first attempt may still be under way
        client = self._client
        if self._stop.is_set():
            raise SinkError(f"{self._options.name}: the sink is closed")
        if client is None:
            raise SinkError(f"{self._options.name}: not connected ({self._trouble})")
        until_s = time.monotonic() + self._options.timeout_s
        try:
            for sent in [_published(client, message) for message in messages]:
                while not sent.is_published():
                    self._check_still(client, until_s)
                    sent.wait_for_publish(_POLL_S)
        except (ValueError, RuntimeError) as error:
            raise SinkError(f"{self._options.name}: cannot publish ({error})") from error

    def send(self, messages: Sequence[Message]) -> None:
        """Publish without waiting; without a connection nothing is sent."""
        client = self._client
        if client is not None:
            for message in messages:
                _published(client, message)

    def close(self) -> None:
        """Say goodbye and disconnect; safe to call twice."""
        client = self._client
        if client is not None and not self._stop.is_set():
            self._goodbye = _published(client, self._talk.will)  # wakes the thread too
        self._stop.set()
        self._tried.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)

    def _check_still(self, client: paho.Client, until_s: float) -> None:
        if self._client is not client:
            raise SinkError(f"{self._options.name}: the connection was lost ({self._trouble})")
        if time.monotonic() > until_s:
            raise SinkError(
                f"{self._options.name}: no confirmation within {self._options.timeout_s:g} s"
            )

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            was_up = self._one_connection()
            if self._stop.is_set():
                return
            failures = 1 if was_up else failures + 1
            if failures % _FAILURES_PER_LINE == 1:
                logger.warning("%s: %s (attempt %d)", self._options.name, self._trouble, failures)
            pauses = self._options.backoff_s
            self._stop.wait(pauses[min(failures, len(pauses)) - 1])

    def _one_connection(self) -> bool:
        """Connect and serve until the connection is lost; return whether it stood."""
        was_up = False
        try:
            client = self._new_client()
            client.connect(self._options.host, self._options.broker_port, self._options.keepalive_s)
            self._serve(client)
        except (OSError, ValueError, SinkError) as error:
            self._trouble = getattr(error, "strerror", None) or str(error)
        except Exception:
            # A bug in a callback must not end the connection for good.
            logger.exception("%s broke", self._options.name)
            self._trouble = "internal error"
        finally:
            was_up, self._client = self._client is not None, None
            self._tried.set()
        return was_up

    def _new_client(self) -> paho.Client:
        client = client_of(self._options, self._tls, self._options.own_client_id)
        client.will_set(
            self._talk.will.topic, self._talk.will.payload, qos=1, retain=self._talk.will.retain
        )
        client.on_connect = self._connected
        client.on_message = self._received
        # With this set, `publish` on another thread leaves all writing to ours.
        client.on_socket_register_write = _leave_it_to_the_loop
        return client

    def _serve(self, client: paho.Client) -> None:
        until_s = time.monotonic() + self._options.timeout_s
        self._trouble = "the broker does not answer"
        while not self._stop.is_set():
            result = client.loop(_LOOP_S)
            if result != paho.MQTT_ERR_SUCCESS:
                if self._client is not None:
                    self._trouble = str(paho.error_string(result))
                return
            if self._client is None and time.monotonic() > until_s:
                return
        self._part(client)

    def _part(self, client: paho.Client) -> None:
        """Let the goodbye reach the broker, then disconnect."""
        sent = self._goodbye or _published(client, self._talk.will)
        until_s = time.monotonic() + _FAREWELL_S
        while time.monotonic() < until_s and not sent.is_published():
            if client.loop(_POLL_S) != paho.MQTT_ERR_SUCCESS:
                return
        client.disconnect()
        client.loop(_POLL_S)

    def _connected(
        self, client: paho.Client, _: Any, __: Any, reason: Any, ___: Any = None
    ) -> None:
        if reason.is_failure:
            self._trouble = f"the broker refuses: {reason}"
            return
        for topic in self._talk.subscriptions:
            client.subscribe(topic, qos=1)
        for message in self._talk.greeting():
            _published(client, message)
        self._client = client
        self._tried.set()
        logger.info("%s: connected", self._options.name)
        self._talk.ready()

    def _received(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        self._talk.received(message.topic, bytes(message.payload), message.retain)


def client_of(options: MqttOptions, tls: ssl.SSLContext | None, client_id: str) -> paho.Client:
    """Return a client that knows how to get in; it is not connected.

    Raises:
        SinkError: The password cannot be read.
    """
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=paho.MQTTv311,
        reconnect_on_failure=False,
    )
    client.connect_timeout = options.timeout_s
    client.username_pw_set(options.username, options.current_password())
    if tls is not None:
        client.tls_set_context(tls)
    return client


def _published(client: paho.Client, message: Message) -> paho.MQTTMessageInfo:
    return client.publish(message.topic, message.payload, qos=1, retain=message.retain)


def _leave_it_to_the_loop(*_: Any) -> None:
    return None
