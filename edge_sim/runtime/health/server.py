"""HTTP server: `http.server` of Python, because it needs no package, behind strict limits.

Few connections, each with a time limit; few requests per second and address; short requests; a
fixed table of paths. When all connections are in use, one without a request yet is closed for the
next. It speaks HTTP/1.0, one request per connection; a proxy in front may do more.
"""

from __future__ import annotations

import errno
import hmac
import http.server
import ipaddress
import logging
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from edge_sim.core.backoff import pause_s
from edge_sim.errors import ConfigError
from edge_sim.runtime.config.service import HealthConfig
from edge_sim.runtime.health.routes import JSON, TEXT, Page, Pages, stream_chunk


class RateLimit:
    """Bucket of requests that fills with `per_s`; safe to use from several threads."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._room = max(per_s, 1.0)
        self._left = self._room
        self._last_s = clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take one request; return whether it may be answered now."""
        with self._lock:
            now_s = self._clock()
            self._left = min(self._room, self._left + (now_s - self._last_s) * self._per_s)
            self._last_s = now_s
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True


class AddressLimits:
    """Rate limits by address, for the addresses of the latest requests.

    Args:
        per_s: Requests per second of one address.
        most: Number of addresses that are kept; that of the oldest request is dropped first.
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
        """Take one request of this address; return whether it may be answered now."""
        name = network_of(address)
        with self._lock:
            limit = self._limits.pop(name, None) or RateLimit(self._per_s, self._clock)
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


def is_local(host: str) -> bool:
    """Return whether a Host header names this machine."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def tls_context(config: HealthConfig) -> ssl.SSLContext | None:
    """Return the TLS context of `config`; None without a certificate.

    Raises:
        ConfigError: The certificate or its key cannot be used.
    """
    if config.certificate is None or config.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.certificate, config.key)
    except (OSError, ValueError) as error:
        raise ConfigError(f"health.certificate: cannot be used ({error})") from error
    return context


logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 16
MAX_STREAMS = 4
MAX_BODY_BYTES = 4096
REQUEST_S = 10.0
"""Longest duration of a request, seconds; then its connection is closed."""
_SILENT_S = 5.0
_WITHOUT_DESCRIPTORS_S = 0.5
_KEEP_ALIVE_S = 15.0


class HealthServer:
    """HTTP server with threads of its own, from `start` to `close`.

    Args:
        pages: Pages to serve.
        config: Address, token, absolute paths of certificate and key, and rate limit; port 0 takes
            a free one.

    Raises:
        ConfigError: The address cannot be used, or the certificate cannot be read.
    """

    def __init__(self, pages: Pages, config: HealthConfig) -> None:
        address = config.address
        if address is None:
            raise ConfigError("health.listen: no address is configured")
        context = tls_context(config)
        try:
            self._server = _Server(address, pages, config, context)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"health.listen: cannot listen on {address[0]}:{address[1]} ({error})"
            ) from error
        self.fault = ""
        """Error while the server does not answer; empty otherwise. It restarts by itself."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="health", daemon=True)

    @property
    def port(self) -> int:
        """Port of the socket."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and close all connections. Safe to call twice."""
        self._closing.set()
        if self._thread.is_alive():
            if not self.fault:
                self._server.shutdown()
            self._thread.join(1.0)
        self._server.server_close()
        self._server.cut_off(older_than_s=0.0)

    def _serve(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                self._server.serve_forever(0.25)
                return
            except Exception as error:  # noqa: PERF203 - the edge of the thread
                failures += 1
                self.fault = f"{type(error).__name__}: {error} (failure {failures})"
                logger.exception("the HTTP server broke and is started again")
                self._closing.wait(pause_s(failures))
                self.fault = ""


_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(slots=True)
class _ClientConnection:
    """Open connection: its caller, its start, and whether the head of a request has arrived."""

    address: str
    since_s: float
    has_request: bool = False


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(
        self,
        address: tuple[str, int],
        pages: Pages,
        config: HealthConfig,
        context: ssl.SSLContext | None,
    ) -> None:
        self.pages = pages
        self.token = config.token
        self.authorized = AddressLimits(config.requests_per_s)
        self.unauthorized = AddressLimits(config.requests_per_s)
        self.streams = threading.Semaphore(MAX_STREAMS)
        self._context = context
        self._open: dict[socket.socket, _ClientConnection] = {}
        self._out_of_descriptors = False
        self._open_lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            request = super().get_request()
        except OSError as error:
            if error.errno in _OUT_OF_DESCRIPTORS:
                self._wait_for_descriptors(error)
            raise
        self._out_of_descriptors = False
        return request

    def verify_request(self, request: Any, client_address: Any) -> bool:
        place = _ClientConnection(network_of(str(client_address[0])), time.monotonic())
        with self._open_lock:
            if len(self._open) >= MAX_CONNECTIONS and not self._make_room():
                return False
            self._open[request] = place
            return True

    def _make_room(self) -> bool:
        """Close a connection without a request: the oldest of the address with most of them."""
        silent = [(known, place) for known, place in self._open.items() if not place.has_request]
        if not silent:
            return False
        per_address = Counter(place.address for _, place in silent)
        victim, _ = max(silent, key=lambda item: (per_address[item[1].address], -item[1].since_s))
        del self._open[victim]
        with suppress(OSError):
            victim.shutdown(socket.SHUT_RDWR)
        return True

    def _wait_for_descriptors(self, error: OSError) -> None:
        """Pause: the waiting connection would be requested again at once, without end."""
        if not self._out_of_descriptors:
            logger.error("health: no connection can be taken: %s", error.strerror)
        self._out_of_descriptors = True
        time.sleep(_WITHOUT_DESCRIPTORS_S)

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(_SILENT_S)
        if self._context is None:
            super().finish_request(request, client_address)
            return
        # The handshake belongs here, in the connection's own thread: it may last for ever.
        secured = self._context.wrap_socket(
            request, server_side=True, do_handshake_on_connect=False
        )
        with self._open_lock:
            place = self._open.pop(request, None)
            if place is None:  # closed for another connection
                raise ConnectionAbortedError
            self._open[secured] = place
        try:
            secured.do_handshake()
            super().finish_request(secured, client_address)
        finally:
            self.shutdown_request(secured)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        self.cut_off(older_than_s=REQUEST_S)

    def keep_open(self, request: socket.socket) -> None:
        """Exempt a connection from the time limit: it carries a stream."""
        with self._open_lock:
            if request in self._open:
                self._open[request].since_s = float("inf")

    def has_request(self, request: socket.socket) -> None:
        """Record that the head of a request has arrived: the connection is kept."""
        with self._open_lock:
            if request in self._open:
                self._open[request].has_request = True

    def cut_off(self, *, older_than_s: float) -> None:
        """Close connections older than this; with 0 all of them."""
        now_s = time.monotonic()
        with self._open_lock:
            late = [
                known
                for known, place in self._open.items()
                if older_than_s <= 0.0 or now_s - place.since_s > older_than_s
            ]
        for known in late:
            with suppress(OSError):
                known.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        # By default the error goes to stderr with its whole stack.
        logger.debug("health: a connection broke off: %s", sys.exc_info()[1])


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    server_version = "edge_sim"
    sys_version = ""
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        if not self._is_allowed():
            return
        path = self.path.partition("?")[0]
        if path == "/events":
            self._stream()
            return
        page = self.server.pages.get(path)
        self._answer(page or Page(404, TEXT, b"not found\n"))

    def do_HEAD(self) -> None:
        if not self._is_allowed():
            return
        page = self.server.pages.get(self.path.partition("?")[0])
        self._answer(page or Page(404, TEXT, b"not found\n"))

    def do_POST(self) -> None:
        if not self._is_allowed():
            return
        if self.path != "/teach":
            self._answer(Page(404, TEXT, b"not found\n"))
            return
        if self.server.token is None:
            self._answer(Page(403, TEXT, b"teaching needs health.token in the configuration\n"))
            return
        body = self._body()
        if body is not None:
            self._answer(self.server.pages.teach(body))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer an invalid request in one line: the usual page would repeat its content."""
        logger.debug("health: %d %r %r", code, message, explain)
        self._answer(Page(code, TEXT, f"{HTTPStatus(code).phrase.lower()}\n".encode("ascii")))

    def _is_allowed(self) -> bool:
        """Return whether the request may be answered; rejected ones are counted apart."""
        self.server.has_request(self.connection)
        address = str(self.client_address[0])
        rejection = self._rejection()
        limits = self.server.authorized if rejection is None else self.server.unauthorized
        if not limits.take(address):
            rejection = Page(429, TEXT, b"too many requests\n")
        if rejection is not None:
            self._answer(rejection)
        return rejection is None

    def _rejection(self) -> Page | None:
        token = self.server.token
        if token is None:
            # Another site's page in a browser on this machine must not read the answers by
            # pointing its own name at 127.0.0.1.
            if is_local(self.headers.get("Host", "")):
                return None
            return Page(421, TEXT, b"use 127.0.0.1 or localhost, or set health.token\n")
        given = self.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {token}".encode()):
            return None
        return Page(401, TEXT, b"a token is needed\n")

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != JSON:
            self._answer(Page(415, TEXT, b"the body must be application/json\n"))
        elif not (length.isascii() and length.isdecimal()):
            self._answer(Page(411, TEXT, b"Content-Length is missing\n"))
        elif len(length) > 9 or int(length) > MAX_BODY_BYTES:
            self._answer(Page(413, TEXT, b"too long\n"))
        else:
            return self.rfile.read(int(length))
        return None

    def _stream(self) -> None:
        if not self.server.streams.acquire(blocking=False):
            self._answer(Page(503, TEXT, b"too many streams\n"))
            return
        try:
            self.server.keep_open(self.connection)
            self._send_events()
        finally:
            self.server.streams.release()

    def _send_events(self) -> None:
        board = self.server.pages.board
        number = board.last_event
        known = self.headers.get("Last-Event-ID", "")
        if known.isascii() and known.isdecimal() and len(known) < 18:
            number = min(number, int(known))
        self.send_response(200)
        self._common_headers("text/event-stream")
        self.end_headers()
        self.wfile.write(b": edge_sim\n\n")
        while (found := board.events_after(number, _KEEP_ALIVE_S)) is not None:
            chunks = [stream_chunk(at, event) for at, event in found]
            self.wfile.write(b"".join(chunks) or b": still here\n\n")
            number = found[-1][0] if found else number

    def _answer(self, page: Page) -> None:
        self.send_response(page.status)
        self._common_headers(page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        if page.status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def _common_headers(self, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")

    def log_message(self, format: str, *args: Any) -> None:
        # Content of requests is logged escaped only.
        logger.debug("health: %r", format % args)
