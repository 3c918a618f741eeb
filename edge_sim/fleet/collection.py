"""Collection: events, states and health of all devices of a site, in PostgreSQL.

Site and device lead every primary key, so that the tables can be spread over several servers by
site. An event is stored once, by its id, however often it arrives and whoever stores it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from edge_sim.core.events import event_id, unix_time_s, utc_text
from edge_sim.errors import CollectionError
from edge_sim.secrets import register_secret

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import LiteralString
else:
    try:
        import psycopg
    except ImportError as missing:
        raise CollectionError(
            "a collection needs psycopg 3: pip install 'edge_sim[collect]'"
        ) from missing

SILENT, RETURNED = "device_silent", "device_returned"
"""Types of the events that the collector itself adds."""
CONNECT_TIMEOUT_S = 10
MAX_PAYLOAD_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_ID = 64
_LOCK = 0x65646765  # any number of our own: two collectors make the tables one after the other

# One entry a version, never changed after a release: an older database gets those it lacks.
MIGRATIONS: tuple[LiteralString, ...] = (
    """
    CREATE TABLE edge_sim_devices (
        site text NOT NULL,
        device text NOT NULL,
        available boolean,
        last_seen timestamptz NOT NULL,
        silent boolean NOT NULL DEFAULT false,
        stats jsonb,
        PRIMARY KEY (site, device)
    );
    CREATE TABLE edge_sim_events (
        site text NOT NULL,
        device text NOT NULL,
        id text NOT NULL,
        type text NOT NULL,
        watch text,
        at timestamptz NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(),
        body jsonb NOT NULL,
        PRIMARY KEY (site, device, id)
    );
    CREATE INDEX edge_sim_events_at ON edge_sim_events (site, at);
    CREATE TABLE edge_sim_states (
        site text NOT NULL,
        device text NOT NULL,
        watch text NOT NULL,
        state text NOT NULL,
        reason text,
        at timestamptz NOT NULL,
        PRIMARY KEY (site, device, watch)
    );
    """,
)

_SEEN = """
    INSERT INTO edge_sim_devices (site, device, last_seen) VALUES (%s, %s, %s)
    ON CONFLICT (site, device) DO UPDATE
    SET last_seen = greatest(edge_sim_devices.last_seen, excluded.last_seen)
"""
_EVENT = """
    INSERT INTO edge_sim_events (site, device, id, type, watch, at, body)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_STATE = """
    INSERT INTO edge_sim_states (site, device, watch, state, reason, at)
    VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (site, device, watch) DO UPDATE
    SET state = excluded.state, reason = excluded.reason, at = excluded.at
    WHERE edge_sim_states.at <= excluded.at
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


@dataclass(frozen=True, slots=True)
class Received:
    """Message of a device.

    Args:
        topic: Topic below the prefix of the site, such as `porch/bowl/event`.
        payload: Content.
        at_s: Time of arrival, seconds since 1970.
        is_retained: The broker had kept it: it says nothing about when the device was heard.
    """

    topic: str
    payload: bytes
    at_s: float
    is_retained: bool = False


class ReceivedEvent(msgspec.Struct, frozen=True):
    """Fields of an event of any kind that the tables need."""

    id: str
    type: str
    at: str
    watch: str | None = None
    after: str | None = None
    reason: str | None = None


class DeviceStatus(msgspec.Struct, frozen=True):
    """Device of a collection; `states` is by watch, `unknown` with its reason in brackets."""

    site: str
    device: str
    available: bool | None
    silent: bool
    last_seen: str
    states: dict[str, str]
    stats: Any = None


class CollectedEvent(msgspec.Struct, frozen=True):
    """Event of a collection; `event` is as the device sent it."""

    site: str
    device: str
    received_at: str
    event: Any


class SiteCollection:
    """Open collection; use it from one thread, and close it, or use `with`.

    Every method raises `CollectionError` where the database cannot be reached or refuses; nothing
    of what it was to do is done then.
    """

    def __init__(self, address: str) -> None:
        """Connect and bring the tables to the present version.

        Args:
            address: Connection string or address of PostgreSQL, as libpq reads it.
        """
        try:
            found = psycopg.conninfo.conninfo_to_dict(address)
            register_secret(str(found.get("password") or ""))
            self._connection = psycopg.connect(address, connect_timeout=CONNECT_TIMEOUT_S)
        except psycopg.Error as error:
            raise _translated(error) from error
        try:
            self._migrate()
        except psycopg.Error as error:
            self.close()
            raise _translated(error) from error
        except CollectionError:
            self.close()
            raise

    def __enter__(self) -> SiteCollection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self._connection.close()

    def _migrate(self) -> None:
        with self._connection.transaction():
            run = self._connection.execute
            run("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            run("CREATE TABLE IF NOT EXISTS edge_sim_schema (version integer PRIMARY KEY)")
            row = run("SELECT coalesce(max(version), 0) FROM edge_sim_schema").fetchone()
            present = 0 if row is None else int(row[0])
            if present > len(MIGRATIONS):
                raise CollectionError(
                    f"the tables are of version {present}, this edge_sim knows "
                    f"{len(MIGRATIONS)}; upgrade it"
                )
            for version, statements in enumerate(MIGRATIONS[present:], start=present + 1):
                run(statements)
                run("INSERT INTO edge_sim_schema VALUES (%s)", (version,))

    def store(self, site: str, messages: Sequence[Received]) -> int:
        """Store messages in one transaction; return how many were no messages of a device.

        What is rejected is left out, so that one bad message keeps no other from being stored.
        """
        try:
            with self._connection.transaction():
                return sum(not self._put(site, message) for message in messages)
        except psycopg.DataError:
            return self._store_one_by_one(site, messages)
        except psycopg.Error as error:
            raise _translated(error) from error

    def _store_one_by_one(self, site: str, messages: Sequence[Received]) -> int:
        try:
            with self._connection.transaction():
                return sum(not self._put_alone(site, message) for message in messages)
        except psycopg.Error as error:
            raise _translated(error) from error

    def _put_alone(self, site: str, message: Received) -> bool:
        try:
            with self._connection.transaction():
                return self._put(site, message)
        except psycopg.DataError:  # as a NUL in a text, which PostgreSQL cannot hold
            return False

    def _put(self, site: str, message: Received) -> bool:
        """Store one message; return False if it is none of a device."""
        device, *parts = message.topic.split("/")
        if not _NAME.fullmatch(device) or len(message.payload) > MAX_PAYLOAD_BYTES or not parts:
            return False
        run, key = self._connection.execute, (site, device)
        if not message.is_retained:
            run(_SEEN, (*key, utc_text(message.at_s)))
        if parts[-1] == "event" and len(parts) <= 2:
            return self._put_event(site, device, message.payload)
        if parts == ["available"]:
            if message.is_retained:
                run(_SEEN, (*key, utc_text(0.0)))
            run(_AVAILABLE, (message.payload == b"online", *key))
        elif parts == ["stats"]:
            text = _text_of_json(message.payload)
            if text is None:
                return False
            run(_STATS, (text, *key))
        return True  # other topics repeat what the events say

    def _put_event(self, site: str, device: str, payload: bytes) -> bool:
        text = _text_of_json(payload)
        if text is None:  # first: what is nested too deeply ends the other decoding as well
            return False
        try:
            event = msgspec.json.decode(payload, type=ReceivedEvent)
            unix_time_s(event.at)
        except (msgspec.MsgspecError, ValueError):
            return False
        # Both are part of a key: PostgreSQL fails on a long one as it does when it is away, and the
        # message would be tried for ever.
        if not 1 <= len(event.id) <= _MAX_ID:
            return False
        if event.watch is not None and not _NAME.fullmatch(event.watch):
            return False
        key = (site, device)
        self._connection.execute(_EVENT, (*key, event.id, event.type, event.watch, event.at, text))
        if event.type == "state_changed" and event.watch and event.after:
            self._connection.execute(
                _STATE, (*key, event.watch, event.after, event.reason, event.at)
            )
        return True

    def note_silence(self, site: str, now_s: float, silent_after_s: float) -> list[str]:
        """Add an event for each device that fell silent or was heard again; return the devices.

        Several collectors may do so at once: a device changes over in the transaction of one.
        """
        limit = utc_text(now_s - silent_after_s)
        noted: list[str] = []
        try:
            with self._connection.transaction():
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
                        self._connection.execute(
                            _EVENT,
                            (site, device, body["id"], kind, None, at,
                             msgspec.json.encode(body).decode()),
                        )  # fmt: skip
                        noted.append(device)
        except psycopg.Error as error:
            raise _translated(error) from error
        return noted

    def status(self, site: str | None = None) -> list[DeviceStatus]:
        """Return the devices, those that are silent or not available first."""
        found = self._query(
            "SELECT site, device, available, silent, last_seen, stats FROM edge_sim_devices "
            "WHERE %(site)s::text IS NULL OR site = %(site)s "
            "ORDER BY silent DESC, available NULLS FIRST, site, device",
            {"site": site},
        )
        states: dict[tuple[str, str], dict[str, str]] = {}
        for place, device, watch, state, reason in self._query(
            "SELECT site, device, watch, state, reason FROM edge_sim_states ORDER BY watch", {}
        ):
            text = f"{state} ({reason})" if reason else state
            states.setdefault((place, device), {})[watch] = text
        return [
            DeviceStatus(place, device, available, silent, _text(seen),
                         states.get((place, device), {}), stats)
            for place, device, available, silent, seen, stats in found
        ]  # fmt: skip

    def events(
        self,
        *,
        site: str | None = None,
        device: str | None = None,
        watch: str | None = None,
        limit: int = 100,
    ) -> list[CollectedEvent]:
        """Return the last events, the newest first."""
        found = self._query(
            "SELECT site, device, received_at, body FROM edge_sim_events "
            "WHERE (%(site)s::text IS NULL OR site = %(site)s) "
            "AND (%(device)s::text IS NULL OR device = %(device)s) "
            "AND (%(watch)s::text IS NULL OR watch = %(watch)s) "
            "ORDER BY at DESC, id LIMIT %(limit)s",
            {"site": site, "device": device, "watch": watch, "limit": limit},
        )
        return [CollectedEvent(place, name, _text(at), body) for place, name, at, body in found]

    def _query(self, statement: LiteralString, values: Mapping[str, Any]) -> list[Any]:
        try:
            with self._connection.transaction():
                return self._connection.execute(statement, values).fetchall()
        except psycopg.Error as error:
            raise _translated(error) from error


def _text(at: datetime) -> str:
    return utc_text(at.timestamp())


def _text_of_json(payload: bytes) -> str | None:
    try:
        # Values, too: PostgreSQL stores numbers so long that Python does not read them again.
        msgspec.json.decode(payload, type=dict[str, Any])
        return payload.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _translated(error: Exception) -> CollectionError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return CollectionError(f"the database: {reason}; check its address and that it runs")
