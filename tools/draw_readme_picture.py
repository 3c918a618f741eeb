"""Draw the picture in the README: chart and event pictures of `edge-sim demo`, as one SVG file.

    python tools/draw_readme_picture.py

Takes them from the page that `--report` writes. Colours are written out, since some viewers of SVG
know no CSS variables.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from edge_sim.analysis.report.drawing import COLOURS

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "timeline.svg"
_EVENT_PX = 104.0
_GAP_PX = 12.0


def main() -> None:
    """Run the demo and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "timeline.html"
        command = (sys.executable, "-m", "edge_sim", "demo", "--frames", "260", "--report", report)
        subprocess.run(command, cwd=PICTURE.parent.parent, check=True, stdout=subprocess.DEVNULL)
        page = report.read_text(encoding="utf-8")
    PICTURE.write_text(picture_of(page), encoding="utf-8")
    print(f"{PICTURE.name}: {PICTURE.stat().st_size} bytes")


def picture_of(page: str) -> str:
    """Return the wide chart of a timeline page, with its event pictures in a row below."""
    chart = re.search(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*?)</svg>', page, re.DOTALL)
    if chart is None:
        raise ValueError("the page has no chart")
    width, height = float(chart[1]), float(chart[2])
    inner = re.sub(r"</?a\b[^>]*>", "", chart[3])
    patterns = re.search(r"<defs>.*?</defs>", page)
    body = (patterns[0] if patterns else "") + inner + _events(page, height + 2 * _GAP_PX)
    for name, (light, _) in COLOURS.items():
        css = name.replace("_", "-")
        body = body.replace(f'class="f-{css}"', f'fill="{light}"')
        body = body.replace(f'class="l-{css}"', f'fill="none" stroke="{light}"')
    wide, high = width + 2 * _GAP_PX, height + _EVENT_PX + 5 * _GAP_PX
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high:g}" '
        f'width="{wide:g}" height="{high:g}" font-family="sans-serif">\n'
        f'<rect width="{wide:g}" height="{high:g}" fill="#ffffff"/>\n'
        f'<g transform="translate({_GAP_PX:g} {_GAP_PX:g})">{body}</g>\n</svg>\n'
    )


def _events(page: str, top: float) -> str:
    """Return the pictures of the events in a row, each under its change."""
    row = re.compile(
        r'<td class="picture"><img src="(?P<uri>[^"]+)".*?<td class="time">(?P<time>[^<]*)<'
        r'.*?<span class="muted">(?P<before>[^<]*)</span> <b>(?P<after>[^<]*)</b>',
        re.DOTALL,
    )
    parts = []
    for place, found in enumerate(row.finditer(page)):
        left = 86.0 + place * 2 * (_EVENT_PX + _GAP_PX)
        words = f"{place + 1}: {found['before']} {found['after']}, {found['time']}"
        parts.append(
            f'<text x="{left:g}" y="{top:g}" class="f-ink" font-size="12">{words}</text>'
            f'<image x="{left:g}" y="{top + 8:g}" width="{_EVENT_PX:g}" height="{_EVENT_PX:g}" '
            f'preserveAspectRatio="xMinYMin" href="{found["uri"]}"/>'
        )
    return "".join(parts)


if __name__ == "__main__":
    main()
