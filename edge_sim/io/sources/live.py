"""A live source behind a reader thread: the newest frame wins, and a lost source is reopened.

The thread owns the source. It opens, reads, and after a loss opens again with growing pauses,
until `close()`. A read that never returns cannot be interrupted: its thread is abandoned with the
device, which it releases if it ever returns, and another thread replaces it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge_sim.core.backoff import pause_s
from edge_sim.core.protocols import FrameSource
from edge_sim.core.types import Frame
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources.capture import Capture, OpenCapture
from edge_sim.io.sources.first_frames import FreezeDetector
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.reader import (
    LONGEST_SKIP_S,
    CaptureSource,
    Clocks,
    End,
    Fault,
    Item,
    Mailbox,
    Reader,
)

logger = logging.getLogger(__name__)

MAX_ABANDONED = 3
"""Hanging threads at one time; each holds a device handle and a stack."""
CLOSE_WAIT_S = 2.0
"""Longest wait of `close()` for a read in progress; a longer one ends in the background."""


def open_live(open_capture: OpenCapture, options: SourceOptions) -> FrameSource:
    """Return the open source of a device: in a thread of its own, unless the options say otherwise.

    Raises:
        ConfigError: It can never be opened.
        SourceError: It cannot be opened.
    """
    if not options.threaded:
        return CaptureSource(open_capture(), options)
    source = LiveSource(open_capture, options)
    source.start()
    return source


class LiveSource:
    """Newest frame of a source that a thread reads.

    Nothing is opened before `start()` or `begin()`. Reading belongs to one thread, `close()` and
    `leave()` to any.

    Args:
        open_source: Function that opens the source, or its device; called in the reader thread,
            again after each loss.
        options: `name`, `rotate`, `warm_up_frames`, the time-outs and pauses.
        clocks: Clocks; tests give their own.
        wake: Callback whenever there is something to read, from any thread; must return at once.
    """

    def __init__(
        self,
        open_source: Callable[[], Capture | FrameSource],
        options: SourceOptions,
        *,
        clocks: Clocks | None = None,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self._open_source = open_source
        self._options = options
        self._name = options.name or "camera"
        self._clocks = clocks or Clocks()
        # Half the time-out: a source none of whose frames is due is not a silent one.
        skip_s = min(LONGEST_SKIP_S, options.read_timeout_s / 2)
        self._mailbox = Mailbox(wake, longest_skip_s=skip_s)
        self._freezes = FreezeDetector(options.frozen_timeout_s)
        self._reader: Reader | None = None
        self._abandoned: list[Reader] = []
        self._begun = False
        self._ended = False
        self._failures = 0
        self._quiet_since_s = 0.0
        self._launch_at_s: float | None = None

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
    def skipped(self) -> int:
        """Frames that were not converted to pixels, because none was due."""
        return self._mailbox.skipped

    @property
    def repeated(self) -> int:
        """Frames exactly like the one before."""
        return self._freezes.repeated

    @property
    def abandoned(self) -> int:
        """Threads that hang in the device now; at most `MAX_ABANDONED`."""
        self._abandoned = [reader for reader in self._abandoned if reader.alive]
        return len(self._abandoned)

    @property
    def poll_s(self) -> float:
        """Seconds between two pictures of a camera that is polled; 0 for any other."""
        return self._mailbox.pause_s

    @property
    def ready(self) -> bool:
        """True while `read_now` has a result: a frame, a loss, the end, or a long silence.

        False for ever after the end was read or the source was closed.
        """
        if not self._begun or self._ended or self._mailbox.closed:
            return False
        self._keep_alive()
        return self._mailbox.ready or self._is_silent()

    def begin(self) -> None:
        """Open and read from now on, in the background; nothing happens the second time.

        A source that does not open is lost: `read_now` reports that, and it is tried again.
        """
        if not self._begun:
            self._begun = True
            self._launch()

    def start(self) -> None:
        """Open the source and wait until that is done.

        Raises:
            ConfigError: It can never be opened; the source is closed.
            SourceError: It could not be opened within `open_timeout_s`; the source is closed.
        """
        self.begin()
        limit_s = self._options.open_timeout_s
        outcome = self._mailbox.wait_open(limit_s)
        if outcome is True:
            return
        self.close()
        if isinstance(outcome, Fault):
            if isinstance(outcome.cause, ConfigError):
                raise ConfigError(outcome.text) from outcome.cause
            raise SourceError(outcome.text) from outcome.cause
        raise SourceError(f"{self._name}: did not open within {limit_s:g} s")

    def read(self) -> Frame | None:
        """Return the newest frame not yet returned, waiting at most `read_timeout_s` for it.

        None only where the source has come to its end: a camera has none. After an error the
        source is opened again in the background, so a later call may succeed.

        Raises:
            ConfigError: The source can never be opened.
            SourceError: The source is closed, was lost, or no frame came in time.
        """
        self._keep_alive()
        return self._read(self._options.read_timeout_s + self._mailbox.pause_s)

    def due_from(self, at_s: float, part: int = 1) -> None:
        """Set the capture time from which a frame is due; earlier ones may be left out.

        One frame a second comes in any case, and the first after a loss. Frames cost the reading
        thread a conversion to pixels only if they come.

        Args:
            at_s: Monotonic seconds, as `Frame.captured_at_s`; minus infinity for every frame.
            part: Divisor of both sides, 1, 2, 4 or 8, at which a JPEG picture may be decoded;
                `Frame.pixels` is of full size all the same.
        """
        self._mailbox.part = part
        self._mailbox.due_at_s = at_s

    def read_now(self) -> Frame | None:
        """Return the next frame without waiting; only of use when `ready`.

        Raises:
            SourceError: As `read`; also if nothing is there.
        """
        return self._read(0.0)

    def leave(self) -> None:
        """Let the thread release the source and end; returns at once. Safe to call twice."""
        self._mailbox.close()
        if self._reader is not None:
            self._reader.leave()

    def join(self, limit_s: float) -> bool:
        """Return whether the thread has ended, after waiting at most `limit_s` seconds.

        A thread that hangs is not waited for.
        """
        reader = self._reader
        return reader is None or reader.join(0.0 if reader.hangs else limit_s)

    def close(self) -> None:
        """Stop reading and release the device. Safe to call twice.

        Waits at most `CLOSE_WAIT_S` for a read in progress.
        """
        self.leave()
        self.join(CLOSE_WAIT_S)

    def _read(self, limit_s: float) -> Frame | None:
        if self._ended:
            return None
        taken = self._taken(limit_s)
        if self._mailbox.closed:
            raise SourceError(f"{self._name}: read after close")
        self._quiet_since_s = self._clocks.monotonic()
        if isinstance(taken, Frame):
            return taken
        if isinstance(taken, End):
            self._ended = True
            return None
        if isinstance(taken, Fault):
            if isinstance(taken.cause, ConfigError) and taken.pause_s is None:
                self._ended = True
                raise ConfigError(taken.text) from taken.cause
            raise SourceError(taken.line) from taken.cause
        silence_s = self._options.read_timeout_s + self._mailbox.pause_s
        raise SourceError(f"{self._name}: no frame for {silence_s:g} s{self._silence_reason()}")

    def _taken(self, limit_s: float) -> Item | None:
        while not self._mailbox.closed:
            taken = self._mailbox.take(limit_s)
            waits = limit_s > 0.0 and self._reader is not None and self._reader.is_receiving
            if taken is not None or not waits:
                return taken
        return None

    def _launch(self) -> None:
        """Start a reader thread; without one the source is lost, and tried again."""
        self._quiet_since_s = self._clocks.monotonic()
        self._launch_at_s = None
        reader = Reader(
            self._open_source,
            self._mailbox,
            self._options,
            clocks=self._clocks,
            freezes=self._freezes,
            failures=self._failures,
        )
        try:
            reader.start()
        except RuntimeError as error:
            self._later(
                f"{self._name}: no thread can be started for it ({error}); raise the limit of "
                "tasks (TasksMax= of the unit, ulimit -u), or watch fewer cameras",
                error,
            )
            return
        self._reader = reader
        if self._mailbox.closed:
            reader.leave()

    def _later(self, text: str, error: Exception | None = None) -> None:
        self._failures += 1
        wait_s = pause_s(self._failures, self._options.reconnect_s)
        self._launch_at_s = self._clocks.monotonic() + wait_s
        self._reader = None
        self._mailbox.fail(text, wait_s, error)

    def _keep_alive(self) -> None:
        """Start a thread again that could not be started, or has died."""
        if not self._begun or self._ended or self._mailbox.closed:
            return
        if self._launch_at_s is not None:
            if self._clocks.monotonic() >= self._launch_at_s:
                self._launch()
        elif self._reader is not None and not self._reader.alive and not self._mailbox.ready:
            logger.error("%s: its reader thread has died", self._name)
            self._later(f"{self._name}: its reader thread has died")

    def _is_silent(self) -> bool:
        opening = not self._mailbox.has_opened and self._mailbox.last_fault is None
        options = self._options
        limit_s = options.open_timeout_s if opening else options.read_timeout_s
        limit_s += self._mailbox.pause_s
        if self._clocks.monotonic() - self._quiet_since_s < limit_s:
            return False
        return self._reader is None or not self._reader.is_receiving

    def _silence_reason(self) -> str:
        """Return the reason for the message, and replace a reader that hangs."""
        if not self._begun:
            return ", it was not started"
        reader = self._reader
        if reader is None or not reader.hangs:
            fault = self._mailbox.last_fault
            return f" ({fault.text})" if fault else ""
        if self.abandoned >= MAX_ABANDONED:
            return f", {MAX_ABANDONED} reads never returned: replug the camera or restart"
        logger.warning("%s: the device hangs; opening it again in a new thread", self._name)
        reader.leave()
        self._abandoned.append(reader)
        self._failures = reader.failures + 1
        self._launch()
        return ", the device hangs and is opened again"
