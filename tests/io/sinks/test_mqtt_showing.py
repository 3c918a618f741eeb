"""Pictures and figures on a real broker: retained, shown again, gone where not wanted."""

from __future__ import annotations

import json
from contextlib import closing

import numpy as np

from edge_sim.core.images import decode, encode_jpeg
from edge_sim.io.sinks.capabilities import DeviceInfo, DeviceStats, Illustrated, Reporting
from edge_sim.io.sinks.mqtt.sink import MqttSink
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
