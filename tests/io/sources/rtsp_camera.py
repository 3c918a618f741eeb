"""An RTSP camera on loopback that does what a test tells it: MPEG-TS in RTP, interleaved."""

from __future__ import annotations

import hashlib
import re
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from tests.io.sources.devices import PATIENCE_S

_REQUEST = re.compile(rb"[A-Z_]+ rtsps?://\S+ RTSP/1\.0\r\n")
_PACKETS = 7  # of 188 bytes in one of RTP
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "a=control:*\r\nm=video 0 RTP/AVP 33\r\na=control:track1\r\n"
)


@lru_cache(maxsize=1)
def transport_stream() -> bytes:
    """Return 60 pictures of 64 x 48 as MPEG-TS; the grey level of the first is 50."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.ts"
        codec = int.from_bytes(b"mpg2", "little")
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 25.0, (64, 48))
        assert writer.isOpened()
        for index in range(60):
            writer.write(np.full((48, 64, 3), 50 + index, np.uint8))
        writer.release()
        return path.read_bytes()


def packets(stream: bytes) -> Iterator[bytes]:
    """Yield the interleaved RTP packets of an MPEG-TS stream."""
    size = 188 * _PACKETS
    for number, at in enumerate(range(0, len(stream), size)):
        head = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 900, 1)
        body = head + stream[at : at + size]
        yield struct.pack(">BBH", 0x24, 0, len(body)) + body


class RtspCamera:
    """Serves one stream; `visitors` counts connections, `asked` keeps the requests.

    Args:
        answer: Returns the bytes to answer a request with instead; None for the usual answer.
        user: `name:password`, demanded by a digest challenge.
        tls: Encrypts.
        noise: Bytes sent before the packets of the stream.
        play: Sends the stream instead of all of it at once, given a function that sends.
    """

    def __init__(
        self,
        answer: Callable[[str, str], bytes | None] | None = None,
        *,
        user: str = "",
        tls: ssl.SSLContext | None = None,
        noise: bytes = b"",
        play: Callable[[Callable[[bytes], None]], None] | None = None,
        stream: bytes | None = None,
    ) -> None:
        self.visitors = 0
        self.asked: list[str] = []
        self._answer = answer
        self._user = user
        self._noise = noise
        self._play = play
        # Made here: OpenCV writes no video while it opens one.
        self._stream = stream or transport_stream()
        camera = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                camera.visitors += 1
                with suppress(OSError):
                    if tls is None:
                        camera.serve(self.request)
                        return
                    with tls.wrap_socket(self.request, server_side=True) as wire:
                        camera.serve(wire)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.at = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def serve(self, wire: Any) -> None:
        """Serve one connection."""
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                piece = wire.recv(65536)
                if not piece:
                    return
                data += piece
            request, data = data.split(b"\r\n\r\n", 1)
            found = _REQUEST.search(request)  # the player's own packets may come before
            assert found is not None
            text = request[found.start() :].decode("latin-1")
            method = text.split()[0]
            self.asked.append(text)
            reply = self._answer(method, text) if self._answer else None
            wire.sendall(self._usual(method, text) if reply is None else reply)
            if method == "PLAY":
                wire.sendall(self._noise)
                if self._play is not None:
                    self._play(wire.sendall)
                    return
                for packet in packets(self._stream):
                    wire.sendall(packet)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_S)

    def _usual(self, method: str, text: str) -> bytes:
        number = re.search(r"CSeq: (\d+)", text)
        head = f"CSeq: {number[1] if number else 0}\r\n"
        if self._user and not self._is_right(method, text):
            head += 'WWW-Authenticate: Digest realm="r", nonce="n"\r\n'
            return f"RTSP/1.0 401 Unauthorized\r\n{head}\r\n".encode()
        body = ""
        if method == "OPTIONS":
            head += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            head, body = head + "Content-Type: application/sdp\r\n", SDP
        elif method == "SETUP":
            head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 7\r\n"
        return f"RTSP/1.0 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def _is_right(self, method: str, text: str) -> bool:
        found = dict(re.findall(r'(\w+)="([^"]*)"', text))

        def md5(line: str) -> str:
            return hashlib.md5(line.encode(), usedforsecurity=False).hexdigest()

        name, password = self._user.split(":")
        first = md5(f"{name}:r:{password}")
        return (
            found.get("response") == md5(f"{first}:n:{md5(method + ':' + text.split()[1])}")
            and found.get("username") == name
        )


@contextmanager
def rtsp_camera(*args: Any, **options: Any) -> Iterator[RtspCamera]:
    """An RTSP camera for the length of a `with` block."""
    camera = RtspCamera(*args, **options)
    try:
        yield camera
    finally:
        camera.close()
