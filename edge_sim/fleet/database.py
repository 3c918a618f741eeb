"""Connection to the database of a collection, by its address or the folder of its own server."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any

from edge_sim.errors import CollectionError
from edge_sim.fleet.embedded import EmbeddedServer, folder_of
from edge_sim.fleet.pgvector import PgVectors, translation
from edge_sim.fleet.schema import migrate
from edge_sim.fleet.vectors import VectorCollection
from edge_sim.secrets import register_secret

try:
    import psycopg
    from psycopg.abc import Buffer
    from psycopg.types.datetime import TimestamptzBinaryLoader, TimestamptzLoader
except ImportError as missing:
    raise CollectionError(
        "a collection needs psycopg 3: pip install 'edge_sim[collect]'"
    ) from missing

CONNECT_TIMEOUT_S = 10
# A connection that is lost within a transaction is told as an error of ours, in one line.
logging.getLogger("psycopg").setLevel(logging.ERROR)
_FIRST = datetime(1, 1, 1, tzinfo=timezone.utc)
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)


class _TextTimes(TimestamptzLoader):
    """Times as text; one that Python cannot hold is the first or the last that it can.

    Devices with a wrong clock have sent such times, which PostgreSQL keeps up to the year 294276.
    """

    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            text = bytes(data)
            return _FIRST if text.endswith(b"BC") or text.startswith(b"-") else _LAST


class _BinaryTimes(TimestamptzBinaryLoader):
    """Times as binary numbers; otherwise as `_TextTimes`."""

    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            return _FIRST if bytes(data)[0] & 0x80 else _LAST


class OpenDatabase:
    """Open connection, with the tables in their present form; close it.

    Args:
        address: Address of PostgreSQL, as libpq reads it, or `embedded:FOLDER`.
        create: Whether an embedded server is made where there is none yet.

    Raises:
        CollectionError: It cannot be reached or used.
    """

    def __init__(self, address: str, *, create: bool = False) -> None:
        folder = folder_of(address)
        self._server: EmbeddedServer | None = None
        if folder is not None:
            self._server = EmbeddedServer(folder, create=create)
            self._server.start()
            address = self._server.address
        try:
            found = psycopg.conninfo.conninfo_to_dict(address)
            register_secret(str(found.get("password") or ""))
            # A transaction is open only where the code names one: what a forgotten one holds would
            # be lost with the process, though it was acknowledged.
            self.connection: psycopg.Connection[Any] = psycopg.connect(
                address, connect_timeout=CONNECT_TIMEOUT_S, autocommit=True
            )
        except psycopg.Error as error:
            self._close_server()
            raise translation(error) from error
        try:
            for loader in (_TextTimes, _BinaryTimes):
                self.connection.adapters.register_loader("timestamptz", loader)
            # Times without a zone are UTC, whatever the server is set to.
            self.connection.execute("SET TIME ZONE 'UTC'")
            migrate(self.connection)
        except psycopg.Error as error:
            self.close()
            raise translation(error) from error
        except CollectionError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, and stop a server that nobody else uses. Safe to call twice."""
        self.connection.close()
        self._close_server()

    def _close_server(self) -> None:
        if self._server is not None:
            self._server.close()


def open_vectors(address: str) -> VectorCollection:
    """Return the open vectors of an address.

    Args:
        address: `qdrant://HOST:PORT`, `qdrant+https://HOST:PORT`, or as for `OpenDatabase`.

    Raises:
        CollectionError: It cannot be reached, or its package is not installed.
    """
    if address.startswith("qdrant"):
        from edge_sim.fleet.qdrant import QdrantVectors

        return QdrantVectors.open(address)
    database = OpenDatabase(address, create=True)
    try:
        return PgVectors(database.connection, on_close=database.close)
    except CollectionError:
        database.close()
        raise
