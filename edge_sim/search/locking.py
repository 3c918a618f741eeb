"""Lock of an index: one process at a time updates it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_sim.errors import SearchError


@contextmanager
def exclusive(folder: Path, name: str = "lock") -> Iterator[None]:
    """Hold the lock of an index; the system gives it back when the process ends, however it ends.

    Args:
        folder: Folder of the index.
        name: Name of the file that is locked.

    Raises:
        SearchError: Another process holds it, or the folder cannot be written to.
    """
    path = folder / name
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise SearchError(f"{path}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SearchError(
                f"{folder}: another process is updating this index; wait until it is done"
            ) from error
        yield
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Return whether a process holds the lock of an index."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
