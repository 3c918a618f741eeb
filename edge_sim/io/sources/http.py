"""HTTP client for cameras: bounded in size and time, confined to the host of the address.

A camera may be hostile, or be imitated. Redirects stay on its host, certificates are verified, and
the password is sent only after the camera asked for one.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.uri import masked

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
MAX_BODY_BYTES = 32 << 20
"""Largest picture; an uncompressed one of 10 megapixels."""
_MAX_HEAD_BYTES = 65_536
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PIECE_BYTES = 65_536
_STATUS_LINE = re.compile(rb"HTTP/1\.\d (\d{3})\b")
_CHALLENGE = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')
_CHALLENGE_HEADER = "www-authenticate"
_DIGESTS = {"MD5": "md5", "SHA-256": "sha256"}
_SAFE = "%/:=&?~+!$,;'@()*[]|"


class ByteReader:
    """Buffered bytes of a connection or of a body.

    Args:
        more: Returns the next bytes; none at the end.
    """

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self._buffer = bytearray()

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes, fewer at the end, and keep them."""
        while len(self._buffer) < count and self._fill():
            pass
        return bytes(self._buffer[:count])

    def some(self) -> bytes:
        """Return the next bytes, as they come; none at the end."""
        if not self._buffer:
            return self._more()
        return self._take(len(self._buffer))

    def line(self) -> bytes | None:
        """Return the next line without its end; None at the end.

        Raises:
            ValueError: The line is too long.
        """
        found = self.until((b"\n",), _MAX_HEAD_BYTES)
        if found is None:
            return None
        self._take(1)
        return found.removesuffix(b"\r")

    def until(self, marks: tuple[bytes, ...], limit: int) -> bytes | None:
        """Return the bytes before the first of `marks`; None where none of them comes.

        Raises:
            ValueError: None of them comes within `limit` bytes.
        """
        searched, longest = 0, max(len(mark) for mark in marks)
        while True:
            places = [self._buffer.find(mark, searched) for mark in marks]
            found = min((place for place in places if place >= 0), default=-1)
            if found >= 0:
                return self._take(found)
            searched = max(len(self._buffer) - longest + 1, 0)
            if len(self._buffer) > limit:
                raise ValueError(f"more than {limit} bytes")
            if not self._fill():
                return None

    def exactly(self, count: int) -> bytes | None:
        """Return `count` bytes; None where fewer come."""
        while len(self._buffer) < count:
            if not self._fill():
                return None
        return self._take(count)

    def rest(self, limit: int) -> bytes:
        """Return everything up to the end.

        Raises:
            ValueError: It is longer than `limit` bytes.
        """
        while self._fill():
            if len(self._buffer) > limit:
                raise ValueError(f"more than {limit} bytes")
        return self._take(len(self._buffer))

    def _fill(self) -> bool:
        data = self._more()
        self._buffer += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


class TimedSocket:
    """Socket whose reads end at a deadline.

    Args:
        sock: Connected.
        limit_s: Seconds from now, or from the last `extend`, in which reads may take place.
    """

    def __init__(self, sock: socket.socket, limit_s: float) -> None:
        self._sock = sock
        self._limit_s = limit_s
        self.extend(limit_s)

    def extend(self, limit_s: float | None = None) -> None:
        """Start the time limit anew."""
        self._limit_s = self._limit_s if limit_s is None else limit_s
        self._deadline_s = time.monotonic() + self._limit_s

    def send(self, data: bytes) -> None:
        """Send all bytes."""
        self._sock.settimeout(self._left_s())
        self._sock.sendall(data)

    def receive(self) -> bytes:
        """Return the next bytes; none at the end."""
        self._sock.settimeout(self._left_s())
        return self._sock.recv(_PIECE_BYTES)

    def close(self) -> None:
        """End the connection, also under a thread that reads it."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _left_s(self) -> float:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"no answer within {self._limit_s:g} s")
        return left_s


@dataclass(slots=True)
class CameraAnswer:
    """Status, headers (names in lower case) and unread body of an answer."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: ByteReader
    connection: TimedSocket

    @property
    def content_type(self) -> str:
        """Type of the content without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class HttpClient:
    """Asks one camera.

    Args:
        options: Time-outs, `verify` and `ca_file`.

    Raises:
        ConfigError: The file of certificates cannot be used.
    """

    def __init__(self, options: SourceOptions) -> None:
        self._open_s = options.open_timeout_s * 0.8
        self._read_s = options.read_timeout_s * 0.8
        self._tls = tls_context(options)
        self._digest_count = 0

    def get(self, url: str) -> CameraAnswer:
        """Return the answer of the last address of a row of redirects; its status is 2xx.

        Raises:
            SourceError: No such answer; the message does not name the source.
        """
        user = urlsplit(url)
        for _ in range(_MAX_REDIRECTS + 1):
            answer = self._ask(url, user)
            if answer.status not in _REDIRECTS:
                if 200 <= answer.status < 300:
                    answer.connection.extend(self._read_s)
                    return answer
                answer.connection.close()
                raise SourceError(in_words(answer.status, user))
            answer.connection.close()
            url = redirect_target(url, answer.headers.get("location", ""))
        raise SourceError(f"it redirects more than {_MAX_REDIRECTS} times")

    def _ask(self, url: str, user: SplitResult) -> CameraAnswer:
        """Return the answer to one address; a challenge is met once."""
        answer = self._exchange(url, None)
        challenges = answer.headers.get(_CHALLENGE_HEADER, "")
        if answer.status != 401 or user.username is None:
            return answer
        answer.connection.close()
        self._digest_count += 1
        header = authorization(
            challenges, "GET", target_of(urlsplit(url)), user, self._digest_count
        )
        return answer if header is None else self._exchange(url, header)

    def _exchange(self, url: str, authorization: str | None) -> CameraAnswer:
        parts = urlsplit(url)
        connection = self._connect(parts)
        host = parts.netloc.rpartition("@")[2]
        head = f"GET {target_of(parts)} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: edge_sim\r\n"
        head += "Accept: */*\r\nConnection: close\r\n"
        if authorization is not None:
            head += f"Authorization: {authorization}\r\n"
        try:
            connection.send(f"{head}\r\n".encode("ascii", "ignore"))
            return _answer(url, connection)
        except (OSError, ValueError) as error:
            connection.close()
            reason = str(error) if isinstance(error, TimeoutError) else f"no answer ({error})"
            if isinstance(error, ConnectionResetError) or not str(error):
                reason = f"what listens there does not speak {parts.scheme}; check scheme and port"
            raise SourceError(reason) from error

    def _connect(self, parts: SplitResult) -> TimedSocket:
        host, port = address_of(parts)
        try:
            sock = socket.create_connection((host, port), timeout=self._open_s)
        except (OSError, UnicodeError) as error:
            raise SourceError(connect_failure(error, host, port)) from error
        if parts.scheme == "https":
            sock = encrypted(sock, host, self._tls)
        return TimedSocket(sock, self._open_s)


def authorization(
    challenges: str, method: str, target: str, user: SplitResult, count: int
) -> str | None:
    """Return the value of the header that answers a challenge; None for unknown kinds.

    Args:
        challenges: Values of the headers that ask for it, one a line.
        method: Method of the request.
        target: Its path and query, or in RTSP its whole address.
        user: Address with user and password.
        count: Number of this request, from 1.
    """
    name, password = unquote(user.username or ""), unquote(user.password or "")
    # Digest first: Basic sends the password itself.
    for challenge in sorted(challenges.split("\n"), key=lambda text: text.lower()[:6] != "digest"):
        scheme, _, rest = challenge.strip().partition(" ")
        if scheme.lower() == "basic" or not challenge:
            return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
        if scheme.lower() == "digest":
            fields = {key.lower(): a or b for key, a, b in _CHALLENGE.findall(rest)}
            header = digest_header(fields, name, password, target, count, method)
            if header is not None:
                return header
    return None


def digest_header(
    fields: Mapping[str, str],
    user: str,
    password: str,
    target: str,
    count: int,
    method: str = "GET",
) -> str | None:
    """Return an `Authorization` of RFC 7616; None if it wants what we do not know.

    Args:
        fields: Fields of the challenge, names in lower case.
        user: Name of the user.
        password: Password of the user.
        target: Path and query.
        count: Number of this request, from 1.
        method: Method of the request.
    """
    algorithm = fields.get("algorithm", "MD5")
    kind = _DIGESTS.get(algorithm.upper())
    qops = [item.strip() for item in fields.get("qop", "").split(",") if item.strip()]
    if kind is None or (qops and "auth" not in qops):
        return None

    def digest(text: str) -> str:
        return hashlib.new(kind, text.encode(), usedforsecurity=False).hexdigest()

    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    first, second = digest(f"{user}:{realm}:{password}"), digest(f"{method}:{target}")
    parts = {"username": user, "realm": realm, "nonce": nonce, "uri": target}
    if "opaque" in fields:
        parts["opaque"] = fields["opaque"]
    header = ""
    if qops:
        own, number = secrets.token_hex(8), f"{count:08x}"
        parts["cnonce"] = own
        parts["response"] = digest(f"{first}:{nonce}:{number}:{own}:auth:{second}")
        header = f", qop=auth, nc={number}"
    else:
        parts["response"] = digest(f"{first}:{nonce}:{second}")
    quoted = ", ".join(f'{key}="{value}"' for key, value in parts.items())
    return f"Digest {quoted}, algorithm={algorithm}{header}"


def redirect_target(url: str, location: str) -> str:
    """Return the address to which a camera redirects.

    Raises:
        SourceError: It leaves the camera's host, or cannot be read.
    """
    try:
        target = urljoin(url, location)
    except ValueError:
        target = location
    if not same_host(url, target):
        raise SourceError(
            f"it redirects to {masked(target)[:200]!r}, which is not the same host; if that is "
            f"right, configure that address"
        )
    return target


def same_host(before: str, after: str) -> bool:
    """Return whether an address stays on the host and port of another one.

    A change from http to https, or from rtsp to rtsps, is allowed, the way back is not.
    """
    try:
        old, new = urlsplit(before), urlsplit(after)
        ports = [parts.port or PORTS.get(parts.scheme) for parts in (old, new)]
    except ValueError:
        return False
    if new.scheme not in PORTS or not new.hostname or old.hostname != new.hostname:
        return False
    if new.scheme == f"{old.scheme}s":
        return True
    return old.scheme == new.scheme and ports[0] == ports[1]


def checked_address(uri: str) -> SplitResult:
    """Return the parts of the address of a network camera.

    Raises:
        ConfigError: It names no host, or cannot be read; the message does not name the source.
    """
    try:
        parts = urlsplit(uri)
        address_of(parts)
    except (ValueError, KeyError) as error:
        raise ConfigError(
            "the address cannot be read; in user and password write @ as %40 and / as %2F"
        ) from error
    if not parts.hostname:
        raise ConfigError("the address names no host")
    return parts


def address_of(parts: SplitResult) -> tuple[str, int]:
    """Return host and port.

    Raises:
        ValueError: The port is none.
        KeyError: The scheme is unknown.
    """
    return parts.hostname or "", parts.port or PORTS[parts.scheme]


def target_of(parts: SplitResult) -> str:
    """Return path and query, escaped."""
    return quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_SAFE)


def tls_context(options: SourceOptions) -> ssl.SSLContext:
    """Return the context of encrypted connections to a camera.

    Raises:
        ConfigError: The file of certificates cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError as error:
        reason = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"ca_file: {options.ca_file}: cannot be used ({reason})") from error
    # Private authorities often lack extensions that Python 3.13 began to demand.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def encrypted(sock: socket.socket, host: str, context: ssl.SSLContext) -> socket.socket:
    """Return the encrypted connection over `sock`, which is closed where that fails.

    Raises:
        SourceError: No TLS, or a certificate that is not trusted.
    """
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise SourceError(
            f"the certificate of {host} is not trusted ({error.verify_message.rstrip('.')}); set "
            f"ca_file to the certificate of the camera or its authority, or verify: false"
        ) from error
    except OSError as error:
        sock.close()
        raise SourceError("what listens there does not speak TLS; check scheme and port") from error


def connect_failure(error: Exception, host: str, port: int) -> str:
    """Return the reason why a connection failed, in words."""
    if isinstance(error, socket.gaierror):
        return f"no host is called {host}"
    if isinstance(error, UnicodeError):
        return "the address names no host"
    if isinstance(error, ConnectionRefusedError):
        return (
            f"nothing listens on port {port} of {host}; check the port, and that the camera is on"
        )
    return f"{host} does not answer on port {port}; check the address, and that the camera is on"


def in_words(status: int | None, parts: SplitResult) -> str:
    """Return the meaning of the status that a camera answered with; None is no answer."""
    if status is None:
        return f"what listens there does not speak {parts.scheme}; check scheme and port"
    if status in (401, 403):
        if parts.username is None:
            return f"it wants a user and a password: {parts.scheme}://USER:PASSWORD@..."
        return "it wants a user and a password; check those of the address, and the path after them"
    if status == 404:
        return f"it has nothing at {masked(parts.path or '/')}; check the path"
    if 200 <= status < 300:
        return "it answers, but sends no video that can be read"
    return f"it answers with the error {status}"


def _answer(url: str, connection: TimedSocket) -> CameraAnswer:
    raw = ByteReader(connection.receive)
    first = raw.line()
    match = _STATUS_LINE.match(first or b"")
    if match is None:
        raise ValueError("")
    headers: dict[str, str] = {}
    size = 0
    while line := raw.line():
        size += len(line)
        if size > _MAX_HEAD_BYTES:
            raise ValueError("its head is too long")
        key, _, value = line.decode("latin-1").partition(":")
        name, value = key.strip().lower(), value.strip()
        if name == _CHALLENGE_HEADER and name in headers:
            headers[name] += f"\n{value}"
        else:
            headers.setdefault(name, value)
    body = ByteReader(_body(raw, headers))
    return CameraAnswer(url, int(match[1]), headers, body, connection)


def _body(raw: ByteReader, headers: Mapping[str, str]) -> Callable[[], bytes]:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _Chunks(raw).more
    length = headers.get("content-length", "")
    return _Counted(raw, int(length)).more if length.isdecimal() else raw.some


class _Counted:
    """Body of a length that the head announced."""

    def __init__(self, raw: ByteReader, left: int) -> None:
        self._raw = raw
        self._left = left

    def more(self) -> bytes:
        if self._left <= 0:
            return b""
        data = self._raw.some()[: self._left]
        if not data:
            raise ConnectionError("the answer breaks off")
        self._left -= len(data)
        return data


class _Chunks:
    """Body in chunks (RFC 9112, 7.1)."""

    def __init__(self, raw: ByteReader) -> None:
        self._raw = raw
        self._ended = False

    def more(self) -> bytes:
        while not self._ended:
            line = self._raw.line()
            if line == b"":
                continue  # the end of the chunk before
            try:
                size = int((line or b"").partition(b";")[0], 16)
            except ValueError as error:
                raise ConnectionError("the answer breaks off") from error
            if size <= 0:
                self._ended = True
            elif size > MAX_BODY_BYTES:
                raise ConnectionError(f"a chunk of {size} bytes")
            else:
                data = self._raw.exactly(size)
                if data is None:
                    raise ConnectionError("the answer breaks off")
                return data
        return b""
