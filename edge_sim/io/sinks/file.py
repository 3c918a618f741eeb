"""Events as JSON lines appended to a file, which is rotated when it has grown."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from pathlib import Path

from edge_sim.core.events import Event, to_json_line
from edge_sim.core.files import appending_opener, ends_mid_line, exists
from edge_sim.errors import SinkError
from edge_sim.io.sinks.options import FileOptions

_MEGABYTE = 1_000_000


class FileSink:
    """Appends one JSON line per event; a line is on disk before `emit` returns.

    A line cut short by a power failure is closed with a newline at the next opening, so that it
    spoils no other line.

    Args:
        options: Path and limits.
        stream: Stream on the file, for appending, unbuffered.
    """

    def __init__(self, options: FileOptions, stream: io.FileIO) -> None:
        self._path = Path(options.path)
        self._stream = stream
        self._max_bytes = int(options.max_mb * _MEGABYTE)
        self._keep = options.keep

    @classmethod
    def open(cls, options: FileOptions) -> FileSink:
        """Open the file for appending.

        Raises:
            SinkError: The file cannot be written.
        """
        return cls(options, _opened(Path(options.path)))

    @property
    def name(self) -> str:
        """The path."""
        return f"file {self._path}"

    def emit(self, event: Event) -> None:
        """Append one line and wait until it is on disk.

        Raises:
            SinkError: The sink is closed, the disk is full or gone.
        """
        if self._stream.closed:
            raise SinkError(f"{self._path}: the sink is closed")
        line = to_json_line(event)
        self._rotate_before(len(line))
        try:
            end = os.fstat(self._stream.fileno()).st_size
        except OSError as error:
            raise SinkError(f"{self._path}: cannot append ({error.strerror})") from error
        try:
            if self._stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._stream.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):  # a device cannot be cut back
                self._stream.truncate(end)
            raise SinkError(f"{self._path}: cannot append ({error.strerror})") from error

    def close(self) -> None:
        """Close the file."""
        try:
            self._stream.close()
        except OSError as error:
            raise SinkError(f"{self._path}: cannot close ({error.strerror})") from error

    def _rotate_before(self, growth: int) -> None:
        """Make room for `growth` bytes, and reopen a file that was moved or deleted."""
        try:
            size = os.fstat(self._stream.fileno()).st_size
            is_full = self._max_bytes > 0 and size > 0 and size + growth > self._max_bytes
            is_there = _is_still(self._path, self._stream)
            if is_there and not is_full:
                return
            if is_there:
                _shift(self._path, self._keep)
        except OSError as error:
            raise SinkError(f"{self._path}: cannot rotate ({error.strerror})") from error
        fresh = _opened(self._path)
        with contextlib.suppress(OSError):  # each line is on the disk already
            self._stream.close()
        self._stream = fresh


def _opened(path: Path) -> io.FileIO:
    try:
        # Unbuffered: what a full disk rejects must not wait in memory and come out later.
        stream = io.FileIO(path, "ab", opener=appending_opener)
        try:
            if ends_mid_line(path):
                stream.write(b"\n")
        except BaseException:
            with contextlib.suppress(OSError):
                stream.close()
            raise
    except OSError as error:
        raise SinkError(f"{path}: cannot append events ({error.strerror})") from error
    return stream


def _is_still(path: Path, stream: io.FileIO) -> bool:
    """Return whether `path` is the file that is open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _shift(path: Path, keep: int) -> None:
    """Rename `path` to `.1`, `.1` to `.2` and so on; the one after `keep` goes.

    Each step is one atomic rename, the last file first. Only files up to the first gap move, so
    that a rotation which a power cut stopped half-way is finished by the next, at no file's cost.
    """
    if keep == 0:
        path.unlink()
        return
    numbered = [path.with_name(f"{path.name}.{number}") for number in range(1, keep + 1)]
    gap = next((at for at, file in enumerate(numbered) if not exists(file)), keep - 1)
    chain = [path, *numbered[: gap + 1]]
    for older, newer in zip(reversed(chain), reversed(chain[:-1]), strict=False):
        newer.replace(older)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
