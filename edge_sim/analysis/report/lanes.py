"""Lanes of a chart: bands over time (events, states, truth, light) and lines (scores, margin)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edge_sim.analysis.report.drawing import (
    BOLD_WIDTH,
    AxisScale,
    Drawing,
    Item,
    Point,
    Polyline,
    Rect,
    Text,
    duration_text,
    fitted,
    line,
    score_ticks,
    text_width,
    time_ticks,
)
from edge_sim.analysis.report.timeline import (
    BETWEEN,
    StateSpan,
    Timeline,
    TimelineEvent,
    TimelinePoint,
    TrueSpan,
)
from edge_sim.core.events import utc_text
from edge_sim.core.types import UNKNOWN

_NARROW_PX = 640.0
_SHARED = 4  # characters that all states begin with, from which on they are left out
_READABLE = 7  # characters of a longer name that still tell which it is


@dataclass(frozen=True, slots=True)
class Scope:
    """Time that every chart of a report shows, in seconds of frame time; start < end."""

    start_s: float
    end_s: float


def scope_of(timeline: Timeline) -> Scope:
    """Return the time from the first point to the last, over all watches."""
    times = [point.at_s for track in timeline.tracks for point in track.points]
    if not times:
        return Scope(0.0, 1.0)
    # A single point has no length; a second is as good as any.
    return Scope(min(times), max(times) if max(times) > min(times) else min(times) + 1.0)


@dataclass(frozen=True, slots=True)
class Plot:
    """Layout of a chart: time scale and colours.

    Args:
        width: Width of the whole drawing, in pixels.
        x: Seconds of frame time -> pixel.
        colours: State -> colour.
        narrow: Whether names of lanes go above them and end labels are omitted.
    """

    width: float
    x: AxisScale
    colours: Mapping[str, str]
    narrow: bool

    @property
    def left(self) -> float:
        """Start of the time scale, in pixels."""
        return self.x.start

    @property
    def extent(self) -> float:
        """Length of the time scale, in pixels."""
        return self.x.end - self.x.start

    def colour(self, state: str) -> str:
        """Return the colour of a state; grey for one that is not in the gallery."""
        return self.colours.get(state, "unknown")

    def named(self, state: str, width: float, size: float) -> str:
        """Return the name of a state, shortened to `width` pixels and still distinct.

        The common beginning of all states is dropped first; empty if no readable rest fits.
        """
        if text_width(state, size) <= width:
            return state
        names = [name for name in self.colours if name != UNKNOWN]
        shared = _shared_start(names) if len(names) > 1 else 0
        rest = "…" + state[shared:] if shared >= _SHARED and shared < len(state) else state
        shown = fitted(rest, width, size)
        return shown if shown == rest or len(shown) >= _READABLE else ""

    def since(self, at_s: float) -> str:
        """Return the time since the start, in words."""
        return duration_text(at_s - self.x.low)


def plot_of(width: float, scope: Scope, colours: Mapping[str, str]) -> Plot:
    """Return the layout of a chart `width` pixels wide."""
    narrow = width < _NARROW_PX
    if narrow:
        left, right = 30.0, 4.0
    else:
        longest = max(
            (BOLD_WIDTH * text_width(f"0.00 {state}") for state in colours if state != UNKNOWN),
            default=0.0,
        )
        left, right = 86.0, min(200.0, longest + 16)
    x = AxisScale(scope.start_s, scope.end_s, left, width - right)
    return Plot(width, x, colours, narrow)


def _shared_start(names: Sequence[str]) -> int:
    """Return the length of the common beginning of all names."""
    first, last = min(names), max(names)
    return next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )


Reading = Callable[[TimelinePoint], float | None]
"""Reader of one value of a point; None where there is none."""

_VISIBLE_PX = 0.25


def curve(
    points: Iterable[TimelinePoint], reading: Reading, x: AxisScale, y: AxisScale
) -> tuple[tuple[Point, ...], ...]:
    """Return the readings as lines, broken where there is none.

    Per pixel column only the first, lowest, highest and last value are kept: the line looks the
    same and its length is bounded by the width of the picture.
    """
    return tuple(
        tuple(_thinned([(x(point.at_s), y(value)) for point, value in run]))
        for run in _runs(points, reading)
    )


def steps(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return a line that holds each value until the next point; invisible changes are dropped."""
    if not points:
        return ()
    corners = [points[0]]
    for x, y in points[1:]:
        if abs(y - corners[-1][1]) >= _VISIBLE_PX:
            corners += [(x, corners[-1][1]), (x, y)]
    last_x = points[-1][0]
    if corners[-1][0] != last_x or len(corners) == 1:
        corners.append((last_x, corners[-1][1]))
    return tuple(corners)


def _runs(
    points: Iterable[TimelinePoint], reading: Reading
) -> Iterator[list[tuple[TimelinePoint, float]]]:
    run: list[tuple[TimelinePoint, float]] = []
    for point in points:
        value = reading(point)
        if value is not None:
            run.append((point, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _thinned(points: Sequence[Point]) -> Iterator[Point]:
    column: list[Point] = []
    for point in points:
        if column and int(point[0]) != int(column[0][0]):
            yield from _extremes(column)
            column = []
        column.append(point)
    if column:
        yield from _extremes(column)


def _extremes(column: Sequence[Point]) -> Iterator[Point]:
    if len(column) <= 4:
        yield from column
        return
    places = range(len(column))
    low = min(places, key=lambda i: column[i][1])
    high = max(places, key=lambda i: column[i][1])
    for i in sorted({0, low, high, len(column) - 1}):
        yield column[i]


_SMALL = 11.0
_PIN_PX = 18.0
_PIN_ROWS = 3
_DATED_S = 6 * 3600.0
_TICK_PX = 64.0  # between the labels of the time axis, at least


def pins(plot: Plot, events: Sequence[TimelineEvent], anchor: str) -> Drawing:
    """Return one marker per event, numbered while there is room, on up to three rows."""
    if is_crowded(plot, events):
        bars = tuple(_marker(plot, event, (-1.5, 0, 3, _PIN_PX), anchor) for event in events)
        return Drawing(plot.width, _PIN_PX + 2, bars)
    free_from = [float("-inf")] * _PIN_ROWS
    items: list[Item] = []
    last_row = 0
    for event in events:
        at = plot.x(event.point.at_s)
        half = (_PIN_PX + 7 * max(0, len(str(event.number)) - 2)) / 2
        row = next((i for i, free in enumerate(free_from) if at - half >= free), None)
        if row is None:
            bottom = _PIN_ROWS * (_PIN_PX + 2)
            items.append(_marker(plot, event, (-2, bottom - 8, 4, 6), anchor))
            continue
        free_from[row] = at + half + 2
        last_row = max(row, last_row)
        top = row * (_PIN_PX + 2)
        pill = _marker(plot, event, (-half, top, 2 * half, _PIN_PX), anchor)
        words = f"on_{plot.colour(event.change.after.name)}"
        number = Text(at, top + 13, str(event.number), words, _SMALL, "middle", True)
        items += [replace(pill, radius=_PIN_PX / 2), number]
    return Drawing(plot.width, (last_row + 1) * (_PIN_PX + 2), tuple(items))


def is_crowded(plot: Plot, events: Sequence[TimelineEvent]) -> bool:
    """Return whether the events are too many for numbers and for lines across the lanes."""
    return len(events) * _PIN_PX > 1.5 * plot.extent


def state_lane(plot: Plot, spans: Sequence[StateSpan], wrong: Sequence[TrueSpan]) -> Drawing:
    """Return the reported states as bands, with wrong ones underlined in red."""
    height = 30.0
    items: list[Item] = []
    for span in spans:
        items += _band(plot, span, height)
    for part in wrong:
        left, width = _extent(plot, part.start_s, part.end_s)
        tip = f"wrong: {part.state}, {_when(plot, part.start_s, part.end_s)}"
        items.append(Rect(left, height + 2, width, 4, "wrong", tip=tip))
    return Drawing(plot.width, height + (6 if wrong else 0), tuple(items))


def truth_lane(plot: Plot, truth: Sequence[TrueSpan]) -> Drawing:
    """Return the true states as thin bands."""
    height = 15.0
    items: list[Item] = []
    for span in truth:
        left, width = _extent(plot, span.start_s, span.end_s)
        colour = plot.colour(span.state)
        tip = f"true: {span.state}, {_when(plot, span.start_s, span.end_s)}"
        if span.state in (BETWEEN, UNKNOWN):
            items.append(Rect(left, 0, width, height, "unknown_back", tip=tip))
            continue
        items.append(Rect(left, 0, width, height, colour, tip=tip))
        items += _band_label(
            plot.named(span.state, width - 8, _SMALL), left, width, f"on_{colour}", 11.5
        )
    return Drawing(plot.width, height, tuple(items))


def condition_lane(plot: Plot, points: Sequence[TimelinePoint]) -> Drawing:
    """Return the light regimes as bands."""
    height = 14.0
    items: list[Item] = []
    for start_s, end_s, condition in _stretches(points, [point.condition for point in points]):
        left, width = _extent(plot, start_s, end_s)
        known = condition in ("day", "dusk", "ir", "dark")
        tip = f"light: {condition}, {_when(plot, start_s, end_s)}"
        items.append(Rect(left, 0, width, height, condition if known else "luma", tip=tip))
        colour = f"on_{condition}" if known else "ink"
        items += _band_label(condition, left, width, colour, 11, size=10.5)
    return Drawing(plot.width, height, tuple(items))


def impediment_lane(plot: Plot, points: Sequence[TimelinePoint]) -> Drawing | None:
    """Return the impeded times with their reasons; None if there are none."""
    if not any(point.impediment for point in points):
        return None
    height = 14.0
    reasons = [point.impediment.value if point.impediment else "" for point in points]
    items: list[Item] = []
    for start_s, end_s, reason in _stretches(points, reasons):
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
    most = max(2, int(plot.extent / _TICK_PX))
    for tick in time_ticks(plot.x.high - plot.x.low, most):
        at = plot.x(plot.x.low + tick.value)
        items.append(line((at, 0), (at, 5), "axis"))
        over = at + text_width(tick.label, _SMALL) / 2 > plot.width
        items.append(Text(at, 18, tick.label, "muted", _SMALL, "end" if over else "middle"))
    return Drawing(plot.width, 22, tuple(items))


def change_text(event: TimelineEvent) -> str:
    """Return `before → after`, with the reason of `unknown`."""
    change = event.change
    after = change.after.name
    if change.after.reason is not None:
        after += f" ({change.after.reason.value})"
    return f"{change.before.name if change.before else 'start'} → {after}"


def _marker(
    plot: Plot, event: TimelineEvent, box: tuple[float, float, float, float], anchor: str
) -> Rect:
    """Return a marker in a box (left of the time of the event, top, width, height)."""
    left, top, width, height = box
    at_s = event.point.at_s
    return Rect(
        plot.x(at_s) + left,
        top,
        width,
        height,
        plot.colour(event.change.after.name),
        tip=f"{event.number}: {change_text(event)}, {plot.since(at_s)}",
        href=f"{anchor}-{event.number}",
    )


def clock_text(point: TimelinePoint, plot: Plot) -> str:
    """Return the time of a point in UTC; in a long run with the date, without parts of a second."""
    text = utc_text(point.unix_time_s)
    if plot.x.high - plot.x.low > _DATED_S:
        return f"{text[:10]} {text[11:19]} UTC"
    return f"{text[11:-1]} UTC"


def _band(plot: Plot, span: StateSpan, height: float) -> Iterator[Item]:
    left, width = _extent(plot, span.start_s, span.end_s)
    name = span.state.name
    reason = span.state.reason
    words = name if reason is None else f"{name} ({reason.value})"
    tip = f"{words}, {_when(plot, span.start_s, span.end_s)}"
    if name == UNKNOWN:
        yield from _hatched(left, width, height, tip)
        yield from _tagged(reason.value if reason else name, left, width, height / 2 + 4)
        return
    colour = plot.colour(name)
    yield Rect(left, 0, width, height, colour, tip=tip)
    shown = plot.named(name, width - 8, 13)
    yield from _band_label(shown, left, width, f"on_{colour}", height / 2 + 4.5, size=13)


def _hatched(left: float, width: float, height: float, tip: str) -> tuple[Item, ...]:
    return (
        Rect(left, 0, width, height, "unknown_back"),
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
    text: str, left: float, width: float, colour: str, base: float, size: float = _SMALL
) -> Iterator[Item]:
    if text and text_width(text, size) <= width - 8:
        yield Text(left + 6, base, text, colour, size)


def _stretches(
    points: Sequence[TimelinePoint], values: Sequence[str]
) -> Iterator[tuple[float, float, str]]:
    starts = [i for i in range(len(points)) if i == 0 or values[i] != values[i - 1]]
    for first, following in pairwise([*starts, len(points) - 1]):
        yield points[first].at_s, points[following].at_s, values[first]


def _extent(plot: Plot, start_s: float, end_s: float) -> tuple[float, float]:
    left = plot.x(start_s)
    # A span of one point still shows.
    return left, max(plot.x(end_s) - left, 1.0)


def _when(plot: Plot, start_s: float, end_s: float) -> str:
    return f"{plot.since(start_s)} to {plot.since(end_s)}, {duration_text(end_s - start_s)}"


_LABEL_GAP_PX = 15.0
SCORE_PX = 1.7
"""Width of the line of a score."""
ENTER_DASH, LEAVE_DASH = (6.0, 4.0), (1.5, 3.0)
"""Dashes of the levels."""


def score_lane(
    plot: Plot, points: Sequence[TimelinePoint], states: Sequence[str], height: float
) -> Drawing:
    """Return the combined score of every state with the levels in force."""
    low = _lowest(points)
    y = AxisScale(low, 1.0, height - 1.0, 5.0)
    items = _panel(plot, height)
    for tick in score_ticks(low):
        at = y(tick.value)
        items.append(line((plot.left, at), (plot.x.end, at), "grid"))
        items.append(Text(plot.left - 6, at + 4, tick.label, "muted", _SMALL, "end"))
    for state in states:
        items += _levels(plot, points, state, y)
    for state in states:
        items += _score_line(plot, points, state, y)
    if not plot.narrow:
        items += _end_labels(plot, points, states, y)
    return Drawing(plot.width, height, tuple(items))


def margin_lane(plot: Plot, points: Sequence[TimelinePoint]) -> Drawing:
    """Return the lead of the best state over the second, as a probability, as an area."""
    height = 32.0
    y = AxisScale(0.0, 1.0, height, 2.0)
    items = _panel(plot, height)
    for corners in curve(points, lambda point: point.margin, plot.x, y):
        area = ((corners[0][0], height), *corners, (corners[-1][0], height))
        items.append(Polyline(area, "luma", opacity=0.35, closed=True))
        items.append(Polyline(corners, "luma", 1.2))
    items += _range_labels(plot, height, "0", "1")
    return Drawing(plot.width, height, tuple(items))


def light_lane(plot: Plot, points: Sequence[TimelinePoint]) -> Drawing:
    """Return the mean grey level of the region."""
    height = 32.0
    y = AxisScale(0.0, 255.0, height, 1.0)
    items = _panel(plot, height)
    lines = curve(points, lambda point: point.luma, plot.x, y)
    items += [Polyline(corners, "luma", 1.2) for corners in lines]
    items += _range_labels(plot, height, "0", "255")
    return Drawing(plot.width, height, tuple(items))


def _levels(
    plot: Plot, points: Sequence[TimelinePoint], state: str, y: AxisScale
) -> Iterator[Item]:
    def enter(point: TimelinePoint) -> float | None:
        return point.thresholds[state].enter if state in point.thresholds else None

    def leave(point: TimelinePoint) -> float | None:
        return point.thresholds[state].leave if state in point.thresholds else None

    colour = plot.colour(state)
    uppers = [steps(corners) for corners in curve(points, enter, plot.x, y)]
    lowers = [steps(corners) for corners in curve(points, leave, plot.x, y)]
    for upper, lower in zip(uppers, lowers, strict=True):
        yield Polyline((*upper, *reversed(lower)), colour, opacity=0.09, closed=True)
        yield Polyline(upper, colour, dash=ENTER_DASH)
        yield Polyline(lower, colour, dash=LEAVE_DASH)


def _score_line(
    plot: Plot, points: Sequence[TimelinePoint], state: str, y: AxisScale
) -> Iterator[Item]:
    colour = plot.colour(state)
    for corners in curve(points, lambda point: point.scores.get(state), plot.x, y):
        if len(corners) > 1:
            yield Polyline(corners, colour, SCORE_PX)
        if len(points) <= 60 or len(corners) == 1:
            yield from (Rect(px - 2.5, py - 2.5, 5, 5, colour, radius=2.5) for px, py in corners)


def _end_labels(
    plot: Plot, points: Sequence[TimelinePoint], states: Sequence[str], y: AxisScale
) -> Iterator[Item]:
    last = next((point for point in reversed(points) if point.scores), None)
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
        yield Text(plot.x.end + 8, base, value + name, plot.colour(state), bold=True)


def _lowest(points: Iterable[TimelinePoint]) -> float:
    values = [score for point in points for score in point.scores.values()]
    values += [level.leave for point in points for level in point.thresholds.values()]
    lowest = min(values, default=0.0)
    return max(0.0, min(0.9, int((lowest - 0.02) * 20) / 20))


def _panel(plot: Plot, height: float) -> list[Item]:
    return [Rect(plot.left, 0, plot.extent, height, "panel")]


def _range_labels(plot: Plot, height: float, low: str, high: str) -> tuple[Item, ...]:
    return (
        Text(plot.left - 6, 10, high, "muted", 10, "end"),
        Text(plot.left - 6, height, low, "muted", 10, "end"),
    )
