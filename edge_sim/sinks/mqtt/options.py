"""Where the broker is and how to get in."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from edge_sim.errors import ConfigError, SinkError

_MAX_PREFIX = 200
_TLS_PORT, _PORT = 8883, 1883


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttOptions:
    """Settings of one broker.

    Args:
        device: Name of this device, in every topic.
        host: Name or address of the broker.
        port: None takes 8883 with TLS, 1883 without.
        username: None logs in as nobody.
        password: With `username`; or
        password_file: a file whose first line is the password, read at every connection.
        tls: Encrypt, and check the broker's certificate and name.
        ca_file: Certificates to trust instead of those of the system, PEM.
        cert_file: Certificate of this client, PEM.
        key_file: Its key, if it is not in the same file.
        topic_prefix: First part of every topic.
        client_id: Must be unique at the broker; None takes `edge_sim-<device>`.
        keepalive_s: A broker that is silent for 1.5 times as long is gone.
        timeout_s: For connecting, and for the broker's receipt of an event.
        discovery: Announce the device to Home Assistant.
        discovery_prefix: Where it listens for that.
        image: Show the region of a watch when it decides.
        stats_interval_s: Between two reports of how the device does; 0 for none.
        backoff_s: Pauses between attempts to connect, the last one repeated.
    """

    device: str
    host: str = "localhost"
    port: int | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    topic_prefix: str = "edge_sim"
    client_id: str | None = None
    keepalive_s: int = 60
    timeout_s: float = 10.0
    discovery: bool = True
    discovery_prefix: str = "homeassistant"
    image: bool = False
    stats_interval_s: float = 60.0
    backoff_s: tuple[float, ...] = (1.0, 5.0, 10.0, 60.0)

    @property
    def broker_port(self) -> int:
        """The port that is used."""
        return self.port or (_TLS_PORT if self.tls else _PORT)

    @property
    def own_client_id(self) -> str:
        """What the device calls itself at the broker."""
        return self.client_id or f"edge_sim-{self.device}"

    @property
    def name(self) -> str:
        """Broker and first topic; safe to log."""
        return f"mqtt {self.host}:{self.broker_port}/{self.topic_prefix}/{self.device}"

    def check(self) -> None:
        """Check what can be checked without the broker.

        Raises:
            ConfigError: Settings that contradict each other.
        """
        for key in ("topic_prefix", "discovery_prefix"):
            _check_prefix(key, getattr(self, key))
        if not self.host or any(mark in self.host for mark in "/@ "):
            raise ConfigError(f"mqtt: host must be a name or an address, got {self.host!r}")
        if self.password is not None and self.password_file is not None:
            raise ConfigError(f"{self.name}: give password or password_file, not both")
        if self.username is None and (self.password or self.password_file):
            raise ConfigError(f"{self.name}: a password needs a username")
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            raise ConfigError(f"{self.name}: certificates are given, but tls is false")
        if self.key_file and not self.cert_file:
            raise ConfigError(f"{self.name}: key_file needs cert_file")

    def current_password(self) -> str | None:
        """Return the password; from its file as it is now.

        Raises:
            SinkError: The file cannot be read.
        """
        if self.password_file is None:
            return self.password
        try:
            lines = self.password_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise SinkError(f"{self.name}: {self.password_file}: cannot read ({reason})") from error
        if not lines or not lines[0]:
            raise SinkError(f"{self.name}: {self.password_file}: its first line is empty")
        return lines[0]

    def tls_context(self) -> ssl.SSLContext | None:
        """Return how to encrypt; None to send in the clear.

        Raises:
            SinkError: A certificate or key cannot be used.
        """
        if not self.tls:
            return None
        file = self.ca_file
        try:
            context = _Context(ssl.PROTOCOL_TLS_CLIENT)
            context.timeout_s = self.timeout_s
            if self.ca_file is None:
                context.load_default_certs()
            else:
                context.load_verify_locations(self.ca_file)
            if self.cert_file is not None:
                file = self.cert_file
                context.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
        except OSError as error:
            reason = error.strerror if error.errno and not isinstance(error, ssl.SSLError) else None
            raise SinkError(
                f"{self.name}: {file}: cannot be used ({reason or 'no fitting PEM in it'})"
            ) from error
        return context


class _Context(ssl.SSLContext):
    """Checks certificate and name of the broker, within a time limit.

    paho-mqtt gives a broker that does not shake hands the whole keepalive, and leaves the socket
    of a failed handshake open.
    """

    timeout_s = 10.0

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,  # noqa: ARG002 always done here
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        wrapped = super().wrap_socket(
            sock, server_side, False, suppress_ragged_eofs, server_hostname, session
        )
        try:
            wrapped.settimeout(self.timeout_s)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


def _check_prefix(key: str, prefix: str) -> None:
    is_sound = (
        0 < len(prefix.encode()) <= _MAX_PREFIX
        and prefix.isprintable()
        and not any(mark in prefix for mark in "+#")
        and not prefix.startswith(("/", "$"))
        and not prefix.endswith("/")
    )
    if not is_sound:
        raise ConfigError(f"mqtt: {key} must be a plain topic without + and #, got {prefix!r}")


def _no_password() -> str:
    # Without this, OpenSSL would ask for the key's password on the terminal.
    return ""
