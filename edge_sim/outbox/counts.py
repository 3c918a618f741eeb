"""What the outbox may hold, and what it says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
