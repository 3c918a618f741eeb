"""Reports of the daemon about itself: log lines, status, device info, process statistics."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge_sim.core.events import (
    Event,
    IndexReady,
    PackReported,
    SceneProblem,
    SourceLost,
    StateChanged,
    WatchEvent,
    tag_of,
)
from edge_sim.core.protocols import FrameSource
from edge_sim.decision.pipeline import Watch
from edge_sim.io.outbox.queue import OutboxCounts
from edge_sim.io.sinks.capabilities import DeviceInfo, DeviceStats, WatchInfo
from edge_sim.io.sources.live import LiveSource
from edge_sim.runtime.assembly import Device
from edge_sim.runtime.daemon.state_file import open_issues
from edge_sim.runtime.health.status import StatusBoard, WatchStatus

logger = logging.getLogger(__name__)


def device_info_of(device: Device) -> DeviceInfo:
    """Return the description of the device for remote sinks."""
    watches = tuple(
        _watch_info(device, source, watch)
        for source, runner in device.runners.items()
        for watch in runner.pipeline.watches
    )
    return DeviceInfo(watches, device.embedder.model_id)


def _watch_info(device: Device, source: str, watch: Watch) -> WatchInfo:
    configured = device.config.watches[watch.name]
    issues = open_issues(watch)
    return WatchInfo(
        name=watch.name,
        source=source,
        states=configured.states or watch.gallery.states,
        sensitivity=configured.sensitivity,
        problems=issues.problems,
        overdue=issues.overdue,
        private=configured.private,
    )


def show_open_issues(device: Device, board: StatusBoard) -> None:
    """Show the open issues of the watches on the status board."""
    for name, watch in device.watches.items():
        board.show_issues(name, open_issues(watch))


def watch_statuses(device: Device) -> list[WatchStatus]:
    """Return the status of the watches before their first observation."""
    return [
        WatchStatus(
            name=watch.name,
            source=name,
            states=watch.gallery.states,
            revision=watch.gallery.revision,
        )
        for name, runner in device.runners.items()
        for watch in runner.pipeline.watches
    ]


def counts_of(source: FrameSource) -> dict[str, int]:
    """Return the counters of a live source, named like the fields of `SourceStatus`."""
    if not isinstance(source, LiveSource):
        return {}
    return {
        "dropped": source.dropped,
        "rejected": source.rejected,
        "repeated": source.repeated,
        "hanging": source.abandoned,
    }


def log_event(event: Event) -> None:
    """Log an event in one line of `key=value`, for journald and grep."""
    if isinstance(event, WatchEvent):
        logger.info("%s watch=%s %s id=%s", tag_of(event), event.watch, _facts(event), event.id)
        return
    if isinstance(event, IndexReady):
        logger.info("index_ready index=%s pictures=%d id=%s", event.index, event.pictures, event.id)
        return
    if isinstance(event, PackReported):
        reason = f" reason={event.reason}" if event.reason else ""
        logger.info(
            "pack_reported pack=%s version=%d outcome=%s%s id=%s",
            *(event.pack, event.version, event.outcome, reason, event.id),
        )
        return
    if not isinstance(event, StateChanged):
        verb = "source_lost" if isinstance(event, SourceLost) else "source_restored"
        logger.info("%s source=%s id=%s", verb, event.source, event.id)
        return
    logger.info(
        "state_changed watch=%s before=%s after=%s%s confidence=%.3f id=%s",
        event.watch,
        event.before,
        event.after,
        f" reason={event.reason}" if event.reason else "",
        event.confidence,
        event.id,
    )


def _facts(event: WatchEvent) -> str:
    """Return the fields that this kind of event adds, those that are set."""
    own = [name for name in event.__struct_fields__ if name not in WatchEvent.__struct_fields__]
    facts = {name: getattr(event, name) for name in own if name != "action"}
    return " ".join(f"{name}={_word(value)}" for name, value in facts.items() if value is not None)


def _word(value: object) -> object:
    return value.value if isinstance(value, SceneProblem) else value


def summary(board: StatusBoard) -> str:
    """Return the state of every watch, in one short line."""
    states = [
        f"{item.name} {item.state.name if item.state else 'starting'}" for item in board.watches
    ]
    return ", ".join(states)[:200]


_STATM = Path("/proc/self/statm")
_MEGABYTE = 1e6


class ProcessStats:
    """Statistics of the process: memory, CPU time and totals.

    Args:
        board: Status board of the daemon.
        used: CPU seconds of the whole process.
        memory_mb: Memory of the process, megabytes; None where the system does not report it.
        folder: Folder whose disk is reported.
    """

    def __init__(
        self,
        board: StatusBoard,
        *,
        used: Callable[[], float] = time.process_time,
        memory_mb: Callable[[], float | None] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._board = board
        self._used = used
        self._memory_mb = memory_mb or resident_mb
        self._folder = folder
        self._started_s = board.clock()
        self._last = (self._started_s, used())

    def stats(self, counts: OutboxCounts) -> DeviceStats:
        """Return the present statistics; the CPU share counts from the last call."""
        now_s, used_s = self._board.clock(), self._used()
        last_now_s, last_used_s = self._last
        self._last = (now_s, used_s)
        sources = self._board.sources
        return DeviceStats(
            uptime_s=round(now_s - self._started_s, 1),
            rss_mb=self._memory_mb(),
            cpu_share=round((used_s - last_used_s) / max(now_s - last_now_s, 1e-3), 4),
            frames=sum(item.frames for item in sources),
            observations=sum(item.observations for item in self._board.watches),
            events=self._board.last_event,
            sources=len(sources),
            sources_up=sum(item.up for item in sources),
            outbox_waiting=counts.waiting,
            outbox_dropped=sum(counts.dropped.values()),
            written_mb_last_day=round(counts.written_bytes_last_day / _MEGABYTE, 3),
            disk_free_mb=None if self._folder is None else free_mb(self._folder),
        )


def free_mb(folder: Path) -> float | None:
    """Return the free space of the disk of a folder, megabytes; None if it cannot be read."""
    with suppress(OSError):
        return round(shutil.disk_usage(folder).free / _MEGABYTE, 1)
    return None


def resident_mb() -> float | None:
    """Return the memory of this process in megabytes, with shared libraries; None without /proc.

    The second number in statm is resident pages, https://man7.org/linux/man-pages/man5/proc.5.html
    """
    with suppress(OSError, ValueError, IndexError):
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE, 2)
    return None
