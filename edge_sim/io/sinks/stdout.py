"""Events as JSON lines on standard output."""

from __future__ import annotations

import sys
from typing import BinaryIO

from edge_sim.core.events import Event, to_json_line
from edge_sim.errors import SinkError


class StdoutSink:
    """One JSON line per event, flushed at once so that a pipe sees it.

    Args:
        stream: Binary stream; standard output by default.
    """

    name = "stdout"

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream
        self._closed = False

    def emit(self, event: Event) -> None:
        """Write one line.

        Raises:
            SinkError: The stream is closed or its reader went away.
        """
        if self._closed:
            raise SinkError("stdout: the sink is closed")
        try:
            stream = self._stream or sys.stdout.buffer
            stream.write(to_json_line(event))
            stream.flush()
        except (OSError, ValueError) as error:
            raise SinkError(f"stdout: cannot write ({error})") from error

    def close(self) -> None:
        """Stop writing; the stream itself belongs to the process."""
        self._closed = True
