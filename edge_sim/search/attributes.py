"""Tags and attributes of the pictures of an index, kept by content.

They belong to the bytes of a picture (its SHA-256), not to a path: a file that is renamed, moved,
left out or indexed again keeps them, and copies share them.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.files import is_file, is_text, printable, read_bounded, size_of
from edge_sim.core.sqlite import kept_path, transaction
from edge_sim.core.tables import name_key, read_table
from edge_sim.errors import DataError, SearchError
from edge_sim.search.filters import Column

TAG = "tag"
SCHEMA = """
CREATE TABLE content_tags (
    sha256 BLOB NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (sha256, tag)
) WITHOUT ROWID;
CREATE TABLE attributes (
    sha256 BLOB NOT NULL,
    origin TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (sha256, key, origin)
) WITHOUT ROWID;
"""
EARLIER_SCHEMA = """
CREATE TABLE tags (
    file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (file, tag)
) WITHOUT ROWID;
"""
"""Tags by path, as edge_sim 0.1 kept them."""
OWN, EXIF = "own", "exif"
TABLE_NAMES = ("attributes.csv", "attributes.json")
"""Files in the folder of an index that give its pictures attributes."""
FILE_COLUMNS = ("file", "path", "name", "filename")
BUILT_IN = frozenset({TAG, "path", "folder", "state", "suffix", "width", "height", "bytes"})
MAX_JSON_BYTES = 64_000_000
MAX_VALUE = 1000

_FILES_TAGGED = (
    "SELECT files.id, content_tags.tag FROM content_tags "
    "JOIN contents USING (sha256) JOIN files ON files.content = contents.id"
)


def migrate(connection: sqlite3.Connection) -> None:
    """Make the tables where they are missing, and move tags by path into them."""
    present = _tables(connection)
    if {"content_tags", "attributes"} <= present and "tags" not in present:
        return
    for statement in SCHEMA.split(";"):
        if statement.strip():
            connection.execute(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
    if "tags" in present:
        connection.execute(
            "INSERT OR IGNORE INTO content_tags SELECT contents.sha256, tags.tag FROM tags "
            "JOIN files ON files.id = tags.file JOIN contents ON contents.id = files.content"
        )
        connection.execute("DROP TABLE tags")


def facts_by_content(
    connection: sqlite3.Connection,
) -> tuple[list[tuple[bytes, str]], list[tuple[bytes, str, str]]]:
    """Return every tag with its content, and the own attributes as (content, key, value)."""
    present = _tables(connection)
    tags: list[tuple[bytes, str]] = []
    if "content_tags" in present:
        tags.extend(connection.execute("SELECT sha256, tag FROM content_tags"))
    if "tags" in present:  # an index of edge_sim 0.1
        tags.extend(
            connection.execute(
                "SELECT contents.sha256, tags.tag FROM tags JOIN files ON files.id = tags.file "
                "JOIN contents ON contents.id = files.content"
            )
        )
    own: list[tuple[bytes, str, str]] = []
    if "attributes" in present:
        query = "SELECT sha256, key, value FROM attributes WHERE origin = ?"
        own.extend(connection.execute(query, (OWN,)))
    return tags, own


def add_facts(
    connection: sqlite3.Connection,
    tags: Iterable[tuple[bytes, str]],
    own: Iterable[tuple[bytes, str, str]],
) -> None:
    """Add tags and own attributes of contents; attributes that are there stay."""
    connection.executemany("INSERT OR IGNORE INTO content_tags VALUES (?, ?)", tags)
    connection.executemany(
        "INSERT OR IGNORE INTO attributes (sha256, origin, key, value) VALUES (?, ?, ?, ?)",
        ((sha256, OWN, key, value) for sha256, key, value in own),
    )


def tags_of_files(connection: sqlite3.Connection) -> dict[int, tuple[str, ...]]:
    """Return the sorted tags of each file that has any, by the number of the file."""
    present = _tables(connection)
    marked: dict[int, set[str]] = {}
    queries = [_FILES_TAGGED] if "content_tags" in present else []
    if "tags" in present:  # an index of edge_sim 0.1 that may not be written
        queries.append("SELECT file, tag FROM tags")
    for query in queries:
        for number, name in connection.execute(query):
            marked.setdefault(number, set()).add(name)
    return {number: tuple(sorted(names)) for number, names in marked.items()}


def attributes_by_key(
    connection: sqlite3.Connection, files: NDArray[np.int64]
) -> dict[str, Column]:
    """Return the attributes of pictures by key; own ones count before those of EXIF.

    Args:
        connection: Database of an index.
        files: (N,) number of the file of each row, ascending.
    """
    if "attributes" not in _tables(connection):
        return {}
    found: dict[str, dict[int, str]] = {}
    shared: dict[str, str] = {}
    query = (
        "SELECT files.id, key, value FROM attributes JOIN contents USING (sha256) "
        "JOIN files ON files.content = contents.id WHERE origin = ?"
    )
    for origin in (EXIF, OWN):  # one after the other: to sort a million rows takes seconds
        for number, key, value in connection.execute(query, (origin,)):
            if not isinstance(key, str) or not isinstance(value, str):
                raise TypeError("an attribute is no text")
            found.setdefault(key, {})[number] = shared.setdefault(value, value)
    columns = {}
    for key in sorted(found):
        own = found.pop(key)
        rows = np.searchsorted(files, np.fromiter(own, np.int64, len(own)))
        columns[key] = Column.of_texts(own.values(), rows.tolist())
    return columns


def tag_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of files with each tag, sorted by tag."""
    counts: dict[str, int] = {}
    for names in tags_of_files(connection).values():
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def add_tag(connection: sqlite3.Connection, paths: Iterable[Path], tag: str) -> int:
    """Put a tag on pictures; return the number of contents that did not have it.

    Raises:
        SearchError: A path is not in the index.
    """
    with transaction(connection, writes=True):
        migrate(connection)
        values = [(content_of(connection, path), tag) for path in paths]
        return connection.executemany(
            "INSERT OR IGNORE INTO content_tags VALUES (?, ?)", values
        ).rowcount


def drop_tag(connection: sqlite3.Connection, paths: Iterable[Path], tag: str) -> int:
    """Take a tag off pictures; return the number of contents that had it.

    Raises:
        SearchError: A path is not in the index.
    """
    with transaction(connection, writes=True):
        migrate(connection)
        values = [(content_of(connection, path), tag) for path in paths]
        return connection.executemany(
            "DELETE FROM content_tags WHERE sha256 = ? AND tag = ?", values
        ).rowcount


def rename_tag(connection: sqlite3.Connection, before: str, after: str) -> int:
    """Rename a tag on all pictures, into one that may exist; return the number of contents."""
    with transaction(connection, writes=True):
        migrate(connection)
        connection.execute(
            "INSERT OR IGNORE INTO content_tags SELECT sha256, ? FROM content_tags WHERE tag = ?",
            (after, before),
        )
        return connection.execute("DELETE FROM content_tags WHERE tag = ?", (before,)).rowcount


def content_of(connection: sqlite3.Connection, path: Path) -> bytes:
    """Return the SHA-256 of the content of a path.

    Raises:
        SearchError: It is not in the index.
    """
    found = connection.execute(
        "SELECT sha256 FROM files JOIN contents ON contents.id = content WHERE path = ?",
        (os.fsencode(path),),
    ).fetchone()
    if found is None:
        raise SearchError(f"{printable(path)!r} is not in the index")
    return bytes(memoryview(found[0]))  # of a number `bytes` would be that many zeros


def contents_of_paths(connection: sqlite3.Connection) -> dict[Path, bytes]:
    """Return the SHA-256 of the content of every picture."""
    found = connection.execute(
        "SELECT path, sha256 FROM files JOIN contents ON contents.id = content ORDER BY files.id"
    )
    return {kept_path(path): bytes(memoryview(sha256)) for path, sha256 in found}


def replace_own(connection: sqlite3.Connection, wanted: Mapping[bytes, Mapping[str, str]]) -> None:
    """Give contents these attributes of the table, and all others none; equal ones stay as is."""
    present: dict[bytes, dict[str, str]] = {}
    query = "SELECT sha256, key, value FROM attributes WHERE origin = ?"
    for sha256, key, value in connection.execute(query, (OWN,)):
        present.setdefault(sha256, {})[key] = value
    changed = [
        (sha256, wanted.get(sha256, {}))
        for sha256 in {**present, **wanted}
        if present.get(sha256, {})
        != {key: value for key, value in wanted.get(sha256, {}).items() if value}
    ]
    put_attributes(connection, changed, origin=OWN)


def put_attributes(
    connection: sqlite3.Connection,
    values: Iterable[tuple[bytes, Mapping[str, str]]],
    *,
    origin: str,
) -> None:
    """Replace the attributes of contents that come from one origin, `OWN` or `EXIF`."""
    for sha256, facts in values:
        connection.execute(
            "DELETE FROM attributes WHERE sha256 = ? AND origin = ?", (sha256, origin)
        )
        rows = [(sha256, origin, key, value) for key, value in facts.items() if value]
        connection.executemany("INSERT INTO attributes VALUES (?, ?, ?, ?)", rows)


def found_table(root: Path) -> Path | None:
    """Return the table of attributes in a folder of pictures; None if there is none."""
    return next((root / name for name in TABLE_NAMES if is_file(root / name)), None)


def read_attributes(path: Path) -> dict[str, dict[str, str]]:
    """Return the attributes in a CSV or JSON file, by `tables.name_key` of the picture.

    A CSV has a column `file` (or `path`, `name`, `filename`), relative to the folder of the
    pictures, and a column per attribute. JSON is a list of such objects, or one object that maps
    files to objects of attributes.

    Raises:
        DataError: It cannot be read, has no such column, or an attribute has a built-in name, is
            too long or no text.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    found: dict[str, dict[str, str]] = {}
    for place, name, facts in rows:
        taken = sorted(BUILT_IN & facts.keys())
        if taken:
            raise DataError(f"{place}: {taken[0]!r} is a built-in attribute; rename it")
        too_long = [key for key, value in facts.items() if max(len(key), len(value)) > MAX_VALUE]
        if too_long:
            raise DataError(f"{place}: {too_long[0][:40]!a} is longer than {MAX_VALUE} characters")
        broken = [key for key, value in facts.items() if not is_text(key + value)]
        if broken:
            raise DataError(f"{place}: {broken[0][:40]!a} holds half of a surrogate pair")
        found.setdefault(name_key(name), {}).update(facts)
    return found


def _csv_rows(path: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    table = read_table(path)
    name = printable(path)
    column = next((item for item in FILE_COLUMNS if item in table.header), None)
    if column is None:
        raise DataError(
            f"{name}, line 1: no column with the files; call one of "
            f"{', '.join(map(printable, table.header))} `file`"
        )
    keys = [item for item in table.header if item and item != column]
    for line, row in table.rows:
        facts = {key: table.field(row, key) for key in keys}
        yield f"{name}, line {line}", table.field(row, column), facts


def _json_rows(path: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    name = printable(path)
    if size_of(path) > MAX_JSON_BYTES:
        raise DataError(f"{name}: is larger than {MAX_JSON_BYTES} bytes")
    try:
        data = json.loads(read_bounded(path, MAX_JSON_BYTES))
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: is no JSON ({error})") from error
    if isinstance(data, dict):
        data = [{"file": key, **value} for key, value in data.items() if isinstance(value, dict)]
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise DataError(f"{name}: wants a list of objects with `file`, or files with objects")
    for number, item in enumerate(data, 1):
        place = f"{name}, entry {number}"
        column = next((key for key in FILE_COLUMNS if isinstance(item.get(key), str)), None)
        if column is None:
            raise DataError(f"{place}: names no file; add `file`")
        facts = {
            key: _plain(value, place) for key, value in item.items() if key not in ("", column)
        }
        yield place, item[column], facts


def _plain(value: Any, place: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    if isinstance(value, str | int | float):
        return str(value)
    raise DataError(f"{place}: an attribute is text, a number, true, false or null")


def _tables(connection: sqlite3.Connection) -> set[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    return {name for (name,) in connection.execute(query)}
