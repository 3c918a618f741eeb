"""The stream reaches every client, waits for none, and cleans up after itself."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from edge_sim.core.events import from_json_line
from edge_sim.errors import SinkError
from edge_sim.io.sinks.unix_socket import MAX_CLIENTS, UnixSocketSink
from tests.io.outbox.events import changed
from tests.io.sinks.opening import unix_socket
from tests.io.sinks.waiting import wait_until

TIMEOUT_S = 10.0


@contextmanager
def client(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(TIMEOUT_S)
        connected.connect(str(path))
        yield connected


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edge_sim.sock"


@pytest.fixture
def sink(path: Path) -> Iterator[UnixSocketSink]:
    with closing(unix_socket(path)) as opened:
        yield opened


def test_every_client_gets_every_event_from_its_connection_on(
    sink: UnixSocketSink, path: Path
) -> None:
    sink.emit(changed(0))  # nobody is there
    with client(path) as one:
        sink.emit(changed(1))
        with client(path) as two:
            sink.emit(changed(2))
            with one.makefile("rb") as lines:
                assert [from_json_line(lines.readline()) for _ in range(2)] == [
                    changed(1),
                    changed(2),
                ]
            with two.makefile("rb") as lines:
                assert from_json_line(lines.readline()) == changed(2)


class LateWake:
    """A wake that comes after its client has gone, and after the thread if that ends of itself."""

    def __init__(self, sink: UnixSocketSink, leaving: socket.socket) -> None:
        self._sink, self._wake, self._leaving = sink, sink._wake_in, leaving

    def send(self, data: bytes) -> int:
        self._sink._wake_in = self._wake
        self._leaving.close()
        self._sink._thread.join(0.2)
        return self._wake.send(data)


def test_a_client_that_goes_while_the_sink_is_closed_is_no_error(path: Path) -> None:
    sink = unix_socket(path)
    with client(path) as leaving:
        wait_until(lambda: sink.clients == 1)
        sink._wake_in = LateWake(sink, leaving)  # type: ignore[assignment]
        sink.close()
    assert not sink._thread.is_alive()
    assert not path.exists()


def test_a_client_that_goes_is_forgotten(sink: UnixSocketSink, path: Path) -> None:
    with client(path):
        wait_until(lambda: sink.clients == 1)
    wait_until(lambda: sink.clients == 0)
    sink.emit(changed(1))
    assert sink.dropped_clients == 0


def test_a_slow_client_is_dropped_and_counted_and_the_others_are_served(
    sink: UnixSocketSink, path: Path
) -> None:
    with client(path), client(path) as good:
        with good.makefile("rb") as lines:
            number = 0
            while sink.dropped_clients == 0:
                number += 1
                assert number < 10_000
                sink.emit(changed(number))
                assert from_json_line(lines.readline()) == changed(number)
            sink.emit(changed(0))
            assert from_json_line(lines.readline()) == changed(0)
        assert sink.dropped_clients == 1
        assert sink.clients == 1


def test_a_client_that_talks_is_dropped(sink: UnixSocketSink, path: Path) -> None:
    with client(path) as talking:
        talking.sendall(b"hello")
        wait_until(lambda: sink.dropped_clients == 1)
        assert sink.clients == 0


def test_too_many_clients_are_turned_away(sink: UnixSocketSink, path: Path) -> None:
    with ExitStack() as opened:
        for _ in range(MAX_CLIENTS):
            opened.enter_context(client(path))
        wait_until(lambda: sink.clients == MAX_CLIENTS)
        one_more = opened.enter_context(client(path))
        assert one_more.recv(1) == b""
        assert sink.dropped_clients == 1


def test_only_the_owner_and_the_group_may_connect(path: Path) -> None:
    with closing(unix_socket(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with closing(unix_socket(path, mode="600")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_socket_is_removed_at_the_end_and_clients_see_it(path: Path) -> None:
    sink = unix_socket(path)
    with client(path) as connected:
        wait_until(lambda: sink.clients == 1)
        sink.close()
        assert connected.recv(1) == b""
    assert not path.exists()


def test_what_a_crashed_process_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    with closing(unix_socket(path)) as sink, client(path):
        wait_until(lambda: sink.clients == 1)


def test_a_socket_that_somebody_serves_is_left_alone(sink: UnixSocketSink, path: Path) -> None:
    with pytest.raises(SinkError, match="another process serves there"):
        unix_socket(path)
    with client(path):
        wait_until(lambda: sink.clients == 1)


def test_a_file_in_the_way_is_left_alone(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(SinkError, match="no socket is there"):
        unix_socket(path)
    assert path.read_text() == "mine"


def test_another_socket_in_its_place_is_not_removed(path: Path) -> None:
    sink = unix_socket(path)
    path.unlink()
    with closing(unix_socket(path)):
        sink.close()
        assert path.exists()


@pytest.mark.parametrize("where", ["nowhere/edge_sim.sock", "x" * 200], ids=["folder", "long"])
def test_a_place_that_cannot_be_is_named(tmp_path: Path, where: str) -> None:
    with pytest.raises(SinkError, match="cannot listen") as caught:
        unix_socket(tmp_path / where)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.sock"))
    assert os.listdir(tmp_path) == []  # noqa: PTH208
