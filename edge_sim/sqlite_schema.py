"""Comparison of the schema in a SQLite file with the one that edge_sim makes.

A file that comes from elsewhere may hold views that never end, triggers, or tables that compute
their columns. Nothing in a file is evaluated before its schema was found to be exactly ours.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

_COMMENT = re.compile(r"--[^\n]*")
_NAMED = re.compile(r"CREATE (?:UNIQUE )?(TABLE|INDEX) (\w+)(?: ON (\w+))?")
_STATISTICS = frozenset({"sqlite_stat1", "sqlite_stat4"})
_MOST_OBJECTS = 64


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables and indexes that a file may hold.

    Args:
        required: Statements of those that every file has.
        optional: Statements of those that a file may have.
    """

    required: str
    optional: str = ""
    _expected: Mapping[tuple[str, str, str], str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        expected = {**_statements(self.required), **_statements(self.optional)}
        object.__setattr__(self, "_expected", expected)

    def foreign(self, connection: sqlite3.Connection) -> str | None:
        """Return the first thing in a file that is not in the schema, as in `view 'x'`."""
        for kind, name, table, text in _objects(connection):
            if self._is_automatic(kind, name, table, text):
                continue
            if self._expected.get((kind, name, table)) != _plain(str(text)):
                return f"{kind} {name[:40]!a}"
        return None

    def missing(self, connection: sqlite3.Connection) -> tuple[str, ...]:
        """Return the names of what every file has and this one has not."""
        names = {name for _, name, _, _ in _objects(connection)}
        return tuple(name for _, name, _ in _statements(self.required) if name not in names)

    def _is_automatic(self, kind: str, name: str, table: str, text: str | None) -> bool:
        """Return whether SQLite made an object by itself: such names are reserved for it."""
        own_index = kind == "index" and text is None and name.startswith("sqlite_autoindex_")
        if own_index:
            return any(table == known for _, _, known in self._expected)
        return kind == "table" and name in _STATISTICS


def _objects(connection: sqlite3.Connection) -> list[tuple[str, str, str, str | None]]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT ?"
    return connection.execute(query, (_MOST_OBJECTS,)).fetchall()


def _plain(statement: str) -> str:
    bare = " ".join(_COMMENT.sub("", statement).split())
    return bare.replace("IF NOT EXISTS ", "")


def _statements(text: str) -> dict[tuple[str, str, str], str]:
    found = {}
    for statement in map(_plain, text.split(";")):
        named = _NAMED.match(statement)
        if named:
            kind, name, table = named.groups()
            found[kind.lower(), name, table or name] = statement
    return found
