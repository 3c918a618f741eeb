"""Values under the pointer: the data of a chart and the few lines of script that show them.

The page can be read without it: without a script there is no read-out, and nothing else changes.
"""

from __future__ import annotations

import msgspec

from edge_sim.report.plot import Plot
from edge_sim.report.timeline import Look, Track

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


def readout(track: Track, plot: Plot) -> str:
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


def _words(look: Look, plot: Plot) -> str:
    reason = f" ({look.state.reason.value})" if look.state.reason else ""
    parts = [plot.since(look.at_s), look.state.name + reason]
    parts += [f"{state} {score:.3f}" for state, score in sorted(look.scores.items())]
    if look.margin is not None:
        parts.append(f"margin {look.margin:.2f}")
    parts.append(f"luma {look.luma:.0f}, {look.condition}")
    if look.impediment is not None:
        parts.append(f"impeded: {look.impediment.value}")
    return " · ".join(parts)
