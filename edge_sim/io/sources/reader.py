"""Reader thread of one live source, and the mailbox through which it passes frames and losses."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

from numpy.typing import NDArray

from edge_sim.core.backoff import pause_s
from edge_sim.core.protocols import FrameSource, GrabbingSource
from edge_sim.core.raw_pictures import RawPicture
from edge_sim.core.types import Frame
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources.capture import LONGEST_GAP_S, Capture, frame_of
from edge_sim.io.sources.first_frames import FreezeDetector, WarmUp
from edge_sim.io.sources.options import SourceOptions

_KEPT = 4
"""Items of a mailbox: lost, back, lost, back; older ones are out of date."""
LONGEST_SKIP_S = 1.0
"""Longest time without a frame while none is due: people teach with the last one, and a source
whose pictures break must be noticed."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Clocks: monotonic seconds, and seconds since 1970 UTC."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Fault:
    """Loss of a source.

    Args:
        text: One line that names the source.
        pause_s: Seconds until the next attempt to open it; None while it stays open.
        cause: The error behind it, if there is one.
    """

    text: str
    pause_s: float | None = None
    cause: Exception | None = None

    @property
    def line(self) -> str:
        """Text with the time of the next attempt."""
        return self.text if self.pause_s is None else f"{self.text}; next try in {self.pause_s:g} s"


@dataclass(frozen=True, slots=True)
class End:
    """The source has come to its end."""


Item = Frame | Fault | End


class Mailbox:
    """Short queue of frames and losses, the newest of each kind in a row; thread-safe.

    Args:
        wake: Callback after every change, from any thread; must return at once.
        longest_skip_s: Longest time without a frame while none is due, seconds.
    """

    def __init__(
        self,
        wake: Callable[[], None] | None = None,
        *,
        longest_skip_s: float = LONGEST_SKIP_S,
    ) -> None:
        self._wake = wake
        self._longest_skip_s = longest_skip_s
        self._delivered_at_s: float | None = None
        self._changed = threading.Condition()
        self._items: deque[Item] = deque(maxlen=_KEPT)
        self._numbered = 0
        self._opened = False
        self._closed = False
        self.dropped = 0
        """Frames that a newer one replaced before they were taken."""
        self.rejected = 0
        """Reads that gave no picture."""
        self.skipped = 0
        """Frames that were not converted, because none was due."""
        self.due_at_s = -math.inf
        """Capture time from which a frame is due; earlier ones may be skipped."""
        self.part = 1
        """Divisor of both sides at which JPEG pictures may be decoded: 1, 2, 4 or 8."""
        self.pause_s = 0.0
        """Seconds between two pictures of a device that is polled."""
        self.last_fault: Fault | None = None
        """Reason why no frames come; None once they come again."""

    def deliver(self, frame: Frame, *, number: bool = False) -> None:
        """Store a frame; it replaces the last one that was not taken.

        Args:
            frame: Frame that was just read.
            number: Number it here: the numbers of a reopened device start at 0.
        """
        with self._changed:
            if number:
                frame = frame.numbered(self._numbered)
                self._numbered += 1
            self.last_fault = None
            self._delivered_at_s = frame.captured_at_s
            self._put(frame)

    def wants(self, at_s: float) -> bool:
        """Return whether a frame captured at `at_s` is to be delivered."""
        ran_back = self._delivered_at_s is not None and at_s < self._delivered_at_s
        return ran_back or at_s >= self.wanted_at_s

    @property
    def wanted_at_s(self) -> float:
        """Capture time from which a frame is to be delivered; the first one and the first one
        after a loss always are."""
        last_s = self._delivered_at_s
        if last_s is None or self.last_fault is not None:
            return -math.inf
        return min(self.due_at_s, last_s + self._longest_skip_s)

    def skip(self) -> None:
        """Count a frame that was not due."""
        with self._changed:
            self.skipped += 1
            self._numbered += 1

    def reject(self) -> None:
        """Count a read that gave no picture."""
        with self._changed:
            self.rejected += 1

    def opened(self) -> None:
        """Note that the source is open."""
        with self._changed:
            self._opened = True
            self._changed.notify_all()

    def fail(self, text: str, pause_s: float | None = None, cause: Exception | None = None) -> None:
        """Note a loss."""
        with self._changed:
            self.last_fault = Fault(text, pause_s, cause)
            self._put(self.last_fault)

    def end(self) -> None:
        """Note the end of the source."""
        with self._changed:
            self._put(End())

    def close(self) -> None:
        """Wake a waiting consumer; from now on nothing is taken."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._closed

    @property
    def has_opened(self) -> bool:
        """True once the source was open."""
        return self._opened

    @property
    def ready(self) -> bool:
        """True while there is an item to take."""
        return bool(self._items)

    def wait_open(self, limit_s: float) -> Fault | bool:
        """Return True once the source was open, the fault if it fails, False if neither in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self._closed or self._items, limit_s)
            if self._opened:
                return True
            return self.last_fault or False

    def take(self, limit_s: float = 0.0) -> Item | None:
        """Return and remove the oldest item; None if there is none in time."""
        with self._changed:
            if limit_s > 0.0:
                self._changed.wait_for(lambda: self._closed or self._items, limit_s)
            return self._items.popleft() if self._items else None

    def _put(self, item: Item) -> None:
        if self._closed:
            return
        if self._items and type(self._items[-1]) is type(item):
            self.dropped += isinstance(item, Frame)
            self._items[-1] = item
        else:
            self._items.append(item)
        self._changed.notify_all()
        if self._wake is not None:
            self._wake()


logger = logging.getLogger(__name__)

MAX_BAD_READS = 5
"""Failed reads in a row after which a source is opened again: one may be chance."""
_SILENT = 0.5
"""Share of the read time-out after which one failed read is enough: drivers have time-outs too."""
_RETRY_READ_S = 0.2
"""Pause after a read of a source that may succeed again by itself."""


class NoPictureError(SourceError):
    """One read of a device gave no picture, or something that is none."""


class CaptureSource:
    """A device as a `FrameSource` that is read in the thread of its caller.

    Args:
        capture: Open device.
        options: `name` and `rotate`.
        clocks: Clocks; tests give their own.
    """

    def __init__(
        self, capture: Capture, options: SourceOptions, clocks: Clocks | None = None
    ) -> None:
        self._capture: Capture | None = capture
        self._grabs = hasattr(capture, "grab") and hasattr(capture, "retrieve")
        self._raw: NDArray[Any] | RawPicture | None = None
        self._at_s = self._unix_s = 0.0
        self.part = 1
        """Divisor of both sides at which JPEG pictures are decoded: 1, 2, 4 or 8."""
        self.wanted_at_s = -math.inf
        """Time from which a picture is wanted, monotonic seconds."""
        self._rotate = options.rotate
        self._name = options.name or "camera"
        self._clocks = clocks or Clocks()
        self._index = 0
        self.pause_s = float(getattr(capture, "pause_s", 0.0))
        """Seconds between two pictures of a device that is polled; 0 for any other."""
        self.silence_hint = str(getattr(capture, "silence_hint", ""))
        """Advice for an opened device that gives no picture."""

    @property
    def name(self) -> str:
        """Safe to log."""
        return self._name

    @property
    def received_s(self) -> float | None:
        """Time of the last bytes of a stream, monotonic seconds; None for any other device."""
        return getattr(self._capture, "received_s", None)

    def interrupt(self) -> None:
        """End a read that waits, from another thread, where the device can."""
        interrupt = getattr(self._capture, "interrupt", None)
        if interrupt is not None:
            interrupt()

    @property
    def due_in_s(self) -> float:
        """Seconds until the next picture of a device that is polled."""
        return float(getattr(self._capture, "due_in_s", 0.0))

    def read(self) -> Frame | None:
        """Return the next picture, waiting for it.

        Raises:
            NoPictureError: The device gave none.
            SourceError: It was lost, or is closed.
        """
        self.grab()
        return self.retrieve()

    def grab(self) -> float | None:
        """Take the next picture, waiting for it, and return its time, monotonic seconds.

        Raises:
            NoPictureError: The device gave none.
            SourceError: It was lost, or is closed.
        """
        capture = self._capture
        if capture is None:
            raise SourceError(f"{self._name}: read after close")
        self._set_part(capture)
        if hasattr(capture, "wanted_at_s"):
            capture.wanted_at_s = self.wanted_at_s
        if self._grabs:
            taken = capture.grab()  # type: ignore[attr-defined]
        else:
            self._raw = capture.read()
            taken = self._raw is not None
        if not taken:
            raise NoPictureError(f"{self._name}: no picture")
        self._at_s, self._unix_s = self._clocks.monotonic(), self._clocks.wall()
        return self._at_s

    def retrieve(self) -> Frame:
        """Return the picture of the last `grab`; its region may be decoded at a part of its size.

        Raises:
            NoPictureError: It is none.
            SourceError: The device was lost, or is closed.
        """
        capture = self._capture
        if capture is None:
            raise SourceError(f"{self._name}: read after close")
        self._set_part(capture)
        if self._grabs:
            self._raw = capture.retrieve()  # type: ignore[attr-defined]
        raw, self._raw = self._raw, None
        if raw is None:
            raise NoPictureError(f"{self._name}: no picture")
        moment = self._at_s, self._unix_s, self._index, self._name
        self._index += 1
        try:
            return frame_of(raw, self._rotate, moment)
        except ValueError as error:
            raise NoPictureError(f"{self._name}: not a picture: {error}") from error

    def _set_part(self, capture: Capture) -> None:
        if hasattr(capture, "part"):
            capture.part = self.part

    def close(self) -> None:
        """Release the device. Safe to call twice."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()


class Reader:
    """Thread that opens and reads a source, reopens it after a loss, and fills a mailbox.

    Args:
        open_source: Function that opens the source, or its device; called in the thread.
        mailbox: Receiver of frames and losses.
        options: Time-outs, pauses, warm-up, rotation, name.
        clocks: Clocks of the frames and time-outs.
        freezes: Detector of the owner, so that a frozen picture stays frozen in the next thread.
        failures: Sessions in a row that failed so far; chooses the next pause.
    """

    def __init__(
        self,
        open_source: Callable[[], Capture | FrameSource],
        mailbox: Mailbox,
        options: SourceOptions,
        *,
        clocks: Clocks | None = None,
        freezes: FreezeDetector | None = None,
        failures: int = 0,
    ) -> None:
        self._open_source = open_source
        self._mailbox = mailbox
        self._options = options
        self._clocks = clocks or Clocks()
        self._freezes = freezes or FreezeDetector(options.frozen_timeout_s)
        self.failures = failures
        self._name = options.name or "camera"
        self._leave = threading.Event()
        self._overdue_s: float | None = None
        self._picture_s = self._clocks.monotonic()
        self._source: FrameSource | None = None
        # A daemon thread: one that hangs in a driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"reader {self._name}", daemon=True)

    def start(self) -> None:
        """Begin to open and read.

        Raises:
            RuntimeError: The system gives no more threads.
        """
        self._thread.start()

    def leave(self) -> None:
        """Request that the thread releases the source and ends; returns at once."""
        if self._leave.is_set():
            return
        self._leave.set()
        source = self._source
        if isinstance(source, CaptureSource):
            source.interrupt()
        elif source is not None:
            # A read of a registered source ends with its `close`, which may itself wait. Devices
            # are released by the reader alone: drivers break where two threads use one.
            closing = threading.Thread(target=source.close, name=f"close {self._name}", daemon=True)
            try:
                closing.start()
            except RuntimeError:
                logger.warning("%s: no thread is left to close it", self._name)

    def join(self, limit_s: float) -> bool:
        """Return whether the thread has ended, after waiting for it at most `limit_s` seconds."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(limit_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """True while the thread runs."""
        return self._thread.is_alive()

    @property
    def hangs(self) -> bool:
        """True while one call of the source exceeds its time-out."""
        overdue_s = self._overdue_s
        is_late = overdue_s is not None and self._clocks.monotonic() >= overdue_s
        return is_late and not self.is_receiving

    @property
    def is_receiving(self) -> bool:
        """True while a stream sends data without a picture, as between distant key frames."""
        received_s = getattr(self._source, "received_s", None)
        if received_s is None:
            return False
        now_s = self._clocks.monotonic()
        is_fresh: bool = now_s - received_s < self._options.read_timeout_s
        return is_fresh and now_s - self._picture_s < LONGEST_GAP_S

    def _run(self) -> None:
        while not self._leave.is_set():
            cause: Exception | None = None
            try:
                text = self._session()
            except SourceError as error:
                text, cause = str(error), error
            except ConfigError as error:
                text, cause = str(error), error
                if not self._mailbox.has_opened:
                    self._mailbox.fail(text, None, error)
                    return
            except Exception as error:  # noqa: BLE001 - the edge of the thread
                # An error that ended the thread would be silence for ever.
                text, cause = self._unexpected(error), error
            if self._leave.is_set():
                return
            if text is None:
                self._mailbox.end()
                return
            self.failures += 1
            wait_s = pause_s(self.failures, self._options.reconnect_s)
            self._mailbox.fail(text, wait_s, cause)
            self._leave.wait(wait_s)

    def _session(self) -> str | None:
        """Open, read until the source is lost, release it; return the loss, None at the end."""
        with self._limited(self._options.open_timeout_s):
            opened = self._open_source()
        source = self._source = self._as_source(opened)
        try:
            if self._leave.is_set():
                return None
            self._mailbox.opened()
            return self._read_all(source)
        finally:
            self._source = None
            with self._limited(self._options.read_timeout_s):
                source.close()

    def _as_source(self, opened: Capture | FrameSource) -> FrameSource:
        if hasattr(opened, "release"):
            return CaptureSource(opened, self._options, self._clocks)  # type: ignore[arg-type]
        return opened

    def _read_all(self, source: FrameSource) -> str | None:
        is_device = isinstance(source, CaptureSource)
        warm_up = WarmUp(self._options)
        pause_s = getattr(source, "pause_s", 0.0)
        self._mailbox.pause_s = pause_s
        bad, good_s = 0, self._clocks.monotonic()
        self._picture_s = good_s
        first_good_s: float | None = None
        while not self._leave.is_set():
            if pause_s and self._leave.wait(getattr(source, "due_in_s", 0.0)):
                return None
            try:
                with self._limited(self._options.read_timeout_s):
                    is_due, frame = self._next(source, warm_up)
            except NoPictureError as error:
                logger.debug("%s", error)
                self._mailbox.reject()
                bad += 1
                silent_s = self._clocks.monotonic() - good_s
                if bad >= MAX_BAD_READS or silent_s >= _SILENT * self._options.read_timeout_s:
                    hint = getattr(source, "silence_hint", "") if first_good_s is None else ""
                    return f"{self._name}: lost, it gives no pictures any more{hint}"
                continue
            except Exception as error:
                bad += 1
                if is_device or bad >= MAX_BAD_READS or self._leave.is_set():
                    raise
                known = isinstance(error, SourceError)
                self._mailbox.fail(str(error) if known else self._unexpected(error), None, error)
                self._leave.wait(_RETRY_READ_S)
                continue
            if frame is None and is_due:
                return None
            bad, good_s = 0, self._clocks.monotonic()
            self._picture_s = good_s
            first_good_s = good_s if first_good_s is None else first_good_s
            if good_s - first_good_s >= self._options.held_s:
                self.failures = 0
            if frame is None:
                self._mailbox.skip()
            elif not warm_up.skips(frame) and not self._leave.is_set():
                self._deliver(frame, is_device=is_device)
        return None

    def _next(self, source: FrameSource, warm_up: WarmUp) -> tuple[bool, Frame | None]:
        """Return whether the next frame is due, and the frame; None at the end, or if not due."""
        if not _can_grab(source):
            return True, source.read()
        self._ask_for_part(source)
        if isinstance(source, CaptureSource):
            source.wanted_at_s = -math.inf if warm_up.pending else self._mailbox.wanted_at_s
        at_s = source.grab()
        if at_s is None:
            return True, None
        if not warm_up.pending and not self._mailbox.wants(at_s):
            return False, None
        self._ask_for_part(source)
        return True, source.retrieve()

    def _ask_for_part(self, source: FrameSource) -> None:
        if isinstance(source, CaptureSource):
            source.part = self._mailbox.part

    def _deliver(self, frame: Frame, *, is_device: bool) -> None:
        frozen_s = self._freezes.frozen_s(frame)
        if frozen_s is None:
            self._mailbox.deliver(frame, number=is_device)
        else:
            self._mailbox.fail(f"{self._name}: frozen, the same picture for {frozen_s:.0f} s")

    def _unexpected(self, error: Exception) -> str:
        logger.error("%s: unexpected error in the reader", self._name, exc_info=error)
        return f"{self._name}: {type(error).__name__}: {error}"

    @contextmanager
    def _limited(self, limit_s: float) -> Iterator[None]:
        self._overdue_s = self._clocks.monotonic() + limit_s
        try:
            yield
        finally:
            self._overdue_s = None


def _can_grab(source: FrameSource) -> TypeGuard[GrabbingSource]:
    return hasattr(source, "grab") and hasattr(source, "retrieve")
