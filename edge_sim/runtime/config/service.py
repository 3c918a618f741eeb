"""Sections of the configuration for the daemon, its HTTP server and its records of decisions."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from edge_sim.core.options import Count, Megabytes, Name, Options, PositiveSeconds, Ratio, Seconds
from edge_sim.runtime.config.yaml_reader import YamlReader

LISTEN_PATTERN = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$"
"""`host:port`, an IPv6 address in brackets."""
LEAST_TOKEN = 16


class DaemonConfig(Options, frozen=True):
    """Settings of `edge-sim daemon`.

    Args:
        state: File that keeps the last states and the learned thresholds over a restart; null keeps
            nothing.
        save_interval_s: Interval between two writes of the learned thresholds.
        workers: Sources processed at the same time, each with a model of its own; 0 takes as many
            as cores and sources allow, up to 4.
        nice: Priority given up for other programs: 0 for none, to 19.
        cpu_share: CPU time of the whole process as a share of one core; null for no limit.
    """

    state: str | None = "state.json"
    save_interval_s: PositiveSeconds = 300.0
    workers: Annotated[int, msgspec.Meta(ge=0, le=16)] = 1
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0
    cpu_share: Annotated[float, msgspec.Meta(gt=0)] | None = None


class ReviewConfig(Options, frozen=True):
    """Frames of uncertain observations, kept for a person to label.

    Args:
        path: Folder of the pictures; null keeps none.
        max_frames: Most frames kept; beyond, the oldest of the watch with the most is deleted.
        max_mb: Most space that they take.
        every_s: Least time between two frames of a watch, in seconds of frame time.
    """

    path: str | None = None
    max_frames: Count = 200
    max_mb: Annotated[float, msgspec.Meta(gt=0)] = 100.0
    every_s: Seconds = 600.0


class WebConfig(Options, frozen=True):
    """HTTP server: the page, its API, health, metrics and state.

    Args:
        listen: Address that the server listens on, as in 127.0.0.1:9713; null listens nowhere.
            Beyond this machine an account or a token is needed.
        token: Secret of programs, sent as `Authorization: Bearer`; 16 letters at least.
        accounts: File with the accounts of people and their passwords, hashed.
        certificate: Certificate of the server, PEM; with it, the server speaks TLS only.
        key: Key of the certificate, PEM.
        hosts: Names that the page is reached by, beside the name of this machine and every numeric
            address.
        trusted_proxies: Addresses or networks of reverse proxies whose headers are believed.
        requests_per_s: Requests of one address beyond which they are rejected.
        collection: Index of pictures that the page searches, made by `edge-sim index build`; null
            shows none.
    """

    listen: (
        Annotated[str, msgspec.Meta(pattern=LISTEN_PATTERN, description="an address is HOST:PORT")]
        | None
    ) = None
    token: Annotated[str, msgspec.Meta(min_length=LEAST_TOKEN)] | None = None
    accounts: str = "accounts.json"
    certificate: str | None = None
    key: str | None = None
    hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    requests_per_s: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    collection: str | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port; None if nothing is to listen."""
        if self.listen is None:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def local_address(self) -> tuple[str, int] | None:
        """Host and port by which this machine itself reaches the server; None without one."""
        if self.address is None:
            return None
        host, port = self.address
        # One that listens on every address of a family does so on its loopback, and on no other.
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port


class UpdatesConfig(Options, frozen=True):
    """Signed packs of references that the daemon takes by itself; `docs/fleet.md`.

    Args:
        uri: Folder of the packs, or its http or https address; null takes none. `${NAME}` is taken
            from the environment.
        root: File with the first keys to trust: root/1.json of that folder, brought here by a way
            that you trust.
        target: Product that this device is; it takes packs of that name only.
        group: Canary group, which takes a pack before others; null for none.
        every_s: Interval between two checks, spread by a tenth so that devices do not come at once.
        most_changed: Largest share of the last day, 0 to 1, that a pack may decide otherwise.
    """

    uri: str | None = None
    root: str | None = None
    target: Name | None = None
    group: Name | None = None
    every_s: PositiveSeconds = 21_600.0
    most_changed: Ratio = 0.2


def check_updates(updates: UpdatesConfig, reader: YamlReader) -> None:
    """Raise `ConfigError` for updates without keys to trust, or without a product."""
    if updates.uri is None:
        return
    for key, text in (
        ("root", "the file of the keys to trust, such as root/1.json"),
        ("target", "the product that this device is"),
    ):
        if getattr(updates, key) is None:
            raise reader.error("updates", f"updates: the key {key} is missing: {text}")


def check_review(review: ReviewConfig, *, on_disk: bool, reader: YamlReader) -> None:
    """Raise `ConfigError` for pictures on disk where the outbox is in memory."""
    if review.path is not None and not on_disk:
        raise reader.error(
            "review.path",
            "review.path: keeps pictures on the disk, and outbox.storage: memory keeps nothing of "
            "an event there; choose one",
        )


def check_web(web: WebConfig, reader: YamlReader) -> None:
    """Raise `ConfigError` for a server that cannot start.

    The server itself checks that beyond this machine an account or a token is needed: accounts are
    a file, which may be made later.
    """
    address = web.address
    if address is None:
        return
    if address[1] > 65535:
        raise reader.error("web.listen", f"web.listen: there is no port {address[1]}")
    if (web.certificate is None) != (web.key is None):
        raise reader.error("web", "web: certificate and key are only of use together")
    wrong = next((item for item in web.trusted_proxies if not _is_network(item)), None)
    if wrong is not None:
        raise reader.error(
            "web.trusted_proxies",
            f"web.trusted_proxies: {wrong!r} is no address or network, such as 172.30.32.2",
        )


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine itself, as nothing but this machine can reach it."""
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = getattr(number, "ipv4_mapped", None)  # of a client that a socket for IPv6 took
    return (mapped or number).is_loopback


class ExplanationsConfig(Options, frozen=True):
    """Explanations of changes of state, for `edge-sim explain`.

    Args:
        path: File of the explanations; null keeps none.
        max_mb: Size at which the file is renamed; one renamed file stays.
        observations: Observations before a change that are kept with it.
        pictures: Whether the picture of the region is kept as well.
    """

    earlier_keys: ClassVar[Mapping[str, str]] = {"looks": "observations"}
    path: str | None = "explanations.jsonl"
    max_mb: Megabytes = 8.0
    observations: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 40
    pictures: bool = False


class ScoreLogConfig(Options, frozen=True):
    """Log of the scores of every watch, for `edge-sim stats` and `edge-sim replay`.

    Args:
        path: File of the log; null writes none.
        every_s: Interval between two lines of a watch in seconds of frame time; 0 writes every
            observation, which a replay needs.
        max_mb: Size at which the file is renamed; one renamed file stays.
    """

    path: str | None = None
    every_s: Seconds = 60.0
    max_mb: Megabytes = 20.0
