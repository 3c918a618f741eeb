"""Why a stream does not open, asked of the other end in its own language.

FFmpeg says yes or no. Whoever has just typed an address wants to know which part of it is wrong.

Network cameras and streams, through OpenCV's FFmpeg.
"""

from __future__ import annotations

import re
import socket
from typing import Any
from urllib.parse import SplitResult, urlsplit

import cv2
from numpy.typing import NDArray

from edge_sim.core.protocols import FrameSource
from edge_sim.errors import SourceError
from edge_sim.io.sources.live import open_live
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.uri import label, masked

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_ENCRYPTED = frozenset({"rtsps", "https"})
_LINE = re.compile(rb"(?:RTSP|HTTP)/\d\.\d (\d{3})\b")
_LINE_BYTES = 64


def diagnose_stream(uri: str, limit_s: float) -> str:
    """Return in words why the stream at `uri` may not open; never raises.

    Connects and asks once, without user and password: a camera that locks an account after some
    wrong ones should not count this as another.

    Args:
        uri: Of the scheme rtsp, rtsps, http or https.
        limit_s: How long connecting may take, and as long again the answer.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return "the address cannot be read; in user and password write @ as %40 and / as %2F"
    if not host:
        return "the address names no host"
    try:
        with socket.create_connection((host, port), timeout=limit_s) as wire:
            return _in_words(_status(wire, parts), parts)
    except socket.gaierror:
        return f"no host is called {host}"
    except UnicodeError:
        return "the address names no host"
    except ConnectionRefusedError:
        return (
            f"nothing listens on port {port} of {host}; check the port, and that the camera is on"
        )
    except OSError:
        return (
            f"{host} does not answer on port {port}; check the address, and that the camera is on"
        )


def _status(wire: socket.socket, parts: SplitResult) -> int | None:
    """Return the number that the other end answers with; None if that is no answer."""
    # Without what the address says before the last @: see `diagnose_stream`.
    authority = parts.netloc.rpartition("@")[2]
    place = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme.startswith("rtsp"):
        head = f"DESCRIBE {parts.scheme}://{authority}{place} RTSP/1.0\r\nCSeq: 1\r\n"
        head += "Accept: application/sdp\r\n"
    else:
        head = f"GET {place} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n"
    try:
        with _encrypted(wire) if parts.scheme in _ENCRYPTED else wire as talk:
            talk.sendall(f"{head}User-Agent: edge_sim\r\n\r\n".encode("utf-8", "replace"))
            # Its first bytes are enough, and to wait for more has no end with whoever dawdles.
            answer = talk.recv(_LINE_BYTES)
    except OSError:
        return None
    found = _LINE.match(answer)
    return int(found[1]) if found else None


def _encrypted(wire: socket.socket) -> socket.socket:
    import ssl

    # As FFmpeg does: cameras sign for themselves. Nothing secret is sent here.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(wire)


def _in_words(status: int | None, parts: SplitResult) -> str:
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


_INNER = 0.8
"""FFmpeg's own time-outs end earlier than ours: a clean end leaves no hanging thread."""

_ASKING = 0.05
"""Share of the time for opening in which to connect, and in which to answer, when asked why not."""


def open_stream(uri: str, options: SourceOptions) -> FrameSource:
    """Return the open source of an RTSP or HTTP(S) stream.

    Raises:
        SourceError: The stream cannot be opened in time.
    """
    name = label(options.name, uri)
    return open_live(lambda: OpenCvStream(uri, name, options), options)


class OpenCvStream:
    """An open stream.

    Raises:
        SourceError: It cannot be opened in time.
    """

    def __init__(self, uri: str, name: str, options: SourceOptions) -> None:
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(options.open_timeout_s * _INNER * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            round(options.read_timeout_s * _INNER * 1000),
            cv2.CAP_PROP_N_THREADS,
            1,  # of decoding: by default FFmpeg starts one per core, for every camera
        ]
        self._capture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            self._capture.release()
            reason = diagnose_stream(uri, options.open_timeout_s * _ASKING)
            raise SourceError(f"{name}: the stream does not open: {reason}")

    def read(self) -> NDArray[Any] | None:
        """Return the next picture; None at the end or after FFmpeg's time-out."""
        done, pixels = self._capture.read()
        return pixels if done else None

    def release(self) -> None:
        """Close the connection."""
        self._capture.release()
