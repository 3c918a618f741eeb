"""The chart of one watch, its lanes below each other on one time scale, and bars of one event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edge_sim.analysis.report.drawing import (
    TEXT_PX,
    AxisScale,
    Drawing,
    Item,
    Polyline,
    Rect,
    Text,
    colours_of,
    line,
    moved,
    stacked,
    text_width,
)
from edge_sim.analysis.report.lanes import (
    ENTER_DASH,
    LEAVE_DASH,
    SCORE_PX,
    Plot,
    Scope,
    condition_lane,
    impediment_lane,
    is_crowded,
    light_lane,
    margin_lane,
    pins,
    plot_of,
    score_lane,
    state_lane,
    time_axis,
    truth_lane,
)
from edge_sim.analysis.report.timeline import (
    BETWEEN,
    TimelineEvent,
    Track,
    TrueStates,
    true_spans,
    wrong_spans,
)
from edge_sim.core.types import UNKNOWN

_LANE_GAP_PX = 6.0


def states_of(track: Track, truth: TrueStates) -> tuple[str, ...]:
    """Return the states of a track and those that were true, sorted."""
    return tuple(sorted({*track.states, *(state for _, state in truth)} - {UNKNOWN, BETWEEN}))


def chart(
    track: Track, scope: Scope, *, width: float, truth: TrueStates = (), anchor: str = ""
) -> Drawing:
    """Return the chart of a track, `width` pixels wide.

    Args:
        track: Record of a watch, with at least one point.
        scope: Time to show.
        width: Width in pixels; below 640 the layout is for a telephone.
        truth: True states, if they are known.
        anchor: Prefix of the link targets `#<anchor>-<number>` of the markers.
    """
    states = states_of(track, truth)
    plot = plot_of(width, scope, colours_of(states))
    points, spans = track.points, track.spans()
    true = true_spans(truth, spans[0].start_s, spans[-1].end_s)
    named: list[tuple[str, Drawing | None]] = [
        ("events", pins(plot, track.events, anchor) if track.events else None),
        ("state", state_lane(plot, spans, wrong_spans(spans, true))),
        ("truth", truth_lane(plot, true) if true else None),
        ("score", score_lane(plot, points, states, 190.0) if track.states else None),
        ("margin", margin_lane(plot, points) if track.states else None),
        ("light", stacked([light_lane(plot, points), condition_lane(plot, points)], 1.0)),
        ("impeded", impediment_lane(plot, points)),
        ("", time_axis(plot)),
    ]
    lanes = [_titled(plot, name, lane) for name, lane in named if lane is not None]
    body = _with_event_lines(plot, track, stacked(lanes, _LANE_GAP_PX))
    return stacked([legend(width, colours_of(states), judged=bool(true)), body], 10.0)


def legend(width: float, colours: Mapping[str, str], *, judged: bool) -> Drawing:
    """Return the legend of colours and lines; `judged` adds the red of a wrong state."""
    entries: list[tuple[str, Sequence[Item]]] = [
        (state, (Rect(0, 0, 14, 12, colour, radius=2),))
        for state, colour in colours.items()
        if state != UNKNOWN
    ]
    back = Rect(0, 0, 14, 12, "unknown_back", radius=2)
    entries.append(("unknown", (back, replace(back, fill="unknown", hatched=True))))
    entries += [
        ("score", (line((0, 6), (22, 6), "ink", width=SCORE_PX),)),
        ("enter", (Polyline(((0, 6), (22, 6)), "ink", dash=ENTER_DASH),)),
        ("leave", (Polyline(((0, 6), (22, 6)), "ink", dash=LEAVE_DASH),)),
    ]
    if judged:
        entries.append(("wrong", (Rect(0, 4, 14, 4, "wrong"),)))
    return _flowed(entries, width)


def _flowed(entries: Sequence[tuple[str, Sequence[Item]]], width: float) -> Drawing:
    items: list[Item] = []
    x = y = 0.0
    for name, symbol in entries:
        symbol_px = 28.0 if isinstance(symbol[0], Polyline) else 20.0
        wide = symbol_px + text_width(name) + 16
        if x > 0 and x + wide > width:
            x, y = 0.0, y + 20
        items += moved(symbol, x, y)
        items.append(Text(x + symbol_px, y + 10.5, name, "ink"))
        x += wide
    return Drawing(width, y + 14, tuple(items))


def _titled(plot: Plot, name: str, lane: Drawing) -> Drawing:
    if not name:
        return lane
    if plot.narrow:
        if name == "events":
            return lane
        title = Drawing(plot.width, 12, (Text(plot.left, 10, name, "muted", 11),))
        return stacked([title, lane], 1.0)
    base = 14.0 if lane.height < 60 else 12.0
    title_text = Text(0, base, name, "muted", 12)
    return Drawing(lane.width, lane.height, (title_text, *lane.items))


def _with_event_lines(plot: Plot, track: Track, body: Drawing) -> Drawing:
    """Draw a thin line down from every event, below everything but the panels' own lines."""
    if is_crowded(plot, track.events):
        return body
    lines = tuple(
        line((at, 14.0), (at, body.height - 22), "ink", width=1, opacity=0.28)
        for at in (plot.x(event.point.at_s) for event in track.events)
    )
    panels = tuple(item for item in body.items if _is_panel(item))
    others = tuple(item for item in body.items if not _is_panel(item))
    return Drawing(body.width, body.height, (*panels, *lines, *others))


def _is_panel(item: Item) -> bool:
    return isinstance(item, Rect) and item.fill == "panel"


_BAR_ROW_PX = 18.0


def bars(event: TimelineEvent, plot: Plot, width: float) -> Drawing:
    """Return the score of every state as a bar from 0 to 1, with its enter and leave levels."""
    scores = event.point.scores
    ranked = sorted(scores, key=lambda state: -scores[state])
    name_px, value_px = min(132.0, 0.34 * width), 136.0
    x = AxisScale(0.0, 1.0, name_px, max(name_px + 20, width - value_px))
    items: list[Item] = []
    for row, state in enumerate(ranked):
        top = row * _BAR_ROW_PX
        colour = plot.colour(state)
        items.append(Text(0, top + 13, plot.named(state, name_px - 6, TEXT_PX)))
        items.append(Rect(x.start, top + 4, x.end - x.start, 10, "grid", radius=2))
        items.append(Rect(x.start, top + 4, x(scores[state]) - x.start, 10, colour, radius=2))
        items.append(Text(x.end + 6, top + 13, f"{scores[state]:.3f}"))
        level = event.change.thresholds.get(state)
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
