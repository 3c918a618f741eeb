"""The report as one picture."""

from __future__ import annotations

from collections.abc import Mapping

from edge_sim.domain import BgrImage
from edge_sim.report import raster
from edge_sim.report.chart import chart, states_of
from edge_sim.report.drawing import Drawing, Item, Text, fitted, padded, stacked, text_width
from edge_sim.report.palette import inks_of
from edge_sim.report.plot import Scope, plot_of, scope_of
from edge_sim.report.summary import TrueStates, summarise
from edge_sim.report.table import rows
from edge_sim.report.timeline import Timeline, Track
from edge_sim.report.wording import NO_LOOKS, facts, figures, left_out, started_text

WIDTH_PX = 1600
"""Of every picture."""
_MARGIN = 28.0
_INNER = 1160.0 - 2 * _MARGIN  # logical pixels; drawn larger, so that text can be read
_MAX_ROWS = 30  # of events per watch; a taller picture is hard to open


def picture(timeline: Timeline, title: str, truth: Mapping[str, TrueStates]) -> BgrImage:
    """Return the whole report as (H, 1600, 3) uint8 BGR."""
    parts = [_header(timeline, title)]
    scope = scope_of(timeline)
    for track in timeline.tracks:
        parts += _watch(track, scope, truth.get(track.watch, ()))
    if not timeline.tracks:
        parts.append(_sentence(NO_LOOKS))
    sheet = padded(stacked(parts, 14.0), _MARGIN)
    return raster.render(sheet, WIDTH_PX / sheet.width)


def _header(timeline: Timeline, title: str) -> Drawing:
    items: list[Item] = [Text(0, 24, fitted(title, _INNER, 24), size=24, bold=True)]
    started = started_text(timeline)
    if started:
        items.append(Text(0, 46, f"edge_sim timeline, started {started}", "muted", 13))
    return Drawing(_INNER, 54, tuple(items))


def _watch(track: Track, scope: Scope, truth: TrueStates) -> list[Drawing]:
    name = Text(0, 18, fitted(track.watch, _INNER, 20), size=18, bold=True)
    heading = stacked([Drawing(_INNER, 26, (name,)), _facts(facts(track))])
    if not track.looks:
        return [heading, _sentence(NO_LOOKS)]
    plot = plot_of(_INNER, scope, inks_of(states_of(track, truth)))
    parts = [
        heading,
        _figures(figures(track, summarise(track, truth))),
        chart(track, scope, width=_INNER, truth=truth),
    ]
    if track.moments:
        parts.append(rows(plot, track.moments, _MAX_ROWS))
    if left_out(track):
        parts.append(_sentence(left_out(track)))
    return parts


def _facts(pairs: tuple[tuple[str, str], ...]) -> Drawing:
    items: list[Item] = []
    x, top = 0.0, 0.0
    for word, value in pairs:
        text = fitted(f"{word} {value}", _INNER)
        wide = text_width(text) + 12
        if x > 0 and x + wide > _INNER:
            x, top = 0.0, top + 18
        items.append(Text(x, top + 14, text, "muted"))
        x += wide
    return Drawing(_INNER, top + 20, tuple(items))


def _figures(pairs: tuple[tuple[str, str], ...]) -> Drawing:
    items: list[Item] = []
    x, top = 0.0, 0.0
    for figure, caption in pairs:
        wide = max(text_width(figure, 20), text_width(caption, 12)) + 28
        if x > 0 and x + wide > _INNER:
            x, top = 0.0, top + 52
        items.append(Text(x, top + 20, figure, size=20, bold=True))
        items.append(Text(x, top + 38, caption, "muted"))
        x += wide
    return Drawing(_INNER, top + 44, tuple(items))


def _sentence(words: str) -> Drawing:
    return Drawing(_INNER, 40, (Text(0, 24, words, "muted", 14),))
