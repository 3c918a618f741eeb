"""Drawings as inline SVG, and the HTML document around them with its colours and layout."""

from __future__ import annotations

import base64
from html import escape

import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.report.drawing import COLOURS, Drawing, Item, Polyline, Rect, Text
from edge_sim.core.images import as_bgr, encode_jpeg

_JPEG_QUALITY = 85

_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_LAYOUT = f"""
*{{box-sizing:border-box}}
body{{margin:0;background:var(--page);color:var(--ink);font:15px/1.45 {_FONT};
print-color-adjust:exact;-webkit-print-color-adjust:exact}}
main{{max-width:1180px;margin:0 auto;padding:28px 28px 48px}}
h1{{font-size:1.6rem;line-height:1.2;margin:0 0 .2rem;overflow-wrap:anywhere}}
h2{{font-size:1.15rem;margin:0 0 .3rem;overflow-wrap:anywhere}}
p{{margin:.2rem 0;overflow-wrap:anywhere}}
.muted,figcaption,dt,th{{color:var(--muted)}}
section{{border-top:1px solid var(--grid);margin-top:1.3rem;padding-top:1.1rem}}
ul.cards{{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:14px;
list-style:none;margin:.6rem 0 0;padding:0}}
figure{{margin:0}} .narrow{{display:none}}
figcaption{{font-size:.8rem;line-height:1.35;margin-top:6px;overflow-wrap:anywhere;
font-variant-numeric:tabular-nums}} figcaption b{{color:var(--ink)}}
table{{border-collapse:collapse;font-variant-numeric:tabular-nums}}
th{{text-align:left;font-weight:400;font-size:.82rem}} td{{border-top:1px solid var(--grid)}}
@media screen and (max-width:700px){{main{{padding:16px 12px 32px}} .wide{{display:none}}
.narrow{{display:block}}}}
@media print{{main{{max-width:none;padding:0}} figure{{break-inside:avoid}}}}
"""
"""Rules that all pages share."""


def render(drawing: Drawing, *, label: str) -> str:
    """Return the drawing as one `<svg>` element; `label` says to a screen reader what it shows."""
    size = f"{_number(drawing.width)} {_number(drawing.height)}"
    parts = [f'<svg viewBox="0 0 {size}" role="img" aria-label="{escape(label)}">']
    parts += [_element(item) for item in drawing.items]
    return "\n".join([*parts, "</svg>"])


def document(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """Return a whole HTML page that needs no network and no other file.

    Args:
        title: Title of the page, not escaped yet.
        body: HTML inside `<main>`.
        style: CSS after the common rules.
        script: JavaScript that runs once, at the end of the page.
    """
    code = f"<script>{script}</script>\n" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style_sheet()}\n{_LAYOUT}{style}</style>\n"
        f"</head>\n<body>\n{_patterns()}\n<main>\n{body}\n</main>\n{code}</body>\n</html>\n"
    )


def style_sheet() -> str:
    """Return the CSS that drawings refer to: one variable and two classes per colour."""
    light = "".join(f"--{_css(colour)}:{codes[0]};" for colour, codes in COLOURS.items())
    dark = "".join(f"--{_css(colour)}:{codes[1]};" for colour, codes in COLOURS.items())
    classes = "".join(
        f".f-{_css(colour)}{{fill:var(--{_css(colour)})}}.l-{_css(colour)}{{stroke:var(--{_css(colour)})}}"
        for colour in COLOURS
    )
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f"{classes}\nsvg{{display:block;width:100%;height:auto}}"
        f"svg text{{font-family:{_FONT};font-variant-numeric:tabular-nums}}"
        "svg polyline{fill:none;stroke-linejoin:round;stroke-linecap:butt}"
    )


def _patterns() -> str:
    """Return a hidden element with the stripes that hatched rectangles use."""
    stripes = "".join(
        f'<pattern id="hatch-{_css(colour)}" width="7" height="7" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><rect width="2.2" height="7" class="f-{_css(colour)}"/>'
        "</pattern>"
        for colour in COLOURS
        if colour == "unknown" or colour.startswith("state") or colour == "wrong"
    )
    return (
        '<svg width="0" height="0" style="position:absolute" aria-hidden="true">'
        f"<defs>{stripes}</defs></svg>"
    )


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return a grey or BGR picture as a JPEG `data:` address."""
    encoded = base64.b64encode(encode_jpeg(as_bgr(pixels), _JPEG_QUALITY)).decode()
    return f"data:image/jpeg;base64,{encoded}"


def _element(item: Item) -> str:
    if isinstance(item, Rect):
        return _rect(item)
    if isinstance(item, Polyline):
        return _polyline(item)
    return _text(item)


def _rect(item: Rect) -> str:
    place = (
        f'x="{_number(item.x)}" y="{_number(item.y)}" '
        f'width="{_number(item.width)}" height="{_number(item.height)}"'
    )
    radius = f' rx="{_number(item.radius)}"' if item.radius else ""
    faint = f' opacity="{_number(item.opacity)}"' if item.opacity < 1 else ""
    if item.hatched:
        paint = f'fill="url(#hatch-{_css(item.fill)})"'
    else:
        paint = f'class="f-{_css(item.fill)}"'
    tip = f"<title>{escape(item.tip)}</title>" if item.tip else ""
    element = f"<rect {place} {paint}{radius}{faint}>{tip}</rect>"
    if item.href:
        return f'<a class="marker" href="#{escape(item.href)}">{element}</a>'
    return element


def _polyline(item: Polyline) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in item.points)
    faint = f' opacity="{_number(item.opacity)}"' if item.opacity < 1 else ""
    if item.closed:
        return f'<polygon points="{points}" class="f-{_css(item.colour)}"{faint}/>'
    dash = ""
    if item.dash is not None:
        dash = f' stroke-dasharray="{_number(item.dash[0])} {_number(item.dash[1])}"'
    return (
        f'<polyline points="{points}" class="l-{_css(item.colour)}" '
        f'stroke-width="{_number(item.width)}"{dash}{faint}/>'
    )


def _text(item: Text) -> str:
    anchor = "" if item.anchor == "start" else f' text-anchor="{item.anchor}"'
    weight = ' font-weight="600"' if item.bold else ""
    return (
        f'<text x="{_number(item.x)}" y="{_number(item.y)}" class="f-{_css(item.colour)}" '
        f'font-size="{_number(item.size)}"{anchor}{weight} pointer-events="none">'
        f"{escape(item.text)}</text>"
    )


def _css(colour: str) -> str:
    return colour.replace("_", "-")


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
