"""Files that hold what a camera saw: readable by their owner and group only.

A umask that is stricter is obeyed; one that is looser is not.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

PRIVATE_MODE = 0o640


def make_private(path: Path) -> None:
    """Make an empty file at `path`, which must not exist.

    Raises:
        OSError: It exists, or cannot be made.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE_MODE))


def write_private(path: Path, content: bytes) -> None:
    """Write a file at `path`; an older one is emptied first, and gets the same mode.

    Raises:
        OSError: It cannot be written.
    """
    with open(path, "wb", opener=private_opener) as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & ~PRIVATE_MODE:
            with suppress(OSError):  # a file system that knows no modes, as on many SD cards
                os.fchmod(file.fileno(), mode & PRIVATE_MODE)
        file.write(content)


def private_opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=private_opener)`; a new one is private."""
    return os.open(path, flags, PRIVATE_MODE)
