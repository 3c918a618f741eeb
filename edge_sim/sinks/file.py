"""Events as JSON lines appended to a file."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from pathlib import Path

from edge_sim.errors import SinkError
from edge_sim.events import Event, to_json_line


class FileSink:
    """Appends one JSON line per event; a line is on disk before `emit` returns.

    A line cut short by a power failure is closed with a newline at the next opening, so that it
    spoils no other line.
    """

    def __init__(self, path: Path, stream: io.FileIO) -> None:
        self._path = path
        self._stream = stream

    @classmethod
    def open(cls, path: Path) -> FileSink:
        """Open `path` for appending; its folder must exist.

        Raises:
            SinkError: The file cannot be written.
        """
        try:
            # Unbuffered: what a full disk refuses must not wait in memory and come out later.
            stream = path.open("ab", buffering=0)
            if _ends_mid_line(path):
                stream.write(b"\n")
        except OSError as error:
            raise SinkError(f"{path}: cannot append events ({error.strerror})") from error
        return cls(path, stream)

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
        end = os.fstat(self._stream.fileno()).st_size
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


def _ends_mid_line(path: Path) -> bool:
    with path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"
