"""Connection to a broker: login, and one thread that keeps it."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event as Signal
from threading import Thread
from typing import Any, Literal

from edge_sim.errors import SinkError
from edge_sim.io.sinks.mqtt.topics import Message
from edge_sim.io.sinks.options import MqttOptions

try:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import (  # new in version 2
        CallbackAPIVersion,
        MQTTErrorCode,
        MQTTProtocolVersion,
    )
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
except ImportError as missing:
    raise SinkError("mqtt needs paho-mqtt 2 or later: pip install 'edge_sim[mqtt]'") from missing

logger = logging.getLogger(__name__)

MAX_PACKET_BYTES = 1 << 20
"""Largest message that is read from a broker; commands and announcements are far smaller."""
PROTOCOLS = (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311)
"""Versions in order of preference: a broker of version 5 does not send larger messages."""
_OTHER_VERSION = 132
"""Reason code of a broker that does not know the version."""
_LOOP_S = 1.0
_POLL_S = 0.2
_FAREWELL_S = 0.5
_JOIN_S = 2.0
_FAILURES_PER_LINE = 60


def tls_context(options: MqttOptions) -> ssl.SSLContext | None:
    """Return the context of encryption; None without.

    Raises:
        SinkError: A certificate or key cannot be used.
    """
    if not options.tls:
        return None
    file = options.ca_file
    try:
        context = _Context(ssl.PROTOCOL_TLS_CLIENT)
        context.timeout_s = options.timeout_s
        if options.ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(options.ca_file)
        if options.cert_file is not None:
            file = options.cert_file
            context.load_cert_chain(options.cert_file, options.key_file, password=_no_password)
    except OSError as error:
        reason = error.strerror if error.errno and not isinstance(error, ssl.SSLError) else None
        raise SinkError(
            f"{options.name}: {file}: cannot be used ({reason or 'no fitting PEM in it'})"
        ) from error
    return context


class _Context(ssl.SSLContext):
    """Checks certificate and name of the broker, within a time limit.

    paho-mqtt gives a broker that does not shake hands the whole keepalive, and leaves the socket
    of a failed handshake open.
    """

    timeout_s = 10.0

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,  # noqa: ARG002 always done here
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        wrapped = super().wrap_socket(
            sock, server_side, False, suppress_ragged_eofs, server_hostname, session
        )
        try:
            wrapped.settimeout(self.timeout_s)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


@dataclass(frozen=True, slots=True)
class Handlers:
    """Messages and callbacks of a connection; callbacks run on the thread of the connection.

    Args:
        will: Message that the broker publishes when the connection is lost; also sent at the end.
        subscriptions: Topic filters.
        initial: Function that returns the first messages of every connection.
        ready: Callback after those messages were sent.
        received: Callback with topic, payload and whether the broker had retained it.
    """

    will: Message
    subscriptions: Sequence[str]
    initial: Callable[[], Sequence[Message]]
    ready: Callable[[], None]
    received: Callable[[str, bytes, bool], None]


class Connection:
    """Publisher and receiver; every connection is a new client, so that none replays old messages.

    Args:
        options: Checked options.
        handlers: Messages and callbacks.
    """

    def __init__(self, options: MqttOptions, handlers: Handlers) -> None:
        self._options = options
        self._handlers = handlers
        self._tls = tls_context(options)
        self._stop = Signal()
        self._tried = Signal()
        self._client: paho.Client | None = None
        self._farewell: paho.MQTTMessageInfo | None = None
        self._trouble = "not yet"
        self._protocol = PROTOCOLS[0]
        self._without_commands = False
        self._thread = Thread(target=self._run, name=options.name, daemon=True)

    @property
    def is_up(self) -> bool:
        """True while the broker accepts the connection."""
        return self._client is not None

    def start(self) -> None:
        """Start connecting; attempts are repeated."""
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
        """Publish the will and disconnect; safe to call twice."""
        client = self._client
        if client is not None and not self._stop.is_set():
            self._farewell = _published(client, self._handlers.will)  # wakes the thread too
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
            client.reach(self._options)
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

    def _new_client(self) -> BoundedClient:
        options = self._options
        client = BoundedClient.of(options, self._tls, options.own_client_id, self._protocol)
        client.will_set(
            self._handlers.will.topic,
            self._handlers.will.payload,
            qos=1,
            retain=self._handlers.will.retain,
        )
        client.on_connect = self._connected
        client.on_message = self._received
        # With this set, `publish` on another thread leaves all writing to ours.
        client.on_socket_register_write = _write_in_loop
        return client

    def _serve(self, client: BoundedClient) -> None:
        until_s = time.monotonic() + self._options.timeout_s
        self._trouble = "the broker does not answer"
        while not self._stop.is_set():
            result = client.loop(_LOOP_S)
            if result != paho.MQTT_ERR_SUCCESS:
                self._ended(client, result)
                return
            if self._client is None and time.monotonic() > until_s:
                return
        self._disconnect(client)

    def _ended(self, client: BoundedClient, result: MQTTErrorCode) -> None:
        """Note why the connection ended, and adapt the next one."""
        if client.rejected_bytes:
            self._without_commands = True
            self._trouble = (
                f"a message of {client.rejected_bytes} bytes, at most {MAX_PACKET_BYTES} are read; "
                f"remove it from the broker: no commands are taken until the next start"
            )
        elif self._client is not None:
            self._trouble = str(paho.error_string(result))
        else:  # Some brokers close the connection on an unknown version.
            self._protocol = PROTOCOLS[(PROTOCOLS.index(self._protocol) + 1) % len(PROTOCOLS)]

    def _disconnect(self, client: paho.Client) -> None:
        """Wait until the broker has the will, then disconnect."""
        sent = self._farewell or _published(client, self._handlers.will)
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
            self._trouble = f"the broker rejects the connection: {reason}"
            return
        for topic in () if self._without_commands else self._handlers.subscriptions:
            client.subscribe(topic, qos=1)
        for message in self._handlers.initial():
            _published(client, message)
        self._client = client
        self._tried.set()
        logger.info("%s: connected", self._options.name)
        self._handlers.ready()

    def _received(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        self._handlers.received(message.topic, bytes(message.payload), message.retain)


class BoundedClient(paho.Client):
    """MQTT client that reads no large message."""

    rejected_bytes = 0
    """Size of a rejected message, which ends the connection; 0 without one."""

    @classmethod
    def of(
        cls,
        options: MqttOptions,
        tls: ssl.SSLContext | None,
        client_id: str,
        protocol: MQTTProtocolVersion,
        *,
        manual_ack: bool = False,
    ) -> BoundedClient:
        """Return a client with login and encryption set up, not connected yet.

        With `manual_ack` the caller acknowledges what is received.

        Raises:
            SinkError: The password cannot be read.
        """
        client = cls(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=protocol,
            reconnect_on_failure=False,
            manual_ack=manual_ack,
        )
        client.connect_timeout = options.timeout_s
        client.username_pw_set(options.username, options.current_password())
        if tls is not None:
            client.tls_set_context(tls)
        return client

    def reach(self, options: MqttOptions, *, session_s: int | None = None) -> None:
        """Connect; a broker of version 5 is requested not to send larger messages.

        With `session_s` a broker of version 5 goes on with the session of this client id, and keeps
        it for so long after the connection.

        Raises:
            OSError: No connection.
        """
        properties = None
        clean_start: bool | Literal[3] = paho.MQTT_CLEAN_START_FIRST_ONLY
        if self.protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = MAX_PACKET_BYTES
            if session_s is not None:
                properties.SessionExpiryInterval = session_s
                clean_start = False
        self.connect(
            options.host,
            options.broker_port,
            options.keepalive_s,
            clean_start=clean_start,
            properties=properties,
        )

    def _sock_recv(self, bufsize: int) -> bytes:
        """Read at most `bufsize` bytes, the rest of a message; paho reads nothing otherwise."""
        if bufsize > MAX_PACKET_BYTES:
            self.rejected_bytes = bufsize
            raise OSError(f"a message of {bufsize} bytes")
        return bytes(super()._sock_recv(bufsize))


def try_login(options: MqttOptions) -> str:
    """Connect, log in and disconnect without publishing; return a summary for people.

    The client id gets `-check` at its end: a broker disconnects a running daemon when another
    client uses its id.

    Raises:
        ConfigError: Settings that contradict each other.
        SinkError: No connection within `timeout_s`, or the broker rejects it.
    """
    _tried(options, "check", ())
    who = f"as {options.username}" if options.username else "without a user"
    return f"logged in {who}{', encrypted' if options.tls else ', in the clear'}"


def _tried(options: MqttOptions, role: str, messages: Sequence[Message]) -> None:
    options.check()
    reason: Any = None
    for protocol in PROTOCOLS:
        try:
            reason = _answer(options, protocol, role, messages)
        except OSError as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SinkError(f"{options.name}: cannot connect ({reason})") from error
        if reason is not None and reason.value != _OTHER_VERSION:
            break
    if reason is None:
        raise SinkError(f"{options.name}: the broker closes the connection")
    if reason.is_failure:
        raise SinkError(f"{options.name}: the broker rejects the connection: {reason}")


def publish_once(options: MqttOptions, messages: Sequence[Message]) -> None:
    """Connect, publish and disconnect, beside a device that may be connected all the while.

    The client id gets `-once` at its end, and whether the device is available stays as it is.

    Raises:
        ConfigError: Settings that contradict each other.
        SinkError: No connection or no receipt within `timeout_s`, or the broker rejects it.
    """
    _tried(options, "once", messages)


def _answer(
    options: MqttOptions,
    protocol: MQTTProtocolVersion,
    role: str,
    messages: Sequence[Message],
) -> Any:
    """Return the reason code of the broker's answer, after it has taken the messages; None if it
    closes the connection.

    Raises:
        OSError: No connection.
        SinkError: No answer within `timeout_s`.
    """
    answers: list[Any] = []
    tls = tls_context(options)
    client = BoundedClient.of(options, tls, f"{options.own_client_id}-{role}", protocol)
    client.on_connect = lambda *args: answers.append(args[3])
    until_s = time.monotonic() + options.timeout_s
    try:
        client.reach(options)
        while not answers and time.monotonic() < until_s:
            if client.loop(_POLL_S) and not answers:
                return None
        if answers and not answers[0].is_failure:
            sent = [_published(client, message) for message in messages]
            while not all(item.is_published() for item in sent):
                if client.loop(_POLL_S) or time.monotonic() >= until_s:
                    raise SinkError(f"{options.name}: no receipt within {options.timeout_s:g} s")
    finally:
        client.disconnect()
        client.loop(_POLL_S)
    if not answers:
        raise SinkError(f"{options.name}: no answer within {options.timeout_s:g} s")
    return answers[0]


def _published(client: paho.Client, message: Message) -> paho.MQTTMessageInfo:
    return client.publish(message.topic, message.payload, qos=1, retain=message.retain)


def _write_in_loop(*_: Any) -> None:
    return None


def _no_password() -> str:
    # Without this, OpenSSL would ask for the key's password on the terminal.
    return ""
