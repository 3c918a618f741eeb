"""Pages with a timeline or a grid of pictures, each one HTML file that needs no other.

A few lines of script show the values under the pointer; without them only those are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.report import svg
from edge_sim.analysis.report.chart import bars, chart, states_of
from edge_sim.analysis.report.drawing import (
    Drawing,
    colours_of,
)
from edge_sim.analysis.report.lanes import Plot, Scope, clock_text, plot_of, scope_of
from edge_sim.analysis.report.timeline import (
    NO_OBSERVATIONS,
    Timeline,
    TimelineEvent,
    TimelinePoint,
    Track,
    TrueStates,
    facts,
    figures,
    left_out,
    started_text,
    summarise,
)
from edge_sim.core.images import squash_into

_SIDE_PX = 180
"""Longer side of a picture on the page; drawn at up to 150, so that it stays sharp."""
_GRID_STYLE = """
li{min-width:0} li figure{padding:8px;border:2px solid transparent;border-radius:8px;
background:var(--panel);height:100%} li.marked figure{border-color:var(--state2)}
figure img,.none{display:block;width:100%;height:120px;object-fit:contain}
.none{display:grid;place-items:center;color:var(--muted)}
@media print{li,section h2{break-inside:avoid}}
"""


@dataclass(frozen=True, slots=True, eq=False)
class CaptionedPicture:
    """One picture and the lines under it.

    Args:
        picture: (H, W, 3) or (H, W) uint8, BGR or grey, of any size; None if it cannot be read.
        lines: The first is set in bold.
        marked: Whether a frame sets it apart.
    """

    picture: NDArray[np.uint8] | None
    lines: tuple[str, ...]
    marked: bool = False


@dataclass(frozen=True, slots=True)
class PictureRow:
    """A row of cards under a heading; the cards are made when the page is written."""

    heading: str
    note: str
    cards: Iterable[CaptionedPicture]


def image_grid(title: str, facts: Iterable[str], sections: Iterable[PictureRow]) -> str:
    """Return the whole page as an HTML document.

    Args:
        title: Title of the page.
        facts: Lines under the title.
        sections: Rows of cards, in order.
    """
    head = "".join(f'<p class="muted">{escape(fact)}</p>' for fact in facts)
    body = "\n".join(_section(section) for section in sections)
    header = f"<header><h1>{escape(title)}</h1>{head}</header>"
    return svg.document(title, f"{header}\n{body}", style=_GRID_STYLE)


def _section(section: PictureRow) -> str:
    note = f'<p class="muted">{escape(section.note)}</p>' if section.note else ""
    cards = "\n".join(_card(card) for card in section.cards)
    head = f"<h2>{escape(section.heading)}</h2>{note}"
    return f'<section>\n{head}\n<ul class="cards">\n{cards}\n</ul>\n</section>'


def _card(card: CaptionedPicture) -> str:
    first, *rest = card.lines or ("",)
    shown = '<span class="none">cannot be read</span>'
    if card.picture is not None:
        shown = f'<img src="{svg.data_uri(_small(card.picture))}" alt="{escape(first)}">'
    lines = "".join(f"<br>{escape(text)}" for text in rest)
    marked = ' class="marked"' if card.marked else ""
    return (
        f"<li{marked}><figure>{shown}<figcaption><b>{escape(first)}</b>{lines}</figcaption>"
        "</figure></li>"
    )


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    factor = _SIDE_PX / max(height, width)
    if factor >= 1.0:
        return picture
    shape = (max(1, round(height * factor)), max(1, round(width * factor)), *picture.shape[2:])
    return squash_into(picture, np.empty(shape, np.uint8))


_MOST_POINTS = 1000  # about one per pixel of a wide chart

_SCRIPT = """
for (const box of document.querySelectorAll('section')) {
  const source = box.querySelector('script[type="application/json"]');
  const line = box.querySelector('.tooltip');
  if (!source || !line) continue;
  const data = JSON.parse(source.textContent);
  const hint = 'Move over the chart to read it.';
  line.textContent = hint;
  for (const figure of box.querySelectorAll('figure')) {
    const svg = figure.querySelector('svg');
    const left = +figure.dataset.left, right = +figure.dataset.right;
    const cursor = document.createElementNS('http://www.w3.org/2000/svg', 'line');
    cursor.setAttribute('class', 'cursor');
    cursor.setAttribute('y2', svg.viewBox.baseVal.height - 22);
    svg.append(cursor);
    const show = (event) => {
      const frame = svg.getBoundingClientRect();
      const x = (event.clientX - frame.left) / frame.width * svg.viewBox.baseVal.width;
      const part = Math.min(1, Math.max(0, (x - left) / (right - left)));
      const wanted = part * data.end;
      let low = 0, high = data.at.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (data.at[middle] <= wanted) low = middle; else high = middle - 1;
      }
      const place = left + Math.min(1, data.at[low] / data.end) * (right - left);
      cursor.setAttribute('x1', place);
      cursor.setAttribute('x2', place);
      cursor.style.visibility = 'visible';
      line.textContent = data.words[low];
    };
    const hide = () => { cursor.style.visibility = 'hidden'; line.textContent = hint; };
    svg.addEventListener('pointermove', show);
    svg.addEventListener('pointerdown', show);
    svg.addEventListener('pointerleave', hide);
  }
}
"""
"""Runs once, at the end of the page."""


def tooltip(track: Track, plot: Plot) -> str:
    """Return the hidden data and the empty line that the script fills, as HTML."""
    points = track.points
    kept = points[:: -(-len(points) // _MOST_POINTS)]
    data = {
        "end": plot.x.high - plot.x.low,
        "at": [round(point.at_s - plot.x.low, 3) for point in kept],
        "words": [_words(point, plot) for point in kept],
    }
    # Inside a script element only `<` could end it early.
    text = msgspec.json.encode(data).decode().replace("<", "\\u003c")
    return (
        f'<p class="tooltip" aria-live="off"></p>\n<script type="application/json">{text}</script>'
    )


def _words(point: TimelinePoint, plot: Plot) -> str:
    reason = f" ({point.state.reason.value})" if point.state.reason else ""
    parts = [plot.since(point.at_s), point.state.name + reason]
    parts += [f"{state} {score:.3f}" for state, score in sorted(point.scores.items())]
    if point.margin is not None:
        parts.append(f"margin {point.margin:.2f}")
    parts.append(f"luma {point.luma:.0f}, {point.condition}")
    if point.impediment is not None:
        parts.append(f"impeded: {point.impediment.value}")
    return " · ".join(parts)


_WIDE_PX, _NARROW_PX = 1120.0, 380.0
_TIMELINE_STYLE = """
dl{display:flex;flex-wrap:wrap;gap:.1rem 1.4rem;margin:0;font-size:.87rem}
dl div{display:flex;gap:.4rem;min-width:0} dd{margin:0;overflow-wrap:anywhere}
.figures{display:flex;flex-wrap:wrap;gap:.6rem 2rem;margin:1rem 0;padding:0;list-style:none}
.figures b{display:block;font-size:1.35rem;line-height:1.2;font-variant-numeric:tabular-nums}
.caption{font-size:.82rem;color:var(--muted)} .marker{cursor:pointer}
table{width:100%;margin-top:1.2rem} th{padding:.2rem .8rem .2rem 0}
td{padding:.55rem .8rem .55rem 0;vertical-align:top} tr:target td{background:var(--panel)}
td img{display:block;width:auto;height:auto;max-width:96px;max-height:96px;min-width:48px;
border-radius:3px}
td.bars{width:44%;padding-right:0} td.time{white-space:nowrap}
.badge{display:inline-block;min-width:1.6em;padding:0 .45em;border-radius:1em;text-align:center;
font-weight:600;font-size:.82rem}
footer{margin-top:1.6rem;font-size:.85rem}
.tooltip{min-height:1.5em;margin:.4rem 0 0;font-size:.87rem;font-variant-numeric:tabular-nums;
color:var(--muted)}
.cursor{stroke:var(--ink);stroke-width:1;visibility:hidden;pointer-events:none}
@media screen and (max-width:700px){
thead{display:none} table,tbody{display:block}
tr{display:grid;grid-template-columns:auto 1fr auto;gap:.2rem .8rem;
border-top:1px solid var(--grid);padding:.7rem 0}
td{border:0;padding:0} td.picture{grid-row:1/3;grid-column:3}
td.change{grid-column:2;grid-row:1} td.time{grid-column:2;grid-row:2}
td.confidence{grid-column:1/4} td.confidence::before{content:"confidence ";color:var(--muted)}
td.bars{grid-column:1/4;width:100%}
}
@media print{:root,body{font-size:11px} tr{break-inside:avoid} a{color:inherit}
.tooltip{display:none}}
"""

_READING = (
    "A state is entered when its score stays at or above its enter level (dashed) and left when "
    "the score falls below its leave level (dotted); the levels adapt to the light. Striped bands "
    "are times at which the watch reported unknown, with the reason. The margin is the lead of the "
    "most probable state over the second."
)


def page(timeline: Timeline, title: str, truth: Mapping[str, TrueStates]) -> str:
    """Return the whole report as an HTML document."""
    scope = scope_of(timeline)
    started = started_text(timeline)
    sections = [
        _page_section(track, scope, truth.get(track.watch, ()), f"w{place}-event")
        for place, track in enumerate(timeline.tracks)
    ]
    body = "\n".join(sections) or f"<section><p>{escape(NO_OBSERVATIONS)}</p></section>"
    when = f'<p class="muted">edge_sim timeline, started {escape(started)}</p>' if started else ""
    reading = f'<footer class="muted"><p>{escape(_READING)}</p></footer>' if started else ""
    header = f"<header><h1>{escape(title)}</h1>{when}</header>"
    return svg.document(
        title, f"{header}\n{body}\n{reading}", style=_TIMELINE_STYLE, script=_SCRIPT
    )


def _page_section(track: Track, scope: Scope, truth: TrueStates, anchor: str) -> str:
    described = "".join(
        f"<div><dt>{escape(word)}</dt><dd>{escape(value)}</dd></div>"
        for word, value in facts(track)
    )
    head = f"<section>\n<h2>{escape(track.watch)}</h2>\n<dl>{described}</dl>\n"
    if not track.points:
        return f"{head}<p>{escape(NO_OBSERVATIONS)}</p>\n</section>"
    numbers = "".join(
        f'<li><b>{escape(figure)}</b><span class="caption">{escape(caption)}</span></li>'
        for figure, caption in figures(track, summarise(track, truth))
    )
    colours = colours_of(states_of(track, truth))
    charts = "\n".join(
        _figure(
            name,
            chart(track, scope, width=width, truth=truth, anchor=anchor),
            plot_of(width, scope, colours),
            label=f"Timeline of the watch {track.watch}",
        )
        for name, width in (("wide", _WIDE_PX), ("narrow", _NARROW_PX))
    )
    under_pointer = tooltip(track, plot_of(_WIDE_PX, scope, colours))
    table = _table(track, plot_of(_WIDE_PX, scope, colours), anchor)
    return (
        f'{head}<ul class="figures">{numbers}</ul>\n{charts}\n{under_pointer}\n{table}\n</section>'
    )


def _figure(name: str, drawing: Drawing, plot: Plot, *, label: str) -> str:
    shown = svg.render(drawing, label=label)
    place = f'data-left="{plot.x.start:.1f}" data-right="{plot.x.end:.1f}"'
    return f'<figure class="{name}" {place}>{shown}</figure>'


def _table(track: Track, plot: Plot, anchor: str) -> str:
    if not track.events:
        return '<p class="muted">No events.</p>'
    rows = "\n".join(_row(event, plot, anchor) for event in track.events)
    heads: Iterable[str] = ("#", "", "time", "change", "confidence")
    cells = "".join(f"<th>{name}</th>" for name in heads)
    rest = f'<p class="muted">{escape(left_out(track))}</p>' if left_out(track) else ""
    return (
        f"<table>\n<thead><tr>{cells}"
        "<th>score per state, with enter (thick) and leave (thin) levels</th></tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>{rest}"
    )


def _row(event: TimelineEvent, plot: Plot, anchor: str) -> str:
    change, point = event.change, event.point
    colour = plot.colour(change.after.name).replace("_", "-")
    badge = (
        f'<span class="badge" style="background:var(--{colour});color:var(--on-{colour})">'
        f"{event.number}</span>"
    )
    reason = f" ({escape(change.after.reason.value)})" if change.after.reason else ""
    before = escape(change.before.name) if change.before else "start"
    picture = ""
    if event.picture is not None:
        alt = f"event {event.number}"
        picture = f'<img src="{svg.data_uri(event.picture)}" alt="{alt}">'
    label = f"scores at event {event.number}"
    drawn = svg.render(bars(event, plot, 460), label=label) if point.scores else ""
    return (
        f'<tr id="{anchor}-{event.number}"><td>{badge}</td><td class="picture">{picture}</td>'
        f'<td class="time">{plot.since(point.at_s)}'
        f'<div class="caption">{clock_text(point, plot)}<br>{escape(point.condition)}</div></td>'
        f'<td class="change"><span class="muted">{before} →</span> '
        f"<b>{escape(change.after.name)}</b>{reason}</td>"
        f'<td class="confidence">{change.confidence:.2f}</td><td class="bars">{drawn}</td></tr>'
    )
