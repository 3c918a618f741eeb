"""Records of an index and the SQL statements on its tables.

A row of vectors holds the global vector, then the cells as one long vector. Near-duplicates are
found by small grey thumbnails and coarse colours, kept one after the other in the column `look`.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import measure, squash
from edge_sim.core.ranking import Rows
from edge_sim.core.sqlite import kept_path, transaction
from edge_sim.core.types import BgrImage, Embedding, FloatMatrix, FloatVector, GrayImage
from edge_sim.errors import SearchError
from edge_sim.gallery.head import unit_cells
from edge_sim.search import attributes, regions
from edge_sim.search.colours import COLOUR_BYTES, SIDE, Colours
from edge_sim.search.entries import EntryTable
from edge_sim.search.frames import KEY_FRAMES

INDEX_THUMBNAIL_PX = 48
"""Side of the grey thumbnails that near-duplicates are found by, pixels."""
_GREY_BYTES = INDEX_THUMBNAIL_PX * INDEX_THUMBNAIL_PX
IMPORTED = "imported"
"""Spec of the model of an index of imported vectors, which no embedder has."""


class VectorScale(str, Enum):
    """Part of an embedding that is compared."""

    GLOBAL = "global"
    """Content: the global vector."""
    SPATIAL = "spatial"
    """Content by place: the cells of the picture, one by one."""
    BOTH = "both"
    """The mean of the two cosines."""


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """Settings of a new index.

    Args:
        root: Folder of the pictures.
        model_id: Model of the embedder.
        model: Spec that opens the same embedder again: `default`, `thumbnail` or a path; `imported`
            for vectors without a model.
        scale: Part of the embeddings that is kept; `both` can be searched in all three ways.
        kind: Key of `edge_sim.search.indexes.KINDS`, or `auto`: chosen by size.
        cuts_bars: Whether pictures are embedded without their bars; see `edge_sim.search.bars`.
        frames: Frames of videos that are taken, see `frames.checked_sampling`; empty takes key
            frames in a new index, and those of before in another.
        regions: Whether regions of the pictures are kept, see `edge_sim.search.regions`; None takes
            none in a new index, and does as before in another.
    """

    root: Path
    model_id: str
    model: str = "default"
    scale: VectorScale = VectorScale.GLOBAL
    kind: str = "auto"
    cuts_bars: bool = True
    frames: str = ""
    regions: bool | None = None

    @property
    def is_imported(self) -> bool:
        """True if the index holds imported vectors, and no pictures."""
        return self.model == IMPORTED


@dataclass(frozen=True, slots=True)
class Unread:
    """File that cannot be searched, with the reason. The path is relative to the root."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class PictureTable:
    """Pictures and their vectors, row by row.

    Args:
        entries: (N) pictures in order of their rows.
        vectors: (N, D + S) float32: a unit vector of D numbers, then one of S for the cells.
        dimension: D.
        kind: Kind of index to open over them.
        graph: File that the kind has beside the vectors; None where there is none.
    """

    entries: EntryTable
    vectors: Rows
    dimension: int
    kind: str
    graph: Path | None = None


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """Update that is running, or that was stopped before its end.

    Args:
        done: Number of files that are in the index, or of rows that are in its graph.
        total: Number of files to read, or of rows.
        is_running: Whether a process is at work on it.
        verb: Verb of `edge-sim index` that goes on with it.
        stage: `GRAPH` while the file of the kind of index is made; empty before.
    """

    done: int
    total: int
    is_running: bool
    verb: str = "build"
    stage: str = ""

    def __str__(self) -> str:
        share = f"{100 * self.done // max(1, self.total)} %, {self.done} of {self.total} files"
        if self.stage == GRAPH:
            share = share.removesuffix("files") + "rows in the graph"
        if self.is_running:
            return f"being built by another process: {share}"
        return f"stopped at {share}; `edge-sim index {self.verb}` goes on"


@dataclass(frozen=True, slots=True)
class Info:
    """Content of `edge-sim index info`."""

    path: Path
    root: Path
    model_id: str
    model: str
    scale: VectorScale
    dimension: int
    spatial_dimension: int
    pictures: int
    unread: int
    kind: str
    reason: str
    bytes_on_disk: int
    ready: bool
    tags: Mapping[str, int] = field(default_factory=dict)
    left_out: int = 0
    update: BuildProgress | None = None
    regions: bool = False


def index_thumbnail(pixels: BgrImage) -> NDArray[np.uint8]:
    """Return the (48, 48) uint8 thumbnail of a picture, as an index keeps it."""
    return shrunk_thumbnail(measure(pixels)[0])


def shrunk_thumbnail(thumbnail: GrayImage) -> NDArray[np.uint8]:
    """Return the (48, 48) thumbnail of a picture from its (96, 96) one."""
    return squash(thumbnail, INDEX_THUMBNAIL_PX)


CALIBRATION = "calibration"
"""Name of the setting that holds the threshold of near-duplicates."""
MERGED = "merged"
"""Name of the setting that holds the merged shards."""
LEFT_OUT = "left out by hand"
VIDEO = "video: "
"""Beginning of the fault of a video, which is no fault: its frames are rows of their own."""
_LAST_CONTENT = "last_content"
"""Name of the setting that holds the greatest number a content ever had."""


@dataclass(frozen=True, slots=True)
class Known:
    """Entry of a path in the index.

    Args:
        path: Path relative to the root.
        size: Size of the file, bytes.
        mtime_ns: Time of the last change of the file, nanoseconds since 1970.
        content: Number of the content; None if it could not be read.
        fault: Reason why it could not be read; None if it could.
    """

    path: Path
    size: int
    mtime_ns: int
    content: int | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedFile:
    """Embedded picture with new content.

    Args:
        known: Entry of its path; `content` is None yet.
        sha256: SHA-256 of the file.
        shape: (width, height), pixels.
        sharpness: Sharpness, as in `Quality`.
        contrast: Contrast, as in `Quality`.
        thumbnail: (48, 48) uint8 grey.
        vector: Result of `one_vector`.
        dimension: Length of the global part of `vector`.
        colours: Result of `colours.colour_cells`.
        exif: Time and camera, see `core.exif`.
        regions: Result of `regions.region_vectors`; None where none are kept.
    """

    known: Known
    sha256: bytes
    shape: tuple[int, int]
    sharpness: float
    contrast: float
    thumbnail: GrayImage
    vector: FloatVector
    dimension: int
    colours: Colours
    exif: Mapping[str, str] = field(default_factory=dict)
    regions: NDArray[np.float16] | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of files that were read, that were not, and that were left out by hand."""

    pictures: int
    unread: int
    left_out: int


def settings(connection: sqlite3.Connection) -> dict[str, str]:
    """Return all settings."""
    return dict(connection.execute("SELECT name, value FROM settings"))


def is_imported(connection: sqlite3.Connection) -> bool:
    """Return whether an index holds imported vectors."""
    return bytes.fromhex(settings(connection).get("model", "")) == IMPORTED.encode()


def set_text(connection: sqlite3.Connection, name: str, text: str) -> None:
    """Write a setting, such as `CALIBRATION` or `MERGED`."""
    connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, text))


FRAMES = "frames"
"""Name of the setting that says which frames of videos are taken."""
REGIONS = "regions"
"""Name of the setting that says whether regions are kept: `yes` or `no`."""
_PROGRESS = "progress"
GRAPH = "graph"
"""Stage of an update in which the file of the kind of index is made from the rows."""


def set_progress(connection: sqlite3.Connection, done: int, total: int, stage: str = "") -> None:
    """Write how far an update, or a stage of it, is; equal numbers are its end."""
    if done >= total:
        end_progress(connection)
        return
    set_text(connection, _PROGRESS, f"{done}/{total}/{stage}")


def end_progress(connection: sqlite3.Connection) -> None:
    """Write that no update is under way."""
    connection.execute("DELETE FROM settings WHERE name = ?", (_PROGRESS,))


def progress(connection: sqlite3.Connection) -> tuple[int, int, str] | None:
    """Return how much of an update is done, of how much, and its stage; None at its end."""
    done, total, stage = [*settings(connection).get(_PROGRESS, "").split("/"), "", ""][:3]
    return (int(done), int(total), stage) if done.isdecimal() and total.isdecimal() else None


def settle(connection: sqlite3.Connection, plan: IndexPlan) -> None:
    """Write the settings of a new index."""
    values = {
        # Paths are bytes; hexadecimal keeps those that are no text.
        "root": os.fsencode(plan.root).hex(),
        "model": os.fsencode(plan.model).hex(),
        "model_id": plan.model_id,
        "scale": plan.scale.value,
        "kind": plan.kind,
        FRAMES: plan.frames or KEY_FRAMES,
        REGIONS: "yes" if plan.regions else "no",
    }
    if plan.regions:
        regions.create(connection)
    connection.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", values.items())


def set_regions(connection: sqlite3.Connection, *, kept: bool) -> None:
    """Write whether regions are kept; those that are there go if they are not."""
    set_text(connection, REGIONS, "yes" if kept else "no")
    (regions.create if kept else regions.drop)(connection)


def set_kind(connection: sqlite3.Connection, kind: str) -> None:
    """Write the kind of index that a search opens."""
    connection.execute("UPDATE settings SET value = ? WHERE name = 'kind'", (kind,))


def counts(connection: sqlite3.Connection) -> Counts:
    """Return the numbers of files."""
    read, every, left_out, videos = connection.execute(
        "SELECT count(content), count(*), count(nullif(fault = ?, 0)), "
        "count(nullif(substr(fault, 1, ?) = ?, 0)) FROM files",
        (LEFT_OUT, len(VIDEO), VIDEO),
    ).fetchone()
    return Counts(read, every - read - left_out - videos, left_out)


def unread(connection: sqlite3.Connection) -> Iterator[Unread]:
    """Yield the files that cannot be searched, less those that were left out by hand."""
    found = connection.execute(
        "SELECT path, fault FROM files WHERE content IS NULL AND fault != ? "
        "AND substr(fault, 1, ?) != ? ORDER BY path",
        (LEFT_OUT, len(VIDEO), VIDEO),
    )
    for path, fault in found:
        yield Unread(kept_path(path), str(fault))


def vectors(connection: sqlite3.Connection) -> Iterator[FloatVector]:
    """Yield the vector of each picture, in order of their rows."""
    found = connection.execute(
        "SELECT vector FROM files JOIN contents ON contents.id = content ORDER BY files.id"
    )
    for (blob,) in found:
        yield np.frombuffer(blob, np.dtype("<f4"))


def vectors_after(connection: sqlite3.Connection, number: int) -> Iterator[tuple[int, FloatVector]]:
    """Yield number and vector of the contents with greater numbers, ascending."""
    found = connection.execute(
        "SELECT id, vector FROM contents WHERE id > ? ORDER BY id", (number,)
    )
    for content, blob in found:
        yield content, np.frombuffer(blob, np.dtype("<f4"))


def vector_of(connection: sqlite3.Connection, content: int) -> FloatVector:
    """Return the vector of a content."""
    found = connection.execute("SELECT vector FROM contents WHERE id = ?", (content,))
    return np.frombuffer(found.fetchone()[0], np.dtype("<f4"))


def content_numbers(connection: sqlite3.Connection) -> NDArray[np.int64]:
    """Return the numbers of all contents, ascending; a number is given once and never again."""
    found = connection.execute("SELECT id FROM contents ORDER BY id")
    return np.fromiter((number for (number,) in found), np.int64)


def keep_derived(connection: sqlite3.Connection, text: str, last: int) -> None:
    """Write the entry of the files made from the contents, of which `last` was the last."""
    with transaction(connection, writes=True):
        connection.execute("INSERT OR REPLACE INTO settings VALUES ('derived', ?)", (text,))
        raise_last(connection, last)


def all_vectors(connection: sqlite3.Connection) -> FloatMatrix:
    """Return (N, D + S) float32, read from the database."""
    found = list(vectors(connection))
    width = int(settings(connection).get("width", 0))
    if any(vector.shape != (width,) for vector in found):
        raise SearchError("a vector in the index is damaged; run `edge-sim index verify`")
    return np.stack(found) if found else np.zeros((0, width), np.float32)


def small_pictures(connection: sqlite3.Connection) -> tuple[NDArray[np.uint8], Colours]:
    """Return (N, 48, 48) uint8 thumbnails and (N, 8, 8, 2) uint8 colours, in order of the rows."""
    found = [
        blob
        for (blob,) in connection.execute(
            "SELECT look FROM files JOIN contents ON contents.id = content ORDER BY files.id"
        )
    ]
    if any(len(blob) not in (_GREY_BYTES, _GREY_BYTES + COLOUR_BYTES) for blob in found):
        raise SearchError("a thumbnail in the index is damaged; run `edge-sim index verify`")
    grey = b"".join(blob[:_GREY_BYTES] for blob in found)
    # An index of edge_sim 0.1 has no colours.
    cells = b"".join(blob[_GREY_BYTES:].ljust(COLOUR_BYTES, b"\0") for blob in found)
    return (
        np.frombuffer(grey, np.uint8).reshape(-1, INDEX_THUMBNAIL_PX, INDEX_THUMBNAIL_PX),
        np.frombuffer(cells, np.uint8).reshape(-1, SIDE, SIDE, 2),
    )


def known(connection: sqlite3.Connection) -> dict[Path, Known]:
    """Return the entry of every path."""
    found = connection.execute("SELECT path, bytes, mtime_ns, content, fault FROM files")
    paths = ((kept_path(row[0]), row) for row in found)
    return {path: Known(path, int(row[1]), int(row[2]), *row[3:]) for path, row in paths}


def hashes(connection: sqlite3.Connection, only: Iterable[bytes] | None = None) -> dict[bytes, int]:
    """Return sha256 -> number of every content, or of those among `only`."""
    if only is None:
        return dict(connection.execute("SELECT sha256, id FROM contents"))
    found = (
        connection.execute("SELECT sha256, id FROM contents WHERE sha256 = ?", (one,)).fetchone()
        for one in only
    )
    return dict(row for row in found if row is not None)


def put(connection: sqlite3.Connection, item: EmbeddedFile | Known) -> int | None:
    """Write the entry of a path; return the number of its content."""
    if isinstance(item, EmbeddedFile):
        item = Known(item.known.path, item.known.size, item.known.mtime_ns, _add(connection, item))
    values = (os.fsencode(item.path), item.size, item.mtime_ns, item.content, item.fault)
    connection.execute(
        "INSERT INTO files (path, bytes, mtime_ns, content, fault) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (path) DO UPDATE SET bytes = excluded.bytes, mtime_ns = excluded.mtime_ns, "
        "content = excluded.content, fault = excluded.fault",
        values,
    )
    return item.content


def forget(connection: sqlite3.Connection, paths: Iterable[Path]) -> int:
    """Delete paths, and the contents that no other path has."""
    gone = 0
    contents: set[tuple[int | None]] = set()
    for path in paths:
        name = os.fsencode(path)
        contents.update(connection.execute("SELECT content FROM files WHERE path = ?", (name,)))
        gone += connection.execute("DELETE FROM files WHERE path = ?", (name,)).rowcount
    sweep(connection, (number for (number,) in contents))
    return gone


def leave_out(connection: sqlite3.Connection, paths: Iterable[Path]) -> int:
    """Keep paths in the list, without their contents."""
    done = 0
    contents: set[int | None] = set()
    for path in paths:
        number, content = _numbers(connection, path)
        connection.execute(
            "UPDATE files SET content = NULL, fault = ? WHERE id = ?", (LEFT_OUT, number)
        )
        contents.add(content)
        done += 1
    sweep(connection, contents)
    return done


def sweep(connection: sqlite3.Connection, contents: Iterable[int | None] | None) -> None:
    """Delete those of some contents, or of all, that no path has."""
    if contents is None:
        connection.execute(
            "DELETE FROM contents WHERE id IN (SELECT id FROM contents EXCEPT "
            "SELECT content FROM files WHERE content IS NOT NULL)"
        )
        regions.sweep(connection, None)
        return
    numbers = [number for number in contents if number is not None]
    connection.executemany(
        "DELETE FROM contents WHERE id = ? AND id NOT IN (SELECT content FROM files "
        "WHERE content = contents.id)",
        ((number,) for number in numbers),
    )
    regions.sweep(connection, numbers)


def problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield the faults of the database."""
    for (words,) in connection.execute("PRAGMA integrity_check"):
        if words != "ok":
            yield f"database: {words}"
    width = int(settings(connection).get("width", 0))
    found = connection.execute(
        "SELECT path, vector, look, crc FROM files JOIN contents ON contents.id = content"
    )
    for path, blob, small, crc in found:
        is_whole = isinstance(blob, bytes) and isinstance(small, bytes)
        if not is_whole or len(blob) != 4 * width or zlib.crc32(small, zlib.crc32(blob)) != crc:
            yield f"{os.fsdecode(path)!r}: its vector or thumbnail is damaged"


def _add(connection: sqlite3.Connection, item: EmbeddedFile) -> int:
    blob = item.vector.astype("<f4").tobytes()
    small = item.thumbnail.tobytes() + item.colours.tobytes()
    connection.executemany(
        "INSERT OR IGNORE INTO settings VALUES (?, ?)",
        [("dimension", str(item.dimension)), ("width", str(item.vector.size))],
    )
    values = (
        next_number(connection),
        item.sha256,
        *item.shape,
        item.sharpness,
        item.contrast,
        zlib.crc32(small, zlib.crc32(blob)),
        blob,
        small,
    )
    connection.execute(
        "INSERT OR IGNORE INTO contents "
        "(id, sha256, width, height, sharpness, contrast, crc, vector, look) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    attributes.put_attributes(connection, [(item.sha256, item.exif)], origin=attributes.EXIF)
    found = connection.execute("SELECT id FROM contents WHERE sha256 = ?", (item.sha256,))
    number = int(found.fetchone()[0])
    if item.regions is not None:
        regions.put(connection, number, item.regions)
    return number


def next_number(connection: sqlite3.Connection) -> int:
    """Return a number that no content has or had: files made from contents name them by it."""
    found = connection.execute(
        "SELECT max(coalesce((SELECT CAST(value AS INTEGER) FROM settings WHERE name = ?), 0), "
        "coalesce((SELECT max(id) FROM contents), 0))",
        (_LAST_CONTENT,),
    )
    number = int(found.fetchone()[0]) + 1
    raise_last(connection, number)
    return number


def raise_last(connection: sqlite3.Connection, number: int) -> None:
    connection.execute(
        "INSERT INTO settings VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE "
        "SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))",
        (_LAST_CONTENT, str(number)),
    )


def _numbers(connection: sqlite3.Connection, path: Path) -> tuple[int, int]:
    """Return the numbers of a file and of its content."""
    found = connection.execute(
        "SELECT id, content FROM files WHERE path = ? AND content IS NOT NULL", (os.fsencode(path),)
    ).fetchone()
    if found is None:
        raise SearchError(f"{str(path)!r} is not in the index")
    return int(found[0]), int(found[1])


def one_vector(embedding: Embedding, scale: VectorScale) -> FloatVector:
    """Return the row that an index of this scale keeps of an embedding.

    Cells are brought to unit length one by one, so that a bright corner counts no more than a dark
    one; their concatenation has unit length again, so its cosine is the mean of the cells' cosines.

    Raises:
        SearchError: The scale needs cells, and the model has none.
    """
    if scale is VectorScale.GLOBAL:
        return embedding.vector
    if embedding.spatial is None:
        raise SearchError(
            f"the model {embedding.model_id} has no spatial output; take --scale global"
        )
    return np.concatenate([embedding.vector, unit_cells(embedding.spatial)])


def part_of(rows: Rows, dimension: int, scale: VectorScale) -> Rows:
    """Return the columns of (N, D + S) rows that a scale compares.

    For both, the two unit vectors side by side, divided by the root of 2: of unit length again,
    and their product with another such vector is the mean of the two cosines.

    Raises:
        SearchError: The index does not keep the cells.
    """
    whole = rows.shape[-1]
    if scale is VectorScale.GLOBAL:
        return rows[..., :dimension]
    if whole == dimension:
        raise SearchError("the index keeps no cells; build it with --scale both")
    if scale is VectorScale.SPATIAL:
        return rows[..., dimension:]
    return np.asarray(rows, np.float32) * np.float32(0.5**0.5)
