"""Network cameras are found by what they say of themselves, and asked of nothing but themselves."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edge_sim.errors import ConfigError
from edge_sim.io.sources.discovery import (
    CameraLogin,
    NetworkCamera,
    discover,
    probed,
    with_login,
    with_streams,
)

JOIN_S = 20.0
LOGIN = CameraLogin("viewer", "pass word")
SCOPES = "onvif://www.onvif.org/name/Front%20door onvif://www.onvif.org/hardware/C210"
ENVELOPE = (
    '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body>{}</e:Body></e:Envelope>'
)


class FakeCamera:
    """A camera that answers WS-Discovery and ONVIF on loopback; `user` wants a login."""

    def __init__(
        self, *, login: CameraLogin | None = None, xaddr: str = "", media: str = ""
    ) -> None:
        self.asked: list[str] = []
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, answer = camera.answer(body)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.login = login
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.service = f"http://127.0.0.1:{self.server.server_port}/onvif/device_service"
        self.media = media or f"http://127.0.0.1:{self.server.server_port}/onvif/media"
        self.xaddr = xaddr or f"http://192.0.2.1/other {self.service}"
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))

    def answer(self, body: str) -> tuple[int, str]:
        if self.login is not None and not self.is_admitted(body):
            return 400, ENVELOPE.format("<e:Fault>ter:NotAuthorized</e:Fault>")
        for name in ("GetCapabilities", "GetProfiles", "GetStreamUri"):
            if f":{name}" in body:
                self.asked.append(name)
        if "GetCapabilities" in body:
            return 200, ENVELOPE.format(
                f'<Media xmlns="http://www.onvif.org/ver10/schema"><XAddr>{self.media}</XAddr></Media>'
            )
        if "GetProfiles" in body:
            return 200, ENVELOPE.format('<Profiles token="a&amp;b"/><Profiles token="sub"/>')
        token = re.search("<t:ProfileToken>(.*)</t:ProfileToken>", body)
        assert token
        name = "main" if token[1] == "a&amp;b" else token[1]
        return 200, ENVELOPE.format(
            f'<x:Uri xmlns:x="u">rtsp://admin:factory@127.0.0.1:554/{name}</x:Uri>'
        )

    def is_admitted(self, body: str) -> bool:
        assert self.login is not None
        found = re.search(
            "Username>(.*)</w:Username>.*>(.*)</w:Password><w:Nonce>(.*)</w:Nonce><u:Created>(.*)</u:C",
            body,
        )
        if found is None:
            return False
        digest = hashlib.sha1(
            base64.b64decode(found[3]) + found[4].encode() + self.login.password.encode()
        ).digest()
        return found[1] == self.login.user and found[2] == base64.b64encode(digest).decode()

    def match(self) -> bytes:
        return ENVELOPE.format(
            '<d:ProbeMatches xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><d:ProbeMatch>'
            f"<d:Scopes>{SCOPES}</d:Scopes><d:XAddrs>{self.xaddr}</d:XAddrs>"
            "</d:ProbeMatch></d:ProbeMatches>"
        ).encode()


@contextmanager
def serving(camera: FakeCamera, *answers: bytes) -> Iterator[tuple[str, int]]:
    """The address of the camera for probes, which it answers with its match and with `answers`."""
    server = threading.Thread(target=camera.server.serve_forever, args=(0.01,), daemon=True)
    server.start()

    def respond() -> None:
        for _ in range(2):
            probe, sender = camera.udp.recvfrom(65536)
            if not probe:
                return
            assert b"NetworkVideoTransmitter" in probe
            for answer in (*answers, camera.match()):
                camera.udp.sendto(answer, sender)

    thread = threading.Thread(target=respond, daemon=True)
    thread.start()
    with closing(camera.udp), closing(camera.server.socket):
        try:
            yield camera.udp.getsockname()
        finally:
            # To close a socket does not wake who waits in it.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waking:
                waking.sendto(b"", camera.udp.getsockname())
            camera.server.shutdown()
            thread.join(JOIN_S)
            server.join(JOIN_S)
            assert not thread.is_alive()


class TwoAnswers:
    """Time that is over after some answers, so that no test waits."""

    def __init__(self, readings: int) -> None:
        self.left = readings

    def __call__(self) -> float:
        self.left -= 1
        return 0.0 if self.left > 0 else 1e9


def test_a_camera_is_found_with_its_name_and_streams() -> None:
    camera = FakeCamera()
    with serving(camera) as target:
        (found,) = discover(target=target, clock=TwoAnswers(3), wait_s=5.0)
    assert found == NetworkCamera(
        "127.0.0.1",
        camera.service,
        "Front door C210",
        ("rtsp://127.0.0.1:554/main", "rtsp://127.0.0.1:554/sub"),
    )
    assert camera.asked == ["GetCapabilities", "GetProfiles", "GetStreamUri", "GetStreamUri"]


def test_what_is_no_camera_is_passed_over() -> None:
    camera = FakeCamera()
    entity = b'<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>'
    with serving(camera, b"\xff\0nonsense", entity, b"<a/>") as target:
        found = probed(5.0, target, TwoAnswers(6))
    assert [item.service for item in found] == [camera.service]


def test_a_camera_that_names_another_host_is_not_asked() -> None:
    elsewhere = FakeCamera(xaddr="http://192.0.2.1/onvif")
    with serving(elsewhere) as target:
        assert probed(5.0, target, TwoAnswers(3)) == ()
    media = FakeCamera(media="http://192.0.2.1/media")
    with serving(media):
        found = with_streams(NetworkCamera("127.0.0.1", media.service, ""))
    assert found.streams, "the device service is asked instead"


def test_a_camera_that_wants_a_user_says_so_and_is_asked_with_one() -> None:
    camera = FakeCamera(login=LOGIN)
    plain = NetworkCamera("127.0.0.1", camera.service, "")
    with serving(camera):
        assert with_streams(plain).error == "it wants a user (status 400)"
        wrong = with_streams(plain, CameraLogin("viewer", "other"))
        assert wrong.error == "the user or the password is wrong (status 400)"
        assert with_streams(plain, LOGIN).streams == (
            "rtsp://127.0.0.1:554/main",
            "rtsp://127.0.0.1:554/sub",
        )
    assert "pass word" not in repr(LOGIN)


def test_a_camera_that_does_not_answer_is_listed_with_the_reason() -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    found = with_streams(NetworkCamera("127.0.0.1", f"http://127.0.0.1:{port}/", ""))
    assert found.error is not None
    assert "refused" in found.error


def test_a_login_is_written_into_an_address() -> None:
    assert with_login("rtsp://old@host:554/a?b=1", CameraLogin("me", "p@ss/")) == (
        "rtsp://me:p%40ss%2F@host:554/a?b=1"
    )


@pytest.mark.parametrize("uri", ["", "rtsp://[/", "/dev/video0", "rtsp:", "a b"])
def test_what_has_no_host_takes_no_login(uri: str) -> None:
    with pytest.raises(ConfigError, match="no address that a user can log in at"):
        with_login(uri, LOGIN)


def test_the_verb_lists_cameras(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge_sim.cli.main import main
    from edge_sim.errors import SourceError
    from edge_sim.io.sources import cameras, discovery

    monkeypatch.setattr(cameras, "list_cameras", lambda: ())
    seen: list[CameraLogin | None] = []

    def fake(login: CameraLogin | None, *, wait_s: float) -> tuple[NetworkCamera, ...]:
        seen.append(login)
        if login is None:
            raise SourceError("network cameras cannot be searched: Network is unreachable")
        return (
            NetworkCamera("192.0.2.7", "http://192.0.2.7/", "Door", ("rtsp://192.0.2.7/1",)),
            NetworkCamera("192.0.2.8", "http://192.0.2.8/", "", error="it wants a user"),
        )

    monkeypatch.setattr(discovery, "discover", fake)
    assert main(["discover"]) == 1
    assert "unreachable" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["discover", "--user", "me"])
    monkeypatch.setenv("EDGE_SIM_CAMERA_PASSWORD", "secret")
    assert main(["discover", "--user", "me"]) == 0
    out = capsys.readouterr().out
    assert "rtsp://192.0.2.7/1  Door" in out
    assert "it wants a user" in out
    assert seen[-1] == CameraLogin("me", "secret")
    assert main(["discover", "--user", "me", "--json"]) == 0
    assert '"streams"' in capsys.readouterr().out


def test_a_camera_with_many_profiles_is_asked_for_some(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = FakeCamera()
    many = "".join(f'<Profiles token="p{number}"/>' for number in range(100))
    answer = camera.answer
    monkeypatch.setattr(
        camera,
        "answer",
        lambda body: (200, ENVELOPE.format(many)) if "GetProfiles" in body else answer(body),
    )
    with serving(camera):
        found = with_streams(NetworkCamera("127.0.0.1", camera.service, ""))
    assert len(found.streams) == camera.asked.count("GetStreamUri") == 16


def test_a_camera_that_answers_byte_by_byte_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_sim.io.sources.discovery._HTTP_S", 0.3)
    given_up = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20.0)

        def drip() -> None:
            with closing(server.accept()[0]) as connection, suppress(OSError):
                connection.sendall(b"HTTP/1.0 200 OK\r\nX: ")
                while not given_up.wait(0.02):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        service = f"http://127.0.0.1:{server.getsockname()[1]}/"
        found = with_streams(NetworkCamera("127.0.0.1", service, ""))
        given_up.set()
        thread.join(20.0)
    assert found.streams == ()
    assert found.error


def test_no_camera_is_asked_for_longer_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_sim.io.sources.discovery._CAMERA_S", 0.0)
    found = with_streams(NetworkCamera("127.0.0.1", "http://127.0.0.1:9/", ""))
    assert found.error == "it answers too slowly"
