"""What a picture is made of, before it is SVG or pixels.

A drawing is laid out once, in logical pixels with the origin at the top left, and rendered by
`edge_sim.report.svg` or `edge_sim.report.raster`. Colours are names of `edge_sim.report.palette`,
so that one drawing serves light mode, dark mode and paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

TEXT_PX = 12.0
"""Size of ordinary text in a drawing."""
GLYPH_WIDTH = 0.61
"""Mean width of a character over the size of the text, for fitting: what DejaVu Sans takes, the
widest of the usual sans-serif fonts. Bold is wider by `BOLD_WIDTH`."""
BOLD_WIDTH = 1.1


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle. `hatched` adds diagonal stripes of the same ink; `radius` rounds the corners.

    `tip` is read out where the medium can (SVG); `href` leads somewhere inside the same document.
    """

    x: float
    y: float
    width: float
    height: float
    fill: str
    opacity: float = 1.0
    hatched: bool = False
    radius: float = 0.0
    tip: str | None = None
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Polyline:
    """A line through points; `dash` is (on, off) in pixels. With `closed`, a filled area."""

    points: tuple[Point, ...]
    ink: str
    width: float = 1.0
    opacity: float = 1.0
    dash: tuple[float, float] | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; (x, y) is on the base line."""

    x: float
    y: float
    text: str
    ink: str = "ink"
    size: float = TEXT_PX
    anchor: Anchor = "start"
    bold: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A picture: (H, W) or (H, W, 3) uint8, grey or BGR."""

    x: float
    y: float
    width: float
    height: float
    pixels: NDArray[np.uint8]
    label: str = ""


Item: TypeAlias = Rect | Polyline | Text | Image


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """Items in painting order on a sheet of the given size."""

    width: float
    height: float
    items: tuple[Item, ...]


def line(
    start: Point, end: Point, ink: str, *, width: float = 1.0, opacity: float = 1.0
) -> Polyline:
    """Return a straight line."""
    return Polyline((start, end), ink, width, opacity)


def text_width(text: str, size: float = TEXT_PX) -> float:
    """Return about how wide `text` is, in pixels."""
    return len(text) * size * GLYPH_WIDTH


def fitted(text: str, width: float, size: float = TEXT_PX) -> str:
    """Return `text` shortened with an ellipsis to `width` pixels; empty if nothing fits."""
    if text_width(text, size) <= width:
        return text
    room = int(width / (size * GLYPH_WIDTH)) - 1
    return text[:room].rstrip() + "…" if room >= 2 else ""


def moved(items: Iterable[Item], dx: float, dy: float) -> tuple[Item, ...]:
    """Return the items shifted by (dx, dy)."""
    return tuple(_moved(item, dx, dy) for item in items)


def stacked(drawings: Sequence[Drawing], gap: float = 0.0) -> Drawing:
    """Return one drawing with the others below each other, `gap` pixels apart."""
    items: list[Item] = []
    top = 0.0
    for drawing in drawings:
        items += moved(drawing.items, 0.0, top)
        top += drawing.height + gap
    width = max((drawing.width for drawing in drawings), default=0.0)
    return Drawing(width, max(0.0, top - gap), tuple(items))


def padded(drawing: Drawing, margin: float) -> Drawing:
    """Return the drawing with an empty margin on all sides."""
    width, height = drawing.width + 2 * margin, drawing.height + 2 * margin
    return Drawing(width, height, moved(drawing.items, margin, margin))


def _moved(item: Item, dx: float, dy: float) -> Item:
    if isinstance(item, Polyline):
        return replace(item, points=tuple((x + dx, y + dy) for x, y in item.points))
    return replace(item, x=item.x + dx, y=item.y + dy)
