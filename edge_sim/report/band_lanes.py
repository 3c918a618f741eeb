"""The lanes that are bands over time: events, states, truth, light regime, and the time axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from edge_sim.domain import UNKNOWN
from edge_sim.events import utc_text
from edge_sim.report.axis import duration_text, time_ticks
from edge_sim.report.drawing import Drawing, Item, Rect, Text, line, text_width
from edge_sim.report.plot import Plot
from edge_sim.report.summary import BETWEEN, TrueSpan
from edge_sim.report.timeline import Look, StateSpan, TimelineEvent

_SMALL = 11.0
_PIN_PX = 18.0
_PIN_ROWS = 3
_DATED_S = 6 * 3600.0
_TICK_PX = 64.0  # between the labels of the time axis, at least


def pins(plot: Plot, moments: Sequence[TimelineEvent], anchor: str) -> Drawing:
    """Return one marker per event, numbered while there is room, on up to three rows."""
    if is_crowded(plot, moments):
        bars = tuple(_marker(plot, moment, (-1.5, 0, 3, _PIN_PX), anchor) for moment in moments)
        return Drawing(plot.width, _PIN_PX + 2, bars)
    free_from = [float("-inf")] * _PIN_ROWS
    items: list[Item] = []
    last_row = 0
    for moment in moments:
        at = plot.x(moment.look.at_s)
        half = (_PIN_PX + 7 * max(0, len(str(moment.number)) - 2)) / 2
        row = next((i for i, free in enumerate(free_from) if at - half >= free), None)
        if row is None:
            bottom = _PIN_ROWS * (_PIN_PX + 2)
            items.append(_marker(plot, moment, (-2, bottom - 8, 4, 6), anchor))
            continue
        free_from[row] = at + half + 2
        last_row = max(row, last_row)
        top = row * (_PIN_PX + 2)
        pill = _marker(plot, moment, (-half, top, 2 * half, _PIN_PX), anchor)
        words = f"on_{plot.ink(moment.change.after.name)}"
        number = Text(at, top + 13, str(moment.number), words, _SMALL, "middle", True)
        items += [replace(pill, radius=_PIN_PX / 2), number]
    return Drawing(plot.width, (last_row + 1) * (_PIN_PX + 2), tuple(items))


def is_crowded(plot: Plot, moments: Sequence[TimelineEvent]) -> bool:
    """Return whether the events are too many for numbers and for lines across the lanes."""
    return len(moments) * _PIN_PX > 1.5 * plot.extent


def state_lane(plot: Plot, spans: Sequence[StateSpan], wrong: Sequence[TrueSpan]) -> Drawing:
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
        if span.state in (BETWEEN, UNKNOWN):
            items.append(Rect(left, 0, width, height, "unknown_back", tip=tip))
            continue
        items.append(Rect(left, 0, width, height, ink, tip=tip))
        items += _band_label(
            plot.named(span.state, width - 8, _SMALL), left, width, f"on_{ink}", 11.5
        )
    return Drawing(plot.width, height, tuple(items))


def condition_lane(plot: Plot, looks: Sequence[Look]) -> Drawing:
    """Return the light regime that was chosen."""
    height = 14.0
    items: list[Item] = []
    for start_s, end_s, condition in _stretches(looks, [look.condition for look in looks]):
        left, width = _extent(plot, start_s, end_s)
        known = condition in ("day", "dusk", "ir", "dark")
        tip = f"light: {condition}, {_when(plot, start_s, end_s)}"
        items.append(Rect(left, 0, width, height, condition if known else "luma", tip=tip))
        ink = f"on_{condition}" if known else "ink"
        items += _band_label(condition, left, width, ink, 11, size=10.5)
    return Drawing(plot.width, height, tuple(items))


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
    most = max(2, int(plot.extent / _TICK_PX))
    for tick in time_ticks(plot.x.high - plot.x.low, most):
        at = plot.x(plot.x.low + tick.value)
        items.append(line((at, 0), (at, 5), "axis"))
        over = at + text_width(tick.label, _SMALL) / 2 > plot.width
        items.append(Text(at, 18, tick.label, "muted", _SMALL, "end" if over else "middle"))
    return Drawing(plot.width, 22, tuple(items))


def change_text(moment: TimelineEvent) -> str:
    """Return `before → after`, with the reason of `unknown`."""
    change = moment.change
    after = change.after.name
    if change.after.reason is not None:
        after += f" ({change.after.reason.value})"
    return f"{change.before.name if change.before else 'start'} → {after}"


def _marker(
    plot: Plot, moment: TimelineEvent, box: tuple[float, float, float, float], anchor: str
) -> Rect:
    """Return a marker in a box (left of the time of the event, top, width, height)."""
    left, top, width, height = box
    at_s = moment.look.at_s
    return Rect(
        plot.x(at_s) + left,
        top,
        width,
        height,
        plot.ink(moment.change.after.name),
        tip=f"{moment.number}: {change_text(moment)}, {plot.since(at_s)}",
        href=f"{anchor}-{moment.number}",
    )


def clock_text(look: Look, plot: Plot) -> str:
    """Return when a look was, in UTC; with the date, but no parts of a second, in a long run."""
    text = utc_text(look.unix_time_s)
    if plot.x.high - plot.x.low > _DATED_S:
        return f"{text[:10]} {text[11:19]} UTC"
    return f"{text[11:-1]} UTC"


def _band(plot: Plot, span: StateSpan, height: float) -> Iterator[Item]:
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
    shown = plot.named(name, width - 8, 13)
    yield from _band_label(shown, left, width, f"on_{ink}", height / 2 + 4.5, size=13)


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
    text: str, left: float, width: float, ink: str, base: float, size: float = _SMALL
) -> Iterator[Item]:
    if text and text_width(text, size) <= width - 8:
        yield Text(left + 6, base, text, ink, size)


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
