"""Reports of devices on packs, in a collection: what became of each version on each device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from edge_sim.fleet.messages import NAME, ReceivedEvent
from edge_sim.fleet.signing import MAX_VERSION
from edge_sim.fleet.update_state import ACTIVATED, REFUSED, ROLLED_BACK

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import LiteralString

MIGRATION: LiteralString = """
    CREATE TABLE edge_sim_packs (
        site text NOT NULL,
        device text NOT NULL,
        pack text NOT NULL,
        version integer NOT NULL,
        outcome text NOT NULL,
        reason text,
        at timestamptz NOT NULL,
        PRIMARY KEY (site, device, pack, version)
    )
"""
"""Statement that makes the table; never changed after a release."""
_MAX_REASON = 300
_PUT: LiteralString = """
    INSERT INTO edge_sim_packs (site, device, pack, version, outcome, reason, at)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (site, device, pack, version) DO UPDATE
    SET outcome = excluded.outcome, reason = excluded.reason, at = excluded.at
    WHERE edge_sim_packs.at <= excluded.at
"""
_COUNTS: LiteralString = """
    SELECT pack, version, outcome, reason, count(*) FROM edge_sim_packs
    WHERE %(site)s::text IS NULL OR site = %(site)s
    GROUP BY pack, version, outcome, reason ORDER BY pack, version, count(*) DESC, reason
"""


class _Report(msgspec.Struct, frozen=True):
    """Fields of `PackReported` that are stored."""

    pack: str
    version: int
    outcome: str
    reason: str | None = None


class PackCount(msgspec.Struct, frozen=True):
    """Numbers of devices by what became of one version of a pack.

    Args:
        pack: Name of the pack.
        version: Its version.
        activated: Devices on which it is in force.
        refused: Devices that refused it.
        rolled_back: Devices on which it was taken back.
        reasons: Devices by reason of refusal, the most frequent first.
    """

    pack: str
    version: int
    activated: int = 0
    refused: int = 0
    rolled_back: int = 0
    reasons: dict[str, int] = {}

    @property
    def devices(self) -> int:
        """Number of devices that have reported."""
        return self.activated + self.refused + self.rolled_back

    @property
    def failed_share(self) -> float:
        """Share of them that refused it or took it back, 0 to 1; 0 without any."""
        return (self.refused + self.rolled_back) / self.devices if self.devices else 0.0


def put(
    cursor: psycopg.Cursor[Any], site: str, events: Iterable[tuple[str, ReceivedEvent, str]]
) -> None:
    """Store the reports among events: device, event, and its text.

    An event that calls itself a report but is none stays an event.
    """
    rows = {}
    for device, event, text in events:
        report = _report_in(event, text)
        if report is not None:
            key = (site, device, report.pack, report.version)
            rows[(*key, event.at)] = (*key, report.outcome, report.reason, event.at)
    if rows:
        cursor.executemany(_PUT, [rows[key] for key in sorted(rows)])


def _report_in(event: ReceivedEvent, text: str) -> _Report | None:
    if event.type != "pack_reported":
        return None
    try:
        found = msgspec.json.decode(text, type=_Report)
    except msgspec.MsgspecError:
        return None
    is_sound = (
        NAME.fullmatch(found.pack)
        and 1 <= found.version <= MAX_VERSION
        and found.outcome in (ACTIVATED, REFUSED, ROLLED_BACK)
        and len(found.reason or "") <= _MAX_REASON
    )
    return found if is_sound else None


def counts(connection: psycopg.Connection[Any], site: str | None) -> list[PackCount]:
    """Return the numbers of devices of each version, by name and version.

    Args:
        connection: Connection to the database.
        site: Only this site; None for all.
    """
    with connection.transaction():
        rows = connection.execute(_COUNTS, {"site": site}).fetchall()
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for pack, version, outcome, reason, number in rows:
        known = found.setdefault((pack, version), {"reasons": {}})
        known[outcome] = known.get(outcome, 0) + number
        if outcome == REFUSED and reason:
            known["reasons"][reason] = number
    return [PackCount(*key, **values) for key, values in found.items()]
