"""The list of events: one bar per state against its levels, and rows for a drawn table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_sim.report.axis import AxisScale
from edge_sim.report.band_lanes import change_text, clock_text
from edge_sim.report.drawing import TEXT_PX, Drawing, Image, Item, Rect, Text, line, moved, stacked
from edge_sim.report.plot import Plot
from edge_sim.report.timeline import TimelineEvent

_BAR_ROW_PX = 18.0
_ROW_PX = 80.0
_PICTURE_WIDE, _PICTURE_HIGH = 92.0, 68.0


def bars(moment: TimelineEvent, plot: Plot, width: float) -> Drawing:
    """Return the score of every state as a bar from 0 to 1, with its enter and leave levels."""
    scores = moment.look.scores
    ranked = sorted(scores, key=lambda state: -scores[state])
    name_px, value_px = min(132.0, 0.34 * width), 136.0
    x = AxisScale(0.0, 1.0, name_px, max(name_px + 20, width - value_px))
    items: list[Item] = []
    for row, state in enumerate(ranked):
        top = row * _BAR_ROW_PX
        ink = plot.ink(state)
        items.append(Text(0, top + 13, plot.named(state, name_px - 6, TEXT_PX)))
        items.append(Rect(x.start, top + 4, x.end - x.start, 10, "grid", radius=2))
        items.append(Rect(x.start, top + 4, x(scores[state]) - x.start, 10, ink, radius=2))
        items.append(Text(x.end + 6, top + 13, f"{scores[state]:.3f}"))
        level = moment.change.thresholds.get(state)
        if level is not None:
            items.append(
                line((x(level.enter), top + 1), (x(level.enter), top + 17), "ink", width=2)
            )
            items.append(
                line((x(level.leave), top + 4), (x(level.leave), top + 14), "ink", width=1)
            )
            words = f"{level.enter:.2f} / {level.leave:.2f}"
            items.append(Text(width, top + 13, words, "muted", anchor="end"))
    return Drawing(width, max(1.0, len(ranked) * _BAR_ROW_PX), tuple(items))


def rows(plot: Plot, moments: Sequence[TimelineEvent], most: int) -> Drawing:
    """Return a table of the first `most` events, below a line of headings."""
    drawn = [_headings(plot), *(_row(plot, moment) for moment in moments[:most])]
    if len(moments) > most:
        words = f"and {len(moments) - most} more; the HTML report lists them"
        drawn.append(Drawing(plot.width, 24, (Text(0, 16, words, "muted"),)))
    return stacked(drawn)


def _columns(width: float) -> tuple[float, ...]:
    return 0.0, 34.0, 140.0, 300.0, 0.48 * width, 0.48 * width + 90


def _headings(plot: Plot) -> Drawing:
    number, _, time, change, confidence, scores = _columns(plot.width)
    words = (
        (number, "#"),
        (time, "time"),
        (change, "change"),
        (confidence, "confidence"),
        (scores, "score per state, with enter (thick) and leave (thin) levels"),
    )
    items = tuple(Text(x, 14, text, "muted", 11.5) for x, text in words)
    return Drawing(plot.width, 22, items)


def _row(plot: Plot, moment: TimelineEvent) -> Drawing:
    number, picture, time, change, confidence, scores = _columns(plot.width)
    look = moment.look
    before = moment.change.before
    after_ink = plot.ink(moment.change.after.name)
    items: list[Item] = [
        line((0, 0), (plot.width, 0), "grid"),
        Rect(number, 8, 22, 18, after_ink, radius=9),
        Text(number + 11, 21, str(moment.number), f"on_{after_ink}", 11, "middle", True),
        Text(time, 22, plot.since(look.at_s), bold=True),
        Text(time, 40, clock_text(look, plot), "muted"),
        Text(time, 58, f"light: {look.condition}", "muted"),
        Text(change, 22, f"{before.name if before else 'start'} →", "muted"),
        Rect(change, 33, 12, 12, after_ink, radius=2),
        Text(change + 18, 44, moment.change.after.name, size=14, bold=True),
        Text(confidence, 22, f"{moment.change.confidence:.2f}", bold=True),
    ]
    if moment.change.after.reason is not None:
        items.append(Text(change + 18, 62, moment.change.after.reason.value, "muted"))
    if moment.picture is not None:
        items.append(_picture(moment.picture, picture, change_text(moment)))
    bar_drawing = bars(moment, plot, plot.width - scores)
    height = max(_ROW_PX, bar_drawing.height + 20)
    shifted = Drawing(plot.width, height, tuple(items))
    return _beside(shifted, bar_drawing, scores)


def _picture(pixels: NDArray[np.uint8], left: float, label: str) -> Image:
    height, width = pixels.shape[:2]
    shrink = min(_PICTURE_WIDE / width, _PICTURE_HIGH / height)
    return Image(left, 6, width * shrink, height * shrink, pixels, label)


def _beside(row: Drawing, cell: Drawing, left: float) -> Drawing:
    return Drawing(row.width, row.height, (*row.items, *moved(cell.items, left, 9.0)))
