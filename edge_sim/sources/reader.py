"""The thread that owns a live device: opens it, reads it, opens it again after a loss."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_sim.errors import SourceError
from edge_sim.sources.capture import Capture, OpenCapture, upright
from edge_sim.sources.mailbox import Mailbox
from edge_sim.sources.options import SourceOptions

logger = logging.getLogger(__name__)

MAX_BAD_READS = 5
"""Empty or broken pictures in a row after which the device counts as lost: one may be chance."""
_SILENT = 0.5
"""Share of the read time-out after which one failed read is enough: drivers have time-outs too."""


class Reader:
    """Fills a mailbox until it is told to leave.

    Args:
        open_capture: Opens the device.
        mailbox: Where frames and faults go.
        options: Time-outs, pauses, warm-up, rotation, name.
        monotonic: Seconds.
        failures: Attempts that failed so far; chooses the next pause.
    """

    def __init__(
        self,
        open_capture: OpenCapture,
        mailbox: Mailbox,
        options: SourceOptions,
        *,
        monotonic: Callable[[], float],
        failures: int = 0,
    ) -> None:
        self._open_capture = open_capture
        self._mailbox = mailbox
        self._options = options
        self._monotonic = monotonic
        self.failures = failures
        self._name = options.name or "camera"
        self._leave = threading.Event()
        self._overdue_s: float | None = None
        # A daemon thread: one that hangs in a driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"reader {self._name}", daemon=True)

    def start(self) -> None:
        """Begin to open and read."""
        self._thread.start()

    def leave(self) -> None:
        """Ask the thread to give the device back and end; returns at once."""
        self._leave.set()

    def join(self, limit_s: float) -> None:
        """Wait for the thread to end, at most `limit_s` seconds."""
        if self._thread is not threading.current_thread():
            self._thread.join(limit_s)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    @property
    def hangs(self) -> bool:
        """Whether the device has kept the thread longer than its time-out."""
        overdue_s = self._overdue_s
        return overdue_s is not None and self._monotonic() >= overdue_s

    def _run(self) -> None:
        pauses = self._options.reconnect_s
        while not self._leave.is_set():
            cause: Exception | None = None
            try:
                text = self._session()
            except SourceError as error:
                text, cause = str(error), error
            except Exception as error:
                # The edge of the thread: an error that ended it would look like silence for ever.
                logger.exception("%s: unexpected error in the reader", self._name)
                text, cause = f"{self._name}: {type(error).__name__}: {error}", error
            if self._leave.is_set():
                return
            pause_s = pauses[min(self.failures, len(pauses) - 1)]
            self.failures += 1
            self._mailbox.fail(text, pause_s, cause)
            self._leave.wait(pause_s)

    def _session(self) -> str:
        """Open, read until the device is lost, give it back; return what went wrong."""
        with self._limited(self._options.open_timeout_s):
            capture = self._open_capture()
        try:
            if self._leave.is_set():
                return "left"
            self._mailbox.opened()
            return self._read_all(capture)
        finally:
            with self._limited(self._options.read_timeout_s):
                capture.release()

    def _read_all(self, capture: Capture) -> str:
        to_skip = self._options.warm_up_frames
        bad, good_s = 0, self._monotonic()
        while not self._leave.is_set():
            with self._limited(self._options.read_timeout_s):
                raw = capture.read()
            if self._leave.is_set():
                break
            try:
                pixels = None if raw is None else upright(raw, self._options.rotate)
            except ValueError as error:
                logger.debug("%s: not a picture: %s", self._name, error)
                pixels = None
            if pixels is None:
                self._mailbox.reject()
                bad += 1
                silent_s = self._monotonic() - good_s
                if bad >= MAX_BAD_READS or silent_s >= _SILENT * self._options.read_timeout_s:
                    return f"{self._name}: lost, it gives no pictures any more"
                continue
            bad, good_s = 0, self._monotonic()
            self.failures = 0
            if to_skip > 0:
                to_skip -= 1
                continue
            self._mailbox.deliver(pixels)
        return "left"

    @contextmanager
    def _limited(self, limit_s: float) -> Iterator[None]:
        self._overdue_s = self._monotonic() + limit_s
        try:
            yield
        finally:
            self._overdue_s = None
