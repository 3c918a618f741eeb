"""SQLite file of the gallery: creation, opening, and conversion between rows and values.

A row that cannot be decoded is named in the error, never guessed.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.core import sqlite
from edge_sim.core.files import exists, is_dir, make_private, size_of
from edge_sim.core.sqlite import FileKind, application_of, check_format, transaction
from edge_sim.core.types import THUMBNAIL_PX, Embedding, GrayImage, Reference
from edge_sim.errors import GalleryError
from edge_sim.gallery import integrity
from edge_sim.gallery.integrity import check_content
from edge_sim.gallery.records import ReferenceRecord
from edge_sim.gallery.schema import SCHEMA, check_schema

GALLERY = FileKind(
    noun="a gallery",
    application_id=0x65_53_69_6D,  # "eSim"
    format=2,
    oldest=1,
    error=GalleryError,
    remedy=(
        "put a copy in its place with `edge-sim gallery restore COPY`, "
        "or move it away and enrol again"
    ),
)
_LOG_CHECKS = 5
_BETWEEN_CHECKS_S = 0.1
BUSY_TIMEOUT_S = 10.0
"""Longest wait for another writer, seconds: far longer than any change of a sane gallery takes."""


def open_database(
    path: Path, *, create: bool, read_only: bool, timeout_s: float
) -> sqlite3.Connection:
    """Return a checked connection to the gallery file at `path`.

    A new file is made beside its place and then linked there, so that a power cut leaves either
    no gallery or an empty one, and a file that is there already is never written over.

    Raises:
        GalleryError: There is no file, it is no gallery, damaged, mixed with the log of another,
            or of a newer edge_sim.
    """
    with translated(path):
        if not exists(path):
            if not create or read_only:
                raise GalleryError(
                    f"there is no gallery at {path}; `edge-sim gallery add` makes one"
                )
            _create(path)
        check_header(path)
        if integrity.has_log(path):
            _check_log(path, timeout_s)
        connection = _connect(path, read_only, timeout_s)
    try:
        with translated(path):
            check_format(connection, path, GALLERY)
            with transaction(connection, writes=False):
                check_content(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def translated(path: Path) -> AbstractContextManager[None]:
    """Turn errors of SQLite and of the file system into `GalleryError`, cause kept."""
    return sqlite.translated(path, GALLERY)


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return the identity of the file in a place, device and inode; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def stamp_of(path: Path) -> tuple[int, int]:
    """Return size and time of the last change of a file; zeros if there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _create(path: Path) -> None:
    if not is_dir(path.parent):
        raise GalleryError(f"{path}: there is no folder {path.parent}; make it first")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        _make_private(temporary, path)
        with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            # 8 kB: a reference is about 14 kB without its picture; reads twice as fast as 4 kB.
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
            connection.executescript(sqlite.stamp(GALLERY))
            # Where the file system cannot do WAL, SQLite keeps its rollback journal: as safe.
            connection.execute("PRAGMA journal_mode = WAL")
        sqlite.put_in_place(temporary, path)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{temporary}{suffix}").unlink(missing_ok=True)


def _make_private(temporary: Path, path: Path) -> None:
    try:
        make_private(temporary)
    except OSError as error:
        reason = error.strerror or error
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            reason = f"its directory is not readable and writable ({reason})"
        raise GalleryError(f"{path}: the gallery cannot be made: {reason}") from error


def check_header(path: Path) -> None:
    """Raise `GalleryError` if the file at `path` is no gallery by its header.

    Raises:
        GalleryError: A directory, no file of SQLite, or one of another program.
        sqlite3.Error: It cannot be read.
    """
    if is_dir(path):
        raise GalleryError(f"{path} is a directory, not a gallery file")
    found = application_of(path)
    if found is None:
        raise GalleryError(
            f"{path} is not a gallery file, or its start is damaged; it was left as it is: name "
            "another in gallery.path, or put a backup back with `edge-sim gallery restore`"
        )
    if found != GALLERY.application_id:
        raise GalleryError(f"{path} is a database of another program, not a gallery file")


def _connect(path: Path, read_only: bool, timeout_s: float) -> sqlite3.Connection:
    uri = path.absolute().as_uri()
    if not read_only:
        return _checked(f"{uri}?mode=rw", timeout_s)
    try:
        return _checked(f"{uri}?mode=ro", timeout_s)
    except sqlite3.OperationalError:
        # WAL needs to write a file beside the gallery. Where that is impossible no process
        # writes, so the file may be taken as immutable, unless a crash left work undone.
        wal = Path(f"{path}-wal")
        effective = os.access in os.supports_effective_ids
        writable = os.access(path.parent, os.W_OK, effective_ids=effective)
        if writable or size_of(wal):
            raise
        return _checked(f"{uri}?mode=ro&immutable=1", timeout_s)


def _checked(uri: str, timeout_s: float) -> sqlite3.Connection:
    """Return a connection that has read the header of the file."""
    connection = sqlite.connected(uri, timeout_s=timeout_s, uri=True)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def opened_alone(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Return a connection to the file without the log beside it, its content checked.

    Raises:
        GalleryError: No gallery, or a damaged one.
    """
    with translated(path):
        connection = _checked(f"{path.absolute().as_uri()}?mode=ro&immutable=1", timeout_s)
    try:
        with translated(path):
            check_format(connection, path, GALLERY)
            check_content(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_log(path: Path, timeout_s: float) -> None:
    """Raise `GalleryError` if the log beside the file is of another file.

    The file is opened for reading only: a connection that may write plays the log into the file
    when it is closed, and the copy that was just put there would be lost.
    """
    for _ in range(_LOG_CHECKS):
        if not _is_stray_log(path, timeout_s):
            return
        time.sleep(_BETWEEN_CHECKS_S)  # another process may be writing the log back just now
    raise GalleryError(
        f"{path}: the log beside it ({integrity.log_of(path).name}) is of another state of the "
        f"gallery, as after a copy was put over it; nothing was changed: "
        f"`edge-sim gallery restore COPY` takes the copy and puts the log away"
    )


def _is_stray_log(path: Path, timeout_s: float) -> bool:
    uri = path.absolute().as_uri()
    try:
        with closing(_checked(f"{uri}?mode=ro&immutable=1", timeout_s)) as own:
            check_schema(own, path)
            base = integrity.latest(own)
        with closing(_checked(f"{uri}?mode=ro", timeout_s)) as seen:
            if not integrity.has_log(path) or base is None:
                return False
            check_schema(seen, path)
            with transaction(seen, writes=False):
                return integrity.is_stray(base, seen)
    except (sqlite3.Error, GalleryError, ValueError):
        return False  # damaged otherwise, or not readable: reported when it is opened next


# Little-endian whatever the machine, so that a gallery can be copied to another one.
_FLOAT = np.dtype("<f4")
_METADATA = msgspec.json.Decoder(dict[str, str])
_TAGS = msgspec.json.Decoder(tuple[str, ...])
_ESCAPE = "\\"
"""In JSON text it stands before every control character."""
_THUMBNAIL_SHAPE = (THUMBNAIL_PX, THUMBNAIL_PX)

DECODING_ERRORS = (ValueError, TypeError, AttributeError, msgspec.MsgspecError)
"""Exceptions that decoding damaged bytes may raise."""

EMBEDDING_COLUMNS = ("model_id", "grid", "crc", "vector", "spatial", "thumbnail")
CONTENT_COLUMNS = (
    "ordinal",
    "watch",
    "state",
    "embedding",
    "condition",
    "enrolled_at",
    "metadata",
    "tags",
)
"""Columns of `versions` but for the revisions."""


T = TypeVar("T")


def reference_id(ordinal: object) -> str:
    """Return the id that people type: `r12`."""
    return f"r{ordinal}"


def ordinal_of(reference_id: str) -> int | None:
    """Return the number in an id; None if it is not an id of this store."""
    digits = reference_id[1:]
    if not reference_id.startswith("r") or not digits.isascii() or not digits.isdigit():
        return None
    # SQLite's integers have 64 bits; a longer number is no id of ours.
    return int(digits) if len(digits) <= 18 else None


def embedding_row(embedding: Embedding, thumbnail: GrayImage) -> tuple[Any, ...]:
    """Return the values of `EMBEDDING_COLUMNS`."""
    vector = _packed(embedding.vector)
    cells = embedding.spatial
    spatial = None if cells is None else _packed(cells)
    grid = None if cells is None else "x".join(str(side) for side in cells.shape)
    grey = np.ascontiguousarray(thumbnail).tobytes()
    crc = _embedding_crc(embedding.model_id, grid, vector, spatial, grey)
    return embedding.model_id, grid, crc, vector, spatial, grey


def content_crc(values: tuple[Any, ...]) -> int:
    """Return the CRC-32 over the values of `CONTENT_COLUMNS`."""
    return zlib.crc32(repr(values).encode("utf-8", "backslashreplace"))


def _embedding_crc(
    model_id: str, grid: str | None, vector: bytes, spatial: bytes | None, thumbnail: bytes
) -> int:
    start = zlib.crc32(f"{model_id} {grid}".encode())
    return zlib.crc32(thumbnail, zlib.crc32(spatial or b"", zlib.crc32(vector, start)))


def embedding_of(row: tuple[Any, ...]) -> tuple[Embedding, GrayImage]:
    """Return what `embedding_row` was made from; the arrays are read-only views of the row.

    Raises:
        ValueError: The bytes do not fit together.
    """
    model_id, grid, crc, vector, spatial, grey = row
    if _embedding_crc(model_id, grid, vector, spatial, grey) != crc:
        raise ValueError("the checksum does not fit")
    if not model_id.isprintable():
        raise ValueError("its model has an invalid name")
    cells = None
    if spatial is not None:
        cells = _unpacked(spatial).reshape(_sides(grid))
    embedding = Embedding(vector=_unpacked(vector), spatial=cells, model_id=model_id)
    return embedding, np.frombuffer(grey, np.uint8).reshape(_THUMBNAIL_SHAPE)


def references_of(rows: Iterable[tuple[Any, ...]]) -> list[Reference]:
    """Return references of rows of `CONTENT_COLUMNS`, `crc` and `EMBEDDING_COLUMNS`.

    Raises:
        GalleryError: A row cannot be decoded; its id is named.
    """
    return list(_each(rows, _reference))


def records_of(rows: Iterable[tuple[Any, ...]]) -> list[ReferenceRecord]:
    """Return records of rows of `CONTENT_COLUMNS`, `crc`, `model_id` and `since`.

    Raises:
        GalleryError: A row cannot be decoded; its id is named.
    """
    return list(_each(rows, _record))


def _each(rows: Iterable[tuple[Any, ...]], decoded: Callable[[tuple[Any, ...]], T]) -> Iterator[T]:
    row: tuple[Any, ...] = ("?",)
    try:
        for row in rows:
            yield decoded(row)
    except DECODING_ERRORS as error:
        raise GalleryError(
            f"reference {reference_id(row[0])} is damaged ({error}); "
            f"`edge-sim gallery verify` lists all that are"
        ) from error


def _reference(row: tuple[Any, ...]) -> Reference:
    ordinal, _, state, _, condition, enrolled_at, metadata, _ = _content(row)
    embedding, thumbnail = embedding_of(row[len(CONTENT_COLUMNS) + 1 :])
    return Reference(
        reference_id=reference_id(ordinal),
        state=state,
        embedding=embedding,
        thumbnail=thumbnail,
        condition=condition,
        enrolled_at=datetime.fromisoformat(enrolled_at),
        metadata=_METADATA.decode(metadata),
    )


def _record(row: tuple[Any, ...]) -> ReferenceRecord:
    ordinal, watch, state, _, condition, enrolled_at, metadata, tags = _content(row)
    model_id, since = row[len(CONTENT_COLUMNS) + 1 :]
    return ReferenceRecord(
        reference_id=reference_id(ordinal),
        watch=watch,
        state=state,
        condition=condition,
        model_id=model_id,
        enrolled_at=datetime.fromisoformat(enrolled_at),
        metadata=_METADATA.decode(metadata),
        tags=tags_of(tags),
        since=since,
    )


def _content(row: tuple[Any, ...]) -> tuple[Any, ...]:
    size = len(CONTENT_COLUMNS)
    content = row[:size]
    if content_crc(content) != row[size]:
        raise ValueError("the checksum of its entry does not fit")
    return content


def metadata_text(metadata: Mapping[str, str]) -> str:
    """Return metadata as it is stored. Keys sorted: equal metadata have equal text."""
    return msgspec.json.encode(dict(metadata), order="deterministic").decode()


def _is_plain(text: str) -> bool:
    return _ESCAPE not in text and text.isprintable()


def printable(text: str) -> str:
    """Return a text of a gallery from elsewhere, with control characters escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def tags_text(tags: Iterable[str]) -> str:
    """Return tags as they are stored: sorted, each once."""
    return msgspec.json.encode(sorted(set(tags))).decode()


def tags_of(text: str) -> tuple[str, ...]:
    """Return tags from their stored text."""
    tags = _TAGS.decode(text)
    return tags if _is_plain(text) else tuple(map(printable, tags))


def _packed(values: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(values, _FLOAT).tobytes()


@lru_cache(maxsize=16)
def _sides(grid: str) -> tuple[int, ...]:
    return tuple(int(side) for side in grid.split("x"))


def _unpacked(data: bytes) -> NDArray[np.float32]:
    values = np.frombuffer(data, _FLOAT)
    return values if _FLOAT.isnative else values.astype(np.float32)
