"""Limits and figures of the outbox, the queue of waiting events, and the rows of its file."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_sim.core.events import Event, StateChanged, from_json_line
from edge_sim.io.outbox.database import Journal

MEGABYTE = 1_000_000
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of the outbox; the oldest events go first.

    Args:
        max_bytes: Bytes of events as JSON. The file is 1.12 times that (13,000 events of 728
            bytes), and the log beside it about 1 MiB.
        max_age_s: Seconds that the device was running while the event waited.
        max_unsaved: Events kept in memory while the disk takes none.
        write_budget_bytes: Bytes per day. Beyond it only events themselves are written at once; the
            progress of the sinks is written now and then.
    """

    max_bytes: int = 16 * MEGABYTE
    max_age_s: float = 7 * DAY_S
    max_unsaved: int = 1000
    write_budget_bytes: int = 64 * MEGABYTE


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """Figures of the outbox at one moment.

    Args:
        waiting: Events that at least one sink has not received.
        waiting_bytes: Their bytes as JSON.
        unsaved: Number of those that are not on disk: it is full or gone.
        pending: Events that each sink has not received.
        delivered: Events that each sink accepted since the start.
        dropped: Events that each sink never receives, by (sink, reason). The reasons: `age`, `size`
            (too many bytes), `unsaved` (too many while the disk took none), `rejected` (by the
            receiver), `unreadable` (damaged on disk), `removed` (the sink is not configured any
            more).
        written_bytes: Bytes written since the start, log and file.
        written_bytes_last_day: Bytes written in the last 24 hours.
        over_budget: True where that is more than the write budget.
    """

    waiting: int
    waiting_bytes: int
    unsaved: int
    pending: Mapping[str, int]
    delivered: Mapping[str, int]
    dropped: Mapping[tuple[str, str], int]
    written_bytes: int
    written_bytes_last_day: int
    over_budget: bool


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A waiting event: its number, its arrival (seconds of running time), its bytes."""

    seq: int
    kept_at_s: float
    size: int


class DeliveryQueue:
    """Waiting events, oldest first, and the progress of each sink; no disk and no clock.

    Args:
        cursors: Number of the last event that each sink is done with.
        entries: Waiting events in order of their numbers.
    """

    def __init__(self, cursors: Mapping[str, int], entries: Iterable[QueueEntry]) -> None:
        self.cursors = dict(cursors)
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.delivered: Counter[str] = Counter(dict.fromkeys(cursors, 0))
        self._entries = deque(entries)
        self.bytes = sum(entry.size for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: QueueEntry) -> None:
        """Add an entry whose number is above all others; without a sink it is not kept."""
        if self.cursors:
            self._entries.append(entry)
            self.bytes += entry.size

    @property
    def oldest(self) -> int | None:
        """Lowest number that waits; None without one."""
        return self._entries[0].seq if self._entries else None

    def pending(self, sink: str) -> int:
        """Return how many events wait for `sink`."""
        return len(self._entries) - bisect_right(
            self._entries, self.cursors[sink], key=lambda entry: entry.seq
        )

    def advance(self, sink: str, seq: int) -> None:
        """Note that `sink` is done with everything up to `seq`."""
        self.cursors[sink] = max(self.cursors[sink], seq)
        self.tidy()

    def forget(self, sink: str) -> None:
        """Forget a sink; what waits for it alone goes with the next `tidy`."""
        del self.cursors[sink]
        del self.delivered[sink]

    def tidy(self) -> None:
        """Remove the events that every sink is done with."""
        done = min(self.cursors.values(), default=None)
        while self._entries and (done is None or self._entries[0].seq <= done):
            self._forget_oldest()

    def trim(self, now_s: float, max_age_s: float, max_bytes: int) -> int:
        """Drop the oldest events beyond age and bytes; return how many."""
        before = len(self._entries)
        while self._entries and now_s - self._entries[0].kept_at_s > max_age_s:
            self._drop(self._entries[0].seq, "age")
            self._forget_oldest()
        while self.bytes > max_bytes and len(self._entries) > 1:
            self._drop(self._entries[0].seq, "size")
            self._forget_oldest()
        return before - len(self._entries)

    def discard(self, seq: int, reason: str) -> None:
        """Drop one event, wherever it stands."""
        for entry in self._entries:
            if entry.seq == seq:
                self._entries.remove(entry)
                self.bytes -= entry.size
                self._drop(seq, reason)
                return

    def _drop(self, seq: int, reason: str) -> None:
        for sink, cursor in self.cursors.items():
            if cursor < seq:
                self.dropped[sink, reason] += 1

    def _forget_oldest(self) -> None:
        self.bytes -= self._entries.popleft().size


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its queue entry and its line of JSON."""

    entry: QueueEntry
    event: Event
    body: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """Contents of the file: progress of each sink, waiting events, last change of each watch."""

    cursors: Mapping[str, int]
    entries: tuple[QueueEntry, ...]
    latest: dict[str, tuple[int, StateChanged]]

    @property
    def last_seq(self) -> int:
        """The highest number ever given; 0 at the very start."""
        numbers = [entry.seq for entry in self.entries]
        return max([0, *numbers, *self.cursors.values(), *(seq for seq, _ in self.latest.values())])


def load(journal: Journal) -> Loaded:
    """Return everything but the bodies of the waiting events."""
    latest = {}
    for watch, seq, body in journal.rows("SELECT watch, seq, body FROM latest"):
        event = decoded(body)
        if isinstance(event, StateChanged):
            latest[watch] = (seq, event)
    entries = journal.rows("SELECT seq, kept_at_s, LENGTH(body) FROM events ORDER BY seq")
    cursors = journal.rows("SELECT sink, seq FROM cursors")
    return Loaded(dict(cursors), tuple(QueueEntry(*row) for row in entries), latest)


def read(journal: Journal, after: int, limit: int) -> list[tuple[int, Event | None]]:
    """Return the oldest stored events above a number; None for one that cannot be read."""
    query = "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
    return [(seq, decoded(body)) for seq, body in journal.rows(query, after, limit)]


def save(
    journal: Journal, events: Sequence[StoredEvent], *, cursors: Mapping[str, int], below: int
) -> None:
    """Write new events and cursors and delete the events below a number, in one commit."""
    latest = {item.event.watch: item for item in events if isinstance(item.event, StateChanged)}
    with journal.transaction() as changes:
        changes.executemany(
            "INSERT INTO events VALUES (?, ?, ?)",
            [(item.entry.seq, item.entry.kept_at_s, item.body) for item in events],
        )
        changes.executemany(
            "INSERT OR REPLACE INTO latest VALUES (?, ?, ?)",
            [(watch, item.entry.seq, item.body) for watch, item in latest.items()],
        )
        changes.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?)", list(cursors.items()))
        changes.execute("DELETE FROM events WHERE seq < ?", (below,))


def forget_events(journal: Journal) -> None:
    """Delete all waiting events, which another file has taken over."""
    with journal.transaction() as changes:
        for table in ("events", "cursors", "latest"):
            changes.execute(f"DELETE FROM {table}")


def forget_sinks(journal: Journal, sinks: Collection[str]) -> None:
    """Delete the cursors of sinks that are not configured any more."""
    with journal.transaction() as changes:
        changes.executemany("DELETE FROM cursors WHERE sink = ?", [(sink,) for sink in sinks])


def decoded(body: Any) -> Event | None:
    """Return the event in a stored body; None if it is none of this schema."""
    try:
        return from_json_line(body)
    except (ValueError, TypeError):
        return None
