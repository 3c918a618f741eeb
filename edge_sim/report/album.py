"""A page of pictures in groups, as one HTML file: no network, no other file, no script."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from edge_sim.imaging import squash_into
from edge_sim.report import svg

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


def album(title: str, facts: Iterable[str], sections: Iterable[PictureRow]) -> str:
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
