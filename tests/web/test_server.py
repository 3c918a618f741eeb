"""The web server tells other programs how the device is, and lets nobody in."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_sim.core.types import State
from edge_sim.errors import ConfigError
from edge_sim.runtime.health.status import StatusBoard
from edge_sim.web.access_control import is_local
from edge_sim.web.connections import (
    HANDSHAKE_S,
    MAX_CONNECTIONS,
    MAX_HANDSHAKES,
    ConnectionTable,
)
from edge_sim.web.limits import AddressLimits, RateLimit
from edge_sim.web.server import WebServer
from edge_sim.web.stream import MAX_STREAMS
from tests.runtime.health.test_board import CHANGED, LOST, board, look
from tests.threads import none_left
from tests.web.servers import TOKEN, FakeDevice, ask, served, serving, throw

BEARER = {"Authorization": f"Bearer {TOKEN}"}
DEVICE = FakeDevice(board(), served())


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    seen = board()
    look(seen, State("open"))
    with serving(seen) as running:
        yield running


@pytest.fixture(scope="module")
def guarded() -> Iterator[WebServer]:
    with serving(board(), served(token=TOKEN)) as running:
        yield running


def test_state_tells_what_every_watch_says(server: WebServer) -> None:
    status, headers, body = ask(server, "/state")
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert "Python" not in headers["server"]
    state = json.loads(body)
    assert state["watches"]["gate"]["state"] == "open"
    assert state["watches"]["gate"]["probability"] == {"open": 0.9, "closed": 0.1}
    assert state["sources"]["yard"]["up"] is True
    assert state["outbox"] == {"waiting": 2, "failing": {"mqtt": 3}}


def test_a_server_that_breaks_is_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    close_late, broke = ConnectionTable.close_late, threading.Event()

    def break_once(table: ConnectionTable, now_s: float) -> None:
        if not broke.is_set():
            broke.set()
            raise ZeroDivisionError("bug")
        close_late(table, now_s)

    monkeypatch.setattr("edge_sim.web.server.pause_s", lambda failures: 0.0)
    monkeypatch.setattr(ConnectionTable, "close_late", break_once)
    with serving(StatusBoard("shed")) as server:
        assert broke.wait(10.0)
        assert ask(server, "/healthz")[0] == 200
        assert not server.fault
    assert "the web server broke and is started again" in caplog.text


def test_health_and_readiness_are_two_things() -> None:
    seen = board()
    look(seen, State("open"))
    with serving(seen) as running:
        assert [ask(running, path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
        seen.add_event(LOST)
        assert [ask(running, path)[0] for path in ("/healthz", "/readyz")] == [200, 503]
        assert b"no frame for 20 s" in ask(running, "/readyz")[2]


def test_head_answers_without_a_body(server: WebServer) -> None:
    status, headers, body = ask(server, "/healthz", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/../../../../etc/passwd",
        "/state/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/state%00.txt",
        "/STATE",
        "file:///etc/passwd",
    ],
)
def test_no_path_reaches_the_file_system(server: WebServer, path: str) -> None:
    status, _, body = ask(server, path)
    assert (status, body) == (404, b"not found\n")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_refused(server: WebServer, method: str) -> None:
    assert ask(server, "/state", method=method)[0] in (400, 403, 405)


@pytest.mark.parametrize(
    "content",
    [b"secret", b"secret secret", b"GET /secret HTTP/9.9\r\n\r\n", b"SECRET / HTTP/1.0\r\n\r\n"],
)
def test_what_is_no_request_is_answered_without_repeating_it(
    server: WebServer, content: bytes
) -> None:
    answer = throw(server, content)
    assert answer or b"\n" not in content, "an unfinished line may be closed without a word"
    assert b"secret" not in answer.lower()


def test_a_foreign_name_for_this_machine_is_refused(server: WebServer) -> None:
    assert ask(server, "/state", headers={"Host": "evil.example"})[0] == 421
    assert ask(server, "/state", headers={"Host": "localhost:9713"})[0] == 200
    assert ask(server, "/state", headers={"Host": "[::1]:9713"})[0] == 200
    assert not is_local("")
    assert not is_local("127.0.0.1.evil.example")


@pytest.mark.parametrize("path", ["/state", "/healthz", "/metrics", "/events", "/nothing"])
@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer 0123456789abcdeX", f"Basic {TOKEN}", "é"])
def test_without_the_token_nothing_is_told(guarded: WebServer, path: str, given: str) -> None:
    status, headers, body = ask(guarded, path, headers={"Authorization": given})
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert body == b"a token is needed\n"


def test_with_the_token_everything_is_told(guarded: WebServer) -> None:
    assert ask(guarded, "/state", headers=BEARER)[0] == 200


ORDER = b'{"watch": "gate", "state": "open"}'


def teach(server: WebServer, body: bytes, **headers: str) -> tuple[int, bytes]:
    given = {"Content-Type": "application/json", **BEARER, **headers}
    status, _, answer = ask(server, "/teach", method="POST", body=body, headers=given)
    return status, answer


def test_teaching_needs_a_token_even_on_this_machine(server: WebServer, guarded: WebServer) -> None:
    assert teach(server, ORDER)[0] == 403
    status, answer = teach(guarded, ORDER)
    assert (status, json.loads(answer)["revision"]) == (200, 12)


def test_an_order_that_cannot_be_is_refused_in_one_line(guarded: WebServer) -> None:
    status, answer = teach(guarded, b"nonsense")
    assert status == 422
    assert answer.startswith(b'{"error":"the body is no teach request: ')
    assert teach(guarded, b"x" * 5000)[0] == 413
    # What a form of another site can send without asking first.
    assert teach(guarded, ORDER, **{"Content-Type": "text/plain"})[0] == 415


def test_too_many_requests_are_refused_and_later_answered_again() -> None:
    now_s = [0.0]
    rate = RateLimit(2.0, clock=lambda: now_s[0])
    assert [rate.take() for _ in range(3)] == [True, True, False]
    now_s[0] += 0.5
    assert [rate.take() for _ in range(2)] == [True, False]


def test_the_server_limits_its_requests() -> None:
    with serving(board(), served(token=TOKEN, requests_per_s=1.0)) as running:
        codes = [ask(running, "/healthz", headers=BEARER)[0] for _ in range(3)]
    assert codes[0] == 200
    assert 429 in codes


def test_a_stranger_takes_no_answer_away_from_the_owner() -> None:
    with serving(board(), served(token=TOKEN, requests_per_s=5.0)) as running:
        refused = [ask(running, "/state")[0] for _ in range(50)]
        assert set(refused) == {401, 429}
        assert refused.count(429) > 40
        assert [ask(running, "/state", headers=BEARER)[0] for _ in range(4)] == [200] * 4


def test_each_address_has_its_own_limit_and_few_are_remembered() -> None:
    limits = AddressLimits(1.0, most=3, clock=lambda: 0.0)
    assert limits.take("192.0.2.1")
    assert not limits.take("192.0.2.1")
    assert limits.take("192.0.2.2")
    assert not limits.take("::ffff:192.0.2.2"), "the same caller over IPv6"
    assert limits.take("2001:db8::1")
    assert not limits.take("2001:db8::ffff:2"), "one network"
    assert limits.take("fe80::1%eth0")
    assert len(limits._limits) == 3


def test_slow_connections_do_not_keep_others_out() -> None:
    with serving(board()) as running:
        address = ("127.0.0.1", running.port)
        slow = [socket.create_connection(address, timeout=10) for _ in range(2 * MAX_CONNECTIONS)]
        for wire in slow:
            with suppress(OSError):
                wire.sendall(b"GET /healthz HTTP/1.0\r\nHost: ")
        assert [ask(running, "/healthz")[0] for _ in range(5)] == [200] * 5
        for wire in slow:
            wire.close()


def test_without_descriptors_the_server_rests(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []
    taken = socket.socket.accept

    def accept(self: socket.socket) -> object:
        asked.append(1)
        if len(asked) > 1:
            return taken(self)
        raise OSError(errno.EMFILE, "Too many open files")

    with serving(board()) as running:
        monkeypatch.setattr(socket.socket, "accept", accept)
        assert ask(running, "/healthz")[0] == 200
    # The waiting connection would be tried again at once, without end: a pause comes first.
    assert asked.count(1) < 10
    assert [record.message for record in caplog.records] == [
        "web: no connection can be taken: Too many open files"
    ]


def test_events_are_streamed_as_they_come() -> None:
    seen = board()
    with serving(seen) as running:
        wire = socket.create_connection(("127.0.0.1", running.port), timeout=10)
        with wire, wire.makefile("rb") as answer:
            wire.sendall(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
            while answer.readline() != b": edge_sim\n":
                pass
            seen.add_event(CHANGED)
            assert answer.readline() == b"\n"
            assert answer.readline() == b"id: 1\n"
            assert answer.readline() == b"event: state_changed\n"
            data = json.loads(answer.readline().removeprefix(b"data: "))
            assert data["id"] == CHANGED.id


def test_connections_and_streams_are_bounded() -> None:
    with serving(board()) as running:
        address = ("127.0.0.1", running.port)
        wires = [socket.create_connection(address, timeout=10) for _ in range(MAX_STREAMS + 1)]
        answers = []
        for wire in wires:
            wire.sendall(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answers.append(wire.recv(20))
        assert sum(b"200" in answer for answer in answers) == MAX_STREAMS
        assert sum(b"503" in answer for answer in answers) == 1
        idle = [socket.create_connection(address, timeout=10) for _ in range(MAX_CONNECTIONS)]
        assert ask(running, "/healthz")[0] == 200
        # Those that asked nothing made room, the oldest first; the streams did not.
        assert idle[0].recv(1) == b""
        for wire in (*wires, *idle):
            wire.close()


@pytest.mark.parametrize("path", ["/events", "/api/stream"])
def test_closing_ends_every_connection_and_thread(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with none_left():
        with serving(board()) as running:
            wire = socket.create_connection(("127.0.0.1", running.port), timeout=10)
            wire.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            assert wire.recv(20)
        with wire, suppress(ConnectionResetError):
            while wire.recv(4096):
                pass
    assert caplog.records == []


def test_closing_does_not_wait_for_a_request_that_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, release = threading.Event(), threading.Event()

    def wait(device: object) -> dict[str, object]:
        begun.set()
        release.wait(10.0)
        return {}

    monkeypatch.setattr("edge_sim.web.monitoring.state_view", wait)
    with none_left():
        with serving(board()) as running:
            wire = socket.create_connection(("127.0.0.1", running.port), timeout=10)
            wire.sendall(b"GET /state HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert begun.wait(10.0)
        assert not release.is_set()
        release.set()
        wire.close()
    assert caplog.records == []


def test_tls_is_spoken_with_a_certificate(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: there is no certificate to test with")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    with serving(
        board(), served(certificate=str(certificate), key=str(key), requests_per_s=1e6)
    ) as running:
        context = ssl.create_default_context(cafile=str(certificate))
        with (
            socket.create_connection(("127.0.0.1", running.port), timeout=10) as wire,
            context.wrap_socket(wire, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in secured.recv(4096)
        assert not throw(running, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP")


def test_whoever_is_slow_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_sim.web.connections.REQUEST_S", 0.0)
    with serving(board()) as running:
        wire = socket.create_connection(("127.0.0.1", running.port), timeout=10)
        with wire:
            wire.sendall(b"GET /healthz HTTP/1.0\r\nHost: ")
            assert wire.recv(100) == b""


def test_handshakes_in_progress_are_bounded() -> None:
    table = ConnectionTable()

    class Accepted:
        def __init__(self, since_s: float) -> None:
            self.since_s = since_s

    def accepted(since_s: float) -> Any:
        connection: Any = Accepted(since_s)
        table.begin(connection)
        return connection

    for _ in range(MAX_HANDSHAKES):
        last = accepted(100.0)
    with pytest.raises(ConnectionAbortedError):
        accepted(100.1)
    assert table.admit(last), "one that is agreed on makes room"
    accepted(100.2)
    accepted(100.0 + HANDSHAKE_S + 1.0)


def test_a_certificate_that_is_none_is_a_wrong_configuration(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    with pytest.raises(ConfigError, match=r"web\.certificate"):
        WebServer(served(certificate=str(junk), key=str(junk)), DEVICE)


def test_a_port_that_is_taken_is_a_wrong_configuration(server: WebServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        host, port = taken.getsockname()
        with pytest.raises(ConfigError, match=r"web\.listen: cannot listen on 127\.0\.0\.1:"):
            WebServer(served(listen=f"{host}:{port}"), DEVICE)


def test_beyond_this_machine_nobody_gets_in_without_an_account_or_a_token() -> None:
    with pytest.raises(ConfigError, match=r"web\.listen: 0\.0\.0\.0 can be reached from outside"):
        WebServer(served(listen="0.0.0.0:0"), DEVICE)
    WebServer(served(listen="0.0.0.0:0", token=TOKEN), DEVICE).close()


def test_the_token_is_in_no_text_of_the_access() -> None:
    assert TOKEN not in repr(served(token=TOKEN))


lines = st.binary(max_size=80) | st.sampled_from(
    [b"GET /state HTTP/1.0", b"POST /teach HTTP/1.1", b"GET /" + b"a" * 70_000, b"Host: localhost",
     b"Content-Length: -1", b"Content-Length: 99999999999", b"Transfer-Encoding: chunked", b"\0",
     b"Authorization: Bearer \xff", b"GET /events", b"HEAD /state HTTP/9.9", b""]
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.lists(lines, max_size=6).map(b"\r\n".join))
def test_no_bytes_bring_it_down(server: WebServer, content: bytes) -> None:
    answer = throw(server, content + b"\r\n\r\n")
    assert b"Traceback" not in answer
    assert b"root:" not in answer
    assert ask(server, "/healthz")[0] == 200


def test_a_daemon_without_a_page_imports_nothing_of_it() -> None:
    script = (
        "import sys, edge_sim.cli.daemon, edge_sim.runtime.daemon.daemon\n"
        "packages = {name.partition('.')[0] for name in sys.modules}\n"
        "print(packages & {'starlette', 'uvicorn', 'anyio', 'h11', 'asyncio', 'ruamel'})\n"
        "print([name for name in sys.modules if name.startswith('edge_sim.web')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n[]\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nx",
        b"Content-Length: 2\r\n\r\n{}\0\0\0 junk\r\n\r\n",
        b"\r\nGET",
        b"\r\n\0\r\n\r\n",
    ],
)
def test_a_body_that_is_no_http_is_answered_once_and_logs_no_trace(
    rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(StatusBoard("shed")) as server:
        host = f"Host: 127.0.0.1:{server.port}\r\n".encode()
        for path in (b"/api/reload", b"/healthz", b"/api/import"):
            throw(server, b"POST " + path + b" HTTP/1.1\r\n" + host + rest)
            throw(server, b"GET /events HTTP/1.1\r\n" + host + rest)
        assert ask(server, "/healthz")[0] == 200
    assert not [item for item in caplog.records if item.exc_info]


def test_a_server_that_cannot_begin_to_answer_can_be_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = threading.Event()

    def fail(*_: object) -> None:
        tried.set()
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("edge_sim.web.server.application", fail)
    with serving(StatusBoard("shed")):
        assert tried.wait(10.0)
    assert "is started again: OSError: [Errno 24] Too many open files (failure 1)" in caplog.text
    assert not [item for item in caplog.records if item.exc_info]
