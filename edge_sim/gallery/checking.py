"""Check of a gallery file when it is opened: bounded, and before anything in it is believed.

A file from elsewhere may hold revisions without their log, numbers that no row can have, and names
that break a terminal, a topic or a path. Whatever is read later relies on what is checked here.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edge_sim.errors import GalleryError
from edge_sim.gallery import seals
from edge_sim.gallery.gallery import checked_name
from edge_sim.gallery.schema import check_schema

MOST_REVISIONS = 10_000_000
HIGHEST_ORDINAL = 10**15  # ids have up to 18 digits
_MOST_NAMES = 10_000

_ODD_ROWS = f"""
SELECT count(*) FROM versions WHERE
    typeof(ordinal) <> 'integer' OR ordinal NOT BETWEEN 1 AND {HIGHEST_ORDINAL}
    OR typeof(embedding) <> 'integer'
    OR typeof(crc) <> 'integer' OR crc NOT BETWEEN 0 AND 4294967295
    OR typeof(since) <> 'integer' OR since NOT BETWEEN 1 AND :head
    OR (until IS NOT NULL AND (typeof(until) <> 'integer' OR until NOT BETWEEN since + 1 AND :head))
"""
_ODD_ENTRIES = """
SELECT count(*) FROM revisions WHERE
    typeof(content) <> 'integer' OR content NOT BETWEEN 0 AND number
"""


def check_content(connection: sqlite3.Connection, path: Path) -> None:
    """Check schema, numbers, names and seal of an open file, in one moment of it.

    Raises:
        GalleryError: The file is none that edge_sim has written.
        sqlite3.Error: It is damaged.
    """
    check_schema(connection, path)
    for table in ("revisions", "versions"):
        (verdict,) = connection.execute(f"PRAGMA integrity_check({table})").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"malformed: {verdict}")
    try:
        problem = _fault(connection)
    except (OverflowError, ValueError) as error:
        problem = f"{error}"
    if problem is not None:
        raise GalleryError(
            f"{path}: the gallery file is damaged ({problem}); it was left as it is: "
            f"put a copy in its place with `edge-sim gallery restore COPY`"
        )


def _fault(connection: sqlite3.Connection) -> str | None:
    """Return what is wrong with the light tables, in a few words; None if nothing is."""
    count, head = connection.execute(
        "SELECT count(*), coalesce(max(number), 0) FROM revisions"
    ).fetchone()
    if count != head or head > MOST_REVISIONS:
        return f"its log has {count} entries, and the last revision is {head}"
    (odd,) = connection.execute(_ODD_ENTRIES).fetchone()
    if odd:
        return f"{odd} entries of its log cannot be"
    (odd,) = connection.execute(_ODD_ROWS, {"head": head}).fetchone()
    if odd:
        return f"{odd} of its references have numbers that cannot be"
    return _bad_name(connection) or _mixture(connection, head)


def _bad_name(connection: sqlite3.Connection) -> str | None:
    for column, noun in (("watch", "watch"), ("state", "state"), ("condition", "condition")):
        names = connection.execute(
            f"SELECT DISTINCT {column} FROM versions LIMIT {_MOST_NAMES + 1}"
        ).fetchall()
        if len(names) > _MOST_NAMES:
            return f"it has more than {_MOST_NAMES} names of a {noun}"
        fault = next(filter(None, (_fault_of_name(noun, name) for (name,) in names)), None)
        if fault is not None:
            return fault
    return None


def _fault_of_name(noun: str, name: object) -> str | None:
    if not isinstance(name, str):
        return f"a {noun} has no text as its name"
    try:
        checked_name(noun, name)
    except GalleryError as error:
        return str(error)
    return None


def _mixture(connection: sqlite3.Connection, head: int) -> str | None:
    (format_,) = connection.execute("PRAGMA user_version").fetchone()
    if format_ > 1:
        return seals.fault(connection, head)
    return _short_additions(connection)


def _short_additions(connection: sqlite3.Connection) -> str | None:
    """Return the first addition that lacks references: files of the first format have no seal.

    Nothing was ever deleted in that format, and the log says how many references were added.
    """
    found = connection.execute(
        "SELECT number, detail, (SELECT count(*) FROM versions WHERE since = number) "
        "FROM revisions WHERE verb = 'add'"
    )
    for number, detail, present in found:
        said = detail.partition(" ")[0]
        if said.isascii() and said.isdigit() and int(said[:9]) != present:
            return f"revision {number} added {said}, {present} are there: {seals.MIXED}"
    return None
