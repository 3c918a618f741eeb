"""Which events wait for which sink: pure bookkeeping, no disk and no clock."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """An event that waits: its number, when it came (seconds of running time), its bytes."""

    seq: int
    kept_at_s: float
    size: int


class Rack:
    """The slots of waiting events, oldest first, and how far each sink has come.

    Args:
        cursors: The number of the last event that each sink is done with.
        slots: In order of their numbers.
    """

    def __init__(self, cursors: Mapping[str, int], slots: Iterable[Slot]) -> None:
        self.cursors = dict(cursors)
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.delivered: Counter[str] = Counter(dict.fromkeys(cursors, 0))
        self._slots = deque(slots)
        self.bytes = sum(slot.size for slot in self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, slot: Slot) -> None:
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
