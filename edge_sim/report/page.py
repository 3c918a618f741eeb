"""The report as one HTML file: no network, no other file, and no script needed to read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from edge_sim.report import svg
from edge_sim.report.band_lanes import clock_text
from edge_sim.report.chart import chart, states_of
from edge_sim.report.drawing import Drawing
from edge_sim.report.palette import inks_of
from edge_sim.report.plot import Plot, Scope, plot_of, scope_of
from edge_sim.report.readout import SCRIPT, STYLE, readout
from edge_sim.report.summary import TrueStates, summarise
from edge_sim.report.table import bars
from edge_sim.report.timeline import Timeline, TimelineEvent, Track
from edge_sim.report.wording import NO_LOOKS, facts, figures, left_out, started_text

_WIDE_PX, _NARROW_PX = 1120.0, 380.0
_LIGHT_ON_PAPER = "print-color-adjust:exact;-webkit-print-color-adjust:exact"

_LAYOUT = f"""
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
        _section(track, scope, truth.get(track.watch, ()), f"w{place}-event")
        for place, track in enumerate(timeline.tracks)
    ]
    body = "\n".join(sections) if sections else f"<section><p>{escape(NO_LOOKS)}</p></section>"
    when = f'<p class="muted">edge_sim timeline, started {escape(started)}</p>' if started else ""
    reading = f'<footer class="muted"><p>{escape(_READING)}</p></footer>' if started else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>\n{svg.style_sheet()}\n{_LAYOUT}{STYLE}</style>\n</head>\n<body>\n"
        f"{svg.shared_patterns()}\n<main>\n<header><h1>{escape(title)}</h1>{when}</header>\n"
        f"{body}\n{reading}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _section(track: Track, scope: Scope, truth: TrueStates, anchor: str) -> str:
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
    inks = inks_of(states_of(track, truth))
    charts = "\n".join(
        _figure(
            name,
            chart(track, scope, width=width, truth=truth, anchor=anchor),
            plot_of(width, scope, inks),
            label=f"Timeline of the watch {track.watch}",
        )
        for name, width in (("wide", _WIDE_PX), ("narrow", _NARROW_PX))
    )
    under_pointer = readout(track, plot_of(_WIDE_PX, scope, inks))
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
    ink = plot.ink(change.after.name).replace("_", "-")
    badge = (
        f'<span class="badge" style="background:var(--{ink});color:var(--on-{ink})">'
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
