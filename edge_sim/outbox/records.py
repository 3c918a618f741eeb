"""Rows of the outbox file as values, and values as rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_sim.events import Event, StateChanged, from_json_line
from edge_sim.outbox.journal import Journal
from edge_sim.outbox.rack import Slot


@dataclass(frozen=True, slots=True)
class Letter:
    """An event with its slot, as one line of JSON."""

    slot: Slot
    event: Event
    body: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the file held: how far each sink was, what waits, and the last change per watch."""

    cursors: Mapping[str, int]
    slots: tuple[Slot, ...]
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
    return Loaded(dict(cursors), tuple(Slot(*row) for row in slots), latest)


def read(journal: Journal, after: int, limit: int) -> list[tuple[int, Event | None]]:
    """Return the oldest stored events above a number; None for what cannot be read."""
    query = "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
    return [(seq, decoded(body)) for seq, body in journal.rows(query, after, limit)]


def save(
    journal: Journal, letters: Sequence[Letter], *, cursors: Mapping[str, int], below: int
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
