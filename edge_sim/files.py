"""Questions to the file system, answered or refused with one sentence.

`Path.exists` and its like raise for a folder that may not be entered, for a name that is too long
and, from one Python to the next, answer differently. Here "no" means that nothing is there; where
the system does not let us look, that is an `AccessError`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_sim.errors import AccessError

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_REASONS = {
    errno.EACCES: "no permission to look there; check the modes of the folders above it, "
    "and the user that this runs as",
    errno.EPERM: "no permission to look there",
    errno.ENAMETOOLONG: "the name is too long",
}


def exists(path: str | Path) -> bool:
    """Return whether something is there, links followed.

    Raises:
        AccessError: The system does not let us look.
    """
    return _status(path) is not None


def expanded(path: str | Path) -> str:
    """Return a path with `~` replaced; as it is where nobody knows that home."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return str(path)


def is_file(path: str | Path) -> bool:
    """Return whether a regular file is there, links followed.

    Raises:
        AccessError: The system does not let us look.
    """
    status = _status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_dir(path: str | Path) -> bool:
    """Return whether a folder is there, links followed.

    Raises:
        AccessError: The system does not let us look.
    """
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def size_of(path: str | Path) -> int:
    """Return the bytes of a file; 0 if nothing is there.

    Raises:
        AccessError: The system does not let us look.
    """
    status = _status(path)
    return 0 if status is None else status.st_size


def entries(folder: str | Path) -> list[Path]:
    """Return what lies in a folder, sorted by name.

    Raises:
        AccessError: It is not there, is no folder, or may not be read.
    """
    try:
        return sorted(Path(folder).iterdir())
    except OSError as error:
        raise access_error(folder, error) from error


def start_of(path: str | Path, count: int) -> bytes:
    """Return the first bytes of a regular file; none of anything else.

    Raises:
        AccessError: It may not be read.
    """
    if not is_file(path):
        return b""
    try:
        with Path(path).open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise access_error(path, error) from error


def access_error(path: str | Path, error: OSError) -> AccessError:
    """Return the error that says why a path cannot be looked at."""
    reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    return AccessError(f"{printable(path)}: {reason}")


def printable(name: str | Path) -> str:
    """Return a name that can be printed and stored: what is no text or no character is escaped."""
    text = str(name).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def is_text(name: str | Path) -> bool:
    """Return whether a name can be written as UTF-8, as libraries in C and JSON need it."""
    try:
        str(name).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def plain_name(path: str | Path) -> Iterator[str]:
    """Give a name of a file that libraries in C take for nothing but that file.

    FFmpeg reads `12:00.mp4` as an address and `%06d` as a row of files, and a name that is no
    UTF-8 ends the process. Good for opening; the name is gone afterwards.

    Raises:
        AccessError: The file cannot be opened.
    """
    if is_text(path) and not set(":%") & set(str(path)):
        yield str(path)
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise access_error(path, error) from error
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _status(path: str | Path) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - Path.stat would build a Path of every text
    except ValueError:
        return None  # a NUL, or a letter that names on this system cannot have
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise access_error(path, error) from error
