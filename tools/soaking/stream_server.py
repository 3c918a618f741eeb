"""An MJPEG camera on loopback that can be cut, frozen, garbled, silenced, and brought back."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

_BOUNDARY = b"frame"
_HEAD = (
    b"HTTP/1.0 200 OK\r\nCache-Control: no-cache\r\n"
    b"Content-Type: multipart/x-mixed-replace; boundary=" + _BOUNDARY + b"\r\n\r\n"
)
FINE = "fine"
FAULTS = ("cut", "away", "frozen", "garbled", "silent", "torn")


class StreamServer:
    """Serves pictures to everybody who connects, in the way that `mode` says.

    `cut` hangs up on everybody, at once and again; `away` does not listen at all; `frozen` repeats
    one picture; `garbled` sends noise where a picture should be; `silent` sends nothing; `torn`
    hangs up in the middle of a picture.

    Args:
        pictures: JPEG files, shown in turn; no two alike in a row.
        fps: Pictures per second.
    """

    def __init__(self, pictures: Sequence[bytes], fps: float) -> None:
        self._pictures = pictures
        self._period_s = 1.0 / fps
        self._rng = random.Random(1)
        self._mode = FINE
        self._changed = threading.Condition()
        self._closed = False
        self._server = self._listening(0)
        self.port: int = self._server.getsockname()[1]
        self._clients: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, name="camera", daemon=True)]
        self._threads[0].start()

    @property
    def clients(self) -> int:
        """Connections that are open now."""
        return len(self._clients)

    def set_mode(self, mode: str) -> None:
        """Behave like this from now on."""
        with self._changed:
            if self._mode == "away" and mode != "away":
                self._server = self._listening(self.port)
            self._mode = mode
            self._changed.notify_all()
        if mode == "away":
            # A blocked `accept` keeps the port open until somebody comes.
            with suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
        if mode in ("cut", "away"):
            self._hang_up()

    def close(self) -> None:
        """End everything."""
        self._closed = True
        self.set_mode("away")
        for thread in self._threads:
            thread.join(5.0)

    @staticmethod
    def _listening(port: int) -> socket.socket:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen(8)
        return server

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._server.accept()
            except OSError:
                with self._changed:
                    self._changed.wait_for(lambda: self._mode != "away" or self._closed, 1.0)
                continue
            self._clients.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _hang_up(self) -> None:
        for client in tuple(self._clients):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(5.0)
        try:
            with suppress(OSError):
                self._talk(client)
        finally:
            self._clients.discard(client)
            client.close()

    def _talk(self, client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(_HEAD)
        number = 0
        while not self._closed:
            mode = self._mode
            if mode in ("cut", "away"):
                return
            if mode != "silent":
                shown = number if mode != "frozen" else 0
                picture = self._pictures[shown % len(self._pictures)]
                if mode == "garbled":
                    picture = self._rng.randbytes(len(picture))
                part = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (
                    _BOUNDARY,
                    len(picture),
                )
                if mode == "torn":
                    client.sendall(part + picture[: len(picture) // 2])
                    return
                client.sendall(part + picture + b"\r\n")
                number += 1
            self._rest()

    def _rest(self) -> None:
        with self._changed:
            self._changed.wait(self._period_s)
