"""A web server that takes events, and now and then does not."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_AWAY_S = 3.0
_SLOW_S = 0.4


class Receiver(ThreadingHTTPServer):
    """Takes webhooks; refuses some, hangs up on some, is slow, or away for some seconds.

    Args:
        path: File for what is taken.
        seed: Seed of everything random.
    """

    daemon_threads = True

    def __init__(self, path: Path, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.rng = random.Random(seed)
        # On disk: what is kept here must not look like a leak of the daemon.
        self._file = path.open("wb", buffering=0)
        self._lock = threading.Lock()
        self.troubles: Counter[str] = Counter()
        self.away_until_s = 0.0

    def take(self, body: bytes) -> None:
        """Keep what was posted, as a line."""
        with self._lock:
            self._file.write(body.rstrip(b"\n") + b"\n")

    def server_close(self) -> None:
        """Close the socket and the file."""
        super().server_close()
        self._file.close()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """A sender that hangs up is no news."""
        return


class _Hook(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        trouble = self._trouble()
        if trouble:
            self.server.troubles[trouble] += 1
        if trouble == "hung_up":
            self.close_connection = True
            return
        if trouble == "slow":
            threading.Event().wait(_SLOW_S)
        if trouble in ("refused", "away"):
            self.send_response(503)
        else:
            self.server.take(body)
            self.send_response(204)
        if trouble != "unanswered":  # it has the event, and does not say so
            self.end_headers()

    def _trouble(self) -> str:
        rng, now_s = self.server.rng, time.monotonic()
        if now_s < self.server.away_until_s:
            return "away"
        draw = rng.random()
        if draw < 0.002:
            self.server.away_until_s = now_s + _AWAY_S
            return "away"
        steps = (("refused", 0.012), ("hung_up", 0.022), ("unanswered", 0.027), ("slow", 0.032))
        return next((kind for kind, limit in steps if draw < limit), "")

    def log_message(self, *args: object) -> None:  # noqa: ARG002
        return
