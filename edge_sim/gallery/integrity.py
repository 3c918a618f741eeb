"""Integrity of a gallery file: checked when it is opened, before anything in it is believed.

A file from elsewhere may hold revisions without their log, numbers that no row can have, and names
that break a terminal, a topic or a path. Whatever is read later relies on `check_content`.

SQLite keeps the last changes in a log beside the file. Where a copy is put over the file while the
log of the old one lies there, SQLite plays that log into the copy: the result may be a file in
which every page is sound and whose pages never belonged together. Each revision therefore has a
seal: sums over all rows, a digest chained to that of the revision before, and the revision that was
complete in the file itself. Everything here runs inside a transaction.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from edge_sim.errors import GalleryError
from edge_sim.gallery.gallery import checked_name
from edge_sim.gallery.schema import SEALS, check_schema, has_table

MIXED = "its parts are of different revisions, as after a copy was put over it beside an old log"

_DIGEST_BYTES = 16
_MARK = -1


class Sums(msgspec.Struct, frozen=True):
    """Sums over the rows of a gallery file; equal content has equal sums.

    Args:
        versions: Number of rows, past and present.
        closed: Number of those that ended.
        crc: Sum of their checksums.
        since: Sum of the revisions that began them.
        until: Sum of the revisions that ended them.
        embeddings: Number of embeddings.
        embeddings_crc: Sum of their checksums.
        last_embedding: Highest row number of an embedding.
        pictures: Number of pictures.
        heads: Number of heads, past and present.
        heads_crc: Sum of their checksums.
    """

    versions: int
    closed: int
    crc: int
    since: int
    until: int
    embeddings: int
    embeddings_crc: int
    last_embedding: int
    pictures: int
    heads: int
    heads_crc: int


@dataclass(frozen=True, slots=True)
class Seal:
    """One row of the table `seals`."""

    revision: int
    base: int
    last_ordinal: int
    sums: Sums
    chain: bytes


def put(connection: sqlite3.Connection, number: int, *, logged: bool, anew: bool = False) -> None:
    """Seal the revision `number`, the last thing that its transaction does.

    Args:
        connection: Inside the transaction.
        number: The revision.
        logged: Whether earlier revisions may be in the log only, not in the file itself.
        anew: Rows were deleted for good: read all checksums again.
    """
    connection.execute(SEALS)
    before = last(connection)
    sums = _sums(connection, None if anew or before is None else before.sums)
    base = number - 1
    if logged:
        base = 0 if before is None else before.base
    (ordinal,) = connection.execute("SELECT coalesce(max(ordinal), 0) FROM versions").fetchone()
    ordinal = max(ordinal, 0 if before is None else before.last_ordinal)
    text = msgspec.json.encode(sums).decode()
    chain = _chain(b"" if before is None else before.chain, _entry(connection, number), text)
    connection.execute(
        "INSERT INTO seals VALUES (?, ?, ?, ?, ?)", (number, base, ordinal, text, chain)
    )


def last(connection: sqlite3.Connection) -> Seal | None:
    """Return the latest seal; None in a file of the first format.

    Raises:
        ValueError: The row is damaged.
    """
    if not has_table(connection, "seals"):
        return None
    row = connection.execute(
        "SELECT * FROM seals WHERE revision > 0 ORDER BY revision DESC LIMIT 1"
    ).fetchone()
    return None if row is None else _seal(row)


def last_ordinal(connection: sqlite3.Connection) -> int:
    """Return the highest number that a reference ever had."""
    (present,) = connection.execute("SELECT coalesce(max(ordinal), 0) FROM versions").fetchone()
    seal = last(connection)
    return max(int(present), 0 if seal is None else seal.last_ordinal)


def _seal_fault(connection: sqlite3.Connection, head: int) -> str | None:
    """Return the reason why the rows are not those of the last revision; None if they are.

    Reads the light tables only: the checksums of embeddings are left to `problems`.
    """
    seal = last(connection)
    if seal is None or seal.revision != head:
        return None if head == 0 and seal is None else MIXED
    now = _sums(connection, seal.sums, until_now=False)
    # A missing picture does not affect the other rows; `problems` names it.
    now = replace(now, pictures=seal.sums.pictures)
    if now.heads_crc != seal.sums.heads_crc and _has_damaged_head(connection):
        # Nor does a damaged head: it is reported where it is used, and learned again.
        now = replace(now, heads_crc=seal.sums.heads_crc)
    return None if now == seal.sums else MIXED


def head_checksum(watch: str, facts: str, numbers: bytes) -> int:
    """Return the CRC-32 of a row of the table `heads`."""
    return zlib.crc32(numbers, zlib.crc32(f"{watch} {facts}".encode("utf-8", "backslashreplace")))


def _has_damaged_head(connection: sqlite3.Connection) -> bool:
    rows = connection.execute("SELECT watch, facts, numbers, crc FROM heads")
    try:
        return any(head_checksum(*row[:3]) != row[3] for row in rows)
    except TypeError:
        return True


def problems(connection: sqlite3.Connection, head: int) -> Iterator[str]:
    """Yield the contradictions to the seals, after reading every checksum."""
    if not has_table(connection, "seals"):
        return
    seal = last(connection)
    if seal is not None and (seal.revision != head or seal.sums != _sums(connection, None)):
        yield MIXED
    chain = None
    for row in connection.execute("SELECT * FROM seals WHERE revision > 0 ORDER BY revision"):
        each = _seal(row)
        expected = _chain(chain or b"", _entry(connection, each.revision), str(row[3]))
        if each.chain != expected:
            yield f"the entry of revision {each.revision} is not the one that was written"
            return
        chain = each.chain


Base: TypeAlias = "tuple[int, str, bytes | None]"
"""Number, log entry and chain of the last revision that is in a file without its log."""


def latest(own: sqlite3.Connection) -> Base | None:
    """Return the last revision of a file opened without its log; None if it cannot be read."""
    try:
        (number,) = own.execute("SELECT coalesce(max(number), 0) FROM revisions").fetchone()
        seal = last(own)
        if seal is not None and seal.revision != number:
            return None
        return number, _entry(own, number), None if seal is None else seal.chain
    except (sqlite3.Error, ValueError, TypeError):
        return None  # written back in part only, when the power failed: the log makes it whole


def is_stray(base: Base, seen: sqlite3.Connection) -> bool:
    """Return whether the log beside a file is that of another file.

    Args:
        base: Result of `latest`.
        seen: The file with its log.

    Raises:
        ValueError: The last seal is damaged.
    """
    number, entry, chain = base
    if has_table(seen, "seals") and (number, entry, chain or b"") in _marked(seen):
        return False
    if number and _entry(seen, number) != entry:
        return True
    seal = last(seen)
    if seal is None:
        return False
    known = seen.execute("SELECT chain FROM seals WHERE revision = ?", (number,)).fetchone()
    if chain is not None and (known is None or bytes(known[0]) != chain):
        return True
    return number < seal.base


def mark(connection: sqlite3.Connection, base: Base | None) -> None:
    """Record in a copy which file it is written into, until the log is written back."""
    connection.execute(SEALS)
    connection.execute("DELETE FROM seals WHERE revision = ?", (_MARK,))
    if base is not None:
        number, entry, chain = base
        values = (_MARK, number, 0, entry, chain or b"")
        connection.execute("INSERT INTO seals VALUES (?, ?, ?, ?, ?)", values)


def _marked(seen: sqlite3.Connection) -> list[tuple[int, str, bytes]]:
    return seen.execute(
        "SELECT base, content, chain FROM seals WHERE revision = ?", (_MARK,)
    ).fetchall()


def _entry(connection: sqlite3.Connection, number: int) -> str:
    row = connection.execute("SELECT * FROM revisions WHERE number = ?", (number,)).fetchone()
    return repr(row)


def _chain(before: bytes, entry: str, sums: str) -> bytes:
    digest = hashlib.blake2b(before, digest_size=_DIGEST_BYTES)
    digest.update(f"{entry}\n{sums}".encode("utf-8", "backslashreplace"))
    return digest.digest()


def _seal(row: tuple[object, ...]) -> Seal:
    revision, base, ordinal, text, chain = row
    if not (isinstance(revision, int) and isinstance(base, int) and isinstance(ordinal, int)):
        raise ValueError("a seal holds something else than numbers")
    if not isinstance(text, str) or not isinstance(chain, bytes):
        raise ValueError("a seal holds something else than sums")
    return Seal(revision, base, ordinal, msgspec.json.decode(text, type=Sums), chain)


def _sums(connection: sqlite3.Connection, before: Sums | None, *, until_now: bool = True) -> Sums:
    """Return the sums now.

    Args:
        connection: Inside a transaction.
        before: Sums that hold up to `last_embedding`, whose pages need not be read again.
        until_now: Whether to add the embeddings after those.
    """
    versions: tuple[int, int, int, int, int] = connection.execute(
        "SELECT count(*), count(until), coalesce(sum(crc), 0), coalesce(sum(since), 0), "
        "coalesce(sum(until), 0) FROM versions"
    ).fetchone()
    embeddings, last_row = connection.execute(
        "SELECT count(*), coalesce(max(id), 0) FROM embeddings"
    ).fetchone()
    (pictures,) = connection.execute("SELECT count(*) FROM pictures").fetchone()
    after, crc = (0, 0) if before is None else (before.last_embedding, before.embeddings_crc)
    if until_now and last_row > after:
        (more,) = connection.execute(
            "SELECT coalesce(sum(crc), 0) FROM embeddings WHERE id > ?", (after,)
        ).fetchone()
        crc += more
    heads: tuple[int, int] = (0, 0)
    if has_table(connection, "heads"):
        heads = connection.execute("SELECT count(*), coalesce(sum(crc), 0) FROM heads").fetchone()
    return Sums(*versions, embeddings, crc, last_row, pictures, *heads)


def log_of(path: Path) -> Path:
    """Return the place of the log beside a file."""
    return Path(f"{path}-wal")


def has_log(path: Path) -> bool:
    """Return whether the log beside a file holds anything."""
    try:
        return log_of(path).stat().st_size > 0
    except OSError:
        return False


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
    """Return the fault of the light tables, in a few words; None if there is none."""
    count, head = connection.execute(
        "SELECT count(*), coalesce(max(number), 0) FROM revisions"
    ).fetchone()
    if count != head or head > MOST_REVISIONS:
        return f"its log has {count} entries, and the last revision is {head}"
    (odd,) = connection.execute(_ODD_ENTRIES).fetchone()
    if odd:
        return f"{odd} entries of its log are impossible"
    (odd,) = connection.execute(_ODD_ROWS, {"head": head}).fetchone()
    if odd:
        return f"{odd} of its references have impossible numbers"
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
        return _seal_fault(connection, head)
    return _short_additions(connection)


def _short_additions(connection: sqlite3.Connection) -> str | None:
    """Return the first addition that lacks references: files of the first format have no seal.

    Nothing was ever deleted in that format, and the log has the number of references added.
    """
    found = connection.execute(
        "SELECT number, detail, (SELECT count(*) FROM versions WHERE since = number) "
        "FROM revisions WHERE verb = 'add'"
    )
    for number, detail, present in found:
        stated = detail.partition(" ")[0]
        if stated.isascii() and stated.isdigit() and int(stated[:9]) != present:
            return f"revision {number} added {stated}, {present} are there: {MIXED}"
    return None
