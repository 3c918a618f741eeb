"""Relay between FFmpeg and one RTSP camera, which keeps both on the host of the address.

FFmpeg follows a redirect to any host, verifies no certificate, and has the password. So it is given
an address on loopback instead. The relay connects to the camera, verifies it, answers its
challenges, follows redirects on its host only, and writes each answer anew, with the headers that
playing needs and no other: nothing that the camera sends can make FFmpeg connect elsewhere.

Messages: RFC 2326, chapters 4 to 12; interleaved packets: chapter 10.12.
"""

from __future__ import annotations

import re
import secrets
import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from edge_sim.errors import SourceError
from edge_sim.io.sources.http import (
    address_of,
    authorization,
    connect_failure,
    encrypted,
    in_words,
    redirect_target,
    target_of,
    tls_context,
)
from edge_sim.io.sources.options import SourceOptions

_INNER = 0.8
_MAX_HEAD_BYTES = 65_536
_MAX_BODY_BYTES = 1 << 20
_MAX_REDIRECTS = 5
_PIECE_BYTES = 65_536
_TURN_S = 1.0
_JOIN_S = 1.0
_MARK = 0x24  # the dollar sign before an interleaved packet
_LEAST_PACKET = 8
"""Bytes of the shortest RTCP packet. FFmpeg would read the content of a shorter one as text."""
_STATUS = re.compile(rb"RTSP/\d\.\d (\d{3})\b")
_RESUME = re.compile(rb"\$|RTSP/1\.")
_PASSED = (
    "content-type",
    "content-base",
    "content-location",
    "session",
    "transport",
    "public",
    "range",
    "rtp-info",
    "www-authenticate",
)
"""Headers of an answer that FFmpeg gets to see."""
_PEERS = re.compile(r";\s*(?:source|destination)=[^;,]*", re.IGNORECASE)


@dataclass(slots=True)
class _Message:
    """A request or an answer: first line, headers with names in lower case, body."""

    first: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class _Request:
    """A request of FFmpeg that was sent to the camera."""

    message: _Message
    number: str
    challenges: int = 0


class RtspRelay:
    """Connection to one camera, and an address on loopback at which FFmpeg finds it.

    Args:
        uri: Address of the camera, rtsp or rtsps.
        options: Time-outs, `verify`, `ca_file`.

    Raises:
        ConfigError: The file of certificates cannot be used.
        SourceError: The camera does not answer; the message does not name the source.
    """

    def __init__(self, uri: str, options: SourceOptions) -> None:
        self._options = options
        self._user = urlsplit(uri)
        self._camera = self._connected(self._user)
        self._target = _without_user(self._user)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(options.open_timeout_s)
        host, port = self._listener.getsockname()[:2]
        # Secret: no other program on this machine may come first and use the camera's password.
        self.address = f"rtsp://{host}:{port}/{secrets.token_urlsafe(18)}"
        """Address for FFmpeg; good for one connection."""
        self.fault = ""
        """Reason for which the relay ended, in words; empty where the camera simply stopped."""
        self.received_s = time.monotonic()
        """Time of the last bytes from the camera, monotonic seconds."""
        self._player: socket.socket | None = None
        self._from_camera, self._from_player = bytearray(), bytearray()
        self._asked: dict[str, _Request] = {}
        self._challenges = ""
        self._sequence = self._digests = self._redirects = 0
        self._has_answered = self._knows_address = False
        self._closed = self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="rtsp relay", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._shut()
            raise

    @property
    def alive(self) -> bool:
        """True while both ends are connected, or FFmpeg is expected."""
        return self._thread.is_alive() and not self._has_ended

    def close(self) -> None:
        """End both connections. FFmpeg's last request still reaches the camera."""
        if self._player is not None:
            self._thread.join(_JOIN_S)
        self.cut()
        self._thread.join(_JOIN_S)

    def cut(self) -> None:
        """End both connections at once, from any thread."""
        self._closed = True
        self._shut()

    def _run(self) -> None:
        try:
            self._player, _ = self._listener.accept()
            self._listener.close()
            while self._turn():
                pass
            self._drain()
        except SourceError as error:
            self.fault = str(error)
        except (OSError, ValueError) as error:
            if not self._closed:
                self.fault = self.fault or (str(error) if isinstance(error, ValueError) else "")
        finally:
            self._shut()

    def _drain(self) -> None:
        """Let FFmpeg read what it has not read yet: closing at once would discard it."""
        assert self._player is not None
        self._has_ended = True
        with suppress(OSError):
            self._player.shutdown(socket.SHUT_WR)
            while self._player.recv(_PIECE_BYTES):
                pass

    def _turn(self) -> bool:
        """Pass on what has come; return False at the end of either side."""
        assert self._player is not None
        poll = select.poll()
        poll.register(self._camera, select.POLLIN)
        poll.register(self._player, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(_TURN_S * 1000)}
        has_camera = self._camera.fileno() in ready
        if self._player.fileno() in ready:
            data = self._player.recv(_PIECE_BYTES)
            if not data:
                return False
            self._from_player += data
            self._serve_player()
        if has_camera:
            if not self._receive():
                if not self._has_answered:
                    raise SourceError(in_words(None, self._user))
                return False
            self._serve_camera()
        elif time.monotonic() - self.received_s > self._options.read_timeout_s * _INNER:
            raise SourceError(
                f"the camera sent nothing for {self._options.read_timeout_s * _INNER:.0f} s"
            )
        return True

    def _receive(self) -> bool:
        """Add what the camera has sent; return False at its end."""
        limit_s = self._camera.gettimeout()
        # Of TLS there may be a record without content, after which a read would wait.
        self._camera.settimeout(0.0)
        try:
            while True:
                data = self._camera.recv(_PIECE_BYTES)
                self._from_camera += data
                self.received_s = time.monotonic()
                if not (isinstance(self._camera, ssl.SSLSocket) and self._camera.pending()):
                    return bool(data)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        finally:
            self._camera.settimeout(limit_s)

    def _serve_player(self) -> None:
        assert self._player is not None
        while self._from_player:
            if self._from_player[0] == _MARK:
                end = _packet_end(self._from_player, 0)
                if end > len(self._from_player) or end == 0:
                    return
                self._camera.sendall(self._from_player[:end])
                del self._from_player[:end]
                continue
            message = _taken(self._from_player)
            if message is None:
                return
            if message.first.startswith("RTSP/"):
                continue  # an answer to a request of the camera, which it never gets
            if not self._knows_address and self.address not in message.first:
                raise ValueError("a stranger connected to its relay")
            self._knows_address = True
            number = message.headers.get("cseq", "0")
            if message.first.startswith("SETUP ") and "/TCP" not in message.headers.get(
                "transport", ""
            ):
                # Older FFmpegs begin with packets outside the connection, and then try within it.
                refusal = f"RTSP/1.0 461 Unsupported Transport\r\nCSeq: {number}\r\n\r\n"
                self._player.sendall(refusal.encode())
                continue
            self._ask(_Request(message, number))

    def _ask(self, request: _Request) -> None:
        """Send a request of FFmpeg to the camera, its address and number replaced."""
        method, url = request.message.first.split()[:2]
        url = self._target + url[len(self.address) :] if url.startswith(self.address) else url
        self._sequence += 1
        headers = dict(request.message.headers)
        headers["cseq"] = str(self._sequence)
        headers.pop("authorization", None)
        if self._challenges and self._user.username is not None:
            self._digests += 1
            answer = authorization(self._challenges, method, url, self._user, self._digests)
            if answer is not None:
                headers["authorization"] = answer
        self._asked[headers["cseq"]] = request
        lines = [
            f"{method} {url} RTSP/1.0",
            *(f"{_title(key)}: {headers[key]}" for key in headers),
        ]
        self._camera.sendall("\r\n".join([*lines, "", ""]).encode() + request.message.body)

    def _serve_camera(self) -> None:
        while self._from_camera:
            self._pass_packets()
            if not self._from_camera or self._from_camera[0] == _MARK:
                return  # the rest of a packet is to come
            if not b"RTSP/1.".startswith(self._from_camera[:7]):
                if not self._has_answered and not _is_request(self._from_camera):
                    raise SourceError(in_words(None, self._user))
                if not self._skip():
                    return
                continue
            message = _taken(self._from_camera)
            if message is None:
                return
            self._answer(message)

    def _pass_packets(self) -> None:
        """Pass on the interleaved packets with which the data begin, as far as they are whole."""
        assert self._player is not None
        data, sent, at = self._from_camera, 0, 0
        while at < len(data) and data[at] == _MARK:
            end = _packet_end(data, at)
            if end == 0 or end > len(data):
                break
            if end - at < 4 + _LEAST_PACKET:
                self._player.sendall(data[sent:at])
                sent = end
            at = end
        if at > sent:
            self._player.sendall(data[sent:at])
        del data[:at]

    def _skip(self) -> bool:
        """Drop what is no answer and no packet: a request of the camera, or a broken packet."""
        if _is_request(self._from_camera):
            # A camera may ask to be redirected; it may also ask whether we are there.
            message = _taken(self._from_camera)
            if message is None:
                return False
            number = message.headers.get("cseq", "0")
            status = "200 OK" if message.first.startswith("OPTIONS ") else "501 Not Implemented"
            self._camera.sendall(f"RTSP/1.0 {status}\r\nCSeq: {number}\r\n\r\n".encode())
            return True
        found = _RESUME.search(self._from_camera, 1)
        del self._from_camera[: found.start() if found else max(len(self._from_camera) - 6, 1)]
        return found is not None

    def _answer(self, message: _Message) -> None:
        """Pass on an answer of the camera, or meet what it demands."""
        assert self._player is not None
        self._has_answered = True
        number = message.headers.get("cseq", "")
        request = self._asked.pop(number, None)
        if request is None:
            if not self._asked:
                return
            request = self._asked.pop(next(iter(self._asked)))
        status = int(message.first.split()[1])
        if status == 401 and self._user.username is not None and request.challenges < 2:
            request.challenges += 1
            self._challenges = message.headers.get("www-authenticate", "")
            self._ask(request)
            return
        if 300 <= status < 400:
            self._redirect(message.headers.get("location", ""))
            self._ask(request)
            return
        self.fault = "" if status < 400 else in_words(status, self._user)
        lines = [f"RTSP/1.0 {status} X", f"CSeq: {request.number}"]
        for key in _PASSED:
            if key in message.headers:
                value = message.headers[key]
                value = _PEERS.sub("", value) if key == "transport" else value
                lines += [f"{_title(key)}: {line}" for line in value.split("\n")]
        lines.append(f"Content-Length: {len(message.body)}")
        self._player.sendall("\r\n".join([*lines, "", ""]).encode() + message.body)

    def _redirect(self, location: str) -> None:
        """Connect to another address on the camera's host."""
        target = redirect_target(self._target, location)
        self._redirects += 1
        if self._redirects > _MAX_REDIRECTS:
            raise SourceError(f"it redirects more than {_MAX_REDIRECTS} times")
        parts = urlsplit(target)
        self._camera.close()
        self._camera = self._connected(parts)
        self._from_camera.clear()
        self._target = _without_user(parts)

    def _connected(self, parts: SplitResult) -> socket.socket:
        host, port = address_of(parts)
        limit_s = self._options.open_timeout_s * _INNER
        context = tls_context(self._options)
        try:
            sock = socket.create_connection((host, port), timeout=limit_s)
        except (OSError, UnicodeError) as error:
            raise SourceError(connect_failure(error, host, port)) from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "rtsps":
            sock = encrypted(sock, host, context)
        sock.settimeout(self._options.read_timeout_s)
        return sock

    def _shut(self) -> None:
        for sock in (self._camera, self._player, self._listener):
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()


def _taken(data: bytearray) -> _Message | None:
    """Return the message with which `data` begin, and remove it; None if it is not whole.

    Raises:
        ValueError: It is too long, or cannot be read.
    """
    end, length = min(
        ((place, len(mark)) for mark in (b"\r\n\r\n", b"\n\n") if (place := data.find(mark)) >= 0),
        default=(-1, 0),
    )
    if end < 0:
        if len(data) > _MAX_HEAD_BYTES:
            raise ValueError("its head is too long")
        return None
    first, *lines = data[:end].decode("utf-8", "replace").splitlines()
    headers: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        name, value = key.strip().lower(), value.strip()
        if name == "www-authenticate" and name in headers:
            headers[name] += f"\n{value}"
        else:
            headers.setdefault(name, value)
    size = _body_length(headers)
    if len(data) < end + length + size:
        return None
    body = bytes(data[end + length : end + length + size])
    del data[: end + length + size]
    if len(first.split()) < 2 or (first.startswith("RTSP/") and not _STATUS.match(first.encode())):
        raise ValueError("it answers with what is no RTSP")
    return _Message(first, headers, body)


def _body_length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "0")
    size = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
    if not 0 <= size <= _MAX_BODY_BYTES:
        raise ValueError(f"an answer of {text[:20]} bytes")
    return size


def _packet_end(data: bytearray, at: int) -> int:
    """Return the end of an interleaved packet; 0 if its length is still to come."""
    return at + 4 + int.from_bytes(data[at + 2 : at + 4], "big") if at + 4 <= len(data) else 0


def _is_request(data: bytearray) -> bool:
    """Return whether data may begin with a request of RTSP."""
    line = bytes(data[:512]).split(b"\n", 1)[0]
    return re.fullmatch(rb"[A-Z_]{3,16} \S+ RTSP/\d\.\d\r?", line) is not None


def _without_user(parts: SplitResult) -> str:
    """Return the address with its port and without user and password."""
    host, port = address_of(parts)
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{port}{target_of(parts) if parts.path or parts.query else ''}"


def _title(key: str) -> str:
    """Return the name of a header as it is usually written."""
    return {"cseq": "CSeq", "rtp-info": "RTP-Info", "www-authenticate": "WWW-Authenticate"}.get(
        key, key.title()
    )
