"""Tail of the log: the last lines in memory, for the page; secrets and passwords are masked."""

from __future__ import annotations

import logging
import re
from collections import deque
from datetime import datetime, timezone

import msgspec

from edge_sim.core.files import printable
from edge_sim.secrets import MaskingFormatter

MAX_LINES = 500
_LONGEST_LINE = 1000
CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+@")
"""User and password in an address."""


class LogLine(msgspec.Struct, frozen=True):
    """One line of the log."""

    at: str
    level: str
    text: str


class LogTail(logging.Handler):
    """Handler that keeps the last lines; may be used from any thread.

    Args:
        most: Number of lines to keep.
    """

    def __init__(self, most: int = MAX_LINES) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=most)
        self.setFormatter(MaskingFormatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line of a record, and the first line of its traceback's end."""
        try:
            text = printable(CREDENTIALS.sub("***@", self.format(record).split("\n", 1)[0]))
        except Exception:  # noqa: BLE001 - a broken record must not break what logs it
            self.handleError(record)
            return
        at = datetime.fromtimestamp(record.created, tz=timezone.utc)
        shown = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._lines.append(LogLine(shown, record.levelname.lower(), text[:_LONGEST_LINE]))

    def lines(self, most: int = MAX_LINES) -> tuple[LogLine, ...]:
        """Return the last lines, the newest first."""
        return tuple(list(self._lines)[: -most - 1 : -1])


LOG_TAIL = LogTail()
"""Tail of this process; the daemon adds it to its log."""
