"""Collection: events, states, health, vectors and pictures of all devices, in PostgreSQL.

An event is stored once, by its id, however often it arrives and whoever stores it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from edge_sim.core.events import event_id, utc_text
from edge_sim.errors import VectorError
from edge_sim.fleet import pack_reports
from edge_sim.fleet.database import OpenDatabase, open_vectors
from edge_sim.fleet.messages import Batch, Received, ReceivedEvent, batch_of
from edge_sim.fleet.pgvector import PgVectors, translated, translation
from edge_sim.fleet.schema import Forgotten, Retention, forget, make_months, month_of
from edge_sim.fleet.vectors import VectorCollection

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import LiteralString
else:
    from edge_sim.fleet.database import psycopg

logger = logging.getLogger(__name__)

SILENT, RETURNED = "device_silent", "device_returned"
"""Types of the events that the collector itself adds."""
DRIFT_DAYS = 7.0
"""Days for which a watch counts as drifting after an event that says so."""
DISK_FULL_MB = 50.0
"""Free space below which the disk of a device counts as full, megabytes."""
_CLOCK_SLACK_S = 86_400.0

_SEEN = """
    INSERT INTO edge_sim_devices (site, device, last_seen) VALUES (%s, %s, %s)
    ON CONFLICT (site, device) DO UPDATE
    SET last_seen = greatest(edge_sim_devices.last_seen, excluded.last_seen)
"""
_EVENT = """
    INSERT INTO edge_sim_events (site, device, id, type, watch, state, at, body)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_STATE = """
    INSERT INTO edge_sim_states (site, device, watch, state, reason, at)
    VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (site, device, watch) DO UPDATE
    SET state = excluded.state, reason = excluded.reason, at = excluded.at
    WHERE edge_sim_states.at <= excluded.at OR edge_sim_states.at > %s
"""
"""A state of the future is from a clock that was wrong: any other takes its place."""
_PICTURE = """
    INSERT INTO edge_sim_pictures (site, device, id, at, watch, jpeg)
    SELECT %(site)s, %(device)s, %(id)s, %(at)s, %(watch)s, %(jpeg)s WHERE NOT EXISTS (
        SELECT 1 FROM edge_sim_pictures
        WHERE site = %(site)s AND device = %(device)s AND id = %(id)s)
"""
_AVAILABLE = "UPDATE edge_sim_devices SET available = %s WHERE site = %s AND device = %s"
_STATS = "UPDATE edge_sim_devices SET stats = %s WHERE site = %s AND device = %s"
_FALL_SILENT = """
    UPDATE edge_sim_devices SET silent = true
    WHERE site = %s AND NOT silent AND last_seen < %s RETURNING device, last_seen
"""
_RETURN = """
    UPDATE edge_sim_devices SET silent = false
    WHERE site = %s AND silent AND last_seen >= %s RETURNING device, last_seen
"""
_COUNTS = """
    SELECT date_trunc('day', at, 'UTC') AS day, state, count(*) FROM edge_sim_events
    WHERE type = 'state_changed' AND at >= %(since)s AND at < %(until)s
        AND (%(site)s::text IS NULL OR site = %(site)s)
        AND (%(device)s::text IS NULL OR device = %(device)s)
        AND (%(watch)s::text IS NULL OR watch = %(watch)s)
    GROUP BY day, state ORDER BY day, state
"""


class CollectedWatch(msgspec.Struct, frozen=True):
    """Last state of a watch; `drifting` if an event said so in the last days."""

    state: str
    reason: str | None
    since: str
    drifting: bool


class DeviceStatus(msgspec.Struct, frozen=True):
    """Device of a collection.

    Args:
        site: Site.
        device: Device.
        available: Whether it is connected to the broker; None if that is not known.
        silent: Whether nothing was heard of it for too long.
        last_seen: Time at which it was last heard.
        states: State by watch, `unknown` with its reason in brackets.
        stats: Figures of the device as it sent them; None before the first.
        problems: Problems by name, the worst first: `silent`, `offline`, `disk_full`, `unknown`,
            `drifting`.
        watches: State by watch.
    """

    site: str
    device: str
    available: bool | None
    silent: bool
    last_seen: str
    states: dict[str, str]
    stats: Any = None
    problems: tuple[str, ...] = ()
    watches: dict[str, CollectedWatch] = {}


class CollectedEvent(msgspec.Struct, frozen=True):
    """Event of a collection; `event` is as the device sent it."""

    site: str
    device: str
    received_at: str
    event: Any


class StateCount(msgspec.Struct, frozen=True):
    """Number of changes to a state on one day, UTC."""

    day: str
    state: str
    changes: int


class SiteCollection:
    """Open collection; use it from one thread, and close it, or use `with`.

    Every method raises `CollectionError` where the database cannot be reached or refuses; nothing
    of what it was to do is done then.

    Args:
        address: Address of PostgreSQL, as libpq reads it, or `embedded:FOLDER`.
        vectors: Address of the vectors where they are kept elsewhere, `qdrant://HOST:PORT`.
        create: Whether an embedded server is made where there is none yet.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        address: str,
        *,
        vectors: str | None = None,
        create: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = OpenDatabase(address, create=create)
        self._connection = self._database.connection
        self._clock = clock
        self._months: set[tuple[str, str]] = set()
        self._vectors_address = vectors
        self._vectors: VectorCollection | None = None
        self._trouble = ""

    def __enter__(self) -> SiteCollection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Safe to call twice."""
        if self._vectors is not None:
            self._vectors.close()
        self._database.close()

    @property
    def vectors(self) -> VectorCollection:
        """Vectors of the events.

        Raises:
            CollectionError: The database has no pgvector, or the other store cannot be reached.
        """
        if self._vectors is None:
            if self._vectors_address is None:
                self._vectors = PgVectors(self._connection)
            else:
                self._vectors = open_vectors(self._vectors_address)
        return self._vectors

    def store(self, site: str, messages: Sequence[Received]) -> int:
        """Store messages in one transaction; return how many were no messages of a device.

        What is rejected is left out, so that one bad message keeps no other from being stored.
        """
        batch = batch_of(site, messages)
        try:
            with self._connection.transaction():
                self._write(site, batch)
            self._write_elsewhere(batch)
        except (psycopg.DataError, VectorError) as error:
            self._forget_tables()
            if isinstance(error, VectorError):
                self._report(error)
            return self._store_one_by_one(site, messages)
        except psycopg.Error as error:
            self._forget_tables()
            raise translation(error) from error
        return batch.rejected

    def _report(self, error: VectorError) -> None:
        if str(error) != self._trouble:
            logger.warning("vectors are rejected: %s", error)
        self._trouble = str(error)

    def _store_one_by_one(self, site: str, messages: Sequence[Received]) -> int:
        try:
            with self._connection.transaction():
                return sum(self._store_alone(site, message) for message in messages)
        except psycopg.Error as error:
            self._forget_tables()
            raise translation(error) from error

    def _store_alone(self, site: str, message: Received) -> int:
        batch = batch_of(site, [message])
        try:
            with self._connection.transaction():
                self._write(site, batch)
            self._write_elsewhere(batch)
        except (psycopg.DataError, VectorError):  # as a NUL in a text, which PostgreSQL cannot hold
            self._forget_tables()
            return 1
        return batch.rejected

    def _forget_tables(self) -> None:
        self._months.clear()
        if isinstance(self._vectors, PgVectors):
            self._vectors.forget_tables()

    def _write(self, site: str, batch: Batch) -> None:
        """Store what messages said; rows in one order, so that two collectors never block.

        New partitions come first: they wait for whoever writes to their table.
        """
        self._make_months("edge_sim_events", {event.at for _, event, _ in batch.events})
        self._make_months("edge_sim_pictures", {item.at for item in batch.pictures})
        with self._connection.cursor() as cursor:
            cursor.executemany(
                _SEEN, [(site, name, utc_text(at_s)) for name, at_s in sorted(batch.seen.items())]
            )
            self._write_events(cursor, site, batch)
            cursor.executemany(
                _AVAILABLE, [(value, site, name) for name, value in sorted(batch.available.items())]
            )
            cursor.executemany(
                _STATS, [(text, site, name) for name, text in sorted(batch.stats.items())]
            )
            if batch.pictures:
                cursor.executemany(
                    _PICTURE, [{"site": site, **_fields(item)} for item in batch.pictures]
                )
        if batch.vectors and isinstance(self.vectors, PgVectors):
            self.vectors.add(batch.vectors)

    def _write_elsewhere(self, batch: Batch) -> None:
        """Store vectors that another store keeps; their messages come again if that fails."""
        if batch.vectors and not isinstance(self.vectors, PgVectors):
            self.vectors.add(batch.vectors)

    def _write_events(self, cursor: psycopg.Cursor[Any], site: str, batch: Batch) -> None:
        if not batch.events:
            return
        cursor.executemany(
            _EVENT,
            [
                (site, device, event.id, event.type, event.watch, event.state, event.at, text)
                for device, event, text in sorted(batch.events, key=_key_of)
            ],
        )
        latest = utc_text(self._clock() + _CLOCK_SLACK_S)
        cursor.executemany(
            _STATE,
            [
                (site, device, watch, event.after, event.reason, event.at, latest)
                for (device, watch), event in sorted(batch.states().items(), key=lambda row: row[0])
            ],
        )
        pack_reports.put(cursor, site, batch.events)

    def _make_months(self, table: str, times: set[str]) -> None:
        now_s = self._clock()
        months = {month for at in times if (month := month_of(at, now_s)) is not None}
        missing = {month for month in months if (table, month) not in self._months}
        if missing:
            make_months(self._connection, table, missing)
            self._months.update((table, month) for month in missing)

    def note_silence(self, site: str, now_s: float, silent_after_s: float) -> list[str]:
        """Add an event for each device that fell silent or was heard again; return the devices.

        Several collectors may do so at once: a device changes over in the transaction of one.
        """
        limit = utc_text(now_s - silent_after_s)
        noted: list[str] = []
        with translated(), self._connection.transaction():
            for kind, statement in ((SILENT, _FALL_SILENT), (RETURNED, _RETURN)):
                for device, last_seen in self._connection.execute(statement, (site, limit)):
                    at = utc_text(now_s if kind == SILENT else last_seen.timestamp())
                    body = {
                        "type": kind,
                        "id": event_id(site, device, kind, last_seen.isoformat()),
                        "device": device,
                        "at": at,
                        "last_seen": utc_text(last_seen.timestamp()),
                    }
                    self._make_months("edge_sim_events", {at})
                    self._connection.execute(
                        _EVENT,
                        (site, device, body["id"], kind, None, None, at,
                         msgspec.json.encode(body).decode()),
                    )  # fmt: skip
                    noted.append(device)
        return noted

    def keep(self, site: str, rule: Retention) -> None:
        """Set for how long a site keeps events and pictures; `forget_old` obeys it."""
        with translated(), self._connection.transaction():
            self._connection.execute(
                "INSERT INTO edge_sim_sites VALUES (%s, %s, %s) ON CONFLICT (site) DO UPDATE SET "
                "keep_days = excluded.keep_days, keep_pictures_days = excluded.keep_pictures_days",
                (site, rule.keep_days, rule.keep_pictures_days),
            )

    def rules(self) -> dict[str, Retention]:
        """Return the rule of every site that has one or has devices."""
        rows = self._query(
            "SELECT site, keep_days, keep_pictures_days FROM edge_sim_sites FULL JOIN "
            "(SELECT DISTINCT site FROM edge_sim_devices) AS known USING (site) ORDER BY site",
            {},
        )
        return {site: Retention(days, picture_days) for site, days, picture_days in rows}

    def forget_old(self) -> Forgotten:
        """Delete what the rules no longer keep: events, and pictures with their vectors."""
        now_s, rules = self._clock(), self.rules()
        self._months.clear()
        with translated():
            done = forget(self._connection, rules, now_s)
        aged = {
            site: utc_text(max(now_s - rule.keep_pictures_days * 86_400.0, 0.0))
            for site, rule in rules.items()
            if rule.keep_pictures_days is not None
        }
        if self._vectors_address or self._query("SELECT 1 FROM edge_sim_models LIMIT 1", {}):
            for site, before in aged.items():
                self.vectors.forget(site, before)
        return done

    def status(self, site: str | None = None) -> list[DeviceStatus]:
        """Return the devices, the worst first."""
        devices = self._query(
            "SELECT site, device, available, silent, last_seen, stats FROM edge_sim_devices "
            "WHERE %(site)s::text IS NULL OR site = %(site)s ORDER BY site, device",
            {"site": site},
        )
        watches: dict[tuple[str, str], dict[str, CollectedWatch]] = {}
        for place, device, watch, state, reason, at, drifting in self._query(
            "SELECT s.site, s.device, s.watch, s.state, s.reason, s.at, EXISTS (SELECT 1 FROM "
            "edge_sim_events e WHERE e.site = s.site AND e.device = s.device AND e.watch = s.watch "
            "AND e.type = 'drift' AND e.at >= %(since)s) FROM edge_sim_states s "
            "WHERE %(site)s::text IS NULL OR s.site = %(site)s ORDER BY s.watch",
            {"site": site, "since": utc_text(self._clock() - DRIFT_DAYS * 86_400.0)},
        ):
            found = CollectedWatch(state, reason, _text(at), drifting)
            watches.setdefault((place, device), {})[watch] = found
        found_devices = [_device_status(row, watches.get((row[0], row[1]), {})) for row in devices]
        return sorted(found_devices, key=badness)

    def events(
        self,
        *,
        site: str | None = None,
        device: str | None = None,
        watch: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[CollectedEvent]:
        """Return the last events, or the last before a time, the newest first."""
        found = self._query(
            "SELECT site, device, received_at, body FROM edge_sim_events "
            "WHERE (%(site)s::text IS NULL OR site = %(site)s) "
            "AND (%(device)s::text IS NULL OR device = %(device)s) "
            "AND (%(watch)s::text IS NULL OR watch = %(watch)s) "
            "AND (%(before)s::timestamptz IS NULL OR at < %(before)s) "
            "ORDER BY at DESC, id LIMIT %(limit)s",
            {"site": site, "device": device, "watch": watch, "before": before, "limit": limit},
        )
        return [CollectedEvent(place, name, _text(at), body) for place, name, at, body in found]

    def counts(
        self,
        since: str,
        until: str,
        *,
        site: str | None = None,
        device: str | None = None,
        watch: str | None = None,
    ) -> list[StateCount]:
        """Return the changes of state by day and state, in a span of time."""
        with translated(), self._connection.transaction():
            # Nothing is known of how many days there are, and a million rows would be sorted.
            self._connection.execute("SET LOCAL enable_sort = off")
            rows = self._connection.execute(
                _COUNTS,
                {"since": since, "until": until, "site": site, "device": device, "watch": watch},
                prepare=False,
            ).fetchall()
        return [StateCount(f"{day:%Y-%m-%d}", state, count) for day, state, count in rows]

    def picture(self, site: str, device: str, name: str) -> bytes | None:
        """Return the picture of an event as JPEG; None if there is none."""
        rows = self._query(
            "SELECT jpeg FROM edge_sim_pictures "
            "WHERE site = %(site)s AND device = %(device)s AND id = %(id)s LIMIT 1",
            {"site": site, "device": device, "id": name},
        )
        return bytes(rows[0][0]) if rows else None

    def pack_counts(self, site: str | None = None) -> list[pack_reports.PackCount]:
        """Return the numbers of devices by what became of each version of a pack."""
        with translated():
            return pack_reports.counts(self._connection, site)

    def with_pictures(self, events: Sequence[tuple[str, str, Any]]) -> set[tuple[str, str, str]]:
        """Return those of some events, by site, device and id, that have a picture."""
        rows = self._query(
            "SELECT site, device, id FROM edge_sim_pictures "
            "JOIN unnest(%(sites)s::text[], %(devices)s::text[], %(ids)s::text[]) "
            "AS wanted (site, device, id) USING (site, device, id)",
            {
                "sites": [site for site, _, _ in events],
                "devices": [device for _, device, _ in events],
                "ids": [str(name) for _, _, name in events],
            },
        )
        return {(site, device, name) for site, device, name in rows}

    def _query(self, statement: LiteralString, values: Mapping[str, Any]) -> list[Any]:
        with translated(), self._connection.transaction():
            return self._connection.execute(statement, values).fetchall()


def badness(status: DeviceStatus) -> tuple[object, ...]:
    """Return the key that sorts the worst device first."""
    ranks = tuple(name not in status.problems for name in PROBLEMS)
    return (*ranks, status.site, status.device)


PROBLEMS = ("silent", "offline", "disk_full", "unknown", "drifting")
"""Problems of a device, the worst first."""


def _device_status(row: Sequence[Any], watches: dict[str, CollectedWatch]) -> DeviceStatus:
    place, device, available, silent, seen, stats = row
    free_mb = stats.get("disk_free_mb") if isinstance(stats, dict) else None
    is_there = {
        "silent": silent,
        "offline": available is False,
        "disk_full": isinstance(free_mb, int | float) and free_mb < DISK_FULL_MB,
        "unknown": any(item.state == "unknown" for item in watches.values()),
        "drifting": any(item.drifting for item in watches.values()),
    }
    return DeviceStatus(
        site=place,
        device=device,
        available=available,
        silent=silent,
        last_seen=_text(seen),
        states={
            name: f"{item.state} ({item.reason})" if item.reason else item.state
            for name, item in watches.items()
        },
        stats=stats,
        problems=tuple(name for name in PROBLEMS if is_there[name]),
        watches=watches,
    )


def _key_of(row: tuple[str, ReceivedEvent, str]) -> tuple[str, str, str]:
    device, event, _ = row
    return device, event.at, event.id


def _fields(item: Any) -> dict[str, Any]:
    return {name: getattr(item, name) for name in ("device", "id", "at", "watch", "jpeg")}


def _text(at: datetime) -> str:
    return utc_text(at.timestamp())
