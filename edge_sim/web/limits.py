"""Limits of requests by address."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable


class RateLimit:
    """Bucket of requests that fills with `per_s`; for one thread.

    Args:
        per_s: Requests per second.
        room: Requests that may come at once; as many as in one second by default.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        per_s: float,
        room: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_s = per_s
        self._clock = clock
        self._room = max(per_s if room is None else room, 1.0)
        self._left = self._room
        self._last_s = clock()

    def take(self) -> bool:
        """Take one request; return whether it may be answered now."""
        now_s = self._clock()
        self._left = min(self._room, self._left + (now_s - self._last_s) * self._per_s)
        self._last_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class AddressLimits:
    """Rate limits by address, for the addresses of the latest requests; for one thread.

    Args:
        per_s: Requests per second of one address.
        room: Requests of one address that may come at once; as many as in one second by default.
        most: Number of addresses that are kept; that of the oldest request is dropped first.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        per_s: float,
        room: float | None = None,
        *,
        most: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_s = per_s
        self._room_each = room
        self._most = most
        self._clock = clock
        self._limits: OrderedDict[str, RateLimit] = OrderedDict()

    def take(self, address: str) -> bool:
        """Take one request of this address; return whether it may be answered now."""
        name = network_of(address)
        limit = self._limits.pop(name, None)
        if limit is None:
            limit = RateLimit(self._per_s, self._room_each, self._clock)
        self._limits[name] = limit
        if len(self._limits) > self._most:
            self._limits.popitem(last=False)
        return limit.take()


def network_of(address: str) -> str:
    """Return the network of one caller: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(number, ipaddress.IPv4Address):
        return str(number)
    if number.ipv4_mapped is not None:
        return str(number.ipv4_mapped)
    return str(ipaddress.ip_network((number, 64), strict=False))
