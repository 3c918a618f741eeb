"""A source read in its own thread, so that a slow or silent one never holds the others up."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from edge_sim.daemon.freshness import Freshness
from edge_sim.domain import Frame
from edge_sim.errors import EdgeSimError, SourceError
from edge_sim.protocols import FrameSource

logger = logging.getLogger(__name__)

RETRY_S = (1.0, 5.0, 10.0, 60.0)
"""Pauses between attempts to open; the last one is repeated for ever."""
_AFTER_FAULT_S = 0.2
"""A source that fails at once, again and again, must not turn its thread into a hot loop."""
_KEPT = 4  # lost, back, lost, back: the worker learns of each change, older ones are stale


class Feeder:
    """The newest frame of a live source, itself a `FrameSource` whose `read` never waits.

    The thread opens the source, and again for ever if it cannot: a camera that is missing at the
    start is a lost source, not the end of the device.

    Args:
        name: Of the source.
        open_source: Called in the thread; raises `SourceError` while there is no camera.
        wake: Called whenever there is something to read; must return at once.
        frozen_s: Seconds of the same picture that count as a loss; None never does.
        retry_s: Pauses between attempts to open.
    """

    def __init__(
        self,
        name: str,
        open_source: Callable[[], FrameSource],
        wake: Callable[[], None],
        *,
        frozen_s: float | None = None,
        retry_s: Sequence[float] = RETRY_S,
    ) -> None:
        self._name = name
        self._open_source = open_source
        self._wake = wake
        self._freshness = Freshness(name, frozen_s)
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._items: deque[Frame | SourceError | None] = deque(maxlen=_KEPT)
        self._stop = threading.Event()
        self._source: FrameSource | None = None
        self._replaced = 0
        # A daemon thread: one that hangs in a driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"feeder {name}", daemon=True)

    @property
    def name(self) -> str:
        """Safe to log: the name in the configuration."""
        return self._name

    @property
    def ready(self) -> bool:
        """Whether there is something to read."""
        return bool(self._items)

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced before they were looked at."""
        return self._replaced + int(getattr(self._source, "dropped", 0))

    @property
    def rejected(self) -> int:
        """Reads that gave no picture, or something that is none, since the source was opened."""
        return int(getattr(self._source, "rejected", 0))

    @property
    def repeated(self) -> int:
        """Frames exactly like the one before."""
        return self._freshness.repeated

    @property
    def hanging(self) -> int:
        """Threads that hang in the driver now."""
        return int(getattr(self._source, "abandoned", 0))

    def start(self) -> None:
        """Begin to open and read; nothing happens the second time."""
        if self._thread.ident is None:
            self._thread.start()

    def read(self) -> Frame | None:
        """Return what came next; only to be called when `ready`.

        Raises:
            SourceError: The source was lost, or nothing is there to read.
        """
        with self._lock:
            if not self._items:
                raise SourceError(f"{self._name}: nothing to read")
            item = self._items.popleft()
        if isinstance(item, SourceError):
            raise item
        return item

    def close(self) -> None:
        """Let the thread end and the source be given back; returns at once. Safe to call twice."""
        if self._stop.is_set():
            return
        self._stop.set()
        # Closing may wait for a read in progress; several cameras must not wait one by one.
        threading.Thread(target=self._release, name=f"close {self._name}", daemon=True).start()

    def join(self, limit_s: float) -> bool:
        """Return whether the thread has ended, after waiting for it at most `limit_s`."""
        if self._thread.ident is not None:
            self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._source = self._open_source()
            except EdgeSimError as error:
                pause_s = self._retry_s[min(failures, len(self._retry_s) - 1)]
                failures += 1
                self._put(SourceError(f"{error}; next try in {pause_s:g} s"))
                self._stop.wait(pause_s)
                continue
            failures = 0
            try:
                if self._read_all(self._source):
                    self._put(None)
                    return
            finally:
                self._release()

    def _read_all(self, source: FrameSource) -> bool:
        """Read until told to stop; return whether the source has ended."""
        while not self._stop.is_set():
            try:
                frame = source.read()
                if frame is None:
                    return True
                self._freshness.check(frame)
            except SourceError as error:
                if not self._stop.is_set():
                    self._put(error)
                    self._stop.wait(_AFTER_FAULT_S)
                continue
            except Exception as error:
                # The edge of the thread: an error that ended it would look like silence for ever.
                logger.exception("%s: unexpected error while reading", self._name)
                self._put(SourceError(f"{self._name}: {type(error).__name__}: {error}"))
                self._stop.wait(_AFTER_FAULT_S)
                continue
            self._put(frame)
        return False

    def _put(self, item: Frame | SourceError | None) -> None:
        with self._lock:
            if self._items and type(self._items[-1]) is type(item):
                self._replaced += isinstance(item, Frame)
                self._items[-1] = item
            else:
                self._items.append(item)
        self._wake()

    def _release(self) -> None:
        source = self._source
        if source is not None:
            source.close()
