"""A webhook is signed, checked, given up in time, and tried again only where that can help."""

from __future__ import annotations

import hashlib
import hmac
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import pytest

from edge_sim.core.events import to_json_line
from edge_sim.errors import ConfigError, EventRejectedError, SinkError
from edge_sim.io.sinks.webhook import signature
from tests.contracts.test_event_sink import EVENT
from tests.io.sinks.broker import Certificates
from tests.io.sinks.hook import Hook
from tests.io.sinks.opening import webhook

TIMEOUT_S = 10.0


@pytest.fixture
def hook() -> Iterator[Hook]:
    with closing(Hook()) as server:
        yield server


def test_the_body_is_the_event_and_the_signature_is_its_hmac(hook: Hook) -> None:
    with closing(webhook(hook.url, secret="key", token="bearer-token")) as sink:
        sink.emit(EVENT)
    (post,) = hook.posted
    assert post.path == "/hook?room=1"
    assert post.body == to_json_line(EVENT)
    expected = hmac.new(b"key", post.body, hashlib.sha256).hexdigest()
    assert post.headers["X-EdgeSim-Signature"] == f"sha256={expected}"
    assert post.headers["X-EdgeSim-Event-Id"] == EVENT.id
    assert post.headers["Authorization"] == "Bearer bearer-token"
    assert post.headers["Content-Type"] == "application/json"


def test_the_signature_has_the_known_value() -> None:
    # RFC 4231, test case 2.
    assert signature(b"Jefe", b"what do ya want for nothing?") == (
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


def test_without_secrets_no_header_of_them_is_sent(hook: Hook) -> None:
    with closing(webhook(hook.url)) as sink:
        sink.emit(EVENT)
    assert not {"X-EdgeSim-Signature", "Authorization"} & hook.posted[0].headers.keys()


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_success_is_an_acceptance(hook: Hook, status: int) -> None:
    hook.answers.append((status, {}))
    with closing(webhook(hook.url)) as sink:
        sink.emit(EVENT)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_an_event_the_server_will_never_take_is_refused(hook: Hook, status: int) -> None:
    hook.answers.append((status, {}))
    with (
        closing(webhook(hook.url)) as sink,
        pytest.raises(EventRejectedError, match=f"status {status}"),
    ):
        sink.emit(EVENT)


@pytest.mark.parametrize("status", [401, 403, 404, 408, 410, 425, 429, 500, 502, 503])
def test_what_may_pass_or_be_put_right_is_no_refusal(hook: Hook, status: int) -> None:
    hook.answers.append((status, {}))
    with closing(webhook(hook.url)) as sink:
        with pytest.raises(SinkError, match=f"status {status}") as caught:
            sink.emit(EVENT)
        assert not isinstance(caught.value, EventRejectedError)
        sink.emit(EVENT)


def test_a_redirect_is_not_followed(hook: Hook) -> None:
    hook.answers.append((307, {"Location": "http://127.0.0.1:1/elsewhere"}))
    with (
        closing(webhook(hook.url, token="bearer-token")) as sink,
        pytest.raises(SinkError, match="redirects elsewhere"),
    ):
        sink.emit(EVENT)


def test_nobody_there_is_told() -> None:
    with (
        closing(webhook("http://127.0.0.1:1/")) as sink,
        pytest.raises(SinkError, match=r"no answer \(Connection refused\)"),
    ):
        sink.emit(EVENT)


def test_a_host_that_cannot_be_a_host_is_told() -> None:
    with (
        closing(webhook(f"http://{'a' * 80}.example/")) as sink,
        pytest.raises(SinkError, match="no answer"),
    ):
        sink.emit(EVENT)


def test_silence_is_given_up_in_time(hook: Hook) -> None:
    hook.silent = True
    with (
        closing(webhook(hook.url, timeout_s=0.2)) as sink,
        pytest.raises(SinkError, match="no answer"),
    ):
        sink.emit(EVENT)


def test_a_server_that_sends_a_byte_now_and_then_is_given_up_in_time() -> None:
    """No single read takes long, so that only a limit on the whole helps."""
    over = Signal()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            client, _ = server.accept()
            with client, suppress(OSError):
                while not over.wait(0.02):
                    client.sendall(b"H")

        thread = Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with (
            closing(webhook(url, timeout_s=0.3)) as sink,
            pytest.raises(SinkError, match=r"no answer within 0\.3 s"),
        ):
            sink.emit(EVENT)
        over.set()
        thread.join(TIMEOUT_S)


def test_closing_cuts_off_a_request(hook: Hook) -> None:
    hook.silent = True
    sink = webhook(hook.url, timeout_s=600.0)
    caught: list[Exception] = []

    def emit() -> None:
        try:
            sink.emit(EVENT)
        except SinkError as error:
            caught.append(error)

    thread = Thread(target=emit)
    thread.start()
    assert hook.entered.wait(TIMEOUT_S)
    sink.close()
    thread.join(TIMEOUT_S)
    assert "cut off, the sink is closed" in str(caught)


def test_a_server_without_http_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b"220 mail ready\r\n")
                client.recv(65536)

        thread = Thread(target=greet)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with closing(webhook(url)) as sink, pytest.raises(SinkError, match="no answer"):
            sink.emit(EVENT)
        thread.join(TIMEOUT_S)


def test_a_certificate_is_checked(certificates: Certificates) -> None:
    files = (certificates.certificate("localhost"), certificates.key("localhost"))
    with closing(Hook(*files)) as hook:
        with closing(webhook(hook.url, ca_file=certificates.authority)) as sink:
            sink.emit(EVENT)
        assert len(hook.posted) == 1
        with (
            closing(webhook(hook.url)) as sink,
            pytest.raises(SinkError, match="certificate verify failed"),
        ):
            sink.emit(EVENT)
        assert len(hook.posted) == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "not a web address"),
        ("example.org/hook", "not a web address"),
        ("ftp://example.org/", "not a web address"),
        ("https:///hook", "not a web address"),
        ("https://example.org:0/", "not a web address"),
        ("https://example.org:port/", "not a web address"),
        ("https://[::1/", "not a web address"),
        ("https://me:s3cret@example.org/", "no user or password"),
        ("https://example.org/a b", "must be escaped"),
        ("https://example.org/\r\nX-Injected: 1", "must be escaped|not a web"),
        ("https://example.org/ü", "must be escaped"),
    ],
)
def test_an_address_that_cannot_work_is_named_at_once(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        webhook(url)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("bad", ["", "line\r\nX-Injected: 1", "ü"])
def test_a_token_that_would_spoil_the_header_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match="printable ASCII"):
        webhook("https://example.org/", token=bad)


def test_missing_certificates_are_named() -> None:
    with pytest.raises(SinkError, match=r"ca\.pem: cannot be used \(No such file"):
        webhook("https://example.org/", ca_file=Path("/nowhere/ca.pem"))
    with pytest.raises(SinkError, match="no certificates in it"):
        webhook("https://example.org/", ca_file=Path(__file__))


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 200 OK\r\nX-More: "
        + b"x" * 60_000
        + b"\r\nX-Even: "
        + b"y" * 60_000
        + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(200)),
        b"HTTP/1.1 100 Continue\r\nX: 1\r\n\r\n" * 4000,
        b"HTTP/1.1 200 OK\r\nX-Cut: 1",
    ],
)
def test_an_answer_whose_head_never_ends_is_no_delivery(head: bytes) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as door:

        def answer() -> None:
            wire, _ = door.accept()
            with wire, suppress(OSError):
                wire.recv(65536)
                wire.sendall(head)

        server = Thread(target=answer)
        server.start()
        url = f"http://127.0.0.1:{door.getsockname()[1]}/"
        with closing(webhook(url)) as sink, pytest.raises(SinkError, match="no answer"):
            sink.emit(EVENT)
        server.join()


def test_an_answer_that_drips_headers_until_the_end_of_its_time_is_no_delivery() -> None:
    over = Signal()
    with closing(socket.create_server(("127.0.0.1", 0))) as door:

        def answer() -> None:
            wire, _ = door.accept()
            with wire, suppress(OSError):
                wire.recv(65536)
                wire.sendall(b"HTTP/1.1 200 OK\r\n")
                over.wait(TIMEOUT_S)

        server = Thread(target=answer)
        server.start()
        url = f"http://127.0.0.1:{door.getsockname()[1]}/"
        with (
            closing(webhook(url, timeout_s=0.2)) as sink,
            pytest.raises(SinkError, match="no answer within"),
        ):
            sink.emit(EVENT)
        over.set()
        server.join()
