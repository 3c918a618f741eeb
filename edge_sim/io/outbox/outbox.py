"""The outbox: events on disk until every sink has them.

Taking over what waits in the outbox of before, when the configuration names another file.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition

from edge_sim.core.events import Event, StateChanged, to_json_line
from edge_sim.core.files import is_file, write_whole
from edge_sim.errors import AccessError, SinkError
from edge_sim.io.outbox import queue
from edge_sim.io.outbox.database import Journal, WriteMeter
from edge_sim.io.outbox.queue import Bounds, DeliveryQueue, OutboxCounts, QueueEntry, StoredEvent

logger = logging.getLogger(__name__)

# How far the sinks have come is written when one has everything, and after this many events.
_DONE_PER_COMMIT = 32
_FAULTS_PER_LINE = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that a sink has not got; `seq` orders all events and never comes twice."""

    seq: int
    event: Event


class Outbox:
    """Keeps events on disk until every sink has taken them, in order.

    It is an `EventSink` itself: what `emit` took is delivered at least once, also after a power
    cut. While the disk takes nothing, events wait in memory and are delivered from there.
    Every method may be called from any thread.
    """

    def __init__(
        self,
        journal: Journal,
        sinks: Sequence[str],
        bounds: Bounds,
        clock: Callable[[], float],
        *,
        keeps_gone: bool = False,
    ) -> None:
        self._changed = Condition()
        self._journal = journal
        self._bounds = bounds
        self._clock = clock
        self._closed = False
        self._unsaved: deque[StoredEvent] = deque()
        self._unwritten = 0
        self._faults = 0
        self._wakes: list[Callable[[], None]] = []
        self._opened_s = clock()
        loaded = queue.load(journal)
        self._latest = loaded.latest
        self._next_seq = loaded.last_seq + 1
        # Ages go on where they were: the time that the device was off does not count, and neither
        # does a clock that jumps.
        self._base_s = max((entry.kept_at_s for entry in loaded.entries), default=0.0)
        cursors = {sink: loaded.cursors.get(sink, loaded.last_seq) for sink in sinks}
        self._gone = loaded.cursors.keys() - set(sinks)
        # Events of sinks that are gone wait until the change is final: see `forget_sinks`.
        self._queue = DeliveryQueue({**loaded.cursors, **cursors}, loaded.entries)
        self._written_cursors = dict(loaded.cursors)
        if not keeps_gone:
            self.forget_sinks()
        self._save()

    name = "outbox"
    lost = 0
    """Events that were lost at the end: the disk took nothing, and a sink had not got them."""

    @classmethod
    def open(
        cls,
        path: Path | None,
        sinks: Sequence[str],
        *,
        bounds: Bounds | None = None,
        clock: Callable[[], float] = time.monotonic,
        keeps_gone: bool = False,
    ) -> Outbox:
        """Open or make the file at `path`.

        Args:
            path: Its folder must exist; None keeps events in memory, so that nothing is written.
            sinks: Who gets events: distinct names that stay the same from start to start. A new
                one gets events from now on; for one that is gone its waiting events are dropped.
            bounds: Limits.
            clock: Monotonic seconds; ages count the time it shows, not the time of the day.
            keeps_gone: Keep what waits for sinks that are gone until `forget_sinks`.

        Raises:
            SinkError: The file cannot be used, or belongs to another program.
        """
        if len(set(sinks)) != len(sinks):
            raise SinkError(f"two sinks have the same name: {', '.join(sorted(sinks))}")
        journal = Journal.open(path, WriteMeter(clock))
        try:
            return cls(journal, sinks, bounds or Bounds(), clock, keeps_gone=keeps_gone)
        except sqlite3.Error as error:
            journal.close()
            raise SinkError(f"{path}: the outbox cannot be used ({error})") from error

    def adopt(self, path: Path) -> int:
        """Take over what waits in the outbox file at `path`, and return how many events.

        For a device whose configuration names another place now. Events come before later ones,
        to the sinks that both know; the old file is left empty.

        Raises:
            SinkError: The old file cannot be read, or the new one cannot be written.
        """
        try:
            journal = Journal.open(path, WriteMeter(self._clock))
            try:
                return self._adopt(journal)
            finally:
                journal.close()
        except sqlite3.Error as error:
            raise SinkError(f"{path}: what waits there cannot be taken over ({error})") from error

    def _adopt(self, journal: Journal) -> int:
        loaded = queue.load(journal)
        known = [sink for sink in self._queue.cursors if sink in loaded.cursors]
        after = min((loaded.cursors[sink] for sink in known), default=loaded.last_seq)
        rows = queue.read(journal, after, -1)
        events = [event for _, event in rows if event is not None]
        if events and not self.put(events):
            raise SinkError(f"{self.name}: the disk takes nothing; the events stay where they are")
        with self._changed:
            for watch, (_, event) in loaded.latest.items():
                self._latest.setdefault(watch, (0, event))
        queue.forget_events(journal)
        return len(events)

    def emit(self, event: Event) -> None:
        """Take one event; as `put`."""
        self.put((event,))

    def put(self, events: Sequence[Event]) -> bool:
        """Take events, all in one commit; return whether they are on disk.

        They are delivered in any case, and written as soon as the disk takes them.

        Raises:
            SinkError: The outbox is closed.
        """
        with self._changed:
            self._require_open()
            for event in events:
                body = to_json_line(event)
                entry = QueueEntry(self._next_seq, self._now_s(), len(body))
                self._next_seq += 1
                self._unsaved.append(StoredEvent(entry, event, body))
                self._queue.add(entry)
                if isinstance(event, StateChanged):
                    self._latest[event.watch] = (entry.seq, event)
            is_saved = self._trim_and_save()
            while len(self._unsaved) > self._bounds.max_unsaved:
                self._queue.discard(self._unsaved.popleft().entry.seq, "unsaved")
            self._changed.notify_all()
            wakes = tuple(self._wakes)
        for wake in wakes:
            wake()
        return is_saved

    def pending(self, sink: str, limit: int = _DONE_PER_COMMIT) -> tuple[Waiting, ...]:
        """Return the oldest events that `sink` has not got, at most `limit`.

        Raises:
            SinkError: The outbox is closed, or the disk cannot be read.
        """
        with self._changed:
            self._require_open()
            while (oldest := self._queue.oldest) is not None:
                after = max(self._queue.cursors[sink], oldest - 1)
                rows = self._read(after, limit)
                if not rows:
                    return ()
                found = tuple(Waiting(seq, event) for seq, event in rows if event is not None)
                for seq in (seq for seq, event in rows if event is None):
                    self._queue.discard(seq, "unreadable")
                if found:
                    return found
                self._queue.advance(sink, rows[-1][0])
            return ()

    def confirm(self, sink: str, seq: int, *, rejected: bool = False) -> None:
        """Note that `sink` is done with the events up to `seq`: it has them, or rejected the last.

        Raises:
            SinkError: The outbox is closed.
        """
        with self._changed:
            self._require_open()
            self._queue.advance(sink, seq)
            if rejected:
                self._queue.dropped[sink, "rejected"] += 1
            else:
                self._queue.delivered[sink] += 1
            self._unwritten += 1
            is_due = self._queue.pending(sink) == 0 or self._unwritten >= _DONE_PER_COMMIT
            if is_due and not self._is_over_budget():
                self._save()
            self._changed.notify_all()

    def flush(self) -> bool:
        """Write what is not on disk yet, drop what is too old; return whether all is on disk."""
        with self._changed:
            if self._closed:
                return False
            return self._trim_and_save(only_if_needed=True)

    def latest(self) -> dict[str, StateChanged]:
        """Return the last state change of every watch, delivered or not; survives restarts."""
        with self._changed:
            return {watch: event for watch, (_, event) in self._latest.items()}

    def settled(self, sink: str) -> tuple[StateChanged, ...]:
        """Return the last state change of every watch for which none waits for `sink`."""
        with self._changed:
            cursor = self._queue.cursors[sink]
            return tuple(event for seq, event in self._latest.values() if seq <= cursor)

    def wait_delivered(self, timeout_s: float, sinks: Sequence[str] | None = None) -> bool:
        """Return whether these sinks have everything, after waiting for it at most `timeout_s`.

        Args:
            timeout_s: Longest wait in seconds; 0 returns at once.
            sinks: Names of the sinks; None is all.
        """
        with self._changed:
            names = tuple(self._queue.cursors) if sinks is None else sinks
            return self._changed.wait_for(
                lambda: not any(self._queue.pending(name) for name in names), timeout_s
            )

    def counts(self) -> OutboxCounts:
        """Return what health and metrics need."""
        with self._changed:
            return OutboxCounts(
                waiting=len(self._queue),
                waiting_bytes=self._queue.bytes,
                unsaved=len(self._unsaved),
                pending={sink: self._queue.pending(sink) for sink in self._queue.cursors},
                delivered=dict(self._queue.delivered),
                dropped=dict(self._queue.dropped),
                written_bytes=self._journal.meter.total,
                written_bytes_last_day=self._journal.meter.last_day,
                over_budget=self._is_over_budget(),
            )

    def when_filled(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every `put`, on the thread that put; it must return at once."""
        with self._changed:
            self._wakes.append(wake)

    def close(self) -> None:
        """Write everything and close; `lost` has what could not be written. Safe to call twice."""
        with self._changed:
            if self._closed:
                return
            lost = self.lost = 0 if self._save() else self._undelivered()
            self._closed = True
            self._journal.close()
            self._changed.notify_all()
        if lost:
            logger.error(
                "outbox: %d events are lost: the disk took nothing and not every sink has them",
                lost,
            )

    def _undelivered(self) -> int:
        done = min(self._queue.cursors.values(), default=self._next_seq)
        return sum(item.entry.seq > done for item in self._unsaved)

    def _read(self, after: int, limit: int) -> list[tuple[int, Event | None]]:
        """Return the oldest events above `after`, from disk and then from memory."""
        try:
            rows = queue.read(self._journal, after, limit)
        except sqlite3.Error as error:
            raise SinkError(f"outbox: the disk cannot be read ({error})") from error
        rows += [(item.entry.seq, item.event) for item in self._unsaved if item.entry.seq > after]
        return rows[:limit]

    def _trim_and_save(self, *, only_if_needed: bool = False) -> bool:
        bounds = self._bounds
        trimmed = self._queue.trim(self._now_s(), bounds.max_age_s, bounds.max_bytes)
        if trimmed:
            logger.warning("outbox: %d events dropped, too old or too many", trimmed)
        if only_if_needed and not (trimmed or self._unwritten or self._unsaved):
            return True
        return self._save()

    def _save(self) -> bool:
        """Write what the disk does not know yet; return whether it took it."""
        oldest = self._queue.oldest
        below = self._next_seq if oldest is None else oldest
        unsaved_events = list(self._unsaved)
        moved = dict(self._queue.cursors.items() - self._written_cursors.items())
        try:
            queue.save(self._journal, unsaved_events, cursors=moved, below=below)
        except sqlite3.Error as error:
            self._faults += 1
            if self._faults % _FAULTS_PER_LINE == 1:
                logger.error(
                    "outbox: the disk takes nothing (%s); %d events wait in memory (fault %d)",
                    error,
                    len(self._unsaved),
                    self._faults,
                )
            return False
        if self._faults:
            logger.warning("outbox: the disk takes events again, after %d faults", self._faults)
        self._faults = self._unwritten = 0
        self._written_cursors |= moved
        self._unsaved.clear()
        return True

    def forget_sinks(self) -> None:
        """Drop what waits for sinks that are gone. Safe to call twice."""
        with self._changed:
            gone, self._gone = self._gone, set()
            for sink in gone:
                lost = self._queue.pending(sink)
                self._queue.forget(sink)
                self._written_cursors.pop(sink, None)
                self._queue.dropped[sink, "removed"] = lost
                logger.info("outbox: %s is no sink any more; %d events dropped", sink, lost)
            self._queue.tidy()
            if gone:
                queue.forget_sinks(self._journal, gone)

    def _is_over_budget(self) -> bool:
        return self._journal.meter.last_day > self._bounds.write_budget_bytes

    def _now_s(self) -> float:
        return self._base_s + self._clock() - self._opened_s

    def _require_open(self) -> None:
        if self._closed:
            raise SinkError("outbox: it is closed")


_LONGEST_BYTES = 4096


def take_over_previous(outbox: Outbox, path: Path, state: Path) -> None:
    """Take over the events of the outbox that this device had before, and note the present one.

    What cannot be taken over is logged, and tried again at the next start.

    Args:
        outbox: Open outbox.
        path: Its file.
        state: State file of the device; the note lies beside it.
    """
    note = state.with_name(f"{state.name}.outbox")
    previous = _noted(note)
    if previous == path.absolute():
        return
    try:
        if previous is not None and is_file(previous):
            count = outbox.adopt(previous)
            if count:
                logger.warning("outbox: %d events taken over from %s", count, previous)
    except (SinkError, AccessError) as error:
        logger.error("events that wait in %s stay there: %s", previous, error)
        return
    try:
        write_whole(note, os.fsencode(path.absolute()))
    except OSError as error:
        logger.warning("%s: cannot be written (%s)", note, error.strerror)


def _noted(note: Path) -> Path | None:
    with suppress(OSError), note.open("rb") as stream:
        text = stream.read(_LONGEST_BYTES)
        return Path(os.fsdecode(text)) if text and b"\0" not in text else None
    return None
