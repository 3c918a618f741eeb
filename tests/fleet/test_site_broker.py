"""On the broker that `docs/site` configures, a device speaks for itself only."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[collect]'")
pytest.importorskip("cryptography", reason="cryptography is not installed: pip install '.[fleet]'")

from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_sim.errors import SinkError
from edge_sim.fleet.collection import SiteCollection
from edge_sim.fleet.collector import Collector, CollectorOptions
from edge_sim.io.sinks.mqtt.client import try_login
from edge_sim.io.sinks.mqtt.sink import MqttSink
from edge_sim.io.sinks.options import MqttOptions
from tests.conftest import REPOSITORY
from tests.fleet.database import Database
from tests.io.outbox.events import changed
from tests.io.sinks.waiting import wait_until

sys.path.insert(0, str(REPOSITORY / "tools"))
site_broker = importlib.import_module("soaking.site_broker")

SITE = "edge_sim/yard"
SiteBroker = Any


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteBroker]:
    if site_broker.program() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    made = site_broker.SiteBroker(tmp_path_factory.mktemp("site"))
    made.start()
    yield made
    made.kill()


class Client:
    """A client that publishes what it likes, and keeps what it is sent."""

    def __init__(self, broker: SiteBroker, name: str) -> None:
        options = broker.options(name)
        self.seen: list[str] = []
        self.codes: list[int] = []
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{name}-test",
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        self._client.tls_set(options["ca_file"], options["cert_file"], options["key_file"])
        self._client.on_message = lambda _c, _d, message: self.seen.append(message.topic)
        self._client.on_publish = lambda _c, _d, _m, code, _p: self.codes.append(code.value)
        self._client.on_subscribe = lambda _c, _d, _m, codes, _p: self.codes.append(codes[0].value)
        self._client.connect("localhost", broker.port)
        self._client.loop_start()

    def subscribe(self, topic: str) -> None:
        before = len(self.codes)
        self._client.subscribe(topic, qos=1)
        wait_until(lambda: len(self.codes) > before)

    def publish(self, topic: str) -> int:
        """Publish to a topic; return the reason code of the broker: 135 is not authorised."""
        before = len(self.codes)
        self._client.publish(topic, b"{}", qos=1)
        wait_until(lambda: len(self.codes) > before)
        return self.codes[-1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_a_device_speaks_for_itself_only(broker: SiteBroker) -> None:
    with (
        closing(Client(broker, "porch")) as porch,
        closing(Client(broker, "shed")) as shed,
        closing(Client(broker, "collector")) as collector,
    ):
        collector.subscribe(f"{SITE}/#")
        shed.subscribe(f"{SITE}/#")
        assert porch.publish(f"{SITE}/porch/bowl/event") in (0, 16)
        assert porch.publish("homeassistant/device/edge_sim-porch/config") in (0, 16)
        for topic in (
            f"{SITE}/shed/bowl/event",
            f"{SITE}/shed/bowl/teach/set",
            "edge_sim/mill/porch/bowl/event",
            "homeassistant/device/edge_sim-shed/config",
        ):
            assert porch.publish(topic) == 135
        assert collector.publish(f"{SITE}/porch/bowl/teach/set") == 135
        assert shed.publish(f"{SITE}/shed/stats") in (0, 16)
        wait_until(lambda: len(collector.seen) == 2)
        wait_until(lambda: bool(shed.seen))
    assert collector.seen == [f"{SITE}/porch/bowl/event", f"{SITE}/shed/stats"]
    assert shed.seen == [f"{SITE}/shed/stats"]


def test_who_has_no_certificate_of_the_site_does_not_get_in(
    broker: SiteBroker, tmp_path: Path
) -> None:
    assert try_login(MqttOptions(**broker.options("porch")))
    none = {**broker.options("porch"), "cert_file": None, "key_file": None}
    foreign = broker.options("porch", site_broker.Authority(tmp_path, "other"))
    for options in (none, foreign):
        with pytest.raises(SinkError):
            try_login(MqttOptions(**options))


def test_a_broker_that_is_killed_after_it_confirmed_loses_nothing(
    broker: SiteBroker, database: Database
) -> None:
    """Nobody has had the last event when the broker dies: the device says it again."""
    options = MqttOptions(**{**broker.options("collector"), "client_id": "c1"})
    collector = Collector(CollectorOptions(options, database.address, "yard-1"))
    device = MqttSink.open(MqttOptions(**broker.options("barn"), repeat_s=600.0))
    events = [changed(number) for number in range(2)]

    def has_stored(count: int) -> bool:
        collector.step()
        with SiteCollection(database.address) as collection:
            found = collection.events(site="yard-1", device="barn")
        return sorted(item.event["id"] for item in found) == sorted(x.id for x in events[:count])

    def is_heard() -> bool:  # retained: comes as soon as the collector is subscribed
        collector.step()
        with SiteCollection(database.address) as collection:
            return [item.device for item in collection.status("yard-1")] == ["barn"]

    collector.start()
    with closing(device), closing(collector):
        wait_until(is_heard)
        device.emit(events[0])
        wait_until(lambda: has_stored(1))
        broker.kill(signal.SIGTERM)  # saves the session of the collector, as it does every minute
        broker.start()
        wait_until(lambda: device.is_connected)
        device.emit(events[1])
        broker.kill()
        broker.start()
        wait_until(lambda: has_stored(2))
