"""Promises of every sink."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_sim.core.events import Event, EventOrigin, from_json_line, state_changed
from edge_sim.core.protocols import EventSink
from edge_sim.core.types import State
from edge_sim.errors import SinkError
from edge_sim.io.sinks import KINDS, open_sink
from tests.builders import change
from tests.io.outbox.events import lost
from tests.io.sinks.broker import Broker, Certificates, Listener, make_certificates
from tests.io.sinks.hook import Hook
from tests.io.sinks.waiting import wait_until
from tests.outside import brightness_event, numbered_sink

EVENT = state_changed(
    change(None, State("open")),
    EventOrigin(device="d", source="s", watch="gate", model="m@1", gallery_revision=3),
)
SECRET = "s3cret-enough-for-anybody"
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class FarEnd:
    """Destination of a sink: a way to open the sink, and the events that arrived."""

    kind: str
    options: dict[str, Any]
    arrived: Callable[[int], list[Event]]
    """Waits for as many events."""
    attach: Callable[[], None] = lambda: None
    """Called when the sink is open."""

    def open(self) -> EventSink:
        sink = open_sink(self.kind, **self.options)
        self.attach()
        return sink


def of_stdout(tmp_path: Path, request: pytest.FixtureRequest, _: ExitStack) -> FarEnd:
    captured = request.getfixturevalue("capfdbinary")
    return FarEnd("stdout", {}, lambda _: events_in(captured.readouterr().out))


def of_file(tmp_path: Path, *_: object) -> FarEnd:
    path = tmp_path / "events.jsonl"
    return FarEnd("file", {"path": path, "max_mb": 1.0}, lambda _: events_in(path.read_bytes()))


def of_command(tmp_path: Path, *_: object) -> FarEnd:
    path = tmp_path / "events.jsonl"
    argv = ("sh", "-c", "cat >> $1", SECRET, str(path))
    return FarEnd("command", {"argv": argv}, lambda _: events_in(path.read_bytes()))


def of_webhook(tmp_path: Path, _: object, opened: ExitStack) -> FarEnd:
    hook = opened.enter_context(closing(Hook()))
    options = {"url": f"{hook.url}&key={SECRET}", "secret": SECRET, "token": SECRET}
    return FarEnd("webhook", options, lambda _: [from_json_line(p.body) for p in hook.posted])


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def of_mqtt(tmp_path: Path, request: pytest.FixtureRequest, opened: ExitStack) -> FarEnd:
    broker = Broker(tmp_path, request.getfixturevalue("certificates"))
    broker.start()
    opened.callback(broker.kill)
    listener = opened.enter_context(closing(Listener(broker)))

    def arrived(count: int) -> list[Event]:
        def found() -> list[bytes]:
            return [item.payload for item in listener.seen if item.topic.endswith("/event")]

        assert listener.wait(lambda: len(found()) >= count)
        return [from_json_line(payload) for payload in found()]

    return FarEnd("mqtt", broker.options(), arrived)


def of_unix_socket(tmp_path: Path, _: object, opened: ExitStack) -> FarEnd:
    path = tmp_path / "edge_sim.sock"
    client = opened.enter_context(socket.socket(socket.AF_UNIX))
    client.settimeout(TIMEOUT_S)
    lines = opened.enter_context(client.makefile("rb"))

    def arrived(count: int) -> list[Event]:
        return [from_json_line(lines.readline()) for _ in range(count)]

    return FarEnd("unix_socket", {"path": path}, arrived, lambda: client.connect(str(path)))


FAR_ENDS: dict[str, Callable[[Path, pytest.FixtureRequest, ExitStack], FarEnd]] = {
    "stdout": of_stdout,
    "file": of_file,
    "mqtt": of_mqtt,
    "webhook": of_webhook,
    "command": of_command,
    "unix_socket": of_unix_socket,
}


def of_numbered(tmp_path: Path, *_: object) -> FarEnd:
    assert numbered_sink.NumberedSink.__module__.startswith("tests.outside")
    folder = tmp_path / "events"

    def arrived(_: int) -> list[Event]:
        return [from_json_line(path.read_bytes()) for path in sorted(folder.iterdir())]

    return FarEnd("numbered", {"folder": folder, "token": SECRET}, arrived)


FROM_OUTSIDE = {"numbered": of_numbered}


@pytest.fixture(params=[*sorted(KINDS), *FROM_OUTSIDE])
def far_end(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FarEnd]:
    with ExitStack() as opened:
        make = FAR_ENDS.get(request.param) or FROM_OUTSIDE[request.param]
        yield make(tmp_path, request, opened)


def events_in(written: bytes) -> list[Event]:
    return [from_json_line(line) for line in written.splitlines()]


def test_every_kind_is_covered_by_this_suite() -> None:
    assert FAR_ENDS.keys() == KINDS.keys()


def test_events_arrive_whole_and_in_order(far_end: FarEnd) -> None:
    with closing(far_end.open()) as sink:
        for event in (EVENT, lost(1), EVENT):
            sink.emit(event)
        assert far_end.arrived(3) == [EVENT, lost(1), EVENT]


def test_a_kind_of_event_from_outside_arrives_as_any_other(far_end: FarEnd) -> None:
    event: Event = brightness_event.BrightnessRose(  # type: ignore[assignment]
        id="1", device="d", source="s", watch="gate", at="2026-01-31T12:00:00.000Z",
        captured_at_s=1.0, frame=1, luma=50.5, state="open",
    )  # fmt: skip
    with closing(far_end.open()) as sink:
        sink.emit(event)
        assert far_end.arrived(1) == [event]


def test_a_closed_sink_refuses_events(far_end: FarEnd) -> None:
    sink = far_end.open()
    sink.close()
    with pytest.raises(SinkError, match="closed"):
        sink.emit(EVENT)


def test_closing_twice_is_safe(far_end: FarEnd) -> None:
    sink = far_end.open()
    sink.close()
    sink.close()


def test_the_name_of_a_sink_is_one_line_without_secrets_and_the_same_every_time(
    far_end: FarEnd,
) -> None:
    names = set()
    for _ in range(2):
        with closing(open_sink(far_end.kind, **far_end.options)) as sink:
            names.add(sink.name)
    (name,) = names
    assert name.isprintable()
    assert SECRET not in name


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 names are all that is wanted


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system has no /proc/self/fd")
def test_a_closed_sink_leaves_no_thread_and_no_descriptor(far_end: FarEnd) -> None:
    def use() -> None:
        with closing(open_sink(far_end.kind, **far_end.options)) as sink:
            sink.emit(EVENT)

    use()  # whatever is made once and kept, such as an import
    threads, files = threading.active_count(), len(descriptors())
    for _ in range(3):
        use()
    wait_until(lambda: threading.active_count() <= threads)
    wait_until(lambda: len(descriptors()) <= files)
