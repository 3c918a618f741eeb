"""Whatever is published as a command is one command or one line of refusal."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from queue import Queue

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sim.errors import CommandError
from edge_sim.io.sinks.capabilities import Command, DeviceInfo, SetSensitivity, Teach, WatchInfo
from edge_sim.io.sinks.mqtt.client import MAX_PACKET_BYTES, PROTOCOLS
from edge_sim.io.sinks.mqtt.topics import MAX_BYTES, Topics, read_command
from tests.io.outbox.events import changed
from tests.io.sinks.broker import Broker, Listener
from tests.io.sinks.test_mqtt import BASE, Connected, events_on
from tests.io.sinks.test_mqtt import SITE as MQTT_SITE
from tests.io.sinks.waiting import wait_until

TOPICS = Topics("edge_sim", "porch")
SITE = DeviceInfo(
    (WatchInfo("gate", "yard", ("closed", "open"), 0.5), WatchInfo("new", "yard", (), 0.5))
)
TEACH, SENSITIVITY = TOPICS.command("gate", "teach"), TOPICS.command("gate", "sensitivity")


def command(topic: str, payload: bytes) -> Command:
    return read_command(topic, payload, TOPICS, SITE)


def test_the_commands_there_are() -> None:
    assert command(TEACH, b"open") == Teach("gate", "open")
    event = b'{"state": "closed", "event": "0123456789abcdef"}'
    assert command(TEACH, event) == Teach("gate", "closed", "0123456789abcdef")
    assert command(TEACH, b'{"state": "closed"}') == Teach("gate", "closed")
    for text, value in ((b"0", 0.0), (b"1", 1.0), (b"1.0", 1.0), (b"0.55", 0.55)):
        assert command(SENSITIVITY, text) == SetSensitivity("gate", value)


@pytest.mark.parametrize(
    ("topic", "payload", "message"),
    [
        (TEACH, b"", "no state ''"),
        (TEACH, b"ajar", r"no state 'ajar' \(known: closed, open\)"),
        (TEACH, b"unknown", "no state"),
        (TEACH, b" open", "no state"),
        (TEACH, b"open\n", "no state"),
        (TEACH, b"\xff", "not UTF-8"),
        (TEACH, b"open" * MAX_BYTES, "1024 bytes"),
        (TEACH, b'{"state": "open", "evnt": "x"}', "not {'state'"),
        (TEACH, b'{"\\n":', "not {'state'"),
        (TEACH, b'{"state": 3}', "not {'state'"),
        (TEACH, b'{"state": "open", "event": "../../etc"}', "16 hexadecimal"),
        (TEACH, b"{" * 200, "not {'state'"),
        (TOPICS.command("new", "teach"), b"open", "known: none"),
        (SENSITIVITY, b"", "not a number"),
        (SENSITIVITY, b"nan", "not a number"),
        (SENSITIVITY, b"1e-1", "not a number"),
        (SENSITIVITY, b"-0.1", "not a number"),
        (SENSITIVITY, b"1.1", "not a number"),
        (SENSITIVITY, b"0.5\n", "not a number"),
        (SENSITIVITY, "٠.٥".encode(), "not a number"),
        ("edge_sim/porch/hen/teach/set", b"open", "no such watch"),
        ("edge_sim/porch/gate/teach/set/x", b"open", "no such watch"),
        ("edge_sim/other/gate/teach/set", b"open", "no such watch"),
        ("edge_sim/porch/+/teach/set", b"open", "no such watch"),
        ("x" * 5000, b"open", "no such watch"),
    ],
)
def test_anything_else_is_refused_in_one_line(topic: str, payload: bytes, message: str) -> None:
    with pytest.raises(CommandError, match=message) as caught:
        command(topic, payload)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


NUMBERS = st.floats() | st.integers() | st.decimals()
TEXTS = st.text() | st.sampled_from(["open", "closed", "unknown"]) | NUMBERS.map(str)
OBJECTS = st.dictionaries(
    st.sampled_from(["state", "event"]) | st.text(max_size=8),
    TEXTS | st.none() | st.lists(st.text(max_size=3), max_size=2),
    max_size=3,
)
PAYLOADS = (
    st.binary(max_size=300) | TEXTS.map(lambda text: text.encode("utf-8", "replace"))
    | OBJECTS.map(lambda table: json.dumps(table).encode())
)  # fmt: skip


def outcome(topic: str, payload: bytes) -> Command | str:
    try:
        return command(topic, payload)
    except CommandError as error:
        return str(error)


def check_outcome(topic: str, payload: bytes) -> None:
    found = outcome(topic, payload)
    if isinstance(found, str):
        assert "\n" not in found
    elif isinstance(found, Teach):
        assert topic == TEACH
        assert found.state in SITE.watches[0].states
    else:
        assert topic == SENSITIVITY
        assert 0.0 <= found.sensitivity <= 1.0


ANY_TOPIC = st.sampled_from([TEACH, SENSITIVITY]) | st.text(max_size=40)


@settings(max_examples=200)
@given(topic=ANY_TOPIC, payload=PAYLOADS)
def test_any_message_is_a_command_within_bounds_or_a_refusal(topic: str, payload: bytes) -> None:
    check_outcome(topic, payload)


GOOD = (b"open", b"closed", b"0.5", b"1", b'{"state": "open", "event": "0123456789abcdef"}')


def spoilt(rng: random.Random) -> bytes:
    """Return something that was a good payload before some bytes of it changed."""
    payload = bytearray(rng.choice(GOOD) * rng.choice((1, 1, 1, 2, 40)))
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(payload) + 1)
        payload[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
    return bytes(payload)


@pytest.mark.parametrize("count", [5_000, pytest.param(500_000, marks=pytest.mark.slow)])
def test_good_commands_with_bytes_changed_are_commands_or_refusals(count: int) -> None:
    rng = random.Random(6)
    for _ in range(count):
        check_outcome(rng.choice((TEACH, SENSITIVITY)), spoilt(rng))


SHOWS_ITS_MEMORY = """
import threading
from pathlib import Path, PosixPath
from edge_sim.errors import SinkError
from edge_sim.io.sinks.mqtt import client
from edge_sim.io.sinks.mqtt.sink import MqttSink
from edge_sim.io.sinks.options import MqttOptions
from tests.io.outbox.events import changed

client.PROTOCOLS = client.PROTOCOLS[{first}:]
ready = threading.Event()

def emit(number):
    while True:
        try:
            return sink.emit(changed(number))
        except SinkError:
            ready.wait(15.0)

def peak_kb():
    # Not getrusage: its maximum is that of the process that started this one, too.
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)["VmHWM"].split()[0])

before = peak_kb()
sink = MqttSink.open(MqttOptions(**{options!r}))
sink.when_ready(ready.set)
emit(1)
emit(2)
sink.close()
print((peak_kb() - before) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc here")
@pytest.mark.parametrize("first", [0, 1], ids=["version 5", "version 3.1.1"])
def test_a_retained_message_of_many_megabytes_takes_no_memory_and_holds_no_event_up(
    broker: Broker, listener: Listener, repository: Path, first: int
) -> None:
    listener.say(f"{BASE}/gate/teach/set", bytes(60_000_000), retain=True)
    program = SHOWS_ITS_MEMORY.format(first=first, options=broker.options())
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, check=True, capture_output=True, text=True
    )
    assert float(done.stdout) < 20.0
    assert listener.wait(
        lambda: [e.id for e in events_on(listener, "gate")][-1:] == [changed(2).id]
    )


def test_what_is_too_large_is_named_and_the_next_connection_takes_no_commands(
    broker: Broker,
    listener: Listener,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_sim.io.sinks.mqtt.client.PROTOCOLS", PROTOCOLS[1:])
    listener.say(f"{BASE}/gate/teach/set", bytes(MAX_PACKET_BYTES), retain=True)
    heard: Queue[Command] = Queue()
    connected = Connected(broker)
    with closing(connected.sink) as sink:
        sink.listen(heard.put)
        sink.describe(MQTT_SITE)
        wait_until(lambda: "remove it from the broker" in caplog.text)
        wait_until(lambda: sink.is_connected)
        listener.say(f"{BASE}/gate/teach/set", b"open")
        sink.emit(changed(1))
    assert heard.empty()
    (said,) = re.findall(r"a message of (\d+) bytes", caplog.text)
    assert int(said) > MAX_PACKET_BYTES
