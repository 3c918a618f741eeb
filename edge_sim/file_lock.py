"""Lock on a file beside what it protects; the system gives it back however a process ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from edge_sim.private_file import PRIVATE_MODE


class FileLock:
    """A lock that one process holds at a time, taken at once or not at all.

    Args:
        path: Place of the lock file, which stays.

    Raises:
        BlockingIOError: Another process, or another lock of this one, holds it.
        OSError: The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE
        )
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            self.release()
            raise

    @property
    def is_marked(self) -> bool:
        """Whether what it protects was once found to be what it should be."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_size > 0

    def mark(self) -> None:
        """Note that what it protects is what it should be. A disk that is full is no error."""
        if self._descriptor is not None and not self.is_marked:
            with suppress(OSError):
                os.write(self._descriptor, b"\n")

    def release(self) -> None:
        """Give the lock back. Safe to call twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
