"""Announcement of the device to Home Assistant: one message for all, or one for each entity.

Facts from https://www.home-assistant.io/integrations/mqtt/ (device discovery, single component
discovery, and the migration from one to the other) and the pages of the platforms sensor,
binary_sensor, button, number and image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edge_sim.io.sinks.capabilities import DeviceInfo, WatchInfo
from edge_sim.io.sinks.mqtt.topics import VERBS, Message, Topics
from edge_sim.io.sinks.options import DiscoveryMode
from edge_sim.version import __version__

# (on, off) -> device class. For these pairs Home Assistant gets a binary sensor too.
_POLARITY: dict[tuple[str, str], str | None] = {
    ("open", "closed"): "opening",
    ("on", "off"): None,
    ("taken", "free"): "occupancy",
    ("occupied", "free"): "occupancy",
    ("present", "absent"): "presence",
}

_TEACH, _SENSITIVITY = VERBS


def _in(unit: str, device_class: str | None = None) -> dict[str, str]:
    return ({"device_class": device_class} if device_class else {}) | {"unit_of_measurement": unit}


# Key, name, template of the value in `stats`, unit; the device classes have these units.
_FIGURES: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("memory", "memory", "{{ value_json.rss_mb }}", _in("MB", "data_size")),
    ("cpu", "processor", "{{ (value_json.cpu_share * 100) | round(1) }}", _in("%")),
    ("waiting", "events waiting", "{{ value_json.outbox_waiting }}", {}),
    ("uptime", "uptime", "{{ value_json.uptime_s }}", _in("s", "duration")),
)
_TROUBLE = {"device_class": "problem", "payload_on": "on", "payload_off": "off"}


def discovery_topic(prefix: str, device: str) -> str:
    """Return the topic on which the announcement of a device is retained."""
    return f"{prefix}/device/edge_sim-{device}/config"


def component_topic(prefix: str, device: str, platform: str, key: str) -> str:
    """Return the topic on which the announcement of one entity is retained.

    Args:
        prefix: Topic prefix of announcements.
        device: Name of the device.
        platform: Such as `sensor`.
        key: Key of the entity in the announcement of the device; its dots become `_-`, which no
            name holds, since the last part of a topic may only have letters, digits, _ and -.
    """
    part = key.replace("_", "__").replace(".", "_-")
    return f"{prefix}/{platform}/edge_sim-{device}/{part}/config"


def former_topics(prefix: str, device: str) -> tuple[str, ...]:
    """Return the topics, one with wildcards, on which earlier announcements may be retained."""
    return (discovery_topic(prefix, device), f"{prefix}/+/edge_sim-{device}/+/config")


def is_announcement(topic: str, prefix: str, device: str) -> bool:
    """Return whether a topic is one of `former_topics`."""
    if topic == discovery_topic(prefix, device):
        return True
    first, last = f"{prefix}/", f"/edge_sim-{device}/"
    place, _, rest = topic.removeprefix(first).partition(last)
    return topic.startswith(first) and "/" not in place and rest.endswith("/config")


def announcing(
    current: Mapping[str, Any], prefix: str, device: str, mode: DiscoveryMode
) -> list[Message]:
    """Return the messages that announce a device.

    Args:
        current: Result of `announcement`.
        prefix: Topic prefix of announcements.
        device: Name of the device.
        mode: One message for the device, or one for each entity.
    """
    if mode == "device":
        payload = json.dumps(current).encode()
        return [Message(discovery_topic(prefix, device), payload, retain=True)]
    found = []
    for key, entity in current["components"].items():
        described = {name: value for name, value in entity.items() if name != "platform"}
        whole = {**described, "device": current["device"], "origin": current["origin"]}
        topic = component_topic(prefix, device, entity["platform"], key)
        found.append(Message(topic, json.dumps(whole).encode(), retain=True))
    return found


def superseding(
    former: Mapping[str, bytes], current: dict[str, Any], configs: list[Message]
) -> tuple[list[Message], set[str]]:
    """Return the messages that make Home Assistant forget what is no more, and the keys of that.

    An announcement of the other mode hands its entities over, so that they keep their settings and
    history: what was announced meanwhile and rejected as double is taken back, the old topic is
    marked for migration, all is announced again, and the old topic is emptied.

    Args:
        former: Topic -> retained payload of earlier announcements.
        current: Result of `announcement`.
        configs: Result of `announcing`.
    """
    topics = {message.topic for message in configs}
    components = current["components"]
    migrated: list[Message] = []
    emptied: list[Message] = []
    removed: list[Message] = []
    gone: set[str] = set()
    handed: set[str] = set()
    for topic, payload in former.items():
        key = _key_of(topic)
        stale = stale_components(payload, current) if key is None else {}
        gone |= stale.keys()
        if topic in topics:
            if stale:
                text = json.dumps(removing(stale, current)).encode()
                removed.append(Message(topic, text, retain=True))
            continue
        if not payload or (key is not None and not _is_ours(payload)):
            continue
        if key is not None and key not in components:
            gone.add(key)
        if key is None or _device_topic_in(topics) is not None:
            migrated.append(Message(topic, _MIGRATE, retain=True))
            handed |= components.keys() if key is None else {key} & components.keys()
        emptied.append(Message(topic, b"", retain=True))
    if not (removed or emptied):
        return [], gone
    taken_back = _taking_back(handed, current, configs) if handed else []
    return [*removed, *taken_back, *migrated, *configs, *emptied], gone


def _device_topic_in(topics: Iterable[str]) -> str | None:
    """Return the topic of a whole device among those of announcements; None without one."""
    return next((topic for topic in topics if _key_of(topic) is None), None)


def _taking_back(keys: set[str], current: dict[str, Any], configs: list[Message]) -> list[Message]:
    """Return the messages that take back what was announced of some entities."""
    topic = _device_topic_in(message.topic for message in configs)
    if topic is None:
        return [
            Message(each.topic, b"", retain=True) for each in configs if _key_of(each.topic) in keys
        ]
    platforms = {key: current["components"][key]["platform"] for key in keys}
    return [Message(topic, json.dumps(removing(platforms, current)).encode(), retain=True)]


_MIGRATE = json.dumps({"migrate_discovery": True}).encode()


def _key_of(topic: str) -> str | None:
    """Return the key of the entity that a topic announces; None for one of a whole device."""
    parts = topic.split("/")
    if parts[-3] == "device":
        return None
    return re.sub("__|_-", lambda match: "_" if match[0] == "__" else ".", parts[-2])


def _is_ours(payload: bytes) -> bool:
    """Return whether an announcement of one entity names edge_sim as its origin."""
    try:
        return bool(json.loads(payload)["origin"]["name"] == "edge_sim")
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def birth_topic(prefix: str) -> str:
    """Return the topic on which Home Assistant publishes `online` when it has started."""
    return f"{prefix}/status"


def announcement(
    device_info: DeviceInfo, topics: Topics, *, images: bool = False, stats: bool = False
) -> dict[str, Any]:
    """Return the device with all its entities.

    Args:
        device_info: Watches and model of the device.
        topics: Topics of the device.
        images: Include the pictures of the watches.
        stats: Include the figures of the device.
    """
    device = topics.device
    components = dict(_of_device(topics, stats=stats))
    for watch_info in device_info.watches:
        components |= _entities(watch_info, topics, images=images)
    return {
        "device": {
            "identifiers": [f"edge_sim:{device}"],
            "name": device,
            "manufacturer": "edge_sim",
            "model": device_info.model or "edge_sim",
            "sw_version": __version__,
        },
        "origin": {"name": "edge_sim", "sw_version": __version__},
        "components": components,
    }


def stale_components(retained: bytes, current: dict[str, Any]) -> dict[str, str]:
    """Return key and platform of entities in a former announcement that are no more."""
    try:
        former = json.loads(retained)["components"].items()
        found = {
            str(key): str(value["platform"])
            for key, value in former
            if key not in current["components"]
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return found


def removing(stale: dict[str, str], current: dict[str, Any]) -> dict[str, Any]:
    """Return the announcement that makes Home Assistant forget entities: a platform, no more."""
    gone = {key: {"platform": platform} for key, platform in stale.items()}
    return {**current, "components": {**current["components"], **gone}}


def _entities(
    watch_info: WatchInfo, topics: Topics, *, images: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield key and description of every entity of a watch. Names hold no dot, so keys differ."""
    watch = watch_info.name

    def entity(platform: str, part: str, name: str, **more: Any) -> tuple[str, dict[str, Any]]:
        return f"{watch}.{part.replace(':', '.')}", {
            "platform": platform,
            "name": name,
            "unique_id": f"edge_sim:{topics.device}:{watch}:{part}",
            # The device is connected, and the source gives frames.
            "availability": [
                {"topic": topics.available},
                {"topic": topics.source_available(watch_info.source)},
            ],
            "availability_mode": "all",
            **more,
        }

    yield entity(
        "sensor",
        "state",
        watch,
        device_class="enum",
        options=[*watch_info.states, "unknown"],
        state_topic=topics.state(watch),
        json_attributes_topic=topics.attributes(watch),
    )
    for (on, off), device_class in _POLARITY.items():
        if {on, off} == set(watch_info.states):
            yield entity(
                "binary_sensor",
                on,
                f"{watch} {on}",
                state_topic=topics.state(watch),
                payload_on=on,
                payload_off=off,
                # `None` is the unknown state of a binary sensor.
                value_template="{{ 'None' if value == 'unknown' else value }}",
                **({"device_class": device_class} if device_class else {}),
            )
    if watch_info.problems is not None:
        yield entity(
            "binary_sensor",
            "problem",
            f"{watch} problem",
            entity_category="diagnostic",
            state_topic=topics.problems(watch),
            value_template="{{ value_json.problem }}",
            json_attributes_topic=topics.problems(watch),
            **_TROUBLE,
        )
    if watch_info.overdue is not None:
        state_topic = topics.overdue(watch)
        yield entity(
            "binary_sensor", "overdue", f"{watch} overdue", state_topic=state_topic, **_TROUBLE
        )
    yield entity(
        "number",
        "sensitivity",
        f"{watch} sensitivity",
        entity_category="config",
        min=0,
        max=1,
        step=0.05,
        mode="slider",
        state_topic=topics.sensitivity(watch),
        command_topic=topics.command(watch, _SENSITIVITY),
    )
    for state in watch_info.states:
        yield entity(
            "button",
            f"teach:{state}",
            f"{watch} teach {state}",
            entity_category="config",
            command_topic=topics.command(watch, _TEACH),
            payload_press=state,
        )
    if images and not watch_info.private:
        yield entity(
            "image",
            "image",
            f"{watch} image",
            image_topic=topics.image(watch),
            content_type="image/jpeg",
        )


def _of_device(topics: Topics, *, stats: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the entities of the device itself."""
    yield (
        "available",
        {
            "platform": "binary_sensor",
            "name": "available",
            "unique_id": f"edge_sim:{topics.device}:available",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": topics.available,
            "payload_on": "online",
            "payload_off": "offline",
        },
    )
    for key, name, template, more in _FIGURES if stats else ():
        yield (
            f"stats.{key}",
            {
                "platform": "sensor",
                "name": name,
                "unique_id": f"edge_sim:{topics.device}:stats:{key}",
                "availability": [{"topic": topics.available}],
                "entity_category": "diagnostic",
                "state_class": "measurement",
                "state_topic": topics.stats,
                "value_template": template,
                **more,
            },
        )
