"""The lanes that are lines over time: scores with their levels, margin and light."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from edge_sim.report.axis import AxisScale, score_ticks
from edge_sim.report.curves import curve, steps
from edge_sim.report.drawing import Drawing, Item, Polyline, Rect, Text, line, text_width
from edge_sim.report.plot import Plot
from edge_sim.report.timeline import Look

_SMALL = 11.0
_LABEL_GAP_PX = 15.0
SCORE_PX = 1.7
"""Width of the line of a score."""
ENTER_DASH, LEAVE_DASH = (6.0, 4.0), (1.5, 3.0)
"""How the levels are drawn."""


def score_lane(plot: Plot, looks: Sequence[Look], states: Sequence[str], height: float) -> Drawing:
    """Return the combined score of every state with the levels in force."""
    low = _lowest(looks)
    y = AxisScale(low, 1.0, height - 1.0, 5.0)
    items = _panel(plot, height)
    for tick in score_ticks(low):
        at = y(tick.value)
        items.append(line((plot.left, at), (plot.x.end, at), "grid"))
        items.append(Text(plot.left - 6, at + 4, tick.label, "muted", _SMALL, "end"))
    for state in states:
        items += _levels(plot, looks, state, y)
    for state in states:
        items += _score_line(plot, looks, state, y)
    if not plot.narrow:
        items += _end_labels(plot, looks, states, y)
    return Drawing(plot.width, height, tuple(items))


def margin_lane(plot: Plot, looks: Sequence[Look]) -> Drawing:
    """Return the lead of the best state over the second, as a probability, as an area."""
    height = 32.0
    y = AxisScale(0.0, 1.0, height, 2.0)
    items = _panel(plot, height)
    for points in curve(looks, lambda look: look.margin, plot.x, y):
        area = ((points[0][0], height), *points, (points[-1][0], height))
        items.append(Polyline(area, "luma", opacity=0.35, closed=True))
        items.append(Polyline(points, "luma", 1.2))
    items += _range_labels(plot, height, "0", "1")
    return Drawing(plot.width, height, tuple(items))


def light_lane(plot: Plot, looks: Sequence[Look]) -> Drawing:
    """Return the mean grey level of the region."""
    height = 32.0
    y = AxisScale(0.0, 255.0, height, 1.0)
    items = _panel(plot, height)
    items += [
        Polyline(points, "luma", 1.2) for points in curve(looks, lambda look: look.luma, plot.x, y)
    ]
    items += _range_labels(plot, height, "0", "255")
    return Drawing(plot.width, height, tuple(items))


def _levels(plot: Plot, looks: Sequence[Look], state: str, y: AxisScale) -> Iterator[Item]:
    def enter(look: Look) -> float | None:
        return look.thresholds[state].enter if state in look.thresholds else None

    def leave(look: Look) -> float | None:
        return look.thresholds[state].leave if state in look.thresholds else None

    ink = plot.ink(state)
    uppers = [steps(points) for points in curve(looks, enter, plot.x, y)]
    lowers = [steps(points) for points in curve(looks, leave, plot.x, y)]
    for upper, lower in zip(uppers, lowers, strict=True):
        yield Polyline((*upper, *reversed(lower)), ink, opacity=0.09, closed=True)
        yield Polyline(upper, ink, dash=ENTER_DASH)
        yield Polyline(lower, ink, dash=LEAVE_DASH)


def _score_line(plot: Plot, looks: Sequence[Look], state: str, y: AxisScale) -> Iterator[Item]:
    ink = plot.ink(state)
    for points in curve(looks, lambda look: look.scores.get(state), plot.x, y):
        if len(points) > 1:
            yield Polyline(points, ink, SCORE_PX)
        if len(looks) <= 60 or len(points) == 1:
            yield from (Rect(px - 2.5, py - 2.5, 5, 5, ink, radius=2.5) for px, py in points)


def _end_labels(
    plot: Plot, looks: Sequence[Look], states: Sequence[str], y: AxisScale
) -> Iterator[Item]:
    last = next((look for look in reversed(looks) if look.scores), None)
    if last is None:
        return
    wanted = sorted((y(last.scores[s]), s) for s in states if s in last.scores)
    room = plot.width - plot.x.end - 8
    base = 0.0
    for at, state in wanted:
        base = max(at + 4, base + _LABEL_GAP_PX)
        value = f"{last.scores[state]:.2f} "
        # A size up stands for the width of bold type.
        name = plot.named(state, room - text_width(value, 13.5), 13.5)
        yield Text(plot.x.end + 8, base, value + name, plot.ink(state), bold=True)


def _lowest(looks: Iterable[Look]) -> float:
    values = [score for look in looks for score in look.scores.values()]
    values += [level.leave for look in looks for level in look.thresholds.values()]
    lowest = min(values, default=0.0)
    return max(0.0, min(0.9, int((lowest - 0.02) * 20) / 20))


def _panel(plot: Plot, height: float) -> list[Item]:
    return [Rect(plot.left, 0, plot.extent, height, "panel")]


def _range_labels(plot: Plot, height: float, low: str, high: str) -> tuple[Item, ...]:
    return (
        Text(plot.left - 6, 10, high, "muted", 10, "end"),
        Text(plot.left - 6, height, low, "muted", 10, "end"),
    )
