"""A collector loses no event and stores none twice, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[collect]'")

from edge_sim.core.events import StateChanged
from edge_sim.core.types import Embedding
from edge_sim.fleet.collection import SiteCollection
from edge_sim.fleet.collector import Collector, CollectorOptions
from edge_sim.fleet.messages import Received
from edge_sim.fleet.vectors import VectorFilter
from edge_sim.io.sinks.capabilities import EventAttachment
from edge_sim.io.sinks.mqtt.sink import MqttSink
from edge_sim.io.sinks.mqtt.topics import Topics, messages_of
from edge_sim.io.sinks.options import MqttOptions
from tests.conftest import REPOSITORY
from tests.fleet.database import Database, forget_everything
from tests.io.outbox.events import changed
from tests.io.sinks.broker import PASSWORD, USER, Broker, make_certificates
from tests.io.sinks.waiting import wait_until

PREFIX = "edge_sim/yard"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("broker")
    (folder / "login").write_text(f"{PASSWORD}\n")
    made = Broker(folder, make_certificates(folder))
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module", autouse=True)
def nothing_else(database: Database) -> None:
    """Nothing that other tests have left in the database."""
    with SiteCollection(database.address) as collection:
        forget_everything(collection)


class Publisher:
    """A device's side: what its sink would publish, confirmed by the broker."""

    def __init__(self, broker: Broker) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="")
        self._client.username_pw_set(USER, PASSWORD)
        self._client.tls_set(ca_certs=str(broker.certificates.authority))
        self._client.connect("localhost", broker.port)
        self._client.loop_start()

    def emit(self, event: StateChanged, device: str) -> None:
        for message in messages_of(event, Topics(PREFIX, device)):
            self.say(message.topic, message.payload, retain=message.retain)

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        sent = self._client.publish(topic, payload, qos=1, retain=retain)
        sent.wait_for_publish(10.0)
        assert sent.is_published()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def collector(broker: Broker, database: Database, name: str = "c1") -> subprocess.Popen[str]:
    authority = broker.certificates.authority
    words = [
        "--host", "localhost", "--port", str(broker.port), "--tls", "--ca-file", str(authority),
        "--username", USER, "--password-file", str(authority.parent / "login"),
        "--prefix", PREFIX, "--client-id", name,
        # A group of its own: the broker goes on handing messages to those of a group that are away.
        "--group", name[0],
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "edge_sim", "collect", "run", *words],
        cwd=REPOSITORY,
        env={**os.environ, "EDGE_SIM_DATABASE": database.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGKILL) -> str:
    process.send_signal(number)
    return process.communicate(timeout=30)[0]


@contextmanager
def subscribed(broker: Broker, database: Database, name: str) -> Iterator[subprocess.Popen[str]]:
    """Give a collector that has told the broker what it wants."""
    with closing(Publisher(broker)) as publisher:
        publisher.say(f"{PREFIX}/{name}-seen/available", b"online", retain=True)
    process = collector(broker, database, name)
    wait_until(lambda: f"{name}-seen" in devices(database))
    try:
        yield process
    finally:
        if process.poll() is None:
            stop(process)


def devices(database: Database) -> set[str]:
    with SiteCollection(database.address) as collection:
        return {item.device for item in collection.status("yard")}


def stored(database: Database, device: str) -> list[str]:
    with SiteCollection(database.address) as collection:
        found = collection.events(device=device, limit=10_000)
    return sorted(item.event["id"] for item in found)


def test_collectors_and_a_database_that_are_killed_lose_nothing(
    broker: Broker, database: Database
) -> None:
    sent = [changed(number) for number in range(200)]
    with subscribed(broker, database, "c1"), closing(Publisher(broker)) as publisher:
        pass
    with closing(Publisher(broker)) as publisher:
        process = collector(broker, database)
        for number, event in enumerate(sent):
            publisher.emit(event, "porch")
            if number == 77:
                database.stop()
            if number == 99:
                database.start()
            if number % 40 == 39:
                stop(process)
                process = collector(broker, database)
    expected = sorted(item.id for item in sent)
    wait_until(lambda: stored(database, "porch") == expected)
    with SiteCollection(database.address) as collection:
        (status,) = [item for item in collection.status("yard") if item.device == "porch"]
    assert status.states == {"gate": sent[-1].after}
    text = stop(process, signal.SIGTERM)
    assert (process.returncode, "rejected" in text) == (0, True), text


def test_two_collectors_share_the_messages_and_one_takes_over(
    broker: Broker, database: Database
) -> None:
    sent = [changed(number) for number in range(60)]
    with (
        subscribed(broker, database, "s1") as first,
        subscribed(broker, database, "s2") as second,
        closing(Publisher(broker)) as publisher,
    ):
        for number, event in enumerate(sent):
            publisher.emit(event, "shed")
            if number == 30:
                stop(first)
        again = collector(broker, database, "s1")
        expected = sorted(item.id for item in sent)
        wait_until(lambda: stored(database, "shed") == expected)
        stop(again)
        assert second.poll() is None


class Clock:
    """Both clocks of a collector: it goes on a little with every step, and further when told."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


class SteppedCollector:
    """A collector in this process, of a site of its own."""

    def __init__(self, broker: Broker, database: Database, site: str, **more: object) -> None:
        self.prefix = f"edge_sim/{site}"
        self.clock = Clock()
        self.site, self._broker, self._database = site, broker, database
        self._heard = 0
        settings = broker.options(topic_prefix=self.prefix, client_id=site, **more)
        options = CollectorOptions(MqttOptions(**settings), database.address, site, group=site)
        self.collector = Collector(options, clock=self.clock, monotonic=self.clock)

    def __enter__(self) -> SteppedCollector:
        self.collector.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.collector.close()

    def step(self, step_s: float = 0.1) -> None:
        self.clock.now_s += step_s
        self.collector.step()

    def step_until(self, condition: Callable[[], bool]) -> None:
        wait_until(lambda: self.step() or condition())  # type: ignore[func-returns-value]

    def listen(self, seconds: float) -> None:
        for _ in range(round(seconds / 20)):
            self.step(20.0)

    def hear(self, *devices: str) -> None:
        """Let devices publish, and take it; also after the broker has forgotten the collector."""
        self._heard += 1
        before = self.collector.stored
        with closing(Publisher(self._broker)) as publisher:
            # Retained: comes as soon as the collector is subscribed.
            publisher.say(f"{self.prefix}/{devices[0]}/available", b"online", retain=True)
            self.step_until(lambda: self.collector.stored > before)
            for device in devices:
                publisher.say(f"{self.prefix}/{device}/stats", b'{"frames": %d}' % self._heard)
        self.step_until(lambda: self._stats() == dict.fromkeys(devices, self._heard))

    def _stats(self) -> dict[str, int]:
        with SiteCollection(self._database.address) as collection:
            return {
                item.device: item.stats["frames"]
                for item in collection.status(self.site)
                if item.stats
            }

    def changes(self) -> list[str]:
        """Return what the collector itself has added: who fell silent, and who returned."""
        with SiteCollection(self._database.address) as collection:
            found = collection.events(site=self.site)
        return sorted(f"{item.event['type']} {item.device}" for item in found)


def test_nobody_is_silent_because_collector_broker_or_database_was_away(
    broker: Broker, database: Database
) -> None:
    away_s = 7200.0
    stepped = SteppedCollector(broker, database, "north")
    with SiteCollection(database.address) as collection:
        collection.store("north", [Received("barn/available", b"online", stepped.clock())])
    stepped.clock.now_s += away_s
    with stepped:
        stepped.hear("shed")
        assert stepped.changes() == []
        stepped.hear("barn", "shed")
        broker.kill()
        stepped.step()
        stepped.clock.now_s += away_s
        broker.start()
        stepped.hear("shed", "barn")
        assert stepped.changes() == []
        database.stop()
        with closing(Publisher(broker)) as publisher:
            publisher.say(f"{stepped.prefix}/shed/stats", b"{}")
        stepped.step_until(lambda: stepped.collector._collection is None)
        stepped.clock.now_s += away_s
        database.start()
        stepped.hear("shed", "barn")
        assert stepped.changes() == []
        # Who is not heard from then on is silent all the same.
        stepped.listen(200.0)
        silent = ["device_silent barn", "device_silent shed"]
        assert stepped.changes() == silent
        stepped.hear("barn", "shed")
        stepped.listen(20.0)
        assert stepped.changes() == ["device_returned barn", "device_returned shed", *silent]


def test_a_password_that_is_put_right_is_taken_at_the_next_connection(
    broker: Broker, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    password = tmp_path / "password"
    password.write_text("wrong\n")
    login = {"password": None, "password_file": str(password)}
    with SteppedCollector(broker, database, "east", **login) as stepped:
        for _ in range(9):
            stepped.step()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "the broker refuses" in caplog.text
        password.write_text(f"{PASSWORD}\n")
        stepped.hear("barn")


def test_a_collector_stops_at_once_while_it_waits_for_the_broker(
    broker: Broker, database: Database
) -> None:
    stepped = SteppedCollector(broker, database, "west", backoff_s=(3600.0,))
    steps = 0

    def is_stopped() -> bool:
        nonlocal steps
        steps += 1
        if steps == 2:
            broker.kill()
        return steps > 5

    stepped.collector.run(is_stopped)
    broker.start()
    assert stepped.clock() < stepped.collector._connect_s


def test_a_database_that_is_away_is_logged_once(
    broker: Broker, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with SteppedCollector(broker, database, "south") as stepped:
        stepped.hear("barn")
        for _ in range(2):
            database.stop()
            with closing(Publisher(broker)) as publisher:
                publisher.say(f"{stepped.prefix}/barn/stats", b"{}")
            caplog.clear()
            stepped.step_until(lambda: stepped.collector._collection is None)
            for _ in range(5):
                stepped.step(10.0)
            first, *more = [record.getMessage() for record in caplog.records]
            assert first.startswith("the database: ")
            assert len(more) <= 1  # lost, and then not there
            database.start()
            stepped.hear("barn")


def test_a_message_that_is_too_large_is_not_read(
    broker: Broker,
    database: Database,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SteppedCollector(broker, database, "centre") as stepped:
        stepped.hear("barn")
        with monkeypatch.context() as patched, closing(Publisher(broker)) as publisher:
            # Lower than what the broker was told at the connection, so that it sends one.
            patched.setattr("edge_sim.io.sinks.mqtt.client.MAX_PACKET_BYTES", 1000)
            publisher.say(f"{stepped.prefix}/barn/note", bytes(5000))
            stepped.step_until(lambda: "a message of 50" in caplog.text)
        stepped.hear("barn")


def test_a_broker_that_refuses_or_is_not_there_is_one_line(
    broker: Broker, database: Database, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_sim", "collect", "run", "--port", "1", "--host", "127.0.0.1",
         "--database", database.address],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (_, line) = done.stderr.splitlines()
    assert line.startswith("edge-sim: mqtt 127.0.0.1:1/edge_sim/")
    assert json.dumps(line).count("cannot connect") == 1


def test_a_subscription_that_the_broker_refuses_is_told(
    broker: Broker, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with SteppedCollector(broker, database, "refused") as stepped:
        refusal = ReasonCode(PacketTypes.SUBACK, "Not authorized")
        client = paho.Client(CallbackAPIVersion.VERSION2)
        stepped.collector._subscribed(client, None, 1, [refusal], None)
    assert "refuses to tell of edge_sim/refused/# (Not authorized)" in caplog.text


def test_embeddings_and_pictures_of_a_device_are_collected(
    broker: Broker, database: Database
) -> None:
    event, jpeg = changed(1), b"\xff\xd8\xff a picture"
    with SteppedCollector(broker, database, "hills") as stepped:
        stepped.hear("barn")
        device = broker.options(
            device="barn", topic_prefix=stepped.prefix, embeddings=True, event_pictures=True,
            timeout_s=60.0,
        )  # fmt: skip
        with closing(MqttSink.open(MqttOptions(**device))) as sink:
            vector = np.array([0.6, 0.8], np.float32)
            sink.attach(EventAttachment(event, Embedding(vector, None, "small@1"), jpeg))
            sink.emit(event)
        with SiteCollection(database.address) as collection:
            stepped.step_until(lambda: collection.picture("hills", "barn", event.id) == jpeg)
            (found,) = collection.vectors.search(
                "small@1", vector, 10, VectorFilter(site="hills", state=event.after)
            )
    assert (found.id, found.device, found.watch) == (event.id, "barn", event.watch)
