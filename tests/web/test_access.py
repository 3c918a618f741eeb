"""Who may ask what, and attacks that must fail."""

from __future__ import annotations

import http.client
import json
import re
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

from starlette.routing import Route

from edge_sim.core.types import Frame
from edge_sim.runtime.config import SourceConfig, WatchConfig
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.web.access_control import PUBLIC_PATHS, SECURITY_HEADERS, host_name, is_local
from edge_sim.web.accounts import Accounts
from edge_sim.web.app import all_routes
from edge_sim.web.callers import Role
from edge_sim.web.files import PageFiles
from edge_sim.web.limits import AddressLimits
from edge_sim.web.login import ATTEMPTS
from edge_sim.web.server import WebServer
from edge_sim.web.sessions import LASTS_S, Sessions
from tests.runtime.daemon.test_service import show
from tests.runtime.health.test_board import board
from tests.web.devices import PageClient, serving_lamp
from tests.web.servers import TOKEN, FakeDevice, served, serving, throw

PASSWORD = "correct horse"
PROXIED = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
API = [route for route in all_routes(PageFiles()) if isinstance(route, Route)]
VIEWERS_POST = {"/api/replay", "/api/logout", "/api/login", "/api/collection/search"}
"""Routes that are no GET and change nothing."""


def put_account(folder: Path, name: str = "anna", role: Role = Role.ADMIN) -> Accounts:
    accounts = Accounts(folder / "accounts.json")
    accounts.put(name, PASSWORD, role)
    return accounts


def logged_in(page: PageClient, name: str = "anna") -> PageClient:
    status, headers, body = page.raw("/api/login", {"user": name, "password": PASSWORD})
    assert status == 200, body
    cookie = headers["set-cookie"].partition(";")[0]
    fresh = PageClient(page.port, {**page.headers, "Cookie": cookie})
    fresh.csrf = json.loads(body)["csrf"]
    return fresh


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[PageClient]:
    """A server with accounts of all roles."""
    for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN):
        put_account(tmp_path, role.name.lower(), role)
    with serving(board(), served(tmp_path)) as server:
        yield PageClient(server.port)


def sample(route: Route) -> str:
    return re.sub(r"\{[^}]+\}", "gate", route.path)


@pytest.mark.parametrize("route", API, ids=lambda route: str(route.name))
def test_a_stranger_gets_the_files_of_the_page_and_the_login_only(
    route: Route, tmp_path_factory: pytest.TempPathFactory, strangers: PageClient
) -> None:
    (method,) = (route.methods or set()) - {"HEAD"}
    status, body = strangers.ask(sample(route), {} if method != "GET" else None, method=method)
    if route.path in PageFiles().paths or route.path == "/api/session":
        assert status == 200
    elif route.path == "/api/login":
        assert status == 422
    elif route.path == "/teach":
        assert status == 403
    else:
        assert status in (401, 403), body


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageClient]:
    folder = tmp_path_factory.mktemp("strangers")
    put_account(folder)
    with serving(board(), served(folder)) as server:
        yield PageClient(server.port)


def test_a_viewer_changes_nothing(guarded: PageClient) -> None:
    page = logged_in(guarded, "viewer")
    changing = [item for item in API if "GET" not in (item.methods or ())]
    assert len(changing) > 3
    for route in changing:
        if route.path in VIEWERS_POST or route.path == "/teach":
            continue
        (method,) = route.methods or set()
        status, body = page.ask(sample(route), {}, method=method)
        assert status == 403, (route.path, body)
        assert "role" in body["error"]


def test_the_page_of_another_origin_changes_nothing() -> None:
    with serving(board()) as server:
        page = PageClient(server.port)
        csrf = page.session()["csrf"]
        assert csrf
        body = {"watch": "gate", "sensitivity": 0.5}
        for origin in ("http://evil.example", "null", f"http://127.0.0.1:{server.port + 1}", ""):
            status, answer = page.ask("/api/replay", body, headers={"Origin": origin})
            assert (status, answer) == (403, {"error": "this request comes from another page"})
        for wrong in ("", "x", csrf[:-1]):
            assert page.ask("/api/replay", body, headers={"X-CSRF-Token": wrong})[0] == 403
        assert page.ask("/api/replay", body)[0] == 404, "its own page may: no log is kept"
        # What a form can send without asking first.
        assert page.ask("/api/replay", body, headers={"Content-Type": "text/plain"})[0] == 415
        assert page.ask("/teach", body)[0] == 403


def test_a_name_that_is_pointed_at_this_machine_reads_nothing(tmp_path: Path) -> None:
    with serving(board(), served(tmp_path, hosts=["porch.example"])) as server:
        page = PageClient(server.port)
        for host in (
            "evil.example",
            "127.0.0.1.evil.example",
            f"evil.example:{server.port}",
            "",
            "a b",
        ):
            for path in ("/api/watches", "/api/session", "/", "/state"):
                assert page.ask(path, headers={"Host": host})[0] in (400, 421), (host, path)
        assert page.ask("/api/watches", headers={"Host": "localhost"})[0] == 200
        # A known name that others can use as well opens the page, not the device.
        assert page.ask("/api/watches", headers={"Host": "porch.example"})[0] == 401
        assert page.ask("/api/session", headers={"Host": "porch.example"})[0] == 200


@pytest.mark.parametrize(
    "extra",
    [
        {"X-Forwarded-For": "192.0.2.7"},
        {"Forwarded": "for=192.0.2.7"},
        {"X-Real-IP": "192.0.2.7"},
        {"X-Ingress-Path": "/x"},
    ],
)
def test_behind_an_unknown_proxy_nobody_counts_as_local(extra: dict[str, str]) -> None:
    with serving(board()) as server:
        page = PageClient(server.port)
        assert page.ask("/api/watches")[0] == 200
        assert page.ask("/api/watches", headers=extra)[0] == 401


@pytest.mark.parametrize("options", [{"token": TOKEN}, {"trusted_proxies": ["127.0.0.2"]}])
def test_with_a_token_or_a_proxy_everybody_logs_in(options: dict[str, Any]) -> None:
    with serving(board(), served(**options)) as server:
        assert PageClient(server.port).ask("/api/watches")[0] == 401


def test_a_trusted_proxy_gives_address_scheme_host_and_prefix(tmp_path: Path) -> None:
    put_account(tmp_path)
    config = served(tmp_path, trusted_proxies=["127.0.0.0/8"], hosts=["home.example"])
    with serving(board(), config) as server:
        proxy = {
            **PROXIED,
            "X-Forwarded-Host": "home.example",
            "X-Ingress-Path": "/api/ingress/x_1",
        }
        page = PageClient(server.port, proxy)
        page.origin = "https://home.example"
        _, headers, _ = page.raw("/api/login", {"user": "anna", "password": PASSWORD})
        cookie = headers["set-cookie"].lower()
        assert "path=/api/ingress/x_1/;" in cookie + ";"
        assert "secure" in cookie
        # A path that is none of a proxy's does not get into the cookie.
        page.headers["X-Ingress-Path"] = "/x; Domain=evil.example"
        _, headers, _ = page.raw("/api/login", {"user": "anna", "password": PASSWORD})
        assert "evil" not in headers["set-cookie"]


def test_login_is_limited_by_the_address_behind_the_proxy(tmp_path: Path) -> None:
    put_account(tmp_path)
    with serving(board(), served(tmp_path, trusted_proxies=["127.0.0.1"])) as server:
        wrong = {"user": "anna", "password": "wrong password"}

        def attempt(address: str) -> int:
            # The first address could be made up by the client; the last was added by the proxy.
            given = {"X-Forwarded-For": f"203.0.113.99, {address}"}
            return PageClient(server.port).ask("/api/login", wrong, headers=given)[0]

        codes = [attempt("192.0.2.1") for _ in range(int(ATTEMPTS) + 1)]
        assert codes == [401] * int(ATTEMPTS) + [429]
        assert attempt("192.0.2.2") == 401


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(guarded: PageClient) -> None:
    _, headers, _ = guarded.raw("/api/login", {"user": "admin", "password": PASSWORD})
    attributes = {item.strip().lower() for item in headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert "secure" not in attributes, "plain HTTP on this machine"


def test_a_session_ends_with_logout_password_account_and_time(tmp_path: Path) -> None:
    accounts = put_account(tmp_path)
    accounts.put("berta", PASSWORD, Role.VIEWER)
    with serving(board(), served(tmp_path)) as server:
        first = logged_in(PageClient(server.port))
        assert first.session()["user"] == "anna"
        assert first.ask("/api/logout", {})[0] == 204
        assert first.ask("/api/watches")[0] == 401
        second, third = (logged_in(PageClient(server.port), name) for name in ("anna", "berta"))
        accounts.put("anna", "another password", Role.ADMIN)
        assert second.ask("/api/watches")[0] == 401
        assert third.ask("/api/watches")[0] == 200
        accounts.change_role("berta", Role.OPERATOR)
        assert third.session()["role"] == "operator"
        accounts.remove("berta")
        assert third.ask("/api/watches")[0] == 401
    now_s = [1e9]
    sessions = Sessions(accounts, "c", now=lambda: now_s[0])
    found = accounts.verify("anna", "another password")
    assert found is not None
    secret = sessions.open("anna", found[1])
    assert sessions.of_secret(secret) is not None
    now_s[0] += LASTS_S + 1.0
    assert sessions.of_secret(secret) is None


def test_sessions_outlast_a_restart_and_their_file_holds_no_secret(tmp_path: Path) -> None:
    put_account(tmp_path)
    config = served(tmp_path)
    with serving(board(), config) as server:
        page = logged_in(PageClient(server.port))
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        content = path.read_text()
        assert PASSWORD not in content
        assert page.headers["Cookie"].partition("=")[2] not in content
    with serving(board(), config) as server:
        # The port is another one here, as in no real restart; the name of the cookie is the same.
        assert PageClient(server.port, page.headers).ask("/api/watches")[0] == 200


@pytest.mark.parametrize("content", ["", "{", '{"accounts": {"x": {"role": "root"}}}', "[]"])
def test_a_damaged_file_of_accounts_lets_nobody_in(tmp_path: Path, content: str) -> None:
    (tmp_path / "accounts.json").write_text(content)
    with serving(board(), served(tmp_path)) as server:
        page = PageClient(server.port)
        assert page.ask("/api/watches")[0] == 401
        assert page.ask("/api/login", {"user": "x", "password": PASSWORD})[0] == 401


def test_who_does_not_know_the_password_does_not_learn_the_names(guarded: PageClient) -> None:
    answers = [
        guarded.ask("/api/login", {"user": user, "password": "wrong password"})
        for user in ("admin", "nobody")
    ]
    assert answers[0] == answers[1] == (401, {"error": "name or password is wrong"})
    session = guarded.session()
    assert (session["version"], session["device"], session["needs_login"]) == (None, None, True)


def test_programs_need_the_token_and_no_cookie(tmp_path: Path) -> None:
    put_account(tmp_path)
    with serving(board(), served(tmp_path, token=TOKEN)) as server:
        program = PageClient(server.port, {"Authorization": f"Bearer {TOKEN}"})
        assert program.session()["role"] == "operator"
        answer = program.ask(
            "/api/replay", {"watch": "gate", "sensitivity": 1}, headers={"Origin": "x"}
        )
        assert answer[0] == 404
        page = logged_in(PageClient(server.port))
        wrong = {"Authorization": "Bearer 0123456789abcdeX"}
        assert page.ask("/api/watches", headers=wrong)[0] == 401


@pytest.mark.parametrize("path", ["/", "/api/session", "/api/nothing", "/nothing", "/pages/app.js"])
def test_every_answer_forbids_foreign_code_and_frames(path: str) -> None:
    with serving(board()) as server:
        _, headers, _ = PageClient(server.port).raw(path)
        for name, value in SECURITY_HEADERS.items():
            assert headers[name.lower()] == value
        assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/pages/../app.py",
        "/pages/..%2fapp.py",
        "/pages/%2e%2e/app.py",
        "/pages//etc/passwd",
        "/pages/....//app.py",
        "/pages/app.js%00.png",
        "/pages/vendor/../../app.py",
        "/pages",
        "/pages/",
        "/api/watches/..%2f..%2faccounts.json/snapshot.jpg",
        "/api/events/..%2f..%2faccounts.json/picture.jpg",
    ],
)
def test_no_path_reaches_a_file(path: str, tmp_path: Path) -> None:
    (tmp_path / "accounts.json").write_text("secret")
    with serving(board(), served(tmp_path, token=TOKEN)) as server:
        page = PageClient(server.port, {"Authorization": f"Bearer {TOKEN}"})
        status, _, body = page.raw(path)
        assert status in (403, 404)
        assert b"secret" not in body
        assert b"import" not in body


@pytest.mark.parametrize("path", ["/api/replay", "/api/login", "/teach"])
def test_a_body_of_a_gigabyte_is_not_read(path: str) -> None:
    with serving(board(), served(token=TOKEN)) as server:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\n"
        )
        answer = throw(server, f"{head}Content-Length: 1000000000\r\n\r\n{{".encode())
        assert answer.split(b" ")[1] == b"413"
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        wire = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        sent = 0
        with wire, suppress(OSError):
            wire.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            while sent < 2000:
                wire.sendall(chunk)
                sent += 1
        assert sent < 2000, "the server closes: it does not read on for ever"
        assert PageClient(server.port).ask("/api/session")[0] == 200


def test_endless_headers_are_cut_off() -> None:
    with serving(board()) as server:
        lines = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 20_000
        answer = throw(server, lines)
        assert not answer.startswith(b"HTTP/1.1 200")
        assert PageClient(server.port).ask("/healthz")[0] in (200, 503)


def test_slow_connections_do_not_slow_down_the_device(tmp_path: Path) -> None:
    """Frames are counted: with a hundred slow connections nearly all are processed."""
    count, seen = 200, 0
    with serving_lamp(tmp_path) as lamp:
        show(lamp.daemon, lamp.camera, lamp.frames, "on", 1)
        stop = threading.Event()
        wires: list[socket.socket] = []
        address = ("127.0.0.1", lamp.page.port)

        def hold() -> None:
            while not stop.is_set():
                with suppress(OSError):
                    wires.append(socket.create_connection(address, timeout=5))
                    wires[-1].sendall(b"GET /state HTTP/1.1\r\nHost: ")
                while len(wires) > 100:
                    wires.pop(0).close()
                stop.wait(0.01)  # each that is closed is opened again
            for wire in wires:
                wire.close()

        wires += [socket.create_connection(address, timeout=5) for _ in range(100)]
        slow = threading.Thread(target=hold)
        slow.start()
        try:
            for frame in lamp.frames.frames("on", count):
                lamp.camera.give(frame)
                seen += is_processed(lamp.daemon, 1 + seen)
            assert seen >= 0.95 * count
            assert lamp.page.ask("/api/session")[0] == 200
        finally:
            stop.set()
            slow.join(10.0)


def is_processed(daemon: Daemon, before: int) -> bool:
    """Return whether a camera of two frames a second would see its frame processed in time."""
    waiting = threading.Event()
    for _ in range(250):
        if daemon.board.sources[0].frames > before:
            return True
        waiting.wait(0.002)
    return False


def test_with_an_account_the_server_may_be_reached_from_outside(tmp_path: Path) -> None:
    put_account(tmp_path)
    WebServer(served(tmp_path, listen="0.0.0.0:0"), None).close()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "name"),
    [("LOCALHOST:80", "localhost"), ("[::1]:80", "::1"), ("porch.", "porch"), ("a:b", "a:b")],
)
def test_host_headers_are_read(host: str, name: str) -> None:
    assert host_name(host) == name


def test_names_that_look_local_are_none() -> None:
    assert is_local("127.8.0.1:9713")
    assert not any(
        map(is_local, ("127.0.0.1.evil.example", "localhost.evil.example", "0x7f.1", ""))
    )


def test_limits_have_room_for_a_burst() -> None:
    limits = AddressLimits(1.0, 3.0, clock=lambda: 0.0)
    assert [limits.take("192.0.2.1") for _ in range(4)] == [True, True, True, False]


def test_public_paths_are_few() -> None:
    assert {"/api/session", "/api/login"} == PUBLIC_PATHS


def test_the_region_of_a_private_watch_is_grey_in_the_picture_of_its_neighbour() -> None:
    config = served()
    config = msgspec.structs.replace(
        config,
        sources={"yard": SourceConfig(uri="x")},
        watches={
            "gate": WatchConfig(roi=(0.0, 0.0, 0.5, 1.0), private=True),
            "door": WatchConfig(roi=(0.5, 0.0, 1.0, 1.0)),
        },
    )
    device = FakeDevice(board(), config)
    white = np.full((40, 80, 3), 255, np.uint8)
    device.frames["yard"] = Frame(white, 1.0, 1.0, 0, "yard")
    server = WebServer(config, device)
    server.start()
    try:
        page = PageClient(server.port)
        assert page.ask("/api/watches/gate/snapshot.jpg?view=frame")[0] == 403
        status, _, body = page.raw("/api/watches/door/snapshot.jpg?view=frame")
        assert status == 200
        shown = cv2.imdecode(np.frombuffer(body, np.uint8), 0)
        assert shown is not None
        assert abs(int(shown[:, :30].max()) - 128) < 8
        assert shown[:, 50:].min() > 247
        assert white.min() == 255, "the frame of the device stays as it is"
    finally:
        server.close()


def test_keep_alive_serves_several_requests() -> None:
    with serving(board()) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        for _ in range(3):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            answer.read()
            assert not answer.will_close
        connection.close()
