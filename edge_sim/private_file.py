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


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a power cut or a full disk leaves the old or the new content.

    What is left of an attempt that failed is deleted.

    Raises:
        OSError: It cannot be written; the file is as it was.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        with open(fresh, "wb", opener=private_opener) as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk.

    Raises:
        OSError: The disk failed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ends_mid_line(path: Path) -> bool:
    """Return whether a file of lines ends within one, as after a power cut.

    Raises:
        OSError: It cannot be read.
    """
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"
