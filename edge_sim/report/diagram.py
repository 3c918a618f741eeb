"""Small diagrams with two axes: curves, steps and bars side by side on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from edge_sim.errors import DataError
from edge_sim.files import is_dir
from edge_sim.report import raster, svg
from edge_sim.report.axis import AxisScale
from edge_sim.report.drawing import (
    Anchor,
    Drawing,
    Item,
    Point,
    Polyline,
    Rect,
    Text,
    fitted,
    line,
    moved,
    text_width,
)

WIDTH_PX, HEIGHT_PX = 360.0, 270.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 14.0, 44.0, 38.0
_SMALL = 11.0
_MARGIN_PX = 14.0
_SHARPNESS = 2.0  # pixels of the picture per pixel of the drawing


@dataclass(frozen=True, slots=True)
class Series:
    """Points joined by a line, or bars.

    Args:
        name: In the legend; empty for none.
        points: (x, y) in the units of the axes; for bars the middle of each.
        ink: Of the palette.
        bar: Width of a bar in units of x; 0 draws a line.
        dashed: Of a line.
    """

    name: str
    points: tuple[Point, ...]
    ink: str
    bar: float = 0.0
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A label, and the values from low to high; ticks at equal steps. `low < high`."""

    label: str
    low: float = 0.0
    high: float = 1.0
    ticks: int = 5
    digits: int = 1


@dataclass(frozen=True, slots=True)
class Diagram:
    """A panel: series over two axes; `marks` are values of x with a vertical line."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    marks: tuple[tuple[float, str], ...] = ()


def sheet(diagrams: Sequence[Diagram], *, columns: int = 3, title: str = "") -> Drawing:
    """Return the diagrams in rows below a title."""
    top = 30.0 if title else 0.0
    items: list[Item] = [Text(_MARGIN_PX, _MARGIN_PX + 12, title, size=15, bold=True)] * bool(title)
    for place, diagram in enumerate(diagrams):
        row, column = divmod(place, columns)
        x, y = _MARGIN_PX + column * WIDTH_PX, _MARGIN_PX + top + row * HEIGHT_PX
        items += moved(panel(diagram).items, x, y)
    rows = -(-len(diagrams) // columns)
    width = WIDTH_PX * max(1, min(columns, len(diagrams))) + 2 * _MARGIN_PX
    return Drawing(width, top + HEIGHT_PX * rows + 2 * _MARGIN_PX, tuple(items))


def panel(diagram: Diagram) -> Drawing:
    """Return one diagram, 360 x 270 pixels."""
    x = AxisScale(diagram.x.low, diagram.x.high, _LEFT, WIDTH_PX - _RIGHT)
    y = AxisScale(diagram.y.low, diagram.y.high, HEIGHT_PX - _BOTTOM, _TOP)
    back = Rect(_LEFT, _TOP, x.end - x.start, y.start - y.end, "panel")
    items: list[Item] = [back, *_grid(diagram, x, y)]
    for series in diagram.series:
        items += _bars(series, x, y) if series.bar else _line(series, x, y)
    for value, label in diagram.marks:
        items.append(Polyline(((x(value), _TOP), (x(value), y.start)), "ink", dash=(4, 3)))
        side: Anchor = "end" if x(value) > WIDTH_PX / 2 else "start"
        shift = -4 if side == "end" else 4
        items.append(Text(x(value) + shift, _TOP + 12, label, size=_SMALL, anchor=side))
    items.append(Text(0, 14, fitted(diagram.title, WIDTH_PX - 10, 13), size=13, bold=True))
    return Drawing(WIDTH_PX, HEIGHT_PX, (*items, *_legend(diagram)))


def write_sheet(path: Path, drawing: Drawing) -> None:
    """Write a drawing as .png or as a page, .html.

    Raises:
        DataError: Another suffix, or the file cannot be written.
    """
    check_sheet(path)
    if path.suffix.lower() == ".png":
        content = cv2.imencode(".png", raster.render(drawing, _SHARPNESS))[1].tobytes()
    else:
        content = _document(drawing).encode()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise DataError(f"{path}: the plot cannot be written ({error.strerror})") from error


def check_sheet(path: Path) -> None:
    """Refuse a file that no plot can be written to; call it before long work.

    Raises:
        DataError: Neither .png nor .html, or in a folder that does not exist.
    """
    if path.suffix.lower() not in (".png", ".html"):
        raise DataError(f"{path}: a plot is written as .png or .html, so end its name in one")
    if not is_dir(path.parent):
        raise DataError(f"{path}: there is no folder {path.parent} to write the plot to; make it")


def _document(drawing: Drawing) -> str:
    shown = svg.render(drawing, label="diagrams")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>edge_sim</title>'
        f"<style>\n{svg.style_sheet()}\nbody{{background:var(--page);max-width:1200px;margin:auto}}"
        f"</style>\n</head>\n<body>\n{svg.shared_patterns()}\n{shown}\n</body>\n</html>\n"
    )


def _grid(diagram: Diagram, x: AxisScale, y: AxisScale) -> list[Item]:
    items: list[Item] = []
    for axis, scale in ((diagram.x, x), (diagram.y, y)):
        for step in range(axis.ticks + 1):
            value = axis.low + (axis.high - axis.low) * step / axis.ticks
            text, at = f"{value:.{axis.digits}f}", scale(value)
            if axis is diagram.x:
                items.append(line((at, y.end), (at, y.start), "grid"))
                items.append(Text(at, y.start + 15, text, "muted", _SMALL, "middle"))
            else:
                items.append(line((x.start, at), (x.end, at), "grid"))
                items.append(Text(x.start - 5, at + 4, text, "muted", _SMALL, "end"))
    middle = (x.start + x.end) / 2
    items.append(Text(middle, HEIGHT_PX - 8, diagram.x.label, "muted", _SMALL, "middle"))
    items.append(Text(0, _TOP - 8, diagram.y.label, "muted", _SMALL))
    return items


def _bars(series: Series, x: AxisScale, y: AxisScale) -> list[Item]:
    bars: list[Item] = []
    for middle, height in series.points:
        left, right = x(middle - series.bar / 2), x(middle + series.bar / 2)
        top = y(height)
        if right > left and y.start > top:
            bars.append(Rect(left, top, right - left, y.start - top, series.ink, opacity=0.55))
    return bars


def _line(series: Series, x: AxisScale, y: AxisScale) -> list[Item]:
    points = tuple((x(across), y(up)) for across, up in series.points)
    dash = (5.0, 4.0) if series.dashed else None
    return [Polyline(points, series.ink, width=2.0, dash=dash)]


def _legend(diagram: Diagram) -> list[Item]:
    items: list[Item] = []
    right = WIDTH_PX - _RIGHT
    for series in reversed([item for item in diagram.series if item.name]):
        wide = text_width(series.name, _SMALL)
        items.append(Text(right - wide, _TOP - 8, series.name, "ink", _SMALL))
        items.append(Rect(right - wide - 14, _TOP - 17, 10, 10, series.ink, radius=2))
        right -= wide + 24
    return items
