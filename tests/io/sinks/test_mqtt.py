"""Against a real broker over TLS: every event arrives in order, and what is retained is right."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from queue import Queue, SimpleQueue
from threading import Event as Signal
from threading import Thread
from typing import Any

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_sim.core.events import (
    Event,
    IndexReady,
    PackReported,
    SceneProblem,
    SourceRestored,
    StateChanged,
    from_json_line,
    unix_time_s,
)
from edge_sim.errors import CommandError, ConfigError, SinkError
from edge_sim.io.outbox.delivery import Delivery, DeliveryWorker
from edge_sim.io.outbox.outbox import Outbox
from edge_sim.io.sinks.capabilities import Command, DeviceInfo, SetSensitivity, Teach, WatchInfo
from edge_sim.io.sinks.mqtt.client import publish_once, try_login
from edge_sim.io.sinks.mqtt.sink import MqttSink
from edge_sim.io.sinks.mqtt.topics import Topics, messages_of
from edge_sim.io.sinks.options import MqttOptions
from tests.drafts import cleared, impaired, overdue, overdue_cleared
from tests.io.outbox.events import changed, lost, told
from tests.io.sinks.broker import (
    PASSWORD,
    TIMEOUT_S,
    USER,
    Broker,
    Certificates,
    Listener,
    retained,
)
from tests.io.sinks.waiting import wait_until

SITE = DeviceInfo(
    (
        WatchInfo("gate", "yard", ("closed", "open"), 0.5),
        WatchInfo("bowl", "kitchen", ("empty", "food"), 0.25),
    ),
    model="m@1",
)
CONFIG = "homeassistant/device/edge_sim-porch/config"
BASE = "edge_sim/porch"
FORGET = {"platform": "sensor"}
"""What Home Assistant is told of a component that it is to forget."""


class Connected:
    """A sink on the broker that can be waited for."""

    def __init__(self, broker: Broker, **options: object) -> None:
        self.sink = MqttSink.open(MqttOptions(**broker.options(**options)))
        self.ready = Signal()
        self.sink.when_ready(self.ready.set)

    def wait(self) -> MqttSink:
        assert self.sink.is_connected or self.ready.wait(TIMEOUT_S)
        self.ready.clear()
        return self.sink


@pytest.fixture
def sink(broker: Broker) -> Iterator[MqttSink]:
    with closing(Connected(broker).wait()) as opened:
        yield opened


def events_on(listener: Listener, watch: str) -> list[StateChanged]:
    found = [from_json_line(line) for line in listener.on(f"{BASE}/{watch}/event")]
    return [event for event in found if isinstance(event, StateChanged)]


def test_an_event_arrives_after_the_state_that_it_announces(
    sink: MqttSink, listener: Listener
) -> None:
    sink.emit(changed(1))
    assert listener.wait(lambda: events_on(listener, "gate") == [changed(1)])
    own = [item.topic for item in listener.seen if "/gate/" in item.topic]
    assert own == [f"{BASE}/gate/attributes", f"{BASE}/gate/state", f"{BASE}/gate/event"]
    assert listener.on(f"{BASE}/gate/state") == [b"open"]
    attributes = json.loads(listener.on(f"{BASE}/gate/attributes")[0])
    assert attributes["event_id"] == changed(1).id
    assert attributes["probabilities"] == {"open": 0.93, "closed": 0.07}


def test_attributes_name_the_parts_and_the_light_of_an_unknown(
    sink: MqttSink, listener: Listener
) -> None:
    event = msgspec.structs.replace(
        changed(1), regions=((0.5, 0.25, 0.1, 0.2),), untaught=("closed",)
    )
    sink.emit(event)
    assert listener.wait(lambda: events_on(listener, "gate") == [event])
    attributes = json.loads(listener.on(f"{BASE}/gate/attributes")[0])
    assert attributes["regions"] == [[0.5, 0.25, 0.1, 0.2]]
    assert attributes["untaught"] == ["closed"]
    sink.emit(changed(2))
    assert listener.wait(lambda: len(events_on(listener, "gate")) == 2)
    assert "regions" not in json.loads(listener.on(f"{BASE}/gate/attributes")[1])


def test_states_are_retained_and_events_are_not(sink: MqttSink, broker: Broker) -> None:
    sink.emit(changed(1))
    sink.emit(lost(1))
    held = retained(broker)
    assert held[f"{BASE}/gate/state"] == b"open"
    assert held[f"{BASE}/available"] == b"online"
    assert held[f"{BASE}/sources/yard/available"] == b"offline"
    assert not [topic for topic in held if topic.endswith("/event")]


def test_an_event_from_beside_the_device_leaves_it_connected(
    sink: MqttSink, broker: Broker, listener: Listener
) -> None:
    event = IndexReady(
        "1" * 16, "porch", "/p", "2026-01-31T12:00:00.000Z", "/i", 9, 9, "m", "exact", 1.0
    )
    options = MqttOptions(**broker.options())
    publish_once(options, messages_of(event, Topics(options.topic_prefix, options.device)))
    assert listener.wait(lambda: bool(listener.on(f"{BASE}/event")))
    assert from_json_line(listener.on(f"{BASE}/event")[0]) == event
    sink.emit(changed(1))
    assert listener.wait(lambda: events_on(listener, "gate") == [changed(1)])
    assert retained(broker)[f"{BASE}/available"] == b"online"
    assert b"offline" not in listener.on(f"{BASE}/available")
    with pytest.raises(SinkError):
        publish_once(MqttOptions(**{**broker.options(), "password": "wrong"}), [])


def test_a_lost_source_comes_back(sink: MqttSink, listener: Listener) -> None:
    back = SourceRestored("b" * 16, "d", "yard", "2026-01-31T12:00:09.000Z", 9.0)
    for event in (lost(1), back):
        sink.emit(event)
    assert listener.wait_on(f"{BASE}/sources/yard/available", b"online")
    assert listener.wait(lambda: len(listener.on(f"{BASE}/event")) == 2)
    assert [from_json_line(line) for line in listener.on(f"{BASE}/event")] == [lost(1), back]


def test_a_report_on_a_pack_is_an_event_and_is_kept(
    sink: MqttSink, listener: Listener, broker: Broker
) -> None:
    report = PackReported(
        "c" * 16, "d", "2026-01-31T12:00:09.000Z", "bowls", 3, "refused", "no such watch", None
    )
    sink.emit(report)
    assert listener.wait_on(f"{BASE}/event", msgspec.json.encode(report))
    assert from_json_line(retained(broker)[f"{BASE}/packs/bowls"]) == report


def told_on(listener: Listener) -> list[Event]:
    return [from_json_line(line) for line in listener.on(f"{BASE}/gate/event")]


COVERED = impaired(SceneProblem.COVERED, 1_700_000_000.0, 10.0)
CLEAR = cleared(SceneProblem.COVERED, 1_700_000_000.0, 70.0)
TELLING = DeviceInfo(
    (WatchInfo("gate", "yard", ("closed", "open"), 0.5, problems={}, overdue=False),)
)


def test_trouble_with_the_picture_is_retained_until_it_is_over(
    broker: Broker, listener: Listener
) -> None:
    topic = f"{BASE}/gate/problems"
    on = b'{"problem":"on","covered":"2023-11-14T22:13:20.000Z"}'
    with closing(Connected(broker).wait()) as sink:
        sink.describe(TELLING)
        sink.emit(told(COVERED))
        assert listener.wait_on(topic, on)
        sink.emit(told(CLEAR, 8))
        assert listener.wait(lambda: told_on(listener) == [told(COVERED), told(CLEAR, 8)])
        assert listener.on(topic) == [b'{"problem":"off"}', on, b'{"problem":"off"}']
    held = retained(broker)
    assert held[topic] == b'{"problem":"off"}'
    assert json.loads(held[CONFIG])["components"]["gate.problem"]["device_class"] == "problem"


def test_an_overdue_state_turns_its_sensor_on_and_off_again(
    broker: Broker, listener: Listener
) -> None:
    topic = f"{BASE}/gate/overdue"
    late = told(overdue("open", 1_700_000_000.0, 600.0, 600.0))
    over = told(overdue_cleared("open", 1_700_000_000.0, 900.0), 9)
    with closing(Connected(broker).wait()) as sink:
        sink.describe(TELLING)
        sink.emit(late)
        assert listener.wait_on(topic, b"on")
        sink.emit(over)
        assert listener.wait(lambda: told_on(listener) == [late, over])
        assert listener.on(topic) == [b"off", b"on", b"off"]
    held = retained(broker)
    assert held[topic] == b"off"
    assert json.loads(held[CONFIG])["components"]["gate.overdue"]["payload_on"] == "on"


def test_a_broker_that_forgot_everything_is_told_of_trouble_from_before_a_restart(
    broker: Broker,
) -> None:
    card = WatchInfo("gate", "yard", ("open",), 0.5, problems={"dark": "x"}, overdue=True)
    connected = Connected(broker)
    with closing(connected.wait()) as sink:
        sink.describe(DeviceInfo((card,)))
        broker.kill()
        connected.ready.clear()
        broker.start()
        assert sink.is_connected or connected.ready.wait(TIMEOUT_S)
        sink.emit(changed(1))  # its receipt comes after those of the greeting
        held = retained(broker)
    assert held[f"{BASE}/gate/problems"] == b'{"problem":"on","dark":"x"}'
    assert held[f"{BASE}/gate/overdue"] == b"on"


def test_the_broker_says_offline_when_the_device_goes(broker: Broker, listener: Listener) -> None:
    sink = Connected(broker).wait()
    assert listener.wait_on(f"{BASE}/available", b"online")
    sink.close()
    assert listener.wait_on(f"{BASE}/available", b"offline")
    assert listener.on(f"{BASE}/available") == [b"online", b"offline"]


def test_the_broker_says_offline_when_the_device_is_cut_off(
    broker: Broker, listener: Listener, repository: Path
) -> None:
    program = (
        "import os; from edge_sim.io.sinks.mqtt.sink import MqttSink; "
        "from edge_sim.io.sinks.options import MqttOptions; "
        "from tests.io.outbox.events import changed;"
        f"sink = MqttSink.open(MqttOptions(device='porch', host='localhost', port={broker.port},"
        f" username={USER!r}, password={PASSWORD!r}, tls=True,"
        f" ca_file={str(broker.certificates.authority)!r})); sink.emit(changed(1)); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, check=False)
    assert done.returncode == 9
    assert listener.wait(lambda: listener.on(f"{BASE}/available") == [b"online", b"offline"])


def test_a_killed_broker_costs_no_event_no_order_and_no_state(
    broker: Broker, tmp_path: Path
) -> None:
    """It comes back knowing nothing; by hand, so that the listener is there first."""
    connected = Connected(broker)
    sink = connected.wait()
    sink.describe(SITE)
    with closing(Outbox.open(tmp_path / "outbox.db", [sink.name])) as outbox, closing(sink):
        worker = DeliveryWorker(outbox, sink)
        outbox.put([changed(1), changed(2, "bowl")])
        assert worker.deliver_pending() is None
        broker.kill()
        outbox.put([changed(number, "gate") for number in range(2, 6)])
        assert [worker.deliver_pending() for _ in range(5)] == [1.0, 5.0, 10.0, 60.0, 60.0]
        broker.start()
        with closing(Listener(broker)) as listener:
            connected.ready.clear()
            assert sink.is_connected or connected.ready.wait(TIMEOUT_S)
            assert listener.wait_on(f"{BASE}/bowl/state", b"closed")
            assert worker.deliver_pending() is None
            want = [changed(number) for number in range(2, 6)]
            assert listener.wait(lambda: events_on(listener, "gate") == want)
        held = retained(broker)
        assert held[f"{BASE}/gate/state"] == b"open"
        assert held[f"{BASE}/bowl/state"] == b"closed"
        assert held[f"{BASE}/available"] == b"online"
        assert CONFIG in held


@pytest.mark.parametrize(("repeat_s", "times"), [(600.0, 2), (0.0, 1)])
def test_recent_events_are_sent_again_on_a_new_connection_if_that_is_configured(
    broker: Broker, listener: Listener, repeat_s: float, times: int
) -> None:
    options = MqttOptions(**broker.options(repeat_s=repeat_s))
    with closing(MqttSink.open(options)) as sink:
        for number in (1, 2):
            sink.emit(changed(number))
        sink.emit(lost(3))
        # One of the same name throws it out, as a broker that was killed would.
        other = paho.Client(CallbackAPIVersion.VERSION2, client_id=options.own_client_id)
        other.username_pw_set(USER, PASSWORD)
        other.tls_set(ca_certs=str(broker.certificates.authority))
        before = sink._connection._client
        other.connect("localhost", broker.port)

        def is_back() -> bool:
            other.loop(0.01)
            return sink._connection._client not in (None, before)

        wait_until(is_back)
        sink.emit(changed(4))
    want = [*([changed(1), changed(2)] * times), changed(4)]
    assert listener.wait(lambda: events_on(listener, "gate") == want)
    assert len(listener.on(f"{BASE}/event")) == times


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_threads_deliver_everything_through_an_outage(
    broker: Broker, tmp_path: Path, number: signal.Signals
) -> None:
    sink = Connected(broker).wait()
    with closing(Outbox.open(tmp_path / "outbox.db", [sink.name])) as outbox:
        delivery = Delivery(outbox, [sink])
        delivery.start()
        outbox.put([changed(1)])
        assert outbox.wait_delivered(TIMEOUT_S)
        broker.kill(number)
        for at in range(2, 12):
            outbox.put([changed(at)])
        broker.start()
        # Long before the back-off ends: the worker is told of the connection.
        assert outbox.wait_delivered(TIMEOUT_S)
        assert retained(broker)[f"{BASE}/gate/state"] == b"open"
        assert outbox.counts().delivered[sink.name] == 11
        delivery.close()


def test_a_state_from_before_a_restart_is_shown_again(broker: Broker) -> None:
    sink = Connected(broker).wait()
    with closing(sink):
        sink.resume([changed(2), changed(3, "bowl")])
        sink.emit(changed(9, "bowl"))
    held = retained(broker)
    assert held[f"{BASE}/gate/state"] == b"closed"
    assert held[f"{BASE}/bowl/state"] == b"open"


def test_after_the_clock_was_set_the_state_is_shown_with_the_corrected_time(
    broker: Broker,
) -> None:
    sink = Connected(broker).wait()
    with closing(sink):
        sink.describe(DeviceInfo((WatchInfo("gate", "yard", ("open", "closed"), 0.5),)))
        sink.resume([changed(2)])
        sink.emit(changed(3))
        before = json.loads(retained(broker)[f"{BASE}/gate/attributes"])
        sink.correct_times(86_400.0)
        sink.emit(changed(4, "bowl"))  # confirmed, so that the message before it is there
    after = json.loads(retained(broker)[f"{BASE}/gate/attributes"])
    assert unix_time_s(after["since"]) - unix_time_s(before["since"]) == 86_400.0
    assert {**after, "since": 0} == {**before, "since": 0}


def test_without_a_connection_an_event_is_not_delivered(tmp_path: Path, broker: Broker) -> None:
    broker.kill()
    with closing(Connected(broker).sink) as sink, pytest.raises(SinkError, match="not connected"):
        sink.emit(changed(1))


def test_a_broker_that_hangs_is_completed(broker: Broker) -> None:
    with closing(Connected(broker, timeout_s=0.3).wait()) as sink:
        broker.pause()
        with pytest.raises(SinkError, match=r"no confirmation within 0\.3 s"):
            sink.emit(changed(1))
        broker.resume()


def test_closing_lets_go_of_an_event_that_hangs(broker: Broker, tmp_path: Path) -> None:
    sink = Connected(broker, timeout_s=600.0).wait()
    with closing(Outbox.open(tmp_path / "outbox.db", [sink.name])) as outbox:
        delivery = Delivery(outbox, [sink])
        delivery.start()
        broker.pause()
        outbox.put([changed(1)])
        delivery.close(drain_s=0.1)
        assert all(worker.join(TIMEOUT_S) for worker in delivery.workers)
        broker.resume()
        assert outbox.counts().waiting == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"password": "guess"}, "rejects the connection: .*[Nn]ot auth"),
        ({"ca_file": None}, "certificate verify failed"),
        ({"host": "127.0.0.2"}, "not connected"),
        ({"host": "no.such.host.invalid"}, "not connected"),
    ],
    ids=["password", "authority", "address", "name"],
)
def test_the_reason_for_no_connection_is_told_without_the_password(
    broker: Broker, wrong: dict[str, object], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Connected(broker, **wrong).sink) as sink:
        with pytest.raises(SinkError, match=message) as caught:
            sink.emit(changed(1))
        assert "\n" not in str(caught.value)
    for secret in (PASSWORD, "guess"):
        assert secret not in caplog.text + str(caught.value) + repr(broker.options)


def test_a_password_from_a_file_may_change_between_connections(
    broker: Broker, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("wrong\n")
    connected = Connected(broker, password=None, password_file=file)
    with closing(connected.sink) as sink:
        with pytest.raises(SinkError, match="rejects"):
            sink.emit(changed(1))
        file.write_text(f"{PASSWORD}\n")
        assert connected.ready.wait(TIMEOUT_S)
        sink.emit(changed(1))


def test_a_client_certificate_lets_in(tmp_path: Path, certificates: Certificates) -> None:
    broker = Broker(tmp_path, certificates, ask_certificate=True)
    broker.start()
    own = {"cert_file": certificates.certificate("client"), "key_file": certificates.key("client")}
    with closing(Connected(broker, **own).sink) as sink:
        sink.emit(changed(1))
    with closing(Connected(broker).sink) as sink, pytest.raises(SinkError):
        sink.emit(changed(1))
    broker.kill()


def old_broker(server: socket.socket, levels: Queue[int]) -> None:
    """Refuse every client of version 5, as brokers of 3.1.1 do, and accept the others."""
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client:
            asked = client.recv(4096)
            level = asked[asked.index(b"MQTT") + 4]
            client.sendall(b"\x20\x02\x00" + (b"\x01" if level == 5 else b"\x00"))
            levels.put(level)
            while level != 5 and client.recv(4096):
                pass


def test_a_broker_that_does_not_know_version_5_is_spoken_to_in_the_older_one() -> None:
    levels: Queue[int] = Queue()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=old_broker, args=(server, levels))
        thread.start()
        port = server.getsockname()[1]
        options = MqttOptions(device="porch", host="127.0.0.1", port=port, backoff_s=(0.01,))
        assert try_login(options).startswith("logged in")
        with closing(MqttSink.open(options)) as sink:
            wait_until(lambda: sink.is_connected)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert [levels.get() for _ in range(4)] == [5, 4, 5, 4]


def test_the_device_is_announced_again_when_home_assistant_is_born(
    broker: Broker, listener: Listener
) -> None:
    with closing(Connected(broker).wait()) as sink:
        sink.describe(SITE)
        sink.emit(changed(1))
        assert listener.wait(lambda: events_on(listener, "gate") == [changed(1)])
        listener.seen.clear()
        listener.say("homeassistant/status", b"offline")
        listener.say("homeassistant/status", b"online")
        assert listener.wait_on(f"{BASE}/gate/state", b"open")
        assert listener.wait_on(f"{BASE}/available", b"online")
        assert listener.wait(lambda: len(listener.on(CONFIG)) == 1)
        assert listener.on(f"{BASE}/available") == [b"online"]


def test_without_discovery_nothing_is_announced(broker: Broker, listener: Listener) -> None:
    with closing(Connected(broker, discovery=False).wait()) as sink:
        sink.describe(SITE)
        sink.emit(changed(1))
        assert listener.wait_on(f"{BASE}/gate/state", b"open")
        assert listener.on(CONFIG) == []


def announced(listener: Listener) -> list[Mapping[str, Any]]:
    """The components of each announcement."""
    return [json.loads(payload)["components"] for payload in listener.on(CONFIG)]


def test_a_watch_that_is_gone_disappears_everywhere(broker: Broker, listener: Listener) -> None:
    def is_gone() -> bool:
        # Asked to forget it, and then told what is there, however often and whatever in between.
        found = announced(listener)
        forgotten = [at for at, item in enumerate(found) if item.get("bowl.state") == FORGET]
        return bool(forgotten) and forgotten[0] < len(found) - 1 and "bowl.state" not in found[-1]

    with closing(Connected(broker).wait()) as sink:
        sink.describe(SITE)
        sink.emit(changed(1, "bowl"))
        assert listener.wait(lambda: any("bowl.state" in item for item in announced(listener)))
    with closing(Connected(broker).wait()) as sink:
        sink.describe(DeviceInfo(SITE.watches[:1], model="m@1"))
        assert listener.wait_on(f"{BASE}/bowl/state", b"")
        assert listener.wait(is_gone)
    left = announced(listener)[-1]
    assert "gate.state" in left
    assert not [key for key in left if key.startswith("bowl.")]
    assert f"{BASE}/bowl/state" not in retained(broker)


def test_commands_are_handed_on_and_bad_ones_refused(
    broker: Broker, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    heard: Queue[Command] = Queue()
    with closing(Connected(broker).wait()) as sink:
        sink.listen(heard.put)
        sink.describe(SITE)
        listener.say(f"{BASE}/gate/teach/set", b"unknown")
        listener.say(f"{BASE}/gate/teach/set", b"open")
        listener.say(f"{BASE}/bowl/sensitivity/set", b"0.75")
        assert heard.get(timeout=TIMEOUT_S) == Teach("gate", "open")
        assert heard.get(timeout=TIMEOUT_S) == SetSensitivity("bowl", 0.75)
        assert "no state 'unknown' (known: closed, open)" in caplog.text


def test_a_retained_command_is_not_obeyed_at_every_connection(
    broker: Broker, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    heard: Queue[Command] = Queue()
    listener.say(f"{BASE}/gate/teach/set", b"open", retain=True)
    with closing(Connected(broker).sink) as sink:
        sink.listen(heard.put)
        sink.describe(SITE)
        sink.emit(changed(1))
        listener.say(f"{BASE}/gate/sensitivity/set", b"1")
        assert heard.get(timeout=TIMEOUT_S) == SetSensitivity("gate", 1.0)
        assert heard.empty()
    assert "a retained command is old" in caplog.text


def test_a_command_that_the_device_refuses_is_logged_and_the_connection_stays(
    broker: Broker, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Signal()

    def refuse(command: Command) -> None:
        asked.set()
        raise CommandError("too many commands")

    with closing(Connected(broker).wait()) as sink:
        sink.listen(refuse)
        sink.describe(SITE)
        listener.say(f"{BASE}/gate/teach/set", b"open")
        assert asked.wait(TIMEOUT_S)
        sink.emit(changed(1))
    assert "too many commands" in caplog.text


def test_the_first_command_rejected_for_a_reason_is_logged_and_the_others_are_counted(
    broker: Broker, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    refused: SimpleQueue[Command] = SimpleQueue()

    def refuse(command: Command) -> None:
        refused.put(command)
        raise CommandError(f"no {getattr(command, 'state', '')} today")

    with closing(Connected(broker).wait()) as sink:
        sink.listen(refuse)
        sink.describe(SITE)
        for state in (b"open", b"open", b"open", b"closed"):
            listener.say(f"{BASE}/gate/teach/set", state)
            refused.get(timeout=TIMEOUT_S)
        listener.say(f"{BASE}/gate/teach/set", b"open")
        refused.get(timeout=TIMEOUT_S)
    assert caplog.text.count("no open today (rejection 1)") == 1
    assert caplog.text.count("no open today") == 1
    assert caplog.text.count("no closed today (rejection 1)") == 1


@pytest.mark.parametrize(
    ("options", "message", "error"),
    [
        ({"host": ""}, "host must be", ConfigError),
        ({"host": "mqtt://broker"}, "host must be", ConfigError),
        ({"topic_prefix": "a/#"}, "topic_prefix must be", ConfigError),
        ({"topic_prefix": ""}, "topic_prefix must be", ConfigError),
        ({"discovery_prefix": "home/+"}, "discovery_prefix must be", ConfigError),
        ({"password": "x"}, "needs a username", ConfigError),
        ({"username": "u", "password": "x", "password_file": Path("y")}, "not both", ConfigError),
        ({"username": "u", "password_file": Path("/nowhere/y")}, "cannot read", SinkError),
        ({"ca_file": Path("ca.pem")}, "tls is false", ConfigError),
        ({"tls": True, "key_file": Path("k.pem")}, "needs cert_file", ConfigError),
        ({"tls": True, "ca_file": Path("/nowhere/ca.pem")}, "ca.pem: cannot be used", SinkError),
        ({"tls": True, "ca_file": Path(__file__)}, "no fitting PEM", SinkError),
        ({"tls": True, "cert_file": Path(__file__)}, "no fitting PEM", SinkError),
    ],
)
def test_settings_that_cannot_work_are_named_at_once(
    options: dict[str, object], message: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=message) as caught:
        MqttSink.open(MqttOptions(**{"device": "porch", "port": 1, **options}))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_empty_password_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "password").touch()
    options = MqttOptions(device="d", username="u", password_file=str(tmp_path / "password"))
    with pytest.raises(SinkError, match="its first line is empty"):
        MqttSink.open(options)


def test_ports_follow_from_encryption() -> None:
    assert MqttOptions(device="d").broker_port == 1883
    assert MqttOptions(device="d", tls=True).broker_port == 8883
    assert "s3cret" not in repr(MqttOptions(device="d", username="u", password="s3cret"))


def test_without_paho_the_fix_is_named(repository: Path) -> None:
    program = (
        "import sys; sys.modules['paho'] = None\n"
        "from edge_sim.io.sinks import open_sink\n"
        "open_sink('mqtt', device='porch')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, check=False, capture_output=True, text=True
    )
    last = done.stderr.splitlines()[-1]
    assert last.endswith("mqtt needs paho-mqtt 2 or later: pip install 'edge_sim[mqtt]'")


def test_a_bug_in_a_callback_costs_one_connection_and_not_all_to_come(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    calls: Queue[int] = Queue()

    def broken_at_first() -> None:
        calls.put(1)
        if calls.qsize() == 1:
            raise ZeroDivisionError("bug")

    broker.kill()
    sink = MqttSink.open(MqttOptions(**broker.options()))
    with closing(sink):
        sink.when_ready(broken_at_first)
        broker.start()
        wait_until(lambda: calls.qsize() == 2)
        sink.emit(changed(1))
    assert "broke" in caplog.text


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(
    tmp_path: Path, certificates: Certificates
) -> None:
    key = tmp_path / "encrypted.key"
    command = ["openssl", "ec", "-aes256", "-passout", "pass:hidden"]
    source = certificates.key("client")
    subprocess.run([*command, "-in", source, "-out", key], check=True, capture_output=True)
    certificate = certificates.certificate("client")
    options = MqttOptions(device="porch", tls=True, cert_file=str(certificate), key_file=str(key))
    with pytest.raises(SinkError, match="cannot be used"):
        MqttSink.open(options)
