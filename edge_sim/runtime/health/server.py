"""Who may ask the HTTP server, and how often.

The HTTP server. `http.server` of Python, because it needs no package, behind strict limits:

few connections, each with a time limit; few requests per second and address; short requests; a
fixed table of paths. Where all places are taken, a connection that has not asked yet makes room.
It speaks HTTP/1.0, one request per connection. Whoever needs more puts a proxy in front.
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
from pathlib import Path
from typing import Any

from edge_sim.core.backoff import pause_s
from edge_sim.errors import ConfigError
from edge_sim.runtime.health.routes import JSON, TEXT, Page, Pages, stream_chunk


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


logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 16
MAX_STREAMS = 4
MAX_BODY_BYTES = 4096
REQUEST_S = 10.0
"""A request that is not over by then is cut off, however slowly its bytes still come."""
_SILENT_S = 5.0
_WITHOUT_DESCRIPTORS_S = 0.5
_KEEP_ALIVE_S = 15.0


class HealthServer:
    """Answers in its own threads from `start` to `close`.

    Args:
        address: Host and port; port 0 takes a free one.
        pages: What there is to see.
        access: Who may see it.

    Raises:
        ConfigError: The address cannot be used, or the certificate cannot be read.
    """

    def __init__(self, address: tuple[str, int], pages: Pages, access: Access) -> None:
        context = tls_context(access)
        try:
            self._server = _Server(address, pages, access, context)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"health.listen: cannot listen on {address[0]}:{address[1]} ({error})"
            ) from error
        self.fault = ""
        """Why it does not answer now; empty while it does. It is started again by itself."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="health", daemon=True)

    @property
    def port(self) -> int:
        """Of the socket."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and cut connections off. Safe to call twice."""
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
    """One open connection: the caller, the time it came, and whether the head of a request did."""

    address: str
    since_s: float
    has_asked: bool = False


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(
        self,
        address: tuple[str, int],
        pages: Pages,
        access: Access,
        context: ssl.SSLContext | None,
    ) -> None:
        self.pages = pages
        self.access = access
        self.known = AddressLimits(access.requests_per_s)
        self.strangers = AddressLimits(access.requests_per_s)
        self.streams = threading.Semaphore(MAX_STREAMS)
        self._context = context
        self._open: dict[socket.socket, _ClientConnection] = {}
        self._out_of_descriptors = False
        self._open_lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            found = super().get_request()
        except OSError as error:
            if error.errno in _OUT_OF_DESCRIPTORS:
                self._wait_for_descriptors(error)
            raise
        self._out_of_descriptors = False
        return found

    def verify_request(self, request: Any, client_address: Any) -> bool:
        place = _ClientConnection(network_of(str(client_address[0])), time.monotonic())
        with self._open_lock:
            if len(self._open) >= MAX_CONNECTIONS and not self._make_room():
                return False
            self._open[request] = place
            return True

    def _make_room(self) -> bool:
        """End a connection that has not asked yet: the oldest of who has most of them."""
        silent = [(known, place) for known, place in self._open.items() if not place.has_asked]
        if not silent:
            return False
        per_address = Counter(place.address for _, place in silent)
        victim, _ = max(silent, key=lambda item: (per_address[item[1].address], -item[1].since_s))
        del self._open[victim]
        with suppress(OSError):
            victim.shutdown(socket.SHUT_RDWR)
        return True

    def _wait_for_descriptors(self, error: OSError) -> None:
        """Pause: the connection that waits would be asked for again at once, for ever."""
        if not self._out_of_descriptors:
            logger.error("health: no connection can be taken: %s", error.strerror)
        self._out_of_descriptors = True
        time.sleep(_WITHOUT_DESCRIPTORS_S)

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(_SILENT_S)
        if self._context is None:
            super().finish_request(request, client_address)
            return
        # The handshake belongs here, in the connection's own thread: it may never end.
        secured = self._context.wrap_socket(
            request, server_side=True, do_handshake_on_connect=False
        )
        with self._open_lock:
            place = self._open.pop(request, None)
            if place is None:  # it has made room for another
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

    def may_last(self, request: socket.socket) -> None:
        """Let a connection last: a stream."""
        with self._open_lock:
            if request in self._open:
                self._open[request].since_s = float("inf")

    def has_asked(self, request: socket.socket) -> None:
        """Note that the head of a request has come: the connection keeps its place."""
        with self._open_lock:
            if request in self._open:
                self._open[request].has_asked = True

    def cut_off(self, *, older_than_s: float) -> None:
        """End connections that last too long; with 0 all of them."""
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
        # Called while the error is handled: by default it goes to stderr with its whole stack.
        logger.debug("health: a connection broke off: %s", sys.exc_info()[1])


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    server_version = "edge_sim"
    sys_version = ""
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        if not self._may_ask():
            return
        path = self.path.partition("?")[0]
        if path == "/events":
            self._stream()
            return
        page = self.server.pages.get(path)
        self._answer(page or Page(404, TEXT, b"not found\n"))

    def do_HEAD(self) -> None:
        if not self._may_ask():
            return
        page = self.server.pages.get(self.path.partition("?")[0])
        self._answer(page or Page(404, TEXT, b"not found\n"))

    def do_POST(self) -> None:
        if not self._may_ask():
            return
        if self.path != "/teach":
            self._answer(Page(404, TEXT, b"not found\n"))
            return
        if self.server.access.token is None:
            self._answer(Page(403, TEXT, b"teaching needs health.token in the configuration\n"))
            return
        body = self._body()
        if body is not None:
            self._answer(self.server.pages.teach(body))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request in one line: the usual page would repeat what was sent."""
        logger.debug("health: %d %r %r", code, message, explain)
        self._answer(Page(code, TEXT, f"{HTTPStatus(code).phrase.lower()}\n".encode("ascii")))

    def _may_ask(self) -> bool:
        """Return whether the request may be answered; those who may not are counted apart."""
        self.server.has_asked(self.connection)
        address = str(self.client_address[0])
        refusal = self._refusal()
        limits = self.server.known if refusal is None else self.server.strangers
        if not limits.take(address):
            refusal = Page(429, TEXT, b"too many requests\n")
        if refusal is not None:
            self._answer(refusal)
        return refusal is None

    def _refusal(self) -> Page | None:
        token = self.server.access.token
        if token is None:
            # Another site's page in a browser on this machine must not read the answers by
            # pointing its own name at 127.0.0.1.
            if is_local(self.headers.get("Host", "")):
                return None
            return Page(421, TEXT, b"ask by 127.0.0.1 or localhost, or set health.token\n")
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
            self.server.may_last(self.connection)
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
        # Nothing that a stranger sends goes to the log as it is.
        logger.debug("health: %r", format % args)
