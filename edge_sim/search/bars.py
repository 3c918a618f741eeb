"""Bars of one colour around a picture, as letterboxing leaves them, cut off before it is embedded.

A letterboxed copy is squashed with its bars otherwise, and its content takes another place and
other proportions: of 400 photos (corel) with bars to 9:16, 19 % were found first by their copies,
and all of them without the bars.
"""

from __future__ import annotations

import sqlite3

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.protocols import Embedder
from edge_sim.core.types import BgrImage, Embedding
from edge_sim.search import rows

TOLERANCE = 12
"""Largest difference of one channel from the colour of a bar: JPEG leaves ripples in it."""
MOST = 0.45
"""Largest part of a side that one bar may take."""
_LEAST_PX = 16
_SETTING, _CUT, _WHOLE = "bars", "cut", "whole"
"""Setting of an index that says what is done with bars, and its values."""


def embedding_of(pixels: BgrImage, embedder: Embedder, *, cut_bars: bool) -> Embedding:
    """Return the embedding of a picture for a search.

    Args:
        pixels: The picture.
        embedder: Model of the pictures that are searched.
        cut_bars: Whether bars are cut off first. A query and what is searched must be treated
            alike: the rest of a letterboxed picture is unlike the whole.

    Raises:
        ModelError: The model cannot embed it.
    """
    shown = without_bars(pixels) if cut_bars else pixels
    return embedder.embed(np.ascontiguousarray(shown))


def are_cut(connection: sqlite3.Connection) -> bool:
    """Return whether the pictures of an index were embedded without their bars.

    Older indexes do not record it. Those of edge_sim 0.1, whose first content has no colours, hold
    whole pictures.
    """
    kept = rows.settings(connection).get(_SETTING)
    if kept is not None:
        return {_CUT: True, _WHOLE: False}[kept]
    first = connection.execute("SELECT length(look) FROM contents ORDER BY id LIMIT 1").fetchone()
    return first is None or int(first[0]) > rows.INDEX_THUMBNAIL_PX**2


def record(connection: sqlite3.Connection, *, cut: bool) -> None:
    """Write in an index whether bars are cut off."""
    rows.set_text(connection, _SETTING, _CUT if cut else _WHOLE)


def without_bars(pixels: BgrImage) -> BgrImage:
    """Return a picture without bars of one colour on two opposite sides; a view of it if there are.

    Bars come in pairs of one colour: a picture whose object stands before a plain wall at one side
    is left as it is, and so is one that would have fewer than 16 pixels.
    """
    height, width = pixels.shape[:2]
    top, bottom = _pair(pixels)
    left, right = _pair(pixels.transpose(1, 0, 2))
    if height - top - bottom < _LEAST_PX or width - left - right < _LEAST_PX:
        return pixels
    return pixels[top : height - bottom, left : width - right]


def _pair(lines: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the number of lines in the bars at the start and at the end of (N, L, 3)."""
    first, last = _colour(lines[0]), _colour(lines[-1])
    if np.abs(first - last).max() > TOLERANCE:
        return 0, 0
    start = _run(lines, first)
    end = _run(lines[::-1], last) if start else 0
    most = int(MOST * len(lines))
    return (min(start, most), min(end, most)) if start and end else (0, 0)


def _colour(line: NDArray[np.uint8]) -> NDArray[np.float64]:
    colour: NDArray[np.float64] = np.median(line, axis=0)
    return colour


def _run(lines: NDArray[np.uint8], colour: NDArray[np.float64]) -> int:
    """Return the number of lines at the start that show nothing but a colour."""
    low = np.clip(colour - TOLERANCE, 0, 255).astype(np.uint8)
    high = np.clip(colour + TOLERANCE, 0, 255).astype(np.uint8)
    for number, line in enumerate(lines):
        if ((line < low) | (line > high)).any():
            return number
    return len(lines)
