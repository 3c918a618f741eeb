"""A page of pictures in groups, as one HTML file: no network, no other file, no script.

Values under the pointer: the data of a chart and the few lines of script that show them.

The page can be read without it: without a script there is no read-out, and nothing else changes.

The report as one HTML file: no network, no other file, and no script needed to read it.

The report as one picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.report import raster, svg
from edge_sim.analysis.report.chart import bars, chart, rows, states_of
from edge_sim.analysis.report.drawing import (
    Drawing,
    Item,
    Text,
    colours_of,
    fitted,
    padded,
    stacked,
    text_width,
)
from edge_sim.analysis.report.lanes import Plot, Scope, clock_text, plot_of, scope_of
from edge_sim.analysis.report.timeline import (
    NO_LOOKS,
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
from edge_sim.core.types import BgrImage

_SIDE_PX = 180
"""Longer side of a picture on the page; drawn at up to 150, so that it stays sharp."""
_LAYOUT = """
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 28px 48px}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .2rem;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:0 0 .2rem;overflow-wrap:anywhere}
p{margin:.2rem 0;overflow-wrap:anywhere} .muted,figcaption{color:var(--muted)}
section{border-top:1px solid var(--grid);margin-top:1.2rem;padding-top:1rem}
ul{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:14px;
list-style:none;margin:.6rem 0 0;padding:0}
li{min-width:0} figure{margin:0;padding:8px;border:2px solid transparent;border-radius:8px;
background:var(--panel);height:100%} li.marked figure{border-color:var(--state2)}
figure img,.none{display:block;width:100%;height:120px;object-fit:contain}
.none{display:grid;place-items:center;color:var(--muted)}
figcaption{font-size:.8rem;line-height:1.35;margin-top:6px;overflow-wrap:anywhere;
font-variant-numeric:tabular-nums} figcaption b{color:var(--ink)}
@media print{main{max-width:none;padding:0} li,section h2{break-inside:avoid}}
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
    """A row of cards under a heading; the cards are asked for when the page is written."""

    heading: str
    note: str
    cards: Iterable[CaptionedPicture]


def image_grid(title: str, facts: Iterable[str], sections: Iterable[PictureRow]) -> str:
    """Return the whole page as an HTML document.

    Args:
        title: Of the page.
        facts: Lines under the title.
        sections: In order.
    """
    head = "".join(f'<p class="muted">{escape(fact)}</p>' for fact in facts)
    body = "\n".join(_section(section) for section in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{svg.style_sheet()}\n{_LAYOUT}</style>\n"
        f"</head>\n<body>\n<main>\n<header><h1>{escape(title)}</h1>{head}</header>\n{body}\n"
        "</main>\n</body>\n</html>\n"
    )


def _section(section: PictureRow) -> str:
    note = f'<p class="muted">{escape(section.note)}</p>' if section.note else ""
    cards = "\n".join(_card(card) for card in section.cards)
    return f"<section>\n<h2>{escape(section.heading)}</h2>{note}\n<ul>\n{cards}\n</ul>\n</section>"


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


_MOST_LOOKS = 1000  # about one per pixel of a wide chart

SCRIPT = """
for (const box of document.querySelectorAll('section')) {
  const source = box.querySelector('script[type="application/json"]');
  const line = box.querySelector('.readout');
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

STYLE = """
.readout{min-height:1.5em;margin:.4rem 0 0;font-size:.87rem;font-variant-numeric:tabular-nums;
color:var(--muted)}
.cursor{stroke:var(--ink);stroke-width:1;visibility:hidden;pointer-events:none}
@media print{.readout{display:none}}
"""


def tooltip(track: Track, plot: Plot) -> str:
    """Return the hidden data and the empty line that the script fills, as HTML."""
    looks = track.looks
    kept = looks[:: -(-len(looks) // _MOST_LOOKS)]
    data = {
        "end": plot.x.high - plot.x.low,
        "at": [round(look.at_s - plot.x.low, 3) for look in kept],
        "words": [_words(look, plot) for look in kept],
    }
    # Inside a script element only `<` could end it early.
    text = msgspec.json.encode(data).decode().replace("<", "\\u003c")
    return (
        f'<p class="readout" aria-live="off"></p>\n<script type="application/json">{text}</script>'
    )


def _words(look: TimelinePoint, plot: Plot) -> str:
    reason = f" ({look.state.reason.value})" if look.state.reason else ""
    parts = [plot.since(look.at_s), look.state.name + reason]
    parts += [f"{state} {score:.3f}" for state, score in sorted(look.scores.items())]
    if look.margin is not None:
        parts.append(f"margin {look.margin:.2f}")
    parts.append(f"luma {look.luma:.0f}, {look.condition}")
    if look.impediment is not None:
        parts.append(f"impeded: {look.impediment.value}")
    return " · ".join(parts)


_WIDE_PX, _NARROW_PX = 1120.0, 380.0
_LIGHT_ON_PAPER = "print-color-adjust:exact;-webkit-print-color-adjust:exact"

_PAGE_LAYOUT = f"""
*{{box-sizing:border-box}}
body{{margin:0;background:var(--page);color:var(--ink);{_LIGHT_ON_PAPER};
font:15px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}}
main{{max-width:1180px;margin:0 auto;padding:28px 28px 48px}}
h1{{font-size:1.6rem;line-height:1.2;margin:0 0 .2rem;overflow-wrap:anywhere}}
h2{{font-size:1.25rem;margin:0 0 .3rem;overflow-wrap:anywhere}}
p{{margin:.2rem 0}}
.muted,dt,th,.caption{{color:var(--muted)}}
section{{border-top:1px solid var(--grid);margin-top:1.4rem;padding-top:1.2rem}}
dl{{display:flex;flex-wrap:wrap;gap:.1rem 1.4rem;margin:0;font-size:.87rem}}
dl div{{display:flex;gap:.4rem;min-width:0}} dd{{margin:0;overflow-wrap:anywhere}}
.figures{{display:flex;flex-wrap:wrap;gap:.6rem 2rem;margin:1rem 0;padding:0;list-style:none}}
.figures b{{display:block;font-size:1.35rem;line-height:1.2;font-variant-numeric:tabular-nums}}
.caption{{font-size:.82rem}}
figure{{margin:0}} .narrow{{display:none}}
.marker{{cursor:pointer}}
table{{border-collapse:collapse;width:100%;margin-top:1.2rem;font-variant-numeric:tabular-nums}}
th{{text-align:left;font-weight:400;font-size:.82rem;padding:.2rem .8rem .2rem 0}}
td{{border-top:1px solid var(--grid);padding:.55rem .8rem .55rem 0;vertical-align:top}}
tr:target td{{background:var(--panel)}}
td img{{display:block;width:auto;height:auto;max-width:96px;max-height:96px;min-width:48px;
border-radius:3px}}
td.bars{{width:44%;padding-right:0}} td.time{{white-space:nowrap}}
.badge{{display:inline-block;min-width:1.6em;padding:0 .45em;border-radius:1em;text-align:center;
font-weight:600;font-size:.82rem}}
footer{{margin-top:1.6rem;font-size:.85rem}}
@media screen and (max-width:700px){{
main{{padding:16px 12px 32px}} .wide{{display:none}} .narrow{{display:block}}
thead{{display:none}} table,tbody{{display:block}}
tr{{display:grid;grid-template-columns:auto 1fr auto;gap:.2rem .8rem;
border-top:1px solid var(--grid);padding:.7rem 0}}
td{{border:0;padding:0}} td.picture{{grid-row:1/3;grid-column:3}}
td.change{{grid-column:2;grid-row:1}} td.time{{grid-column:2;grid-row:2}}
td.confidence{{grid-column:1/4}} td.confidence::before{{content:"confidence ";color:var(--muted)}}
td.bars{{grid-column:1/4;width:100%}}
}}
@media print{{:root,body{{font-size:11px}} main{{max-width:none;padding:0}}
tr,figure{{break-inside:avoid}} a{{color:inherit}}}}
"""

_READING = (
    "A state is entered when its score stays at or above its enter level (dashed) and left when "
    "the score falls below its leave level (dotted); the levels adapt to the light. Striped bands "
    "are times at which the watch said unknown, with the reason. The margin is the lead of the "
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
    body = "\n".join(sections) if sections else f"<section><p>{escape(NO_LOOKS)}</p></section>"
    when = f'<p class="muted">edge_sim timeline, started {escape(started)}</p>' if started else ""
    reading = f'<footer class="muted"><p>{escape(_READING)}</p></footer>' if started else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>\n{svg.style_sheet()}\n{_PAGE_LAYOUT}{STYLE}</style>\n</head>\n<body>\n"
        f"{svg.shared_patterns()}\n<main>\n<header><h1>{escape(title)}</h1>{when}</header>\n"
        f"{body}\n{reading}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _page_section(track: Track, scope: Scope, truth: TrueStates, anchor: str) -> str:
    described = "".join(
        f"<div><dt>{escape(word)}</dt><dd>{escape(value)}</dd></div>"
        for word, value in facts(track)
    )
    head = f"<section>\n<h2>{escape(track.watch)}</h2>\n<dl>{described}</dl>\n"
    if not track.looks:
        return f"{head}<p>{escape(NO_LOOKS)}</p>\n</section>"
    numbers = "".join(
        f'<li><b>{escape(figure)}</b><span class="caption">{escape(caption)}</span></li>'
        for figure, caption in figures(track, summarise(track, truth))
    )
    inks = colours_of(states_of(track, truth))
    charts = "\n".join(
        _figure(
            name,
            chart(track, scope, width=width, truth=truth, anchor=anchor),
            plot_of(width, scope, inks),
            label=f"Timeline of the watch {track.watch}",
        )
        for name, width in (("wide", _WIDE_PX), ("narrow", _NARROW_PX))
    )
    under_pointer = tooltip(track, plot_of(_WIDE_PX, scope, inks))
    table = _table(track, plot_of(_WIDE_PX, scope, inks), anchor)
    return (
        f'{head}<ul class="figures">{numbers}</ul>\n{charts}\n{under_pointer}\n{table}\n</section>'
    )


def _figure(name: str, drawing: Drawing, plot: Plot, *, label: str) -> str:
    shown = svg.render(drawing, label=label)
    place = f'data-left="{plot.x.start:.1f}" data-right="{plot.x.end:.1f}"'
    return f'<figure class="{name}" {place}>{shown}</figure>'


def _table(track: Track, plot: Plot, anchor: str) -> str:
    if not track.moments:
        return '<p class="muted">No events.</p>'
    rows = "\n".join(_row(moment, plot, anchor) for moment in track.moments)
    heads: Iterable[str] = ("#", "", "time", "change", "confidence")
    cells = "".join(f"<th>{name}</th>" for name in heads)
    rest = f'<p class="muted">{escape(left_out(track))}</p>' if left_out(track) else ""
    return (
        f"<table>\n<thead><tr>{cells}"
        "<th>score per state, with enter (thick) and leave (thin) levels</th></tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>{rest}"
    )


def _row(moment: TimelineEvent, plot: Plot, anchor: str) -> str:
    change, look = moment.change, moment.look
    colour = plot.colour(change.after.name).replace("_", "-")
    badge = (
        f'<span class="badge" style="background:var(--{colour});color:var(--on-{colour})">'
        f"{moment.number}</span>"
    )
    reason = f" ({escape(change.after.reason.value)})" if change.after.reason else ""
    before = escape(change.before.name) if change.before else "start"
    picture = ""
    if moment.picture is not None:
        alt = f"event {moment.number}"
        picture = f'<img src="{svg.data_uri(moment.picture)}" alt="{alt}">'
    label = f"scores at event {moment.number}"
    drawn = svg.render(bars(moment, plot, 460), label=label) if look.scores else ""
    return (
        f'<tr id="{anchor}-{moment.number}"><td>{badge}</td><td class="picture">{picture}</td>'
        f'<td class="time">{plot.since(look.at_s)}'
        f'<div class="caption">{clock_text(look, plot)}<br>{escape(look.condition)}</div></td>'
        f'<td class="change"><span class="muted">{before} →</span> '
        f"<b>{escape(change.after.name)}</b>{reason}</td>"
        f'<td class="confidence">{change.confidence:.2f}</td><td class="bars">{drawn}</td></tr>'
    )


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
    plot = plot_of(_INNER, scope, colours_of(states_of(track, truth)))
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
