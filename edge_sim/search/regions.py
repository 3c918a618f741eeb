"""Regions of pictures in an index: a part of a picture finds it as a whole does.

Sixteen overlapping regions of 0.4 of the sides, embedded like the picture. A crop of 0.4 of the
sides, anywhere, finds its source first in 0.94 among the 1,000 photos of Corel-1k and in 0.73 among
2,485 of Grocery Store, and without regions in 0.22 and 0.03 (`python tools/measure_regions.py`, 300
crops each). Nine regions of 0.45 gave 0.84 and 0.63 of other crops, where sixteen gave 0.89 and
0.73. A picture costs 6.2 ms of processor time instead of 1.3 (photos of 192 pixels, whose decoding
is nothing) and 10 kB more.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.protocols import Embedder, Index
from edge_sim.core.ranking import RowMask
from edge_sim.core.types import BgrImage
from edge_sim.errors import SearchError
from edge_sim.search.exact import ExactIndex, Int8Index, installed_multiplier

SIDE = 0.4
_STARTS = (0.0, 0.2, 0.4, 0.6)
BOXES = tuple((x, y, SIDE, SIDE) for y in _STARTS for x in _STARTS)
"""Regions as (x, y, width, height) in fractions of the picture without its bars."""
SCHEMA = """
CREATE TABLE regions (
    content INTEGER PRIMARY KEY,
    vectors BLOB NOT NULL
);
"""
_LEAST_PX = 4


@dataclass(frozen=True, slots=True, eq=False)
class RegionRows:
    """Regions of the pictures of a collection.

    Args:
        vectors: (16 C, D) float16 rows of unit length, those of one content after the other.
        slots: (N,) place of the content of each picture among the C; -1 for one without regions.
    """

    vectors: NDArray[np.float16]
    slots: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class RegionMatches:
    """Best region of each picture that was found.

    Args:
        rows: (M,) rows of pictures, ascending.
        cosines: (M,) float64 cosine of the best region.
        boxes: (M,) number of that region in `BOXES`.
    """

    rows: NDArray[np.intp]
    cosines: NDArray[np.float64]
    boxes: NDArray[np.intp]


def reading_px(enough_px: int, *, regions: bool) -> int:
    """Return the side at which pictures are read, pixels, so that a region is sharp enough, too."""
    return math.ceil(enough_px / SIDE) if regions else enough_px


def region_vectors(pixels: BgrImage, embedder: Embedder) -> NDArray[np.float16]:
    """Return (16, D) vectors of the regions of a picture.

    Args:
        pixels: The picture, without bars where those are cut off.
        embedder: Model of the index.

    Raises:
        ModelError: The model cannot embed it.
    """
    found = [embedder.embed(_cut(pixels, box)).vector for box in BOXES]
    return np.stack(found).astype(np.float16)


def _cut(pixels: BgrImage, box: tuple[float, float, float, float]) -> BgrImage:
    height, width = pixels.shape[:2]
    if min(height, width) * SIDE < _LEAST_PX:
        return np.ascontiguousarray(pixels)
    x, y, wide, high = box
    rows = slice(round(y * height), round((y + high) * height))
    columns = slice(round(x * width), round((x + wide) * width))
    return np.ascontiguousarray(pixels[rows, columns])


class RegionSearch:
    """Exact search of regions, grouped by picture.

    Args:
        regions: The regions.
    """

    def __init__(self, regions: RegionRows) -> None:
        self._regions = regions
        multiplier = installed_multiplier()
        rows = regions.vectors
        self._index: Index = (
            ExactIndex(rows, unit=True)
            if multiplier is None
            else Int8Index(rows, multiplier=multiplier)
        )
        self._order = np.argsort(regions.slots, kind="stable")
        self._sorted = regions.slots[self._order]

    def search(
        self, vector: NDArray[np.float32], k: int, among: RowMask | None = None
    ) -> RegionMatches:
        """Return the pictures whose best region is among the best, at least k if there are so many.

        Args:
            vector: Query of unit length.
            k: Number of pictures, at least 1.
            among: Pictures that may be found; None for all.
        """
        size = len(BOXES)
        passing: RowMask | None = None
        if among is not None:
            live = np.zeros(len(self._regions.vectors) // size, np.bool_)
            slots = self._regions.slots[among]
            live[slots[slots >= 0]] = True
            passing = np.repeat(live, size)
            if not live.any():
                return _NO_MATCHES
        if not len(self._regions.vectors):
            return _NO_MATCHES
        # A picture has so many regions, so these hold those of k pictures.
        found = self._index.search(vector, min(size * k, len(self._index)), among=passing)
        slots, first = np.unique(found.rows // size, return_index=True)
        low = np.searchsorted(self._sorted, slots, "left")
        counts = np.searchsorted(self._sorted, slots, "right") - low
        at = np.repeat(low, counts) + _within(counts)
        rows = self._order[at]
        cosines = np.repeat(found.scores[first].astype(np.float64), counts)
        boxes = np.repeat(found.rows[first] % size, counts)
        keep = np.argsort(rows, kind="stable")
        if among is not None:
            keep = keep[among[rows[keep]]]
        return RegionMatches(rows[keep], cosines[keep], boxes[keep])


_NO_MATCHES = RegionMatches(np.zeros(0, np.intp), np.zeros(0, np.float64), np.zeros(0, np.intp))


def _within(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return 0 to count - 1 for each count, one after the other."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


def create(connection: sqlite3.Connection) -> None:
    """Make the table where it is missing."""
    connection.execute(SCHEMA.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))


def drop(connection: sqlite3.Connection) -> None:
    """Delete all regions."""
    connection.execute("DROP TABLE IF EXISTS regions")


def put(connection: sqlite3.Connection, content: int, vectors: NDArray[np.float16]) -> None:
    """Write the regions of a content."""
    connection.execute(
        "INSERT OR REPLACE INTO regions VALUES (?, ?)", (content, vectors.astype("<f2").tobytes())
    )


def without(connection: sqlite3.Connection) -> set[int]:
    """Return the numbers of the contents that have no regions."""
    found = connection.execute("SELECT id FROM contents EXCEPT SELECT content FROM regions")
    return {number for (number,) in found}


def sweep(connection: sqlite3.Connection, contents: Iterable[int] | None) -> None:
    """Delete the regions of contents that are gone, of some or of all."""
    if connection.execute(_HAS_TABLE).fetchone() is None:
        return
    if contents is None:
        connection.execute("DELETE FROM regions WHERE content NOT IN (SELECT id FROM contents)")
        return
    connection.executemany(
        "DELETE FROM regions WHERE content = ? AND content NOT IN "
        "(SELECT id FROM contents WHERE id = regions.content)",
        ((number,) for number in contents),
    )


_HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'regions'"


def load(
    connection: sqlite3.Connection, contents: NDArray[np.int64], dimension: int
) -> RegionRows | None:
    """Return the regions of the pictures of an index; None if it has none.

    Args:
        connection: Database of the index.
        contents: (N,) number of the content of each picture.
        dimension: D.

    Raises:
        SearchError: They are damaged.
    """
    if connection.execute(_HAS_TABLE).fetchone() is None:
        return None
    wanted = np.unique(contents)
    vectors = np.zeros((len(wanted), len(BOXES) * dimension), np.float16)
    present = np.zeros(len(wanted), np.bool_)
    for number, blob in connection.execute("SELECT content, vectors FROM regions"):
        slot = int(np.searchsorted(wanted, number))
        if slot == len(wanted) or wanted[slot] != number:
            continue
        row = np.frombuffer(blob, "<f2")
        if row.size != vectors.shape[1] or not np.isfinite(row).all():
            raise SearchError("the regions in the index are damaged; build it anew")
        vectors[slot], present[slot] = row, True
    slots = np.cumsum(present) - 1
    slots[~present] = -1
    return RegionRows(
        vectors[present].reshape(-1, dimension), slots[np.searchsorted(wanted, contents)]
    )
