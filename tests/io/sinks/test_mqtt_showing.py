"""Pictures and figures on a real broker: retained, shown again, gone where not wanted."""

from __future__ import annotations

import base64
import dataclasses
import json
from contextlib import closing

import numpy as np
import pytest

from edge_sim.core.images import decode, encode_jpeg
from edge_sim.core.types import Embedding
from edge_sim.io.sinks.capabilities import (
    Attaching,
    DeviceInfo,
    DeviceStats,
    EventAttachment,
    Illustrated,
    Reporting,
)
from edge_sim.io.sinks.mqtt.attachments import MOST_BYTES, Attachments
from edge_sim.io.sinks.mqtt.sink import MqttSink
from edge_sim.io.sinks.mqtt.topics import Topics
from edge_sim.io.sinks.options import MqttOptions
from tests.io.outbox.events import changed
from tests.io.sinks.broker import Broker, Listener, retained
from tests.io.sinks.test_mqtt import BASE, SITE, Connected, events_on

STATS = DeviceStats(60.0, 101.5, 0.013, 300, 900, 2, 1, 1, 0, 0, 0.02)
JPEG = encode_jpeg(np.full((32, 48, 3), 90, np.uint8))
IMAGE, FIGURES = f"{BASE}/gate/image", f"{BASE}/stats"


def test_a_picture_and_the_figures_are_retained(broker: Broker, listener: Listener) -> None:
    with closing(Connected(broker, image=True).wait()) as sink:
        assert isinstance(sink, Illustrated)
        assert isinstance(sink, Reporting)
        sink.describe(SITE)
        sink.show_picture("gate", JPEG)
        sink.show_stats(STATS)
        assert listener.wait_on(IMAGE, JPEG)
        held = retained(broker)
        assert decode(held[IMAGE]).shape == (32, 48, 3)
        assert json.loads(held[FIGURES])["rss_mb"] == 101.5


def test_after_a_broken_connection_both_are_shown_again(broker: Broker) -> None:
    connected = Connected(broker, image=True)
    with closing(connected.wait()) as sink:
        sink.describe(SITE)
        sink.show_picture("gate", JPEG)
        sink.show_stats(STATS)
        broker.kill()
        broker.start()
        connected.wait()
        sink.emit(changed(1))  # confirmed after what the connection began with
        held = retained(broker)
        assert held[IMAGE] == JPEG
        assert FIGURES in held


def test_a_picture_goes_from_the_broker_when_it_is_not_wanted_any_more(
    broker: Broker, listener: Listener
) -> None:
    with closing(Connected(broker, image=True).wait()) as sink:
        sink.describe(SITE)
        sink.show_picture("gate", JPEG)
        assert listener.wait_on(IMAGE, JPEG)
    with closing(Connected(broker).wait()) as sink:
        sink.describe(SITE)
        assert listener.wait_on(IMAGE, b"")
        sink.emit(changed(1))
        assert listener.wait(lambda: events_on(listener, "gate") == [changed(1)])
        assert IMAGE not in retained(broker)


def test_no_picture_is_shown_unless_it_is_configured() -> None:
    sink = MqttSink(MqttOptions(device="porch"))
    sink.show_picture("gate", JPEG)
    assert IMAGE not in [message.topic for message in sink.retained()]


def test_the_picture_of_a_watch_that_is_gone_is_forgotten() -> None:
    sink = MqttSink(MqttOptions(device="porch", image=True))
    sink.describe(SITE)
    sink.show_picture("gate", JPEG)
    sink.show_picture("bowl", JPEG)
    sink.describe(DeviceInfo(SITE.watches[:1]))
    shown = [message.topic for message in sink.retained() if message.topic.endswith("/image")]
    assert shown == [IMAGE]


@pytest.mark.parametrize("discovery", [True, False])
def test_the_picture_of_a_watch_that_becomes_private_goes_from_the_broker(
    broker: Broker, listener: Listener, discovery: bool
) -> None:
    options = {"image": True, "event_pictures": True, "embeddings": True, "discovery": discovery}
    gate, bowl = SITE.watches
    with closing(Connected(broker, **options).wait()) as sink:
        sink.describe(SITE)
        sink.show_picture("gate", JPEG)
        sink.show_picture("bowl", JPEG)
        assert listener.wait_on(f"{BASE}/bowl/image", JPEG)
        sink.attach(attachment(1))
        sink.describe(DeviceInfo((dataclasses.replace(gate, private=True), bowl)))
        sink.show_picture("gate", JPEG)
        sink.emit(changed(1))  # what waited for it is not sent any more
        assert listener.wait(lambda: events_on(listener, "gate") == [changed(1)])
        held = retained(broker)
        assert IMAGE not in held
        assert held[f"{BASE}/bowl/image"] == JPEG
        assert not any("/gate/image" in text.decode("latin-1") for text in held.values())
    assert listener.on(IMAGE)[-1] == b""
    topics = {item.topic for item in tuple(listener.seen)}
    assert not topics & {f"{BASE}/gate/picture/{changed(1).id}", f"{BASE}/gate/embedding"}


def attachment(number: int, jpeg: bytes = JPEG) -> EventAttachment:
    embedding = Embedding(np.array([0.6, 0.8], np.float32), None, "small@1")
    return EventAttachment(changed(number), embedding, jpeg)


def test_embedding_and_picture_follow_their_event_and_are_not_retained(
    broker: Broker, listener: Listener
) -> None:
    event = changed(1)
    picture, embedding = f"{BASE}/gate/picture/{event.id}", f"{BASE}/gate/embedding"
    with closing(Connected(broker, embeddings=True, event_pictures=True).wait()) as sink:
        assert isinstance(sink, Attaching)
        sink.attach(attachment(1))
        sink.emit(event)
        assert listener.wait_on(picture, JPEG)
        sink.emit(event)  # what was confirmed is not sent again
        sink.emit(changed(2))
        assert listener.wait(lambda: len(events_on(listener, "gate")) == 3)
        sent = [json.loads(payload) for payload in listener.on(embedding)]
        assert [(item["id"], item["model"], item["state"]) for item in sent] == [
            (event.id, "small@1", event.after)
        ]
        halves = np.frombuffer(base64.b64decode(sent[0]["vector"]), "<f2")
        assert halves == pytest.approx([0.6, 0.8], abs=1e-3)
        assert not {picture, embedding} & retained(broker).keys()


def test_neither_embedding_nor_picture_leaves_the_device_unless_it_is_configured() -> None:
    topics = Topics("edge_sim", "porch")
    for options, names in (
        (MqttOptions(), []),
        (MqttOptions(embeddings=True), ["embedding"]),
        (MqttOptions(event_pictures=True), [changed(1).id]),
    ):
        kept = Attachments(options, topics)
        kept.keep(attachment(1))
        assert [item.topic.rpartition("/")[2] for item in kept.of(changed(1).id)] == names


def test_what_waits_for_its_event_stays_in_bounded_memory() -> None:
    kept = Attachments(MqttOptions(event_pictures=True), Topics("edge_sim", "porch"))
    large = JPEG + bytes(MOST_BYTES // 10)
    for number in range(30):
        kept.keep(attachment(number, large))
    waiting = [number for number in range(30) if kept.of(changed(number).id)]
    assert waiting == list(range(30 - len(waiting), 30))
    assert 5 < len(waiting) < 11
    kept.keep(attachment(30, JPEG + bytes(MOST_BYTES)))
    assert kept.of(changed(30).id) == []
