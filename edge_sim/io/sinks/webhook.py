"""Events posted to a web address."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
from threading import Event as Signal
from threading import Lock, Timer
from typing import Any
from urllib.parse import SplitResult, urlsplit

from edge_sim.core.events import Event, to_json_line
from edge_sim.errors import ConfigError, EventRejectedError, SinkError
from edge_sim.io.sinks.options import WebhookOptions

SIGNATURE_HEADER = "X-EdgeSim-Signature"
"""`sha256=` and the HMAC-SHA256 of the body under the secret, in hexadecimal."""

EVENT_ID_HEADER = "X-EdgeSim-Event-Id"

# These concern this event; all other failures concern the moment or the configuration, and the
# event waits until they are over.
REJECTIONS = frozenset({400, 405, 406, 409, 413, 414, 415, 422, 431})


_LONGEST_HEAD_BYTES = 65_536


class _BoundedLines:
    """Lines of the head of an answer, which must be complete and short."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left = _LONGEST_HEAD_BYTES

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._stream.readline(limit)
        if not line:
            raise http.client.IncompleteRead(line)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.HTTPException("the head of the answer is too long")
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Answer(http.client.HTTPResponse):
    """An answer whose head came whole."""

    def begin(self) -> None:
        stream = self.fp
        self.fp = _BoundedLines(stream)  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            if isinstance(self.fp, _BoundedLines):
                self.fp = stream


class WebhookSink:
    """One POST of JSON per event; anything from 200 to 299 is an acceptance.

    Redirects are not followed, proxies not used.

    Args:
        options: Address, secrets and limits.
        url: Address in parts; http or https.
        tls: Context of encryption; None for http.
    """

    def __init__(
        self, options: WebhookOptions, url: SplitResult, tls: ssl.SSLContext | None = None
    ) -> None:
        self._url = url
        self._timeout_s = options.timeout_s
        self._secret = None if options.secret is None else options.secret.encode()
        self._token = options.token
        self._tls = tls
        self._lock = Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._closed = False

    @classmethod
    def open(cls, options: WebhookOptions) -> WebhookSink:
        """Check the address; nothing is sent yet.

        Raises:
            ConfigError: The address, the secret or the token cannot be used.
            SinkError: The certificates cannot be used.
        """
        parts = _checked(options.url)
        for label, value in (("token", options.token), ("secret", options.secret)):
            if value is not None and (not value or not value.isprintable() or not value.isascii()):
                raise ConfigError(f"webhook {parts.hostname}: the {label} is not printable ASCII")
        tls = _tls(options.ca_file) if parts.scheme == "https" else None
        return cls(options, parts, tls)

    @property
    def name(self) -> str:
        """Scheme and host, and a digest of the rest, which may be secret."""
        digest = hashlib.sha256(self._url.geturl().encode()).hexdigest()[:6]
        port = f":{self._url.port}" if self._url.port else ""
        return f"webhook {self._url.scheme}://{self._url.hostname}{port} ({digest})"

    def emit(self, event: Event) -> None:
        """Post `event` and read the answer.

        Raises:
            EventRejectedError: The server rejects this event.
            SinkError: No connection, no answer in time, any other answer; or the sink was closed.
        """
        body = to_json_line(event)
        headers = self._headers(body) | {EVENT_ID_HEADER: event.id}
        status, location = self._answer("POST", body, headers)
        if 200 <= status < 300:
            return
        if status in REJECTIONS:
            raise EventRejectedError(f"{self.name}: rejected the event (status {status})")
        if location is not None:
            raise SinkError(f"{self.name}: redirects elsewhere (status {status}); use that address")
        raise SinkError(f"{self.name}: status {status}")

    def close(self) -> None:
        """Cut off a request that is under way."""
        with self._lock:
            self._closed = True
        self._cut_off()

    def request_options(self) -> int:
        """Send an OPTIONS request and return the status of the answer.

        Raises:
            SinkError: No connection, no answer in time; or the sink was closed.
        """
        return self._answer("OPTIONS", None, self._headers(b""))[0]

    def _answer(
        self, method: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str | None]:
        """Return status and `Location` of the answer."""
        connection, expired = self._connected(), Signal()

        def expire() -> None:
            expired.set()
            self._cut_off()

        deadline = Timer(self._timeout_s, expire)
        deadline.daemon = True
        deadline.start()
        try:
            target = self._url.path or "/"
            target += f"?{self._url.query}" if self._url.query else ""
            connection.request(method, target, body=body, headers=headers)
            answer = connection.getresponse()
            if expired.is_set():
                raise TimeoutError
            return answer.status, answer.getheader("Location")
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            # The socket has the same limit as the deadline: either may come first.
            late = expired.is_set() or isinstance(error, TimeoutError)
            reason = f"no answer within {self._timeout_s:g} s" if late else self._reason(error)
            raise SinkError(f"{self.name}: {reason}") from error
        finally:
            deadline.cancel()
            with self._lock:
                self._connection = None
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        host, port = str(self._url.hostname), self._url.port
        with self._lock:
            if self._closed:
                raise SinkError(f"{self.name}: the sink is closed")
            if self._tls is None:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
            else:
                self._connection = http.client.HTTPSConnection(
                    host, port, timeout=self._timeout_s, context=self._tls
                )
            self._connection.response_class = _Answer
            return self._connection

    def _cut_off(self) -> None:
        """End the request under way: a server that sends a byte now and then is never done."""
        with self._lock:
            connection = self._connection
            sock = None if connection is None else connection.sock
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _headers(self, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "edge_sim"}
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = signature(self._secret, body)
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _reason(self, error: Exception) -> str:
        if self._closed:
            return "cut off, the sink is closed"
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"no answer ({text})"


def signature(secret: bytes, body: bytes) -> str:
    """Return the value of `SIGNATURE_HEADER` for `body`; RFC 2104 with SHA-256."""
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


def _checked(url: str) -> SplitResult:
    """Return the parts of an address that can be posted to; errors do not repeat its secrets."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError("webhook: the url is not a web address (https://host/path)") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError("webhook: the url is not a web address (https://host/path)")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"webhook {parts.hostname}: no user or password in the url; use `token`")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(
            f"webhook {parts.hostname}: the url holds characters that must be escaped"
        )
    return parts._replace(fragment="")


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        reason = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise SinkError(f"webhook: {ca_file}: cannot be used ({reason})") from error
    # Python 3.13 began to reject authorities without extensions that private ones often lack.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
