"""Tables of a collection in PostgreSQL: migrations, partitions by month, and retention.

The site leads every primary key, so that Citus can spread the tables over several servers by it.
Events and pictures lie in one partition for each month: a month that every site may forget is
dropped as a whole. Times that no working clock gives lie in a partition of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from edge_sim.core.events import unix_time_s
from edge_sim.errors import CollectionError
from edge_sim.fleet import pack_reports

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import LiteralString

LOCK = 0x65646765  # any number of our own: two collectors change the tables one after the other
PARTITIONED = ("edge_sim_events", "edge_sim_pictures")
OTHER = "other"
"""End of the name of the partition for times outside of the months."""
_FIRST_YEAR = 2020
_AHEAD = timedelta(days=2)

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
    """
    ALTER TABLE edge_sim_events RENAME TO edge_sim_events_1;
    ALTER TABLE edge_sim_events_1 RENAME CONSTRAINT edge_sim_events_pkey TO edge_sim_events_1_pkey;
    ALTER INDEX edge_sim_events_at RENAME TO edge_sim_events_1_at;
    CREATE TABLE edge_sim_events (
        site text NOT NULL,
        device text NOT NULL,
        id text NOT NULL,
        type text NOT NULL,
        watch text,
        state text,
        at timestamptz NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(),
        body jsonb NOT NULL,
        PRIMARY KEY (site, device, at, id)
    ) PARTITION BY RANGE (at);
    CREATE INDEX edge_sim_events_at ON edge_sim_events (at);
    CREATE INDEX edge_sim_events_changes ON edge_sim_events (site, at, state)
        WHERE type = 'state_changed';
    CREATE TABLE edge_sim_events_other PARTITION OF edge_sim_events DEFAULT;
    CREATE TABLE edge_sim_pictures (
        site text NOT NULL,
        device text NOT NULL,
        id text NOT NULL,
        at timestamptz NOT NULL,
        watch text,
        jpeg bytea NOT NULL,
        PRIMARY KEY (site, device, at, id)
    ) PARTITION BY RANGE (at);
    CREATE INDEX edge_sim_pictures_id ON edge_sim_pictures (site, device, id);
    CREATE TABLE edge_sim_pictures_other PARTITION OF edge_sim_pictures DEFAULT;
    CREATE TABLE edge_sim_models (
        number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        model text NOT NULL UNIQUE,
        dimension integer NOT NULL
    );
    CREATE TABLE edge_sim_sites (
        site text PRIMARY KEY,
        keep_days double precision,
        keep_pictures_days double precision
    );
    DO $$
    DECLARE start timestamptz;
    BEGIN
        FOR start IN
            SELECT DISTINCT date_trunc('month', at, 'UTC') FROM edge_sim_events_1
            WHERE at >= '2020-01-01Z' AND at < now() + interval '2 days'
        LOOP
            EXECUTE format(
                'CREATE TABLE edge_sim_events_%s PARTITION OF edge_sim_events'
                ' FOR VALUES FROM (%L) TO (%L)', to_char(start AT TIME ZONE 'UTC', 'YYYY_MM'),
                start, (start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
        END LOOP;
    END $$;
    INSERT INTO edge_sim_events
        SELECT site, device, id, type, watch,
            CASE WHEN type = 'state_changed' THEN body->>'after' END, at, received_at, body
        FROM edge_sim_events_1;
    DROP TABLE edge_sim_events_1;
    """,
    pack_reports.MIGRATION,
)


@dataclass(frozen=True, slots=True)
class Retention:
    """Days for which a site keeps its events and its pictures with their vectors; None for ever."""

    keep_days: float | None = None
    keep_pictures_days: float | None = None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Numbers of rows that were deleted, and of partitions that were dropped with their rows."""

    events: int
    pictures: int
    partitions: int


def migrate(connection: psycopg.Connection[Any]) -> None:
    """Bring the tables to the present version, in one transaction.

    Raises:
        CollectionError: They are of a newer one.
    """
    with connection.transaction():
        run = connection.execute
        run("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
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


def month_of(at: str, now_s: float) -> str | None:
    """Return the month of a time, as in `2026_01`; None for one that no working clock gives."""
    try:
        moment = datetime.fromtimestamp(unix_time_s(at), timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
    latest = datetime.fromtimestamp(now_s, timezone.utc) + _AHEAD
    is_possible = moment.year >= _FIRST_YEAR and moment <= latest
    return moment.strftime("%Y_%m") if is_possible else None


def make_months(connection: psycopg.Connection[Any], table: str, months: Iterable[str]) -> None:
    """Make the partitions of a table that are missing, within the present transaction.

    Rows that came before their month did move from the partition of other times.
    """
    for month in sorted(months):
        part, (start, end) = f"{table}_{month}", _bounds(month)
        row = connection.execute("SELECT to_regclass(%s)", (part,)).fetchone()
        if row is not None and row[0] is not None:
            continue
        run = connection.execute
        run("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        within = f"WHERE at >= '{start}' AND at < '{end}'"
        # Names and times are made here, of digits; a partition's bounds cannot be parameters.
        statements = f"""
            CREATE TEMPORARY TABLE moved ON COMMIT DROP AS
                SELECT * FROM {table}_{OTHER} {within};
            DELETE FROM {table}_{OTHER} {within};
            CREATE TABLE IF NOT EXISTS {part} PARTITION OF {table}
                FOR VALUES FROM ('{start}') TO ('{end}');
            INSERT INTO {table} SELECT * FROM moved ON CONFLICT DO NOTHING;
            DROP TABLE moved;
        """
        run(statements.encode())


def forget(
    connection: psycopg.Connection[Any], rules: Mapping[str, Retention], now_s: float
) -> Forgotten:
    """Delete what no site keeps any longer, in one transaction.

    Args:
        connection: Connection, not in a transaction.
        rules: Rule of every site that has rows.
        now_s: Seconds since 1970.
    """
    counts = {"edge_sim_events": 0, "edge_sim_pictures": 0}
    dropped = 0
    with connection.transaction():
        for table in PARTITIONED:
            is_picture = table == "edge_sim_pictures"
            limits = {
                site: _limit(rule.keep_pictures_days if is_picture else rule.keep_days, now_s)
                for site, rule in rules.items()
            }
            given = [limit for limit in limits.values() if limit is not None]
            if rules and len(given) == len(limits):
                dropped += _drop_before(connection, table, min(given))
            for site, limit in limits.items():
                if limit is not None:
                    done = connection.execute(
                        f"DELETE FROM {table} WHERE site = %s AND at < %s".encode(), (site, limit)
                    )
                    counts[table] += done.rowcount
    return Forgotten(counts["edge_sim_events"], counts["edge_sim_pictures"], dropped)


def _limit(days: float | None, now_s: float) -> datetime | None:
    if days is None:
        return None
    return datetime.fromtimestamp(max(now_s - days * 86_400.0, 0.0), timezone.utc)


def _drop_before(connection: psycopg.Connection[Any], table: str, limit: datetime) -> int:
    """Drop the partitions of months that ended before a time; return their number."""
    found = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", (table,)
    ).fetchall()
    dropped = 0
    for (part,) in found:
        month = part.removeprefix(f"{table}_")
        if month != OTHER and datetime.fromisoformat(_bounds(month)[1]) <= limit:
            connection.execute(f"DROP TABLE {part}".encode())
            dropped += 1
    return dropped


def _bounds(month: str) -> tuple[str, str]:
    year, number = (int(part) for part in month.split("_"))
    following = (year + number // 12, number % 12 + 1)
    return f"{year:04}-{number:02}-01 00:00:00+00:00", "{:04}-{:02}-01 00:00:00+00:00".format(
        *following
    )
