"""What the outbox may hold, and what it says about itself.

Which events wait for which sink: pure bookkeeping, no disk and no clock.

Rows of the outbox file as values, and values as rows.
"""

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
        max_bytes: Of events as JSON. The file is 1.12 times that (13,000 events of 728 bytes), and
            the log beside it about 1 MiB.
        max_age_s: Seconds that the device was running while the event waited.
        max_unsaved: Events kept in memory while the disk takes none.
        write_budget_bytes: Per day. Beyond it only events themselves are written at once; how far
            the sinks have come is written every now and then.
    """

    max_bytes: int = 16 * MEGABYTE
    max_age_s: float = 7 * DAY_S
    max_unsaved: int = 1000
    write_budget_bytes: int = 64 * MEGABYTE


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """A moment of the outbox, for health and metrics.

    Args:
        waiting: Events that at least one sink has not got.
        waiting_bytes: Of them, as JSON.
        unsaved: Those of them that are not on disk: it is full or gone.
        pending: Events that each sink has not got.
        delivered: Events each sink took since the start.
        dropped: Events each sink never gets, by (sink, reason). The reasons: `age`, `size`
            (too many bytes), `unsaved` (too many while the disk took none), `refused` (by the
            receiver), `unreadable` (damaged on disk), `removed` (the sink is not configured any
            more).
        written_bytes: To the disk since the start, log and file.
        written_bytes_last_day: Of them in the last 24 hours.
        over_budget: That is more than the write budget.
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
    """An event that waits: its number, when it came (seconds of running time), its bytes."""

    seq: int
    kept_at_s: float
    size: int


class DeliveryQueue:
    """The slots of waiting events, oldest first, and how far each sink has come.

    Args:
        cursors: The number of the last event that each sink is done with.
        slots: In order of their numbers.
    """

    def __init__(self, cursors: Mapping[str, int], slots: Iterable[QueueEntry]) -> None:
        self.cursors = dict(cursors)
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.delivered: Counter[str] = Counter(dict.fromkeys(cursors, 0))
        self._slots = deque(slots)
        self.bytes = sum(slot.size for slot in self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, slot: QueueEntry) -> None:
        """Take a slot whose number is above all others; nobody waits if there is no sink."""
        if self.cursors:
            self._slots.append(slot)
            self.bytes += slot.size

    @property
    def oldest(self) -> int | None:
        """The lowest number that anybody waits for."""
        return self._slots[0].seq if self._slots else None

    def pending(self, sink: str) -> int:
        """Return how many events wait for `sink`."""
        return len(self._slots) - bisect_right(
            self._slots, self.cursors[sink], key=lambda slot: slot.seq
        )

    def advance(self, sink: str, seq: int) -> None:
        """Note that `sink` is done with everything up to `seq`."""
        self.cursors[sink] = max(self.cursors[sink], seq)
        self.tidy()

    def tidy(self) -> None:
        """Forget what every sink is done with."""
        done = min(self.cursors.values(), default=None)
        while self._slots and (done is None or self._slots[0].seq <= done):
            self._forget_oldest()

    def trim(self, now_s: float, max_age_s: float, max_bytes: int) -> int:
        """Drop the oldest events beyond age and bytes; return how many."""
        before = len(self._slots)
        while self._slots and now_s - self._slots[0].kept_at_s > max_age_s:
            self._drop(self._slots[0].seq, "age")
            self._forget_oldest()
        while self.bytes > max_bytes and len(self._slots) > 1:
            self._drop(self._slots[0].seq, "size")
            self._forget_oldest()
        return before - len(self._slots)

    def discard(self, seq: int, reason: str) -> None:
        """Drop one event, wherever it stands."""
        for slot in self._slots:
            if slot.seq == seq:
                self._slots.remove(slot)
                self.bytes -= slot.size
                self._drop(seq, reason)
                return

    def _drop(self, seq: int, reason: str) -> None:
        for sink, cursor in self.cursors.items():
            if cursor < seq:
                self.dropped[sink, reason] += 1

    def _forget_oldest(self) -> None:
        self.bytes -= self._slots.popleft().size


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its slot, as one line of JSON."""

    slot: QueueEntry
    event: Event
    body: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the file held: how far each sink was, what waits, and the last change per watch."""

    cursors: Mapping[str, int]
    slots: tuple[QueueEntry, ...]
    latest: dict[str, tuple[int, StateChanged]]

    @property
    def last_seq(self) -> int:
        """The highest number ever given; 0 at the very start."""
        numbers = [slot.seq for slot in self.slots]
        return max([0, *numbers, *self.cursors.values(), *(seq for seq, _ in self.latest.values())])


def load(journal: Journal) -> Loaded:
    """Read everything but the waiting events themselves."""
    latest = {}
    for watch, seq, body in journal.rows("SELECT watch, seq, body FROM latest"):
        event = decoded(body)
        if isinstance(event, StateChanged):
            latest[watch] = (seq, event)
    slots = journal.rows("SELECT seq, kept_at_s, LENGTH(body) FROM events ORDER BY seq")
    cursors = journal.rows("SELECT sink, seq FROM cursors")
    return Loaded(dict(cursors), tuple(QueueEntry(*row) for row in slots), latest)


def read(journal: Journal, after: int, limit: int) -> list[tuple[int, Event | None]]:
    """Return the oldest stored events above a number; None for what cannot be read."""
    query = "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
    return [(seq, decoded(body)) for seq, body in journal.rows(query, after, limit)]


def save(
    journal: Journal, letters: Sequence[StoredEvent], *, cursors: Mapping[str, int], below: int
) -> None:
    """Write new events and cursors and delete the events below a number, in one commit."""
    latest = {
        letter.event.watch: letter for letter in letters if isinstance(letter.event, StateChanged)
    }
    with journal.transaction() as changes:
        changes.executemany(
            "INSERT INTO events VALUES (?, ?, ?)",
            [(item.slot.seq, item.slot.kept_at_s, item.body) for item in letters],
        )
        changes.executemany(
            "INSERT OR REPLACE INTO latest VALUES (?, ?, ?)",
            [(watch, letter.slot.seq, letter.body) for watch, letter in latest.items()],
        )
        changes.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?)", list(cursors.items()))
        changes.execute("DELETE FROM events WHERE seq < ?", (below,))


def forget_events(journal: Journal) -> None:
    """Delete everything that waits: another file has it."""
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
