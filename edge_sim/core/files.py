"""Access to files: queries with one kind of error, private files, whole writes, and locks.

`Path.exists` and its like raise for a folder that may not be entered and for a name that is too
long, and differ between versions of Python. Here False means that nothing is there; a path that the
system does not let a process examine is an `AccessError`.

Files that hold pictures are readable by their owner and group only: a stricter umask is obeyed, a
looser one is not.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_sim.errors import AccessError

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_REASONS = {
    errno.EACCES: "no permission to access it; check the modes of the folders above it, "
    "and the user that this runs as",
    errno.EPERM: "no permission to access it",
    errno.ENAMETOOLONG: "the name is too long",
}


def exists(path: str | Path) -> bool:
    """Return whether something is there, links followed.

    Raises:
        AccessError: The file system denies access.
    """
    return _status(path) is not None


def expanded(path: str | Path) -> str:
    """Return a path with `~` replaced; unchanged where that home is not known."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return str(path)


def is_file(path: str | Path) -> bool:
    """Return whether a regular file is there, links followed.

    Raises:
        AccessError: The file system denies access.
    """
    status = _status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_dir(path: str | Path) -> bool:
    """Return whether a folder is there, links followed.

    Raises:
        AccessError: The file system denies access.
    """
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def size_of(path: str | Path) -> int:
    """Return the bytes of a file; 0 if nothing is there.

    Raises:
        AccessError: The file system denies access.
    """
    status = _status(path)
    return 0 if status is None else status.st_size


def entries(folder: str | Path) -> list[Path]:
    """Return the entries of a folder, sorted by name.

    Raises:
        AccessError: It is not there, is no folder, or may not be read.
    """
    try:
        return sorted(Path(folder).iterdir())
    except OSError as error:
        raise access_error(folder, error) from error


def start_of(path: str | Path, count: int) -> bytes:
    """Return the first bytes of a regular file; empty for anything else.

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


def read_bounded(path: str | Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    A pipe with a name would be waited for, and a device may never end. A pipe of the caller, as
    in `-c <(...)` of a shell, is read.

    Raises:
        OSError: It cannot be read, is no such file (ESPIPE, EISDIR), or is larger (EFBIG).
    """
    with open(path, "rb", opener=reading_opener) as file:
        content: bytes = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", str(path))
    return content


def reading_opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=reading_opener)`; see `read_bounded`."""
    is_handed_over = os.path.realpath(path).startswith("/proc/")
    descriptor = os.open(path, flags | (0 if is_handed_over else os.O_NONBLOCK))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or (is_handed_over and stat.S_ISFIFO(mode)):
        return descriptor  # of a folder `open` itself says that it is one
    os.close(descriptor)
    raise OSError(errno.ESPIPE, "not a regular file", str(path))


def appending_opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=appending_opener)`; a pipe is rejected, not waited for.

    Raises:
        OSError: It cannot be opened, or is a pipe (ESPIPE).
    """
    return _open_to_write(path, flags, 0o666)


def _open_to_write(path: str, flags: int, mode: int) -> int:
    pipe = OSError(errno.ESPIPE, "a pipe, not a file", str(path))
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, mode)
    except OSError as error:
        raise (pipe if error.errno == errno.ENXIO else error) from error
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise pipe
    return descriptor


def access_error(path: str | Path, error: OSError) -> AccessError:
    """Return the error for a path that cannot be accessed, with the reason."""
    reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    return AccessError(f"{printable(path)}: {reason}")


def printable(name: str | Path) -> str:
    """Return a name that can be printed and stored; bytes and letters that cannot are escaped."""
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
    """Provide a name that libraries in C take for this file and nothing else.

    FFmpeg reads `12:00.mp4` as an address and `%06d` as a sequence of files, and a name that is not
    UTF-8 ends the process. Valid inside the `with` block.

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
    """Open a file for `open(..., opener=private_opener)`; a new one is private.

    Raises:
        OSError: It cannot be opened, or is a pipe (ESPIPE).
    """
    return _open_to_write(path, flags, PRIVATE_MODE)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a power cut or a full disk leaves the old or the new content.

    The remains of a failed attempt are deleted.

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
    """Flush the names in a folder to the disk.

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


class FileLock:
    """Lock that one process holds at a time, taken at once or not at all.

    The system releases it however the process ends.

    Args:
        path: Path of the lock file, which is kept.

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
        """True if the protected file was once found to be in order."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_size > 0

    def mark(self) -> None:
        """Record that the protected file is in order. A full disk is not an error."""
        if self._descriptor is not None and not self.is_marked:
            with suppress(OSError):
                os.write(self._descriptor, b"\n")

    def release(self) -> None:
        """Release the lock. Safe to call twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
