"""Collector: takes what devices publish from the broker, and acknowledges what is stored.

Everything runs in one thread: a message is acknowledged on the connection that brought it, after
the transaction that holds it. What a killed collector had not acknowledged comes again, and an
event is stored once by its id. Several collectors store the same, one beside the other; those of
one group share the messages instead (MQTT 5, 4.8.2).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_sim.core.backoff import pause_s
from edge_sim.errors import CollectionError, SinkError
from edge_sim.fleet.collection import SiteCollection
from edge_sim.fleet.messages import Received
from edge_sim.io.sinks.mqtt.client import MAX_PACKET_BYTES, BoundedClient, tls_context
from edge_sim.io.sinks.options import MqttOptions

try:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
    from paho.mqtt.subscribeoptions import SubscribeOptions
except ImportError as missing:
    raise CollectionError(
        "a collector needs paho-mqtt 2 or later: pip install 'edge_sim[collect]'"
    ) from missing

logger = logging.getLogger(__name__)

_WAIT_S = 0.2
_BATCH = 500
_BATCH_S = 0.2
_SILENCE_CHECK_S = 5.0
_NOTHING_RETAINED = 2
_FORGET_S = 86_400.0


@dataclass(frozen=True, slots=True)
class CollectorOptions:
    """Settings of a collector.

    Args:
        broker: Broker, login, and prefix of the topics of the site; `client_id` must stay the same
            over restarts, since the broker keeps messages for it.
        database: Address of the database.
        site: Name of the site in the collection.
        group: Collectors of one group share the messages; None for each has all. A mosquitto of
            version 2.0.11 that is started again keeps nothing for those of a group until they are
            back.
        vectors: Address of the vectors where they are kept elsewhere.
        silent_after_s: A device that publishes nothing for so long is silent; devices publish
            their figures every 60 s unless they are configured otherwise.
        session_s: Time for which the broker keeps messages for a collector that is away.
    """

    broker: MqttOptions
    database: str
    site: str
    group: str | None = None
    vectors: str | None = None
    silent_after_s: float = 180.0
    session_s: int = 7 * 86_400


class Collector:
    """Collector of one site; `run` it, or `step` it by hand.

    Args:
        options: Settings.
        clock: Clock that returns seconds since 1970.
        monotonic: Clock that returns monotonic seconds.
    """

    def __init__(
        self,
        options: CollectorOptions,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stored = 0
        self.rejected = 0
        self._options = options
        self._clock = clock
        self._monotonic = monotonic
        self._waiting: list[tuple[int, Received]] = []
        self._collection: SiteCollection | None = None
        self._tls = tls_context(options.broker)
        self._client: BoundedClient | None = None
        self._failures = 0
        self._connect_s = -math.inf
        self._retry_s = -math.inf
        self._listening_s = -math.inf
        self._silence_s = -math.inf
        self._forget_s = -math.inf
        self._trouble = ""

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Collect until `is_stopped`; a lost broker or database is waited for.

        Raises:
            CollectionError: The first connection to the database fails.
            SinkError: The first connection to the broker fails.
        """
        self.start()
        try:
            while not is_stopped():
                self.step()
        finally:
            self.close()

    def start(self) -> None:
        """Connect, before the first step.

        Raises:
            CollectionError: There is no database.
            SinkError: There is no broker.
        """
        self._collection = self._open_collection()
        try:
            if self._options.vectors is not None:
                _ = self._collection.vectors  # a wrong address is found now, not with a message
            self._connect()
        except (CollectionError, SinkError):
            self.close()
            raise

    def _open_collection(self) -> SiteCollection:
        options = self._options
        return SiteCollection(
            options.database, vectors=options.vectors, create=True, clock=self._clock
        )

    def close(self) -> None:
        """Disconnect. Safe to call twice."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop(0.0)
        if self._collection is not None:
            self._collection.close()
        self._collection = None

    def step(self) -> None:
        """Take messages for a moment, store them, and acknowledge them."""
        client = self._client
        if client is None:
            self._reconnect()
            return
        code = client.loop(_WAIT_S)
        until_s = self._monotonic() + _BATCH_S
        count = -1
        while code == MQTTErrorCode.MQTT_ERR_SUCCESS and count < len(self._waiting) < _BATCH:
            count = len(self._waiting)
            if not count or self._monotonic() > until_s:
                break
            code = client.loop(0.0)
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._lose_broker(client)
            return
        self._flush(client)
        if client.is_connected():
            self._note_silence()
        self._forget_old()

    def _connect(self) -> None:
        """Connect with the password as it is now.

        Raises:
            SinkError: No connection.
        """
        broker = self._options.broker
        protocol = MQTTProtocolVersion.MQTTv5
        client = BoundedClient.of(
            broker, self._tls, broker.own_client_id, protocol, manual_ack=True
        )
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        try:
            client.reach(broker, session_s=self._options.session_s)
        except (OSError, ValueError) as error:
            raise SinkError(f"{broker.name}: cannot connect ({error})") from error
        self._waiting.clear()  # comes again on the new connection
        self._client = client

    def _reconnect(self) -> None:
        """Connect if the pause is over, else wait for a moment: a signal is obeyed in between."""
        left_s = self._connect_s - self._monotonic()
        if left_s > 0:
            time.sleep(min(left_s, _WAIT_S))
            return
        try:
            self._connect()
        except SinkError as error:
            self._report(f"{error}; trying again")
            self._lose_broker(None)

    def _lose_broker(self, client: BoundedClient | None) -> None:
        """Give a connection up; the pause before the next grows with each failure."""
        if client is not None and client.rejected_bytes:
            self._report(
                f"{self._options.broker.name}: a message of {client.rejected_bytes} bytes, at most "
                f"{MAX_PACKET_BYTES} are read; remove it from the broker"
            )
        self._client = None
        self._failures += 1
        self._connect_s = self._monotonic() + pause_s(
            self._failures, self._options.broker.backoff_s
        )

    def _report(self, trouble: str, level: int = logging.WARNING) -> None:
        """Log what is wrong, but not again at every attempt that fails alike."""
        if trouble != self._trouble:
            logger.log(level, "%s", trouble)
        self._trouble = trouble

    def _connected(
        self, client: paho.Client, _data: object, _flags: object, reason: object, _props: object
    ) -> None:
        if getattr(reason, "is_failure", False):
            name = self._options.broker.name
            self._report(f"{name}: the broker refuses ({reason}); trying again", logging.ERROR)
            return
        self._failures = 0
        prefix = self._options.broker.topic_prefix
        group = self._options.group
        everything = f"{prefix}/#" if group is None else f"$share/{group}/{prefix}/#"
        # What is retained repeats what was stored, but for which devices there are: that comes by a
        # subscription of its own.
        client.subscribe(
            [
                (everything, SubscribeOptions(qos=1, retainHandling=_NOTHING_RETAINED)),
                (f"{prefix}/+/available", SubscribeOptions(qos=1, retainHandling=0)),
            ]
        )

    def _subscribed(
        self, _client: paho.Client, _data: object, _number: int, reasons: Any, _props: object
    ) -> None:
        refused = next((reason for reason in reasons if reason.is_failure), None)
        if refused is not None:
            topics = f"{self._options.broker.topic_prefix}/#"
            self._report(
                f"{self._options.broker.name}: the broker refuses to tell of {topics} ({refused})",
                logging.ERROR,
            )

    def _received(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        start = f"{self._options.broker.topic_prefix}/"
        try:
            topic = message.topic.removeprefix(start)
        except UnicodeDecodeError:
            topic = ""
        item = Received(topic, bytes(message.payload), self._clock(), message.retain)
        self._waiting.append((message.mid if message.qos else 0, item))

    def _flush(self, client: BoundedClient) -> None:
        """Store what waits, and acknowledge it; without a database it goes on waiting."""
        if not self._waiting or self._monotonic() < self._retry_s:
            return
        items = [item for _, item in self._waiting]
        try:
            if self._collection is None:
                self._collection = self._open_collection()
            rejected = self._collection.store(self._options.site, items)
        except CollectionError as error:
            self._lose_database(error)
            return
        self._trouble = ""
        if rejected:
            logger.warning("%d of %d messages are none of a device", rejected, len(items))
        self.rejected += rejected
        self.stored += len(items) - rejected
        for number, _ in self._waiting:
            if number:
                client.ack(number, 1)
        self._waiting.clear()

    def _note_silence(self) -> None:
        """Add the devices that fell silent while the collector heard all that they published."""
        if self._collection is None:
            return
        options, now_s = self._options, self._monotonic()
        away_s = now_s - self._listening_s
        self._listening_s = now_s
        if away_s > max(options.silent_after_s / 4, _SILENCE_CHECK_S):
            # The collector, the broker or the database was away, and what devices published since
            # is on its way: only from now on does it mean something to hear nothing.
            self._silence_s = now_s + options.silent_after_s
        if now_s < self._silence_s:
            return
        self._silence_s = now_s + min(_SILENCE_CHECK_S, options.silent_after_s / 4)
        try:
            self._collection.note_silence(options.site, self._clock(), options.silent_after_s)
        except CollectionError as error:
            self._lose_database(error)

    def _forget_old(self) -> None:
        """Delete once a day what the sites do not keep any longer."""
        if self._collection is None or self._monotonic() < self._forget_s:
            return
        self._forget_s = self._monotonic() + _FORGET_S
        try:
            done = self._collection.forget_old()
        except CollectionError as error:
            self._lose_database(error)
            return
        if done.events or done.pictures or done.partitions:
            logger.info(
                "deleted as too old: %d events, %d pictures, %d whole months",
                done.events, done.pictures, done.partitions,
            )  # fmt: skip

    def _lose_database(self, error: CollectionError) -> None:
        self._report(f"{error}; trying again")
        self._retry_s = self._monotonic() + self._options.broker.backoff_s[0]
        if self._collection is not None:
            self._collection.close()
        self._collection = None
