"""The lanes of a timeline, each laid out on its own, all on one time scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edge_sim.domain import UNKNOWN
from edge_sim.report.axis import Scale, duration_text, score_ticks, time_ticks
from edge_sim.report.curves import curve, steps
from edge_sim.report.drawing import (
    Drawing,
    Item,
    Polyline,
    Rect,
    Text,
    fitted,
    line,
    text_width,
)
from edge_sim.report.summary import TrueSpan
from edge_sim.report.timeline import Look, Moment, Span

_SMALL = 11.0
_PIN_PX = 18.0
_PIN_ROWS = 3
_LABEL_GAP_PX = 15.0


@dataclass(frozen=True, slots=True)
class Plot:
    """Where time runs on the sheet and which ink each state has.

    Args:
        width: Of the whole drawing, in pixels.
        x: Seconds of frame time -> pixel.
        inks: State -> ink.
        narrow: No room beside the lanes: their names go above, end labels away.
    """

    width: float
    x: Scale
    inks: Mapping[str, str]
    narrow: bool

    @property
    def left(self) -> float:
        """Where time starts, in pixels."""
        return self.x.start

    @property
    def extent(self) -> float:
        """How long time is, in pixels."""
        return self.x.end - self.x.start

    def ink(self, state: str) -> str:
        """Return the ink of a state; grey for one that is not in the gallery."""
        return self.inks.get(state, "unknown")

    def since(self, at_s: float) -> str:
        """Return the time since the start, in words."""
        return duration_text(at_s - self.x.low)


def pins(plot: Plot, moments: Iterable[Moment], anchor: str) -> Drawing:
    """Return one numbered marker per event; crowded ones use further rows, then lose the number."""
    free_from = [float("-inf")] * _PIN_ROWS
    items: list[Item] = []
    for moment in moments:
        at = plot.x(moment.look.at_s)
        ink = plot.ink(moment.change.after.name)
        half = (_PIN_PX if moment.number < 100 else _PIN_PX + 8) / 2
        row = next((i for i, free in enumerate(free_from) if at - half >= free), None)
        tip = f"{moment.number}: {change_text(moment)}, {plot.since(moment.look.at_s)}"
        href = f"{anchor}-{moment.number}"
        if row is None:
            top = (_PIN_ROWS - 1) * (_PIN_PX + 2) + _PIN_PX - 6
            items.append(Rect(at - 2, top, 4, 6, ink, tip=tip, href=href))
            continue
        free_from[row] = at + half + 2
        top = row * (_PIN_PX + 2)
        items.append(
            Rect(at - half, top, 2 * half, _PIN_PX, ink, radius=_PIN_PX / 2, tip=tip, href=href)
        )
        label = Text(at, top + 13, str(moment.number), f"on_{ink}", _SMALL, "middle", True)
        items.append(label)
    rows = max(
        (int(item.y // (_PIN_PX + 2)) for item in items if isinstance(item, Rect)), default=0
    )
    return Drawing(plot.width, (rows + 1) * (_PIN_PX + 2), tuple(items))


def state_lane(plot: Plot, spans: Sequence[Span], wrong: Sequence[TrueSpan]) -> Drawing:
    """Return what the watch said as bands, and below them in red where it was wrong."""
    height = 30.0
    items: list[Item] = []
    for span in spans:
        items += _band(plot, span, height)
    for part in wrong:
        left, width = _extent(plot, part.start_s, part.end_s)
        tip = f"wrong: said {part.state}, {_when(plot, part.start_s, part.end_s)}"
        items.append(Rect(left, height + 2, width, 4, "wrong", tip=tip))
    return Drawing(plot.width, height + (6 if wrong else 0), tuple(items))


def truth_lane(plot: Plot, truth: Sequence[TrueSpan]) -> Drawing:
    """Return what was true as thin bands."""
    height = 15.0
    items: list[Item] = []
    for span in truth:
        left, width = _extent(plot, span.start_s, span.end_s)
        ink = plot.ink(span.state)
        tip = f"true: {span.state}, {_when(plot, span.start_s, span.end_s)}"
        items.append(Rect(left, 0, width, height, ink, tip=tip))
        items += _band_label(span.state, left, width, f"on_{ink}", 11.5)
    return Drawing(plot.width, height, tuple(items))


def score_lane(plot: Plot, looks: Sequence[Look], states: Sequence[str], height: float) -> Drawing:
    """Return the combined score of every state with the levels in force."""
    low = _lowest(looks)
    y = Scale(low, 1.0, height - 1.0, 5.0)
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
    y = Scale(0.0, 1.0, height, 2.0)
    items = _panel(plot, height)
    for points in curve(looks, lambda look: look.margin, plot.x, y):
        area = ((points[0][0], height), *points, (points[-1][0], height))
        items.append(Polyline(area, "luma", opacity=0.35, closed=True))
        items.append(Polyline(points, "luma", 1.2))
    items += _range_labels(plot, height, "0", "1")
    return Drawing(plot.width, height, tuple(items))


def light_lane(plot: Plot, looks: Sequence[Look]) -> Drawing:
    """Return the mean grey level, and below it the condition chosen from it."""
    height, strip = 32.0, 14.0
    y = Scale(0.0, 255.0, height, 1.0)
    items = _panel(plot, height)
    items += [
        Polyline(points, "luma", 1.4) for points in curve(looks, lambda look: look.luma, plot.x, y)
    ]
    items += _range_labels(plot, height, "0", "255")
    for start_s, end_s, condition in _stretches(looks, [look.condition for look in looks]):
        left, width = _extent(plot, start_s, end_s)
        ink = condition if condition in ("day", "dusk", "ir", "dark") else "luma"
        tip = f"light: {condition}, {_when(plot, start_s, end_s)}"
        items.append(Rect(left, height + 1, width, strip, ink, tip=tip))
        paired = f"on_{ink}" if ink != "luma" else "ink"
        items += _band_label(condition, left, width, paired, height + 12, size=10.5)
    return Drawing(plot.width, height + strip + 1, tuple(items))


def impediment_lane(plot: Plot, looks: Sequence[Look]) -> Drawing | None:
    """Return when and why looks could not be decided on; None if every look could."""
    if not any(look.impediment for look in looks):
        return None
    height = 14.0
    reasons = [look.impediment.value if look.impediment else "" for look in looks]
    items: list[Item] = []
    for start_s, end_s, reason in _stretches(looks, reasons):
        if not reason:
            continue
        left, width = _extent(plot, start_s, end_s)
        tip = f"impeded: {reason}, {_when(plot, start_s, end_s)}"
        items += _hatched(left, width, height, tip)
        items += _tagged(reason, left, width, 11.0, size=10.5)
    return Drawing(plot.width, height, tuple(items))


def time_axis(plot: Plot) -> Drawing:
    """Return ticks with the time since the start."""
    items: list[Item] = [line((plot.left, 0), (plot.x.end, 0), "axis")]
    most = max(2, int(plot.extent / 72))
    for tick in time_ticks(plot.x.high - plot.x.low, most):
        at = plot.x(plot.x.low + tick.value)
        items.append(line((at, 0), (at, 5), "axis"))
        near_end = at + text_width(tick.label, _SMALL) / 2 > plot.width
        anchor = "end" if near_end else "middle"
        x = plot.x.end if near_end else at
        items.append(
            Text(x, 18, tick.label, "muted", _SMALL, "end" if anchor == "end" else "middle")
        )
    return Drawing(plot.width, 22, tuple(items))


def change_text(moment: Moment) -> str:
    """Return `before → after`, with the reason of `unknown`."""
    change = moment.change
    after = change.after.name
    if change.after.reason is not None:
        after += f" ({change.after.reason.value})"
    return f"{change.before.name if change.before else 'start'} → {after}"


def _band(plot: Plot, span: Span, height: float) -> Iterator[Item]:
    left, width = _extent(plot, span.start_s, span.end_s)
    name = span.state.name
    reason = span.state.reason
    said = name if reason is None else f"{name} ({reason.value})"
    tip = f"{said}, {_when(plot, span.start_s, span.end_s)}"
    if name == UNKNOWN:
        yield from _hatched(left, width, height, tip)
        yield from _tagged(reason.value if reason else name, left, width, height / 2 + 4)
        return
    ink = plot.ink(name)
    yield Rect(left, 0, width, height, ink, tip=tip)
    yield from _band_label(name, left, width, f"on_{ink}", height / 2 + 4.5, size=13)


def _hatched(left: float, width: float, height: float, tip: str) -> tuple[Item, ...]:
    return (
        Rect(left, 0, width, height, "unknown_back", tip=tip),
        Rect(left, 0, width, height, "unknown", opacity=0.7, hatched=True, tip=tip),
    )


def _tagged(
    text: str, left: float, width: float, base: float, size: float = _SMALL
) -> Iterator[Item]:
    """Yield text on a plain tag, so that it can be read on stripes; nothing if it does not fit."""
    wide = text_width(text, size) + 8
    if wide > width - 4:
        return
    middle = left + width / 2
    yield Rect(middle - wide / 2, base - size, wide, size + 3, "unknown_back", radius=3)
    yield Text(middle, base, text, "ink", size, "middle")


def _band_label(
    text: str, left: float, width: float, ink: str, base: float, size: float = _SMALL
) -> Iterator[Item]:
    shown = fitted(text, width - 10, size)
    if len(shown) >= min(3, len(text)):
        yield Text(left + 6, base, shown, ink, size)


def _levels(plot: Plot, looks: Sequence[Look], state: str, y: Scale) -> Iterator[Item]:
    def enter(look: Look) -> float | None:
        return look.thresholds[state].enter if state in look.thresholds else None

    def leave(look: Look) -> float | None:
        return look.thresholds[state].leave if state in look.thresholds else None

    ink = plot.ink(state)
    uppers = [steps(points) for points in curve(looks, enter, plot.x, y)]
    lowers = [steps(points) for points in curve(looks, leave, plot.x, y)]
    for upper, lower in zip(uppers, lowers, strict=True):
        yield Polyline((*upper, *reversed(lower)), ink, opacity=0.09, closed=True)
        yield Polyline(upper, ink, 1.3, dash=(6, 4))
        yield Polyline(lower, ink, 1.3, dash=(1.5, 3.5))


def _score_line(plot: Plot, looks: Sequence[Look], state: str, y: Scale) -> Iterator[Item]:
    ink = plot.ink(state)
    for points in curve(looks, lambda look: look.scores.get(state), plot.x, y):
        if len(points) > 1:
            yield Polyline(points, ink, 1.9)
        if len(looks) <= 60 or len(points) == 1:
            yield from (Rect(px - 2.5, py - 2.5, 5, 5, ink, radius=2.5) for px, py in points)


def _end_labels(
    plot: Plot, looks: Sequence[Look], states: Sequence[str], y: Scale
) -> Iterator[Item]:
    last = next((look for look in reversed(looks) if look.scores), None)
    if last is None:
        return
    wanted = sorted((y(last.scores[s]), s) for s in states if s in last.scores)
    room = plot.width - plot.x.end - 8
    base = 0.0
    for at, state in wanted:
        base = max(at + 4, base + _LABEL_GAP_PX)
        label = fitted(f"{last.scores[state]:.2f} {state}", room)
        yield Text(plot.x.end + 8, base, label, plot.ink(state), bold=True)


def _panel(plot: Plot, height: float) -> list[Item]:
    return [Rect(plot.left, 0, plot.extent, height, "panel")]


def _range_labels(plot: Plot, height: float, low: str, high: str) -> tuple[Item, ...]:
    return (
        Text(plot.left - 6, 10, high, "muted", 10, "end"),
        Text(plot.left - 6, height, low, "muted", 10, "end"),
    )


def _lowest(looks: Iterable[Look]) -> float:
    values = [score for look in looks for score in look.scores.values()]
    values += [level.leave for look in looks for level in look.thresholds.values()]
    lowest = min(values, default=0.0)
    return max(0.0, min(0.9, int((lowest - 0.02) * 20) / 20))


def _stretches(looks: Sequence[Look], values: Sequence[str]) -> Iterator[tuple[float, float, str]]:
    starts = [i for i in range(len(looks)) if i == 0 or values[i] != values[i - 1]]
    for first, following in pairwise([*starts, len(looks) - 1]):
        yield looks[first].at_s, looks[following].at_s, values[first]


def _extent(plot: Plot, start_s: float, end_s: float) -> tuple[float, float]:
    left = plot.x(start_s)
    # What lasted one look still shows.
    return left, max(plot.x(end_s) - left, 1.0)


def _when(plot: Plot, start_s: float, end_s: float) -> str:
    return f"{plot.since(start_s)} to {plot.since(end_s)}, {duration_text(end_s - start_s)}"
