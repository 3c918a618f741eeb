"""Shapes of a drawing, before it is SVG, with named colours, scales and ticks.

A drawing is laid out once, in logical pixels with the origin at the top left. Colours are names of
this module, so that one drawing serves light mode, dark mode and paper.

States take Okabe and Ito's colours (2008), chosen to stay apart under the common colour-vision
deficiencies, in an order that puts the most different first; their yellow is left out because it
cannot be read on white. On dark surfaces the same hues are lighter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from edge_sim.core.types import UNKNOWN

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

TEXT_PX = 12.0
"""Size of ordinary text in a drawing."""
GLYPH_WIDTH = 0.61
"""Mean width of a character over the size of the text, for fitting: that of DejaVu Sans, the
widest of the usual sans-serif fonts. Bold is wider by `BOLD_WIDTH`."""
BOLD_WIDTH = 1.1


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle. `hatched` adds diagonal stripes of the same colour; `radius` rounds the corners.

    `tip` is the tooltip; `href` a link target inside the same document.
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
    colour: str
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
    colour: str = "ink"
    size: float = TEXT_PX
    anchor: Anchor = "start"
    bold: bool = False


Item: TypeAlias = Rect | Polyline | Text


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """Items in painting order on a sheet of the given size."""

    width: float
    height: float
    items: tuple[Item, ...]


def line(
    start: Point, end: Point, colour: str, *, width: float = 1.0, opacity: float = 1.0
) -> Polyline:
    """Return a straight line."""
    return Polyline((start, end), colour, width, opacity)


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


def _moved(item: Item, dx: float, dy: float) -> Item:
    if isinstance(item, Polyline):
        return replace(item, points=tuple((x + dx, y + dy) for x, y in item.points))
    return replace(item, x=item.x + dx, y=item.y + dy)


_STATES = (
    # light, dark, text on light, text on dark
    ("#0072b2", "#4fa8e0", "#ffffff", "#101418"),
    ("#d55e00", "#f08c4a", "#101418", "#101418"),
    ("#009e73", "#35c49b", "#101418", "#101418"),
    ("#cc79a7", "#e3a0c6", "#101418", "#101418"),
    ("#e69f00", "#f2bd4b", "#101418", "#101418"),
    ("#56b4e9", "#9fd6f5", "#101418", "#101418"),
    ("#7a5c3e", "#b8977a", "#ffffff", "#101418"),
    ("#5b5bb0", "#9d9de6", "#ffffff", "#101418"),
)

_FIXED: Mapping[str, tuple[str, str]] = {
    "page": ("#ffffff", "#14181d"),
    "panel": ("#f5f7f9", "#1c2229"),
    "ink": ("#17202a", "#e6eaee"),
    "muted": ("#5a6672", "#9aa5b1"),
    "grid": ("#dde3e8", "#2c353f"),
    "axis": ("#9aa5b1", "#4d5966"),
    "unknown": ("#6b7580", "#8b96a1"),
    "on_unknown": ("#ffffff", "#101418"),
    "unknown_back": ("#e6eaee", "#2a323b"),
    "wrong": ("#b00020", "#ff6b81"),
    "luma": ("#7b8691", "#9aa5b1"),
    "day": ("#f6dc8a", "#7d682a"),
    "dusk": ("#c9a7c7", "#6f5170"),
    "ir": ("#b9c2cb", "#59636e"),
    "dark": ("#4a5560", "#333c46"),
    "on_day": ("#17202a", "#e6eaee"),
    "on_dusk": ("#17202a", "#e6eaee"),
    "on_ir": ("#17202a", "#e6eaee"),
    "on_dark": ("#ffffff", "#e6eaee"),
}

COLOURS: Mapping[str, tuple[str, str]] = {
    **_FIXED,
    **{f"state{i}": (light, dark) for i, (light, dark, _, _) in enumerate(_STATES)},
    **{f"on_state{i}": (light, dark) for i, (_, _, light, dark) in enumerate(_STATES)},
}
"""Name -> (hex colour on light, hex colour on dark)."""


def colours_of(states: Iterable[str]) -> dict[str, str]:
    """Return the colour of every state, in the order given; the palette repeats after eight.

    `unknown` is always grey.
    """
    names = [state for state in states if state != UNKNOWN]
    colours = {state: f"state{i % len(_STATES)}" for i, state in enumerate(names)}
    return {**colours, UNKNOWN: "unknown"}


def bgr_of(colour: str) -> tuple[int, int, int]:
    """Return the colour on light surfaces as (blue, green, red), 0 to 255."""
    code = COLOURS[colour][0]
    red, green, blue = (int(code[i : i + 2], 16) for i in (1, 3, 5))
    return blue, green, red


_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0
_STEPS_S = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(n * _MINUTE_S for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR_S for n in (1, 2, 3, 6, 12)),
    *(n * _DAY_S for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)


@dataclass(frozen=True, slots=True)
class AxisScale:
    """A straight map from values `low..high` to pixels `start..end`; `low < high`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of `value`, held inside the scale."""
        part = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, part)) * (self.end - self.start)


@dataclass(frozen=True, slots=True)
class Tick:
    """A value to mark and the words beside it."""

    value: float
    label: str


def time_ticks(span_s: float, most: int) -> tuple[Tick, ...]:
    """Return ticks from 0 to `span_s`, at most `most` (2 or more) and round in s, min, h or d."""
    years = math.ceil(span_s / _STEPS_S[-1] / (most - 1)) * _STEPS_S[-1]
    step = next((s for s in _STEPS_S if span_s / s <= most - 1), years)
    unit_s, unit = next(
        (
            (size, name)
            for size, name in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min"))
            if step >= size
        ),
        (1.0, "s"),
    )
    count = int(span_s / step + 1e-9) + 1
    digits = max(0, -math.floor(math.log10(step))) if step < 1 else 0
    return tuple(
        Tick(i * step, f"{i * step / unit_s:.{digits}f} {unit}" if i else "0") for i in range(count)
    )


def score_ticks(low: float) -> tuple[Tick, ...]:
    """Return ticks from `low` to 1, about five, at tenths or finer."""
    step = 0.2 if low < 0.35 else 0.1 if low < 0.75 else 0.05
    first = math.ceil(low / step - 1e-9)
    last = round(1.0 / step)
    return tuple(Tick(i * step, f"{i * step:.2g}") for i in range(first, last + 1))


def duration_text(seconds: float) -> str:
    """Return a length of time for people: `0.25 s`, `12.5 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds == 0:
        return "0 s"
    if seconds < _MINUTE_S - 0.05:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / _MINUTE_S)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / _HOUR_S)
    return f"{hours // 24} d {hours % 24:02d} h"
