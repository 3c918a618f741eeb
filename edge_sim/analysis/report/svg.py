"""A drawing as inline SVG; the colours come from the style sheet of the page around it."""

from __future__ import annotations

import base64
from html import escape

import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.report.drawing import COLOURS, Drawing, Image, Item, Polyline, Rect, Text
from edge_sim.core.images import as_bgr, encode_jpeg

_JPEG_QUALITY = 85

_FONT = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"


def render(drawing: Drawing, *, label: str) -> str:
    """Return the drawing as one `<svg>` element; `label` says to a screen reader what it shows."""
    size = f"{_number(drawing.width)} {_number(drawing.height)}"
    parts = [f'<svg viewBox="0 0 {size}" role="img" aria-label="{escape(label)}">']
    parts += [_element(item) for item in drawing.items]
    return "\n".join([*parts, "</svg>"])


def style_sheet() -> str:
    """Return the CSS that the elements refer to: one variable and two classes per ink."""
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
        f"svg text{{{_FONT};font-variant-numeric:tabular-nums}}"
        "svg polyline{fill:none;stroke-linejoin:round;stroke-linecap:butt}"
    )


def shared_patterns() -> str:
    """Return a hidden element with the stripes that hatched rectangles use; once per page."""
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
    if isinstance(item, Text):
        return _text(item)
    return _image(item)


def _rect(item: Rect) -> str:
    place = _place(item)
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


def _image(item: Image) -> str:
    return (
        f'<image {_place(item)} href="{data_uri(item.pixels)}" preserveAspectRatio="none">'
        f"<title>{escape(item.label)}</title></image>"
    )


def _place(item: Rect | Image) -> str:
    return (
        f'x="{_number(item.x)}" y="{_number(item.y)}" '
        f'width="{_number(item.width)}" height="{_number(item.height)}"'
    )


def _css(colour: str) -> str:
    return colour.replace("_", "-")


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
