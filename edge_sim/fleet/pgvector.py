"""Vectors in PostgreSQL with pgvector: one table for each model, half precision, an HNSW index.

An index of neighbours cannot filter: asked for ten of a few, it goes through neighbours that do not
pass and ends too early. A filter that lets few through is therefore answered exactly, from the rows
that pass; one that lets many through, and a search without one, by the index.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timezone
from typing import Any

import numpy as np

from edge_sim.core.events import unix_time_s, utc_text
from edge_sim.core.types import FloatVector
from edge_sim.errors import CollectionError, VectorError
from edge_sim.fleet.schema import LOCK
from edge_sim.fleet.vectors import (
    CollectedModel,
    CollectedVector,
    FoundVector,
    VectorFilter,
    check_model,
    check_new_model,
    checked_query,
    checked_rows,
    wrong_length,
)

try:
    import psycopg
    from psycopg.adapt import Dumper
    from psycopg.pq import Format
    from psycopg.types import TypeInfo
except ImportError as missing:
    raise CollectionError(
        "a collection needs psycopg 3: pip install 'edge_sim[collect]'"
    ) from missing

EXACT_ROWS = 60_000
"""Rows up to which, by the estimate of PostgreSQL, those that pass a filter are all compared."""
_MOST_IN_INDEX = 1000  # numbers
_GRAPH = "WITH (m = 24, ef_construction = 128)"
"""With the defaults of 16 and 64, pictures of one camera are islands that a search may miss."""
_CANDIDATES = 200
"""Length of the list that the index searches with: recall against time."""
_MOST_CANDIDATES = 1000  # of pgvector


class HalfVector:
    """Vector for a parameter of the type `halfvec`.

    Args:
        vector: (D,) float32.
    """

    def __init__(self, vector: FloatVector) -> None:
        self.data = struct.pack(">HH", vector.size, 0) + vector.astype(">f2").tobytes()


class _HalfVectorDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: HalfVector) -> bytes:
        return obj.data


class PgVectors:
    """Vectors in the database of a connection; the tables of `schema` are there.

    Args:
        connection: Open connection.
        on_close: Called by `close`.

    Raises:
        VectorError: The database has no pgvector.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], *, on_close: Callable[[], None] = lambda: None
    ) -> None:
        self._connection = connection
        self.close = on_close
        self._tables: dict[str, tuple[str, int]] = {}
        with translated():
            self._use_extension()

    def _use_extension(self) -> None:
        row = self._connection.execute(
            "SELECT installed_version IS NOT NULL FROM pg_available_extensions "
            "WHERE name = 'vector'"
        ).fetchone()
        if row is None:
            raise VectorError(
                "the database has no pgvector, which vectors need: install it on the server"
            )
        if not row[0]:
            try:
                with self._connection.transaction():
                    self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
                    self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            except psycopg.errors.InsufficientPrivilege as error:
                raise VectorError(
                    "vectors need CREATE EXTENSION vector, once, by an owner of the database"
                ) from error
        row = self._connection.execute(
            "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
        ).fetchone()
        version = "gone" if row is None else str(row[0])
        kind = TypeInfo.fetch(self._connection, "halfvec")
        if kind is None or [int(part) for part in re.findall(r"\d+", version)] < [0, 8]:
            raise VectorError(
                f"pgvector is {version}, vectors need 0.8 or later: install it on the server, then "
                "ALTER EXTENSION vector UPDATE"
            )
        kind.register(self._connection)
        dumper = type("HalfVectorDumper", (_HalfVectorDumper,), {"oid": kind.oid})
        self._connection.adapters.register_dumper(HalfVector, dumper)

    def add(self, rows: Sequence[CollectedVector]) -> None:
        """Add vectors, as `VectorCollection.add`; within the present transaction, if there is one.

        Raises:
            CollectionError: As there.
        """
        ready = checked_rows(rows)
        with self._changing() as cursor:
            for model, kept in ready.items():
                table = self._table(model, kept[0])
                cursor.executemany(
                    f"INSERT INTO {table} (site, device, id, at, watch, state, vector) "
                    "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING".encode(),
                    [
                        (row.site, row.device, row.id, row.at, row.watch, row.state,
                         HalfVector(row.vector))
                        for row in sorted(kept, key=lambda row: (row.site, row.device, row.id))
                    ],
                )  # fmt: skip

    def load(self, rows: Sequence[CollectedVector]) -> None:
        """Add many vectors that are not there yet, as one stream; several times as fast as `add`.

        Raises:
            CollectionError: As `add`; or one is there already, and none is added then.
        """
        ready = checked_rows(rows)
        with self._changing() as cursor:
            for model, kept in ready.items():
                table = self._table(model, kept[0])
                statement = (
                    f"COPY {table} (site, device, id, at, watch, state, vector) "
                    "FROM STDIN (FORMAT BINARY)"
                )
                with cursor.copy(statement.encode()) as copy:
                    copy.set_types(
                        ["text", "text", "text", "timestamptz", "text", "text", "halfvec"]
                    )
                    for row in kept:
                        copy.write_row(
                            (row.site, row.device, row.id, _moment(row.at), row.watch, row.state,
                             HalfVector(row.vector))
                        )  # fmt: skip

    @contextmanager
    def _changing(self) -> Iterator[psycopg.Cursor[Any]]:
        try:
            with translated(), self._connection.transaction(), self._connection.cursor() as cursor:
                yield cursor
        except CollectionError:
            self.forget_tables()
            raise

    def forget_tables(self) -> None:
        """Ask the database again which tables there are: a transaction was taken back."""
        self._tables.clear()

    def search(
        self, model: str, vector: FloatVector, k: int = 10, where: VectorFilter | None = None
    ) -> list[FoundVector]:
        """Return the most similar, as `VectorCollection.search`.

        Raises:
            CollectionError: As there.
        """
        with translated(), self._connection.transaction():
            known = self._models()
            unit = HalfVector(checked_query(model, vector, k, known))
            table = self._tables[model][0]
            conditions, values = _conditions(where)
            if conditions and self._estimate(table, conditions, values) <= EXACT_ROWS:
                return self._exact(table, unit, k, conditions, values)
            found = self._approximate(table, unit, k, conditions, values)
            if conditions and len(found) < k:
                return self._exact(table, unit, k, conditions, values)
            return found

    def _estimate(self, table: str, conditions: str, values: dict[str, Any]) -> float:
        row = self._connection.execute(
            f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {table} WHERE {conditions}".encode(), values
        ).fetchone()
        assert row is not None
        return float(row[0][0]["Plan"]["Plan Rows"])

    def _exact(
        self, table: str, unit: HalfVector, k: int, conditions: str, values: dict[str, Any]
    ) -> list[FoundVector]:
        # In the order of a sum, which no index has: all rows that pass are compared, as in a
        # materialised subquery, but without a copy of them.
        return self._found(
            f"SELECT site, device, id, at, watch, state, (vector <#> %(vector)s) + 0 AS distance "
            f"FROM {table} WHERE {conditions} ORDER BY distance LIMIT %(k)s",
            {**values, "vector": unit, "k": k},
        )

    def _approximate(
        self, table: str, unit: HalfVector, k: int, conditions: str, values: dict[str, Any]
    ) -> list[FoundVector]:
        candidates = min(max(_CANDIDATES, 2 * k), _MOST_CANDIDATES)
        # In one statement: Citus sends no setting of a session to its workers.
        self._connection.execute(
            "SELECT set_config('hnsw.ef_search', %s, true), "
            "set_config('hnsw.iterative_scan', 'relaxed_order', true)",
            (str(candidates),),
        )
        where = f"WHERE {conditions}" if conditions else ""
        found = self._found(
            f"SELECT site, device, id, at, watch, state, vector <#> %(vector)s AS distance "
            f"FROM {table} {where} ORDER BY distance LIMIT %(k)s",
            {**values, "vector": unit, "k": k},
        )
        return sorted(found, key=lambda item: -item.score)

    def _found(self, statement: str, values: dict[str, Any]) -> list[FoundVector]:
        # A plan for any values would be one for a filter that lets most through.
        rows = self._connection.execute(statement.encode(), values, prepare=False).fetchall()
        return [
            FoundVector(site, device, name, utc_text(at.timestamp()), watch, state,
                        max(-1.0, min(1.0, -distance)))
            for site, device, name, at, watch, state, distance in rows
        ]  # fmt: skip

    def vector(self, model: str, site: str, device: str, name: str) -> FloatVector | None:
        """Return the vector of an event, as `VectorCollection.vector`.

        Raises:
            CollectionError: As there.
        """
        with translated(), self._connection.transaction():
            check_model(model, self._models())
            row = self._connection.execute(
                f"SELECT vector::text FROM {self._tables[model][0]} "
                "WHERE site = %s AND device = %s AND id = %s".encode(),
                (site, device, name),
            ).fetchone()
        return None if row is None else np.array(json.loads(row[0]), np.float32)

    def models(self) -> list[CollectedModel]:
        """Return the models; their numbers of vectors are those of the last analysis.

        Raises:
            CollectionError: The database cannot be reached.
        """
        with translated(), self._connection.transaction():
            return self._models()

    def _models(self) -> list[CollectedModel]:
        rows = self._connection.execute(
            "SELECT number, model, dimension, (SELECT reltuples::bigint FROM pg_class "
            "WHERE oid = to_regclass('edge_sim_vectors_' || number)) FROM edge_sim_models "
            "ORDER BY model"
        ).fetchall()
        self._tables = {model: (_name(number), size) for number, model, size, _ in rows}
        return [
            CollectedModel(model, size, None if count is None or count < 0 else count)
            for _, model, size, count in rows
        ]

    def forget(self, site: str, before: str) -> None:
        """Delete the vectors of a site of events before a time.

        Raises:
            CollectionError: The database cannot be reached.
        """
        with translated(), self._connection.transaction():
            self._models()
            for table, _ in self._tables.values():
                self._connection.execute(
                    f"DELETE FROM {table} WHERE site = %s AND at < %s".encode(), (site, before)
                )

    def drop_index(self, model: str) -> None:
        """Drop the index of neighbours of a model, to load millions of vectors sooner.

        Raises:
            CollectionError: There is no such model.
        """
        with translated(), self._connection.transaction():
            self._models()
            if model in self._tables:
                self._connection.execute(
                    f"DROP INDEX IF EXISTS {self._tables[model][0]}_hnsw".encode()
                )

    def build_index(self, model: str, memory: str = "1GB") -> None:
        """Build the index of neighbours of a model that `drop_index` has dropped.

        Args:
            model: Id of the model.
            memory: Memory of the server for it; with less than the index takes, it is far slower.

        Raises:
            CollectionError: There is no such model.
        """
        with translated(), self._connection.transaction():
            self._models()
            if model not in self._tables:
                raise VectorError(f"the collection has no vectors of model {model}")
            self._connection.execute(
                "SELECT set_config('maintenance_work_mem', %s, true)", (memory,)
            )
            self._connection.execute(_index(self._tables[model][0]).encode())

    def _table(self, model: str, first: CollectedVector) -> str:
        """Return the table of a model, made if it is new.

        Raises:
            CollectionError: Its vectors have another length.
        """
        if model not in self._tables:
            self._make_table(model, first)
        size = first.vector.size
        table, known = self._tables[model]
        if known != size:
            raise VectorError(wrong_length(model, size, known))
        return table

    def _make_table(self, model: str, first: CollectedVector) -> None:
        size = first.vector.size
        self._models()
        if model in self._tables:
            return  # another collector has made it
        check_new_model(first, len(self._tables), self._models_of(first.site, first.device))
        run = self._connection.execute
        run("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        row = run(
            "INSERT INTO edge_sim_models (model, dimension) VALUES (%s, %s) "
            "ON CONFLICT DO NOTHING RETURNING number",
            (model, size),
        ).fetchone()
        if row is not None:
            table = _name(row[0])
            # With the vectors in it, those of a site or device are compared without reading the
            # table, one page for each row: a sixth of the time. An entry has at most 2,700 bytes.
            included = "INCLUDE (id, watch, state, vector)" if size <= _MOST_IN_INDEX else ""
            statements = f"""
                CREATE TABLE {table} (
                    site text NOT NULL,
                    device text NOT NULL,
                    id text NOT NULL,
                    at timestamptz NOT NULL,
                    watch text NOT NULL,
                    state text NOT NULL,
                    vector halfvec({size}) NOT NULL,
                    PRIMARY KEY (site, device, id)
                );
                ALTER TABLE {table} ALTER COLUMN vector SET STORAGE PLAIN;
                ALTER TABLE {table} SET (autovacuum_vacuum_insert_scale_factor = 0.05);
                CREATE INDEX {table}_place ON {table} (site, device, at) {included};
                CREATE INDEX {table}_at ON {table} (at);
                CREATE INDEX {table}_state ON {table} (watch, state);
                {_index(table)};
            """
            run(statements.encode())
        self._models()

    def _models_of(self, site: str, device: str) -> int:
        """Return the number of models with vectors of a device."""
        return sum(
            self._connection.execute(
                f"SELECT 1 FROM {table} WHERE site = %s AND device = %s LIMIT 1".encode(),
                (site, device),
            ).fetchone()
            is not None
            for table, _ in self._tables.values()
        )


def _index(table: str) -> str:
    return f"CREATE INDEX {table}_hnsw ON {table} USING hnsw (vector halfvec_ip_ops) {_GRAPH}"


def _name(number: int) -> str:
    return f"edge_sim_vectors_{int(number)}"


def _moment(at: str) -> datetime:
    return datetime.fromtimestamp(unix_time_s(at), timezone.utc)


def _conditions(where: VectorFilter | None) -> tuple[str, dict[str, Any]]:
    if where is None:
        return "", {}
    parts = [f"{name} = %({name})s" for name in where.equal]
    values: dict[str, Any] = dict(where.equal)
    if where.since is not None:
        parts.append("at >= %(since)s")
        values["since"] = where.since
    if where.until is not None:
        parts.append("at < %(until)s")
        values["until"] = where.until
    return " AND ".join(parts), values


class translated(AbstractContextManager[None]):  # noqa: N801 - reads as a function
    """Context in which an error of psycopg becomes a `CollectionError` in one line."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, psycopg.Error):
            raise translation(error) from error


def translation(error: Exception) -> CollectionError:
    """Return an error of psycopg in one line; a `VectorError` where a value cannot be stored."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, psycopg.DataError):  # as a NUL in a text, which PostgreSQL cannot hold
        return VectorError(f"the database: {reason}")
    return CollectionError(f"the database: {reason}; check its address and that it runs")
