"""Who may ask the HTTP server, and how often."""

from __future__ import annotations

import ipaddress
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_sim.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask, and how often.

    Args:
        token: Asked of everybody; None asks nobody, and then nobody can teach.
        certificate: PEM file; None speaks plain HTTP.
        key: PEM file.
        requests_per_s: Of one address; those without the token are counted apart.
    """

    token: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    requests_per_s: float = 20.0

    def __repr__(self) -> str:
        return f"Access(token={'***' if self.token else None}, tls={self.certificate is not None})"


class RateLimit:
    """A bucket of requests that fills with `per_s`; safe to use from several threads."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._room = max(per_s, 1.0)
        self._left = self._room
        self._last_s = clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Return whether one more request may be answered now."""
        with self._lock:
            now_s = self._clock()
            self._left = min(self._room, self._left + (now_s - self._last_s) * self._per_s)
            self._last_s = now_s
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True


class AddressLimits:
    """One `RateLimit` per address, for the addresses that asked last.

    Args:
        per_s: Requests per second of one address.
        most: Addresses that are remembered; the one that asked longest ago is forgotten first.
        clock: Monotonic seconds.
    """

    def __init__(
        self, per_s: float, most: int = 256, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._most = most
        self._clock = clock
        self._limits: OrderedDict[str, RateLimit] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, address: str) -> bool:
        """Return whether one more request of this address may be answered now."""
        name = network_of(address)
        with self._lock:
            limit = self._limits.pop(name, None) or RateLimit(self._per_s, self._clock)
            self._limits[name] = limit
            if len(self._limits) > self._most:
                self._limits.popitem(last=False)
        return limit.take()


def network_of(address: str) -> str:
    """Return what counts as one caller: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(number, ipaddress.IPv4Address):
        return str(number)
    if number.ipv4_mapped is not None:
        return str(number.ipv4_mapped)
    return str(ipaddress.ip_network((number, 64), strict=False))


def is_local(host: str) -> bool:
    """Whether a Host header names this machine."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def tls_context(access: Access) -> ssl.SSLContext | None:
    """Return what speaks TLS for `access`; None if it wants none.

    Raises:
        ConfigError: The certificate or its key cannot be used.
    """
    if access.certificate is None or access.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(access.certificate, access.key)
    except (OSError, ValueError) as error:
        raise ConfigError(f"health.certificate: cannot be used ({error})") from error
    return context
