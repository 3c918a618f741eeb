"""Options of every built-in kind of sink, which are the sections `sinks` of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from edge_sim.core.backoff import BACKOFF_S
from edge_sim.core.files import read_bounded
from edge_sim.core.options import INTERNAL, Megabytes, Options, Port, PositiveSeconds, Seconds
from edge_sim.errors import ConfigError, SinkError
from edge_sim.secrets import register_secret

Mode = Annotated[
    str, msgspec.Meta(pattern=r"^[0-7]{3}$", description="a mode has three digits from 0 to 7")
]
Whole = Annotated[int, msgspec.Meta(ge=0)]
DiscoveryMode: TypeAlias = Literal["device", "components"]
KeepAlive = Annotated[int, msgspec.Meta(ge=5, le=3600)]

_MAX_PREFIX = 200
_MAX_PASSWORD = 10_000  # bytes of the file
_TLS_PORT, _PORT = 8883, 1883


class StdoutOptions(Options, frozen=True, tag="stdout", tag_field="kind"):
    """Events as JSON lines on standard output."""


class FileOptions(Options, frozen=True, tag="file", tag_field="kind"):
    """Events as JSON lines appended to a file.

    Args:
        path: Name of the file; its folder must exist.
        max_mb: Size that the file does not exceed: it is renamed to `<name>.1` before; 0 lets it
            grow.
        keep: Number of renamed files that stay, `.1` the newest.
    """

    path: str = "events.jsonl"
    max_mb: Megabytes = 10.0
    keep: Whole = 5


class WebhookOptions(Options, frozen=True, tag="webhook", tag_field="kind"):
    """Events posted to a web address.

    Args:
        url: `https://host[:port]/path`, or http.
        timeout_s: Limit for everything together, from the connection to the answer.
        secret: Key of the signature; None sends none.
        token: Sent as `Authorization: Bearer`.
        ca_file: Certificates to trust instead of those of the system, PEM.
    """

    url: str
    timeout_s: PositiveSeconds = 10.0
    secret: str | None = None
    token: str | None = None
    ca_file: str | None = None


class CommandOptions(Options, frozen=True, tag="command", tag_field="kind"):
    """Events on the standard input of a program.

    Args:
        argv: Program and arguments.
        timeout_s: Time after which the program and all that it has started are killed.
    """

    argv: tuple[str, ...]
    timeout_s: PositiveSeconds = 10.0


class UnixSocketOptions(Options, frozen=True, tag="unix_socket", tag_field="kind"):
    """Events streamed to every program connected to a Unix socket.

    Args:
        path: Name of the socket; its folder must exist.
        mode: Permissions of the socket, octal: who may write to it may listen to events.
    """

    path: str = "edge_sim.sock"
    mode: Mode = "660"


class MqttOptions(Options, frozen=True, tag="mqtt", tag_field="kind"):
    """Events and states published to an MQTT broker, and announced to Home Assistant.

    Args:
        host: Name or address of the broker.
        port: Port of the broker; None is 8883 with TLS, 1883 without.
        username: User name; None logs in without one.
        password: Password of the user.
        password_file: File whose first line is the password, read at every connection; instead of
            `password`.
        tls: Encrypt, and check the broker's certificate and name.
        ca_file: Certificates to trust instead of those of the system, PEM.
        cert_file: Certificate of this client, PEM.
        key_file: Its key, if it is not in the same file.
        topic_prefix: First part of every topic.
        client_id: Must be unique at the broker; None takes `edge_sim-<device>`.
        keepalive_s: A broker that is silent for 1.5 times as long is gone.
        timeout_s: For connecting, and for the broker's receipt of an event.
        discovery: Announce the device to Home Assistant.
        discovery_prefix: Topic prefix of these announcements.
        discovery_mode: `device` announces all entities in one message, which needs Home Assistant
            2024.11 or later; `components` announces each on its own, for earlier versions.
        image: Show the region of a watch when it decides.
        embeddings: Publish the embedding of every change of state, for a collector.
        event_pictures: Publish the region at every change of state, for a collector.
        stats_interval_s: Between two reports of how the device does; 0 for none.
        repeat_s: Events of so many seconds before a new connection are published on it again, for
            a collector, which stores each once: a broker that is killed may have confirmed some
            that it did not keep. 0 repeats none.
        device: Name of this device, in every topic.
        backoff_s: Pauses between attempts to connect, the last one repeated.
    """

    host: str = "localhost"
    port: Port | None = None
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    topic_prefix: str = "edge_sim"
    client_id: str | None = None
    keepalive_s: KeepAlive = 60
    timeout_s: PositiveSeconds = 10.0
    discovery: bool = True
    discovery_prefix: str = "homeassistant"
    discovery_mode: DiscoveryMode = "device"
    image: bool = False
    embeddings: bool = False
    event_pictures: bool = False
    stats_interval_s: Seconds = 60.0
    repeat_s: Seconds = 0.0
    device: Annotated[str, INTERNAL] = ""
    backoff_s: Annotated[tuple[float, ...], INTERNAL] = BACKOFF_S

    @property
    def broker_port(self) -> int:
        """The port that is used."""
        return self.port or (_TLS_PORT if self.tls else _PORT)

    @property
    def own_client_id(self) -> str:
        """Client id of the device at the broker."""
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
            lines = read_bounded(self.password_file, _MAX_PASSWORD).decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise SinkError(f"{self.name}: {self.password_file}: cannot read ({reason})") from error
        if not lines or not lines[0]:
            raise SinkError(f"{self.name}: {self.password_file}: its first line is empty")
        register_secret(lines[0])
        return lines[0]


SinkOptions: TypeAlias = (
    StdoutOptions | FileOptions | MqttOptions | WebhookOptions | CommandOptions | UnixSocketOptions
)


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
