"""Database of the tests of collections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fleet.database import Database


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """A PostgreSQL of the module's own, running."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[collect]'")
    made = Database()
    made.start()
    yield made
    made.remove()
