"""A trial says whether a sink would work, and leaves nothing behind."""

from __future__ import annotations

import json
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from edge_sim.cli.main import main
from edge_sim.errors import ConfigError, SinkError
from edge_sim.io.sinks import KINDS
from edge_sim.io.sinks.connection_check import _TRIALS, try_sink
from tests.devices import make_device
from tests.io.sinks.broker import Broker, Listener, free_port
from tests.io.sinks.opening import unix_socket
from tests.io.sinks.test_mqtt import Connected


class Answering:
    """A server that answers every request with one status, and remembers what was asked."""

    def __init__(self, status: int) -> None:
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_OPTIONS(self) -> None:
                server.asked.append(self.headers.get("Authorization", ""))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_every_kind_can_be_tried() -> None:
    assert _TRIALS.keys() == KINDS.keys()


def test_a_file_that_can_be_written_is_not_made_and_not_changed(tmp_path: Path) -> None:
    assert "can be written" in try_sink("file", path=tmp_path / "e.jsonl", max_mb=1.0, keep=2)
    assert list(tmp_path.iterdir()) == []
    kept = tmp_path / "e.jsonl"
    kept.write_text('{"cut short')
    try_sink("file", path=kept)
    assert kept.read_text() == '{"cut short'


def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"nothing can be written to .*absent \(No such file"):
        try_sink("file", path=tmp_path / "absent" / "e.jsonl")
    (tmp_path / "e.jsonl").mkdir()
    with pytest.raises(SinkError, match="Is a directory"):
        try_sink("file", path=tmp_path / "e.jsonl")


def test_a_program_is_looked_for_and_not_run(tmp_path: Path) -> None:
    assert "was not run" in try_sink("command", argv=["touch", str(tmp_path / "ran")])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="no program 'no-such-program'"):
        try_sink("command", argv=["no-such-program"])


def test_a_socket_is_tried_beside_its_place(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert "can be served" in try_sink("unix_socket", path=path, mode="600")
    assert list(tmp_path.iterdir()) == []
    with closing(unix_socket(path)):
        assert try_sink("unix_socket", path=path) == "served by a running daemon"
    path.write_text("no socket")
    with pytest.raises(SinkError, match="something that is no socket"):
        try_sink("unix_socket", path=path)


def test_a_web_address_is_asked_without_an_event() -> None:
    with closing(Answering(405)) as server:
        assert try_sink("webhook", url=server.url, token="t0ken") == "answers (OPTIONS: 405)"
        assert server.asked == ["Bearer t0ken"]


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_web_address_that_lets_nobody_in_is_told(status: int) -> None:
    with closing(Answering(status)) as server, pytest.raises(SinkError, match=f"status {status}"):
        try_sink("webhook", url=server.url)


def test_nobody_behind_a_web_address_is_told() -> None:
    with pytest.raises(SinkError, match="no answer"):
        try_sink("webhook", url=f"http://127.0.0.1:{free_port()}/x", timeout_s=2.0)


def test_a_broker_is_logged_in_at_without_a_word(broker: Broker, listener: Listener) -> None:
    with closing(Connected(broker).wait()) as running:
        assert listener.wait_on("edge_sim/porch/available", b"online")
        listener.seen.clear()
        told = try_sink("mqtt", **broker.options())
        assert told == "logged in as edge, encrypted"
        assert running.is_connected, "a running daemon is not thrown out"
        assert listener.seen == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"password": "wrong"}, "the broker rejects the connection: Not authorized"),
        ({"username": None, "password": None}, "the broker rejects the connection: Not authorized"),
        ({"tls": False, "ca_file": None}, "no answer within|closes the connection"),
        ({"ca_file": None}, "cannot connect .*certificate verify failed"),
    ],
)
def test_a_broker_that_does_not_let_in_is_told(
    broker: Broker, wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(SinkError, match=message):
        try_sink("mqtt", **broker.options(timeout_s=2.0, **wrong))


def test_no_broker_is_told_in_time() -> None:
    with pytest.raises(SinkError, match="cannot connect"):
        try_sink("mqtt", device="porch", host="127.0.0.1", port=free_port(), timeout_s=2.0)


def test_check_tries_the_sinks_and_offline_leaves_the_far_ones_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_device(tmp_path)
    config.write_text(
        f"{config.read_text()}sinks:\n"
        f"  - {{kind: file, path: events.jsonl}}\n"
        f"  - {{kind: mqtt, host: 127.0.0.1, port: {free_port()}, timeout_s: 1}}\n"
    )
    assert main(["check", "-c", str(config), "--json"]) == 1
    findings = {item["part"]: item for item in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["sink 1, file"]["ok"]
    assert not findings["sink 2, mqtt"]["ok"]
    assert main(["check", "-c", str(config), "--offline"]) == 0
    assert "not tried (--offline)" in capsys.readouterr().out
