"""A real mosquitto over TLS with a password, and a client that sees everything on it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

USER, PASSWORD = "edge", "p4ss word"
TIMEOUT_S = 15.0
SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def tool(name: str, package: str) -> str:
    """Return the path of a program; the test is skipped where it is absent."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Certificates:
    """Of an authority, a broker at localhost and a client, as PEM files in one folder."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "ca.pem"

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"


def make_certificates(folder: Path) -> Certificates:
    openssl = tool("openssl", "openssl")
    made = Certificates(folder)

    def run(*arguments: str | Path) -> None:
        subprocess.run([openssl, *arguments], check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("req", "-x509", *curve, "-days", "2", "-subj", "/CN=test authority",
        "-keyout", made.key("ca"), "-out", made.authority)  # fmt: skip
    for name in ("localhost", "client"):
        request, extension = folder / f"{name}.csr", folder / f"{name}.ext"
        extension.write_text("subjectAltName = DNS:localhost, IP:127.0.0.1\n")
        run("req", *curve, "-subj", f"/CN={name}", "-keyout", made.key(name), "-out", request)
        run("x509", "-req", "-in", request, "-days", "2", "-CA", made.authority,
            "-CAkey", made.key("ca"), "-CAcreateserial", "-extfile", extension,
            "-out", made.certificate(name))  # fmt: skip
    return made


class Broker:
    """A mosquitto that can be killed and started again on the same port.

    What is retained lives in memory alone: after a kill the broker knows nothing.
    """

    def __init__(
        self, folder: Path, certificates: Certificates, *, ask_certificate: bool = False
    ) -> None:
        self._program = tool("mosquitto", "mosquitto")
        self.certificates = certificates
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        passwords = folder / "passwords"
        passwords.touch(mode=0o600)
        subprocess.run(
            [tool("mosquitto_passwd", "mosquitto"), "-b", passwords, USER, PASSWORD],
            check=True,
            capture_output=True,
        )
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"cafile {certificates.authority}",
            f"certfile {certificates.certificate('localhost')}",
            f"keyfile {certificates.key('localhost')}",
            f"require_certificate {str(ask_certificate).lower()}",
            "allow_anonymous false",
            f"password_file {passwords}",
            "persistence false",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # it could not read the test's files as its own user
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._config)], stderr=subprocess.PIPE
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:  # ends with the process
            if line.rstrip().endswith(b" running"):  # not yet: "running mosquitto as user ..."
                return
        pytest.fail(f"mosquitto did not start on port {self.port}")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(TIMEOUT_S)
            assert self._process.stderr is not None
            self._process.stderr.close()
        self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def options(self, **more: Any) -> dict[str, Any]:
        """Return what the sink needs to get in."""
        own = {
            "device": "porch",
            "host": "localhost",
            "port": self.port,
            "username": USER,
            "password": PASSWORD,
            "tls": True,
            "ca_file": self.certificates.authority,
            "backoff_s": (0.05,),
        }
        return own | more


@dataclass(frozen=True)
class Seen:
    topic: str
    payload: bytes
    retained: bool


class Listener:
    """A client that keeps all it sees, in order."""

    def __init__(self, broker: Broker) -> None:
        self.seen: list[Seen] = []
        self._news = Condition()
        self._subscribed = False
        # Without a name of its own: two of one name would throw each other out.
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="")
        self._client.username_pw_set(USER, PASSWORD)
        self._client.tls_set(ca_certs=str(broker.certificates.authority))
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = self._ready
        self._client.on_message = self._message
        self._client.connect("localhost", broker.port)
        self._client.loop_start()
        assert self.wait(lambda: self._subscribed)

    def _ready(self, *_: Any) -> None:
        with self._news:
            self._subscribed = True
            self._news.notify_all()

    def _message(self, _: Any, __: Any, message: paho.MQTTMessage) -> None:
        with self._news:
            self.seen.append(Seen(message.topic, bytes(message.payload), message.retain))
            self._news.notify_all()

    def wait(self, condition: Callable[[], bool]) -> bool:
        """Return whether `condition` came true within the test's patience."""
        with self._news:
            return self._news.wait_for(condition, TIMEOUT_S)

    def on(self, topic: str) -> list[bytes]:
        """Return the payloads seen on a topic."""
        return [item.payload for item in tuple(self.seen) if item.topic == topic]

    def wait_on(self, topic: str, payload: bytes) -> bool:
        """Return whether the last payload on a topic became this."""
        return self.wait(lambda: self.on(topic)[-1:] == [payload])

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(TIMEOUT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def retained(broker: Broker) -> dict[str, bytes]:
    """Return what the broker holds now: what a newcomer is told."""
    listener = Listener(broker)
    listener.say("end/of/retained", b"x")
    assert listener.wait(lambda: listener.on("end/of/retained") != [])
    listener.close()
    return {item.topic: item.payload for item in listener.seen if item.retained}
