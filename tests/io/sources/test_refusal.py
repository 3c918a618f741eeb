"""Whoever typed an address learns which part of it is wrong."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.errors import SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.stream import diagnose_stream
from tests.io.sinks.broker import make_certificates

LIMIT_S = 10.0
SECRET = "s3cret"


class Answering:
    """A server that answers every request with the same bytes and remembers what was asked."""

    def __init__(self, answer: bytes, tls: ssl.SSLContext | None) -> None:
        self.asked: list[bytes] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                if tls is None:
                    self.talk(self.request)
                    return
                with suppress(OSError), tls.wrap_socket(self.request, server_side=True) as secured:
                    self.talk(secured)

            def talk(self, wire: socket.socket) -> None:
                outer.asked.append(wire.recv(4096))
                wire.sendall(answer)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.at = f"127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def answering(answer: bytes, tls: ssl.SSLContext | None = None) -> Iterator[Answering]:
    made = Answering(answer, tls)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join(LIMIT_S)
        made.server.server_close()


@pytest.mark.parametrize(
    ("answer", "user", "said"),
    [
        (b"RTSP/1.0 401 Unauthorized\r\n\r\n", "", "it wants a user and a password: rtsp://USER:"),
        (b"RTSP/1.0 401 Unauthorized\r\n\r\n", f"me:{SECRET}@", "check those of the address"),
        (b"RTSP/1.0 403 Forbidden\r\n\r\n", f"me:{SECRET}@", "check those of the address"),
        (b"RTSP/1.0 404 Stream Not Found\r\n\r\n", f"me:{SECRET}@", "nothing at /live; check the"),
        (b"RTSP/1.0 200 OK\r\n\r\n", "", "sends no video that can be read"),
        (b"RTSP/1.0 503 Service Unavailable\r\n\r\n", "", "it answers with the error 503"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "", "nothing at /live"),
        (b"220 mail.example ESMTP\r\n", "", "does not speak rtsp; check scheme and port"),
        (b"\0" * 4000, "", "does not speak rtsp"),
        (b"RTSP/1.0 9", "", "does not speak rtsp"),
        (b"", "", "does not speak rtsp"),
    ],
)
def test_the_other_end_is_asked_once_and_what_it_says_put_into_words(
    answer: bytes, user: str, said: str
) -> None:
    with answering(answer) as camera:
        found = diagnose_stream(f"rtsp://{user}{camera.at}/live?key={SECRET}", LIMIT_S)
    assert said in found
    assert SECRET not in found
    (asked,) = camera.asked
    assert asked.startswith(f"DESCRIBE rtsp://{camera.at}/live?key=".encode())
    assert f"me:{SECRET}".encode() not in asked


def test_http_is_asked_in_its_own_language() -> None:
    with answering(b"HTTP/1.0 401 Unauthorized\r\n\r\n") as camera:
        assert "http://USER:PASSWORD@" in diagnose_stream(f"http://{camera.at}/video", LIMIT_S)
    assert camera.asked[0].startswith(b"GET /video HTTP/1.1\r\nHost: 127.0.0.1:")


def test_an_encrypted_stream_is_asked_through_tls(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.certificate("localhost"), certificates.key("localhost"))
    with answering(b"RTSP/1.0 404 Not Found\r\n\r\n", context) as camera:
        assert "nothing at /live" in diagnose_stream(f"rtsps://{camera.at}/live", LIMIT_S)
        assert "does not speak rtsp;" in diagnose_stream(f"rtsp://{camera.at}/live", LIMIT_S)


def test_where_nobody_listens_the_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody else can have it, and it does not listen
        port = taken.getsockname()[1]
        said = f"nothing listens on port {port} of 127.0.0.1"
        assert said in diagnose_stream(f"rtsp://127.0.0.1:{port}/live", LIMIT_S)
        with pytest.raises(SourceError, match=said):
            open_source(f"rtsp://127.0.0.1:{port}/live", SourceOptions(reconnect_s=(0.01,)))


def test_somebody_who_never_answers_does_not_keep_us() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        at = silent.getsockname()[1]
        assert "does not speak rtsp" in diagnose_stream(f"rtsp://127.0.0.1:{at}/live", 0.05)
        assert "does not speak https" in diagnose_stream(f"https://127.0.0.1:{at}/live", 0.05)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(-2, "Name or service not known"), "no host is called camera.lan"),
        (TimeoutError(), "camera.lan does not answer on port 554"),
        (OSError(113, "No route to host"), "camera.lan does not answer on port 554"),
    ],
)
def test_a_host_that_cannot_be_reached_is_named(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(address: object, timeout: float) -> socket.socket:
        raise error

    monkeypatch.setattr(socket, "create_connection", fails)
    assert said in diagnose_stream("rtsp://me:pw@camera.lan/live", LIMIT_S)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("rtsp:///live", "names no host"),
        ("rtsp://me:a/b@camera/live", "write @ as %40 and / as %2F"),
        ("rtsp://camera:99999/live", "cannot be read"),
        ("rtsp://[::1/live", "cannot be read"),
    ],
)
def test_an_address_that_is_none_is_said_without_asking_anybody(
    uri: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "create_connection")
    assert said in diagnose_stream(uri, LIMIT_S)


@given(text=st.text(max_size=40))
def test_no_address_makes_it_raise(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def fails(address: object, timeout: float) -> socket.socket:
            raise ConnectionRefusedError

        patch.setattr(socket, "create_connection", fails)
        assert diagnose_stream(f"rtsp://{text}", LIMIT_S)
