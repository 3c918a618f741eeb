"""How the device does, for far ends that want to know: figures of the process and the outbox."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge_sim.health.board import Board
from edge_sim.outbox import OutboxCounts
from edge_sim.sinks.remote import DeviceStats

_STATM = Path("/proc/self/statm")
_MEGABYTE = 1e6


class Vitals:
    """Makes the figures.

    Args:
        board: Of the daemon.
        used: CPU seconds of the whole process.
        memory_mb: Of the process; None where the system does not tell.
    """

    def __init__(
        self,
        board: Board,
        *,
        used: Callable[[], float] = time.process_time,
        memory_mb: Callable[[], float | None] | None = None,
    ) -> None:
        self._board = board
        self._used = used
        self._memory_mb = memory_mb or resident_mb
        self._started_s = board.clock()
        self._last = (self._started_s, used())

    def stats(self, counts: OutboxCounts) -> DeviceStats:
        """Return the figures now; the CPU share is that since the last call."""
        now_s, used_s = self._board.clock(), self._used()
        last_now_s, last_used_s = self._last
        self._last = (now_s, used_s)
        sources = self._board.sources
        return DeviceStats(
            uptime_s=round(now_s - self._started_s, 1),
            rss_mb=self._memory_mb(),
            cpu_share=round((used_s - last_used_s) / max(now_s - last_now_s, 1e-3), 4),
            frames=sum(item.frames for item in sources),
            looks=sum(item.looks for item in self._board.watches),
            events=self._board.last_event,
            sources=len(sources),
            sources_up=sum(item.up for item in sources),
            outbox_waiting=counts.waiting,
            outbox_dropped=sum(counts.dropped.values()),
            written_mb_last_day=round(counts.written_bytes_last_day / _MEGABYTE, 3),
        )


def resident_mb() -> float | None:
    """Return the memory of this process, shared libraries included; None where there is no /proc.

    The second number in statm is resident pages, https://man7.org/linux/man-pages/man5/proc.5.html
    """
    with suppress(OSError, ValueError, IndexError):
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE, 2)
    return None
