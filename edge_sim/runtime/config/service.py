"""Sections of the configuration for the daemon, its HTTP server and its records of decisions."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from edge_sim.core.options import Count, Megabytes, Options, PositiveSeconds, Seconds
from edge_sim.runtime.config.yaml_reader import YamlReader

LISTEN_PATTERN = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$"
"""`host:port`, an IPv6 address in brackets."""
LEAST_TOKEN = 16


class DaemonConfig(Options, frozen=True):
    """Settings of `edge-sim daemon`."""

    state: str | None = "state.json"
    save_interval_s: PositiveSeconds = 300.0
    workers: Annotated[int, msgspec.Meta(ge=0, le=16)] = 1
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0
    cpu_share: Annotated[float, msgspec.Meta(gt=0)] | None = None


class ReviewConfig(Options, frozen=True):
    """Frames of uncertain observations, kept for a person to label."""

    path: str | None = None
    max_frames: Count = 200
    max_mb: Annotated[float, msgspec.Meta(gt=0)] = 100.0
    every_s: Seconds = 600.0


class HealthConfig(Options, frozen=True):
    """HTTP server for health, metrics and state."""

    listen: (
        Annotated[str, msgspec.Meta(pattern=LISTEN_PATTERN, description="an address is HOST:PORT")]
        | None
    ) = None
    token: Annotated[str, msgspec.Meta(min_length=LEAST_TOKEN)] | None = None
    certificate: str | None = None
    key: str | None = None
    requests_per_s: Annotated[float, msgspec.Meta(gt=0)] = 20.0

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port; None if nothing is to listen."""
        if self.listen is None:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def check_review(review: ReviewConfig, *, on_disk: bool, reader: YamlReader) -> None:
    """Raise `ConfigError` for pictures on disk where the outbox is in memory."""
    if review.path is not None and not on_disk:
        raise reader.error(
            "review.path",
            "review.path: keeps pictures on the disk, and outbox.storage: memory keeps nothing of "
            "an event there; choose one",
        )


def check_health(health: HealthConfig, reader: YamlReader) -> None:
    """Raise `ConfigError` for a server that cannot start or is open to everybody."""
    address = health.address
    if address is None:
        return
    host, port = address
    if port > 65535:
        raise reader.error("health.listen", f"health.listen: there is no port {port}")
    if health.token is None and not is_loopback(host):
        raise reader.error(
            "health.listen",
            f"health.listen: {host} can be reached from outside; set health.token, "
            f"or listen on 127.0.0.1",
        )
    if (health.certificate is None) != (health.key is None):
        raise reader.error("health", "health: certificate and key are only of use together")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class ExplanationsConfig(Options, frozen=True):
    """Explanations of changes of state, for `edge-sim explain`."""

    earlier_keys: ClassVar[Mapping[str, str]] = {"looks": "observations"}
    path: str | None = "explanations.jsonl"
    max_mb: Megabytes = 8.0
    observations: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 40
    pictures: bool = False


class ScoreLogConfig(Options, frozen=True):
    """Log of the scores of every watch, for `edge-sim stats` and `edge-sim replay`."""

    path: str | None = None
    every_s: Seconds = 60.0
    max_mb: Megabytes = 20.0
