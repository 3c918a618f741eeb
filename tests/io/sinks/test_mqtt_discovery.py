"""What Home Assistant is told has the form that its documentation asks for."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sim.io.sinks.capabilities import DeviceInfo, WatchInfo
from edge_sim.io.sinks.mqtt.discovery import (
    announcement,
    announcing,
    birth_topic,
    discovery_topic,
    is_announcement,
    removing,
    stale_components,
)
from edge_sim.io.sinks.mqtt.topics import Topics

# The schema, after https://www.home-assistant.io/integrations/mqtt/ (device discovery payload) and
# the pages sensor.mqtt, binary_sensor.mqtt, button.mqtt, number.mqtt and image.mqtt. A key it does
# not know is an error: Home Assistant would ignore or refuse it.
Topic = Annotated[str, msgspec.Meta(pattern=r"^[^+#\x00]{1,256}$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Strict(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    pass


class Device(Strict, kw_only=True):
    identifiers: Annotated[list[Text], msgspec.Meta(min_length=1)]
    name: Text
    manufacturer: Text
    model: Text
    sw_version: Text


class Origin(Strict, kw_only=True):
    name: Text
    sw_version: Text


class Availability(Strict, kw_only=True):
    topic: Topic


class Entity(Strict, kw_only=True, tag_field="platform"):
    unique_id: Text
    name: Text
    availability: list[Availability] = []
    availability_mode: Literal["all", "any", "latest"] = "latest"
    entity_category: Literal["config", "diagnostic"] | None = None


class Sensor(Entity, kw_only=True, tag="sensor"):
    state_topic: Topic
    json_attributes_topic: Topic | None = None
    value_template: Text | None = None
    device_class: Literal["enum", "data_size", "duration"] | None = None
    options: Annotated[list[Text], msgspec.Meta(min_length=1)] | None = None
    state_class: Literal["measurement", "total", "total_increasing"] | None = None
    unit_of_measurement: Literal["MB", "%", "s"] | None = None

    def __post_init__(self) -> None:
        # `options` are for the class enum alone, which in turn knows no state class and no unit.
        assert (self.device_class == "enum") == (self.options is not None)
        assert self.options is None or not (self.state_class or self.unit_of_measurement)
        units = {"data_size": "MB", "duration": "s"}
        if self.device_class in units:
            assert self.unit_of_measurement == units[self.device_class]


class Image(Entity, kw_only=True, tag="image"):
    image_topic: Topic
    content_type: Literal["image/jpeg"]


class BinarySensor(Entity, kw_only=True, tag="binary_sensor"):
    state_topic: Topic
    payload_on: Text
    payload_off: Text
    value_template: Text | None = None
    json_attributes_topic: Topic | None = None
    device_class: Literal["opening", "occupancy", "presence", "connectivity", "problem"] | None = (
        None
    )


class Button(Entity, kw_only=True, tag="button"):
    command_topic: Topic
    payload_press: Text


class Number(Entity, kw_only=True, tag="number"):
    state_topic: Topic
    command_topic: Topic
    min: float
    max: float
    step: Annotated[float, msgspec.Meta(ge=0.001)]
    mode: Literal["auto", "box", "slider"]


class Announcement(Strict, kw_only=True):
    device: Device
    origin: Origin
    components: Annotated[
        dict[str, Sensor | BinarySensor | Button | Number | Image], msgspec.Meta(min_length=1)
    ]


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
CARDS = st.builds(
    WatchInfo,
    NAMES,
    NAMES,
    st.lists(NAMES.filter(lambda name: name != "unknown"), unique=True, max_size=4).map(tuple)
    | st.sampled_from([("open", "closed"), ("off", "on"), ("free", "taken")]),
    st.floats(0.0, 1.0),
    st.none() | st.just({}) | st.just({"covered": "2026-01-31T12:00:00.000Z"}),
    st.none() | st.booleans(),
)
SITES = st.builds(
    DeviceInfo,
    st.lists(CARDS, min_size=1, max_size=4, unique_by=lambda card: card.name).map(tuple),
    st.text(max_size=10),
)
SITE = DeviceInfo((WatchInfo("gate", "yard", ("closed", "open"), 0.5),), "m@1")
TOPICS = Topics("edge_sim", "porch")


def checked(
    device_info: DeviceInfo, topics: Topics = TOPICS, *, images: bool = False, stats: bool = False
) -> Announcement:
    payload = json.dumps(announcement(device_info, topics, images=images, stats=stats))
    return msgspec.json.decode(payload, type=Announcement)


@settings(max_examples=25)
@given(device_info=SITES, device=NAMES)
def test_any_device_is_announced_in_the_documented_form(
    device_info: DeviceInfo, device: str
) -> None:
    told = checked(device_info, Topics("edge_sim", device), images=True, stats=True)
    ids = [each.unique_id for each in told.components.values()]
    assert len(set(ids)) == len(ids)
    assert re.fullmatch(
        r"homeassistant/device/[a-zA-Z0-9_-]+/config", discovery_topic("homeassistant", device)
    )


@settings(max_examples=15)
@given(devices=st.lists(NAMES, min_size=2, max_size=2, unique=True), device_info=SITES)
def test_two_devices_share_no_identity(devices: list[str], device_info: DeviceInfo) -> None:
    one, other = (checked(device_info, Topics("edge_sim", device)) for device in devices)
    ids = [{each.unique_id for each in told.components.values()} for told in (one, other)]
    assert not ids[0] & ids[1]
    assert one.device.identifiers != other.device.identifiers


def test_the_state_is_a_sensor_that_may_say_unknown() -> None:
    sensor = checked(SITE).components["gate.state"]
    assert isinstance(sensor, Sensor)
    assert sensor.options == ["closed", "open", "unknown"]
    assert sensor.state_topic == "edge_sim/porch/gate/state"
    assert [each.topic for each in sensor.availability] == [
        "edge_sim/porch/available",
        "edge_sim/porch/sources/yard/available",
    ]
    assert sensor.availability_mode == "all"


@pytest.mark.parametrize(
    ("states", "on", "device_class"),
    [
        (("closed", "open"), "open", "opening"),
        (("off", "on"), "on", None),
        (("free", "taken"), "taken", "occupancy"),
    ],
)
def test_two_states_of_a_plain_sense_are_a_binary_sensor_too(
    states: tuple[str, ...], on: str, device_class: str | None
) -> None:
    device_info = DeviceInfo((WatchInfo("gate", "yard", states, 0.5),))
    sensor = checked(device_info).components[f"gate.{on}"]
    assert isinstance(sensor, BinarySensor)
    assert (sensor.payload_on, sensor.device_class) == (on, device_class)
    assert {sensor.payload_on, sensor.payload_off} == set(states)


def test_other_states_are_no_binary_sensor() -> None:
    device_info = DeviceInfo((WatchInfo("bowl", "yard", ("empty", "food"), 0.5),))
    kinds = [type(each) for each in checked(device_info).components.values()]
    assert kinds == [BinarySensor, Sensor, Number, Button, Button]  # the first: connectivity


def test_trouble_and_overdue_are_problem_sensors_where_the_watch_ever_tells_them() -> None:
    device_info = DeviceInfo(
        (WatchInfo("bowl", "yard", ("empty", "food"), 0.5, problems={}, overdue=False),)
    )
    components = checked(device_info).components
    problem, overdue = components["bowl.problem"], components["bowl.overdue"]
    assert isinstance(problem, BinarySensor)
    assert isinstance(overdue, BinarySensor)
    assert {problem.device_class, overdue.device_class} == {"problem"}
    assert problem.state_topic == problem.json_attributes_topic == "edge_sim/porch/bowl/problems"
    assert problem.value_template == "{{ value_json.problem }}"
    assert overdue.state_topic == "edge_sim/porch/bowl/overdue"
    assert not {"gate.problem", "gate.overdue"} & checked(SITE).components.keys()


def test_pictures_and_figures_are_announced_only_where_they_are_shown() -> None:
    plain = checked(SITE).components
    assert not [key for key in plain if key.startswith("stats.") or key.endswith(".image")]
    full = checked(SITE, images=True, stats=True).components
    image = full["gate.image"]
    assert isinstance(image, Image)
    assert image.image_topic == "edge_sim/porch/gate/image"
    figures = {key: item for key, item in full.items() if key.startswith("stats.")}
    assert len(figures) == 4
    for item in figures.values():
        assert isinstance(item, Sensor)
        assert item.state_topic == "edge_sim/porch/stats"
        assert item.entity_category == "diagnostic"


def test_every_state_can_be_taught_with_a_button() -> None:
    components = checked(SITE).components
    for state in ("closed", "open"):
        button = components[f"gate.teach.{state}"]
        assert isinstance(button, Button)
        assert button.payload_press == state
        assert button.command_topic == "edge_sim/porch/gate/teach/set"


def test_what_is_no_more_is_removed_by_a_platform_alone() -> None:
    former = announcement(
        DeviceInfo((*SITE.watches, WatchInfo("old", "yard", ("a",), 0.5))), TOPICS
    )
    current = announcement(SITE, TOPICS)
    stale = stale_components(json.dumps(former).encode(), current)
    assert stale == {"old.state": "sensor", "old.sensitivity": "number", "old.teach.a": "button"}
    told = removing(stale, current)
    assert told["components"]["old.state"] == {"platform": "sensor"}
    assert told["components"]["gate.state"] == current["components"]["gate.state"]


@given(retained=st.binary() | st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["components", "platform", "x"]), inner, max_size=2),
    max_leaves=6,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_a_strange_former_announcement_removes_nothing_of_now(retained: bytes) -> None:
    current = announcement(SITE, TOPICS)
    assert not stale_components(retained, current).keys() & current["components"].keys()


@settings(max_examples=25)
@given(device_info=SITES, device=NAMES)
def test_one_message_for_each_entity_says_the_same(device_info: DeviceInfo, device: str) -> None:
    current = announcement(device_info, Topics("edge_sim", device), images=True, stats=True)
    messages = announcing(current, "homeassistant", device, "components")
    assert len({message.topic for message in messages}) == len(current["components"])
    for message, (key, entity) in zip(messages, current["components"].items(), strict=True):
        assert re.fullmatch(r"homeassistant/\w+/[\w-]+/[\w-]+/config", message.topic, re.ASCII)
        assert is_announcement(message.topic, "homeassistant", device)
        assert message.retain
        body = json.loads(message.payload)
        assert message.topic.split("/")[1] == entity["platform"], key
        whole = {**entity, "device": current["device"], "origin": current["origin"]}
        assert body == {name: value for name, value in whole.items() if name != "platform"}


@pytest.mark.parametrize(
    "topic",
    [
        "homeassistant/status",
        "homeassistant/sensor/config",
        "homeassistant/sensor/edge_sim-other/gate/config",
        "homeassistant/sensor/edge_sim-porch2/gate/config",
        "homeassistant/a/b/edge_sim-porch/gate/config",
        "elsewhere/sensor/edge_sim-porch/gate/config",
        "",
    ],
)
def test_topics_of_others_are_no_announcements_of_ours(topic: str) -> None:
    assert not is_announcement(topic, "homeassistant", "porch")


def test_the_birth_of_home_assistant_is_told_on_its_status() -> None:
    assert birth_topic("homeassistant") == "homeassistant/status"
