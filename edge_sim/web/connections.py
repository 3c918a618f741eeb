"""Connections of the web server: few, each with a time limit for the head of its request.

When all are in use, one without a request is closed for the next: the oldest of the address that
has most of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from edge_sim.web.limits import network_of

MAX_CONNECTIONS = 64
MAX_HANDSHAKES = 256
"""Connections whose encryption is being agreed on; far fewer than a process may have open files."""
HANDSHAKE_S = 5.0
REQUEST_S = 10.0
"""Longest time for a request to arrive whole, seconds; then its connection is closed."""
BODY_BYTES_PER_S = 20_000.0
"""A long body gets this much more time, bytes per second."""


class ConnectionTable:
    """Open connections of a server; for the thread of its event loop."""

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self._most = most
        self._open: set[BoundedProtocol] = set()
        self._begun: set[BoundedProtocol] = set()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, connection: BoundedProtocol) -> None:
        """Count a connection that was accepted and has yet to agree on its encryption.

        Raises:
            ConnectionAbortedError: There are too many of them; the event loop closes it.
        """
        if len(self._begun) >= MAX_HANDSHAKES:
            begun_s = connection.since_s - HANDSHAKE_S
            self._begun = {known for known in self._begun if known.since_s > begun_s}
            if len(self._begun) >= MAX_HANDSHAKES:
                raise ConnectionAbortedError("too many connections")
        self._begun.add(connection)

    def admit(self, connection: BoundedProtocol) -> bool:
        """Return whether a new connection is taken, closing a silent one for it if need be."""
        self._begun.discard(connection)
        if len(self._open) >= self._most and not self._make_room():
            return False
        self._open.add(connection)
        return True

    def remove(self, connection: BoundedProtocol) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)

    def close_late(self, now_s: float) -> None:
        """Close the connections whose request is overdue."""
        for connection in tuple(self._open):
            if now_s > connection.until_s:
                connection.abort()

    def close_all(self) -> None:
        """Close all connections at once."""
        for connection in tuple(self._open):
            connection.abort()

    def _make_room(self) -> bool:
        silent = [known for known in self._open if known.is_silent]
        if not silent:
            return False
        per_address = Counter(known.address for known in silent)
        victim = max(silent, key=lambda known: (per_address[known.address], -known.since_s))
        self.remove(victim)
        victim.abort()
        return True


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 connection that counts in a table and must send its request in time.

    Args:
        table: Open connections of the server.
        config: Configuration of uvicorn.
        server_state: State of the server of uvicorn.
    """

    def __init__(self, table: ConnectionTable, config: Config, server_state: ServerState) -> None:
        super().__init__(config=config, server_state=server_state, app_state={})
        self._table = table
        self.address = ""
        self.since_s = time.monotonic()
        table.begin(self)
        self.until_s = self.since_s + REQUEST_S
        """Time at which its request is overdue, monotonic seconds; infinite during the answer."""

    @property
    def is_silent(self) -> bool:
        """True while no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or close it if there are too many."""
        super().connection_made(transport)
        self.address = network_of(self.client[0]) if self.client else ""
        if not self._table.admit(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._table.remove(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle what has arrived, and set the time limit for the rest."""
        super().handle_events()
        if self.is_silent:
            return
        waits_for_body = self.cycle.more_body
        length = _length_of(self.headers) if waits_for_body else 0
        limit_s = REQUEST_S + length / BODY_BYTES_PER_S
        self.until_s = self.since_s + limit_s if waits_for_body else float("inf")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, once: a request whose body breaks off is not answered as well."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Begin the time of the next request on this connection."""
        self.since_s = time.monotonic()
        self.until_s = self.since_s + REQUEST_S
        super().on_response_complete()

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()


def _length_of(headers: list[tuple[bytes, bytes]]) -> float:
    text: Any = dict(headers).get(b"content-length", b"0")
    return float(text) if text.isdigit() and len(text) < 12 else 0.0
