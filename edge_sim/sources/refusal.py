"""Why a stream does not open, asked of the other end in its own language.

FFmpeg says yes or no. Whoever has just typed an address wants to know which part of it is wrong.
"""

from __future__ import annotations

import re
import socket
from urllib.parse import SplitResult, urlsplit

from edge_sim.sources.uri import masked

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_ENCRYPTED = frozenset({"rtsps", "https"})
_LINE = re.compile(rb"(?:RTSP|HTTP)/\d\.\d (\d{3})\b")
_LINE_BYTES = 64


def why_not(uri: str, limit_s: float) -> str:
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
    # Without what the address says before the last @: see `why_not`.
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
