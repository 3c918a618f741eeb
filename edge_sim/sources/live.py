"""A live camera behind a reader thread: the newest frame wins, and a lost camera is found again.

The thread owns the device. It opens, reads, and after a loss opens again with growing pauses,
until `close()`. A read that never returns cannot be interrupted: its thread is left behind with
the device it holds, gives it back if it ever wakes up, and another thread takes its place.
"""

from __future__ import annotations

import logging

from edge_sim.domain import Frame
from edge_sim.errors import SourceError
from edge_sim.sources.capture import OpenCapture
from edge_sim.sources.mailbox import Clocks, Fault, Mailbox
from edge_sim.sources.options import SourceOptions
from edge_sim.sources.reader import Reader

logger = logging.getLogger(__name__)

MAX_ABANDONED = 3
"""Hanging threads at one time; each holds a device handle and a stack."""
CLOSE_WAIT_S = 2.0
"""How long `close()` waits for a read in progress; a longer one ends in the background."""


class LiveSource:
    """The newest frame of a device that is read all the time.

    Nothing is opened before `start()`. `read()` belongs to one thread, `close()` to any.

    Args:
        open_capture: Opens the device; called in the reader thread, again after each loss.
        options: `name`, `rotate`, `warm_up_frames`, the time-outs and pauses.
        clocks: Given by tests.
    """

    def __init__(
        self, open_capture: OpenCapture, options: SourceOptions, *, clocks: Clocks | None = None
    ) -> None:
        self._open_capture = open_capture
        self._options = options
        self._name = options.name or "camera"
        self._clocks = clocks or Clocks()
        self._mailbox = Mailbox(self._name, self._clocks)
        self._reader: Reader | None = None
        self._abandoned: list[Reader] = []

    @property
    def name(self) -> str:
        """Safe to log: passwords are masked."""
        return self._name

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced before they were read."""
        return self._mailbox.dropped

    @property
    def rejected(self) -> int:
        """Reads of the device that gave no picture, or something that is none."""
        return self._mailbox.rejected

    @property
    def abandoned(self) -> int:
        """Threads that hang in the device now; at most `MAX_ABANDONED`."""
        self._abandoned = [reader for reader in self._abandoned if reader.alive]
        return len(self._abandoned)

    def start(self) -> None:
        """Open the device and wait until that is done.

        Raises:
            SourceError: It could not be opened within `open_timeout_s`; the source is closed.
        """
        self._launch(failures=0)
        limit_s = self._options.open_timeout_s
        outcome = self._mailbox.wait_open(limit_s)
        if outcome is True:
            return
        self.close()
        if isinstance(outcome, Fault):
            raise SourceError(outcome.text) from outcome.cause
        raise SourceError(f"{self._name}: did not open within {limit_s:g} s")

    def read(self) -> Frame | None:
        """Return the newest frame not yet returned, waiting at most `read_timeout_s` for it.

        Never None: a live source has no end. After an error the device is opened again in the
        background, so a later call may succeed.

        Raises:
            SourceError: The source is closed, the device was lost, or no frame came in time.
        """
        limit_s = self._options.read_timeout_s
        taken = None if self._mailbox.closed else self._mailbox.take(limit_s)
        if self._mailbox.closed:
            raise SourceError(f"{self._name}: read after close")
        if isinstance(taken, Frame):
            return taken
        if isinstance(taken, Fault):
            raise SourceError(f"{taken.text}; next try in {taken.pause_s:g} s") from taken.cause
        raise SourceError(f"{self._name}: no frame for {limit_s:g} s{self._why_silent()}")

    def close(self) -> None:
        """Stop reading and give the device back. Safe to call twice.

        Waits at most `CLOSE_WAIT_S` for a read in progress.
        """
        self._mailbox.close()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.leave()
            reader.join(0.0 if reader.hangs else CLOSE_WAIT_S)

    def _launch(self, failures: int) -> None:
        self._reader = Reader(
            self._open_capture,
            self._mailbox,
            self._options,
            monotonic=self._clocks.monotonic,
            failures=failures,
        )
        self._reader.start()

    def _why_silent(self) -> str:
        """Return what to add to the message; a reader that hangs is replaced."""
        reader = self._reader
        if reader is None:
            return ", it was not started"
        if not reader.hangs:
            fault = self._mailbox.last_fault
            return f" ({fault.text})" if fault else ""
        if self.abandoned >= MAX_ABANDONED:
            return f", {MAX_ABANDONED} reads never returned: replug the camera or restart"
        logger.warning("%s: the device hangs; opening it again in a new thread", self._name)
        reader.leave()
        self._abandoned.append(reader)
        self._launch(reader.failures + 1)
        return ", the device hangs and is opened again"
