"""Home Assistant at a real broker: it is born, finds the device, follows, presses and sets.

`HomeAssistant` treats announcements as https://www.home-assistant.io/integrations/mqtt/ describes,
in both ways that it has; every test holds for both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from queue import Queue
from typing import Any

import pytest

from edge_sim.io.sinks.capabilities import Command, DeviceInfo, SetSensitivity, Teach
from edge_sim.io.sinks.mqtt.discovery import component_topic, discovery_topic
from edge_sim.io.sinks.mqtt.sink import MqttSink
from tests.io.outbox.events import changed, lost
from tests.io.sinks.broker import TIMEOUT_S, Broker, Listener, retained
from tests.io.sinks.test_mqtt import BASE, SITE, Connected

DEVICE = "homeassistant/device/edge_sim-porch/config"
GATE = "edge_sim:porch:gate"
COUNT = 14
"""Entities of SITE: five of the gate, four of the bowl, five of the device."""
MODES = ["device", "components"]
CONFIG = re.compile(r"homeassistant/(\w+)/(?:([\w-]+)/)?([\w-]+)/config")


class HomeAssistant:
    """What Home Assistant makes of all that it has seen on the broker."""

    def __init__(self, broker: Broker) -> None:
        self.listener = Listener(broker)
        self.forgotten: set[str] = set()

    def be_born(self) -> None:
        self.listener.say("homeassistant/status", b"online")

    def entities(self) -> dict[str, dict[str, Any]]:
        """Return the registry: unique id -> configuration, with its platform.

        One that is announced on a second topic is rejected there, until that topic was emptied.
        """
        found: dict[str, dict[str, Any]] = {}
        origin: dict[str, str] = {}
        moving: set[str] = set()
        rejected: set[tuple[str, str]] = set()
        self.forgotten.clear()
        for item in tuple(self.listener.seen):
            match = CONFIG.fullmatch(item.topic)
            if match is None:
                continue
            held = {each for each, topic in origin.items() if topic == item.topic}
            if item.payload == b'{"migrate_discovery": true}':
                moving |= held
                continue
            announced = self._read(match[1], item.payload)
            rejected = {
                (topic, each)
                for topic, each in rejected
                if topic != item.topic or each in announced
            }
            for each in held - announced.keys() - moving:
                del found[each], origin[each]
                self.forgotten.add(each)
            for each, config in announced.items():
                if each in origin and each not in held | moving:
                    rejected.add((item.topic, each))
                if (item.topic, each) not in rejected:
                    found[each], origin[each] = config, item.topic
                    moving.discard(each)
        return found

    @staticmethod
    def _read(platform: str, payload: bytes) -> dict[str, dict[str, Any]]:
        if not payload:
            return {}
        body = json.loads(payload)
        assert body["device"]["identifiers"] == ["edge_sim:porch"]
        assert body["origin"]["name"] == "edge_sim"
        components = body["components"].values() if platform == "device" else [body]
        return {
            each["unique_id"]: {"platform": platform, **each}
            for each in components
            if "unique_id" in each  # a platform alone takes an entity away
        }

    def last(self, topic: str) -> str | None:
        payloads = self.listener.on(topic)
        return payloads[-1].decode() if payloads else None

    def is_available(self, entity: dict[str, Any]) -> bool:
        topics = [each["topic"] for each in entity.get("availability", ())]
        return all(self.last(topic) == "online" for topic in topics)

    def state(self, unique_id: str) -> str | None:
        entity = self.entities().get(unique_id)
        if entity is None:
            return None
        return self.last(entity["state_topic"]) if self.is_available(entity) else "unavailable"

    def wait_for(self, unique_id: str, state: str | None) -> bool:
        return self.listener.wait(lambda: self.state(unique_id) == state)

    def close(self) -> None:
        self.listener.close()


@pytest.fixture
def home(broker: Broker) -> Iterator[HomeAssistant]:
    with closing(HomeAssistant(broker)) as opened:
        yield opened


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sink(broker: Broker, mode: str) -> Iterator[MqttSink]:
    with closing(Connected(broker, discovery_mode=mode).wait()) as opened:
        yield opened


def test_born_later_it_finds_every_entity_with_its_state(
    sink: MqttSink, broker: Broker, home: HomeAssistant, mode: str
) -> None:
    sink.describe(SITE)
    sink.emit(changed(1))
    assert home.wait_for(f"{GATE}:state", "open")
    home.close()
    with closing(HomeAssistant(broker)) as later:
        later.be_born()
        assert later.wait_for(f"{GATE}:state", "open")
        assert later.wait_for(f"{GATE}:sensitivity", "0.5")
        assert later.listener.wait(lambda: len(later.entities()) == COUNT)
        assert {each["platform"] for each in later.entities().values()} == {
            "sensor", "binary_sensor", "number", "button",
        }  # fmt: skip
        topics = {item.topic for item in later.listener.seen if CONFIG.fullmatch(item.topic)}
        assert (topics == {DEVICE}) == (mode == "device")


def test_a_lost_camera_makes_its_watches_unavailable_and_a_lost_device_all(
    sink: MqttSink, home: HomeAssistant
) -> None:
    sink.describe(SITE)
    sink.emit(changed(1))
    sink.emit(changed(2, "bowl"))
    assert home.wait_for(f"{GATE}:state", "open")
    sink.emit(lost(1))
    assert home.wait_for(f"{GATE}:state", "unavailable")
    assert home.state("edge_sim:porch:bowl:sensitivity") == "0.25"
    sink.close()
    assert home.wait_for("edge_sim:porch:bowl:sensitivity", "unavailable")
    assert home.state("edge_sim:porch:available") == "offline"


def test_a_button_teaches_and_a_number_sets(sink: MqttSink, home: HomeAssistant) -> None:
    commands: Queue[Command] = Queue()
    sink.listen(commands.put)
    sink.describe(SITE)
    assert home.wait_for(f"{GATE}:sensitivity", "0.5")
    button = home.entities()[f"{GATE}:teach:open"]
    home.listener.say(button["command_topic"], button["payload_press"].encode())
    assert commands.get(timeout=TIMEOUT_S) == Teach("gate", "open", None)
    number = home.entities()[f"{GATE}:sensitivity"]
    assert number["min"] <= 0.7 <= number["max"]
    home.listener.say(number["command_topic"], b"0.7")
    assert commands.get(timeout=TIMEOUT_S) == SetSensitivity("gate", 0.7)


def test_a_watch_that_a_reload_removes_is_forgotten_at_once(
    sink: MqttSink, home: HomeAssistant
) -> None:
    sink.describe(SITE)
    sink.emit(changed(1, "bowl"))
    assert home.wait_for("edge_sim:porch:bowl:state", "open")
    sink.describe(DeviceInfo(SITE.watches[:1], model="m@1"))
    assert home.wait_for("edge_sim:porch:bowl:state", None)
    assert home.listener.wait_on(f"{BASE}/bowl/state", b"")
    assert not [each for each in home.entities() if ":bowl:" in each]
    assert f"{GATE}:state" in home.entities()


def test_a_watch_that_is_gone_after_a_restart_is_forgotten(
    broker: Broker, home: HomeAssistant, mode: str
) -> None:
    with closing(Connected(broker, discovery_mode=mode).wait()) as sink:
        sink.describe(SITE)
        assert home.listener.wait(lambda: "edge_sim:porch:bowl:state" in home.entities())
    with closing(Connected(broker, discovery_mode=mode).wait()) as sink:
        sink.describe(DeviceInfo(SITE.watches[:1], model="m@1"))
        assert home.wait_for("edge_sim:porch:bowl:state", None)
        assert f"{GATE}:state" in home.entities()


@pytest.mark.parametrize("modes", [MODES, MODES[::-1]], ids=["device first", "components first"])
def test_the_other_way_of_announcing_takes_the_entities_over(
    broker: Broker, home: HomeAssistant, modes: list[str]
) -> None:
    """None is forgotten meanwhile, which would cost its history and its place on a page."""
    before, after = modes
    with closing(Connected(broker, discovery_mode=before).wait()) as sink:
        sink.describe(SITE)
        assert home.listener.wait(lambda: len(home.entities()) == COUNT)
    with closing(Connected(broker, discovery_mode=after).wait()) as sink:
        sink.describe(SITE)
        emptied = DEVICE if before == "device" else component_topic(
            "homeassistant", "porch", "sensor", "gate.state"
        )  # fmt: skip
        assert home.listener.wait_on(emptied, b"")
        sink.emit(changed(1))
        assert home.wait_for(f"{GATE}:state", "open")
        assert home.listener.wait(lambda: len(home.entities()) == COUNT)
        assert home.forgotten == set()
    topics = {topic for topic in retained(broker) if CONFIG.fullmatch(topic)}
    assert (topics == {DEVICE}) == (after == "device")
    assert DEVICE not in topics or after == "device"


def test_an_announcement_of_somebody_else_stays(broker: Broker, home: HomeAssistant) -> None:
    """A sensor that its owner made by hand, on a topic beside ours."""
    topic = "homeassistant/sensor/edge_sim-porch/mine/config"
    own = {"origin": {"name": "me"}, "device": {"identifiers": ["edge_sim:porch"]}}
    home.listener.say(topic, json.dumps(own).encode(), retain=True)
    with closing(Connected(broker, discovery_mode="components").wait()) as sink:
        sink.describe(SITE)
        assert home.listener.wait_on(f"{BASE}/gate/sensitivity/state", b"0.5")
        sink.emit(changed(1))
        assert home.listener.wait_on(f"{BASE}/gate/state", b"open")
    assert home.listener.on(topic) == [json.dumps(own).encode()]


def test_topics_are_those_of_the_documentation() -> None:
    assert discovery_topic("homeassistant", "porch") == DEVICE
    assert component_topic("homeassistant", "porch", "sensor", "main_gate.state") == (
        "homeassistant/sensor/edge_sim-porch/main__gate_-state/config"
    )
