"""One event on a page: the words, the pictures that were compared, and the scores around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.explain import Account, origin_text, where_text
from edge_sim.analysis.report import svg
from edge_sim.analysis.report.chart import chart
from edge_sim.analysis.report.drawing import bgr_of
from edge_sim.analysis.report.lanes import scope_of
from edge_sim.analysis.report.timeline import (
    Timeline,
    TimelinePoint,
    Track,
    change_of,
    state_of,
)
from edge_sim.core.images import as_bgr, decode, gray
from edge_sim.core.types import BgrImage, GrayImage, UnknownReason
from edge_sim.core.vectors import SSIM_RADIUS_PX, ssim_map, ssim_planes
from edge_sim.runtime.explanations import Explanation, ObservationSummary

_WIDE_PX, _NARROW_PX = 1120.0, 380.0
_MAP_PX = 192
_STYLE = """
.words{display:grid;grid-template-columns:repeat(auto-fit,minmax(260px,1fr));gap:1rem 2.5rem}
.words section{border:0;margin:0;padding:0}
.card img{display:block;width:100%;height:150px;object-fit:contain}
table{margin-top:.8rem} th,td{padding:.25rem 1.1rem .25rem 0} .scroll{overflow-x:auto}
@media print{section{break-inside:avoid}}
"""


@dataclass(frozen=True, slots=True, eq=False)
class ReferencePicture:
    """A reference picture on the page.

    Args:
        picture: (H, W, 3) uint8 BGR, as it was enrolled.
        thumbnail: (96, 96) uint8 grey, as it is compared.
    """

    picture: BgrImage
    thumbnail: GrayImage


def explanation_page(
    explanation: Explanation, account: Account, references: Mapping[str, ReferencePicture]
) -> str:
    """Return the whole page as an HTML document: no network, no other file, no script.

    Args:
        explanation: Explanation of the event.
        account: The same in sentences.
        references: Reference id -> pictures; missing ones are named without a picture.
    """
    event = explanation.event
    at = event.at.replace("T", " ").replace("Z", " UTC")
    where = f"{at}, {where_text(explanation)}"
    title = f"{account.headline}, {at}"
    body = "\n".join(
        (
            f'<header><h1>{escape(account.headline)}</h1><p class="muted">{escape(where)}</p>'
            f"</header>",
            _words(account),
            _pictures(explanation, references),
            _states(account),
            _timeline(explanation),
            f'<footer class="muted"><p>{escape(origin_text(explanation))}</p></footer>',
        )
    )
    return svg.document(title, body, style=_STYLE)


def similarity_picture(probe: GrayImage, reference: GrayImage) -> BgrImage:
    """Return a map of the difference of two (T, T) thumbnails, (192, 192, 3) uint8 BGR.

    The reference in pale grey, red laid over it where structural similarity is low: none at 1,
    all red at 0 and below.
    """
    alike = np.clip(ssim_map(ssim_planes(probe), ssim_planes(reference)), 0.0, 1.0)
    unlike = np.pad(1.0 - alike, SSIM_RADIUS_PX, mode="edge")[..., None]
    pale = 255.0 - 0.5 * (255.0 - as_bgr(reference).astype(np.float32))
    mixed = pale * (1.0 - unlike) + np.array(bgr_of("wrong"), np.float32) * unlike
    small = np.clip(mixed + 0.5, 0.0, 255.0).astype(np.uint8)
    large = cv2.resize(small, (_MAP_PX, _MAP_PX), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large, np.uint8)


def _words(account: Account) -> str:
    parts = (
        ("Why this", account.why_state),
        ("Why then", account.why_then),
        ("What would have changed it", account.what_if),
    )
    sections = "".join(
        f"<section><h2>{title}</h2>{''.join(f'<p>{escape(text)}</p>' for text in sentences)}"
        f"</section>"
        for title, sentences in parts
        if sentences
    )
    return f'<section class="words">{sections}</section>'


def _pictures(explanation: Explanation, references: Mapping[str, ReferencePicture]) -> str:
    cards = "".join(_cards(explanation, references))
    return f'<section><h2>What was compared</h2><ul class="cards">{cards}</ul></section>'


def _cards(explanation: Explanation, references: Mapping[str, ReferencePicture]) -> Iterator[str]:
    probe = _decoded(explanation.thumbnail)
    seen = _decoded(explanation.picture)
    if seen is None and probe is None:
        yield _card(None, "The picture", "was not kept: set explanations.pictures to keep one")
    else:
        yield _card(probe if seen is None else seen, "The picture", "that decided")
    match = explanation.cause.match
    for item in () if match is None else match.states:
        shown = references.get(item.reference_id)
        named = f"{item.reference_id}, cosine {item.score.cosine:.3f}"
        if shown is None:
            yield _card(None, item.state, f"{named}; not in the gallery at hand")
            continue
        yield _card(shown.picture, item.state, named)
        if probe is not None:
            drawn = similarity_picture(gray(probe), shown.thumbnail)
            ssim = "" if item.score.ssim is None else f" {item.score.ssim:.3f}"
            yield _card(drawn, f"SSIM{ssim}", f"red where the picture is unlike {item.state}")


def _card(picture: NDArray[np.uint8] | None, title: str, words: str) -> str:
    shown = ""
    if picture is not None:
        shown = f'<img src="{svg.data_uri(picture)}" alt="{escape(title)}">'
    return (
        f'<li><figure class="card">{shown}<figcaption><b>{escape(title)}</b><br>{escape(words)}'
        "</figcaption></figure></li>"
    )


def _decoded(data: bytes | None) -> BgrImage | None:
    if data is None:
        return None
    try:
        return decode(data)
    except ValueError:
        return None  # the page shows the rest without it


def _states(account: Account) -> str:
    if not account.states:
        return ""
    heads = ("state", "probability", "score", "enter", "leave", "evidence", "cosine", "SSIM")
    head = "".join(f"<th>{name}</th>" for name in (*heads, "nearest reference"))
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{escape(text)}</td>"
            for text in (
                row.state,
                *map(_number, (row.probability, row.score, row.enter, row.leave, row.evidence)),
                *map(_number, (row.cosine, row.ssim)),
                row.reference,
            )
        )
        + "</tr>"
        for row in account.states
    )
    return (
        f'<section><h2>Every state</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _timeline(explanation: Explanation) -> str:
    timeline = _recorded(explanation)
    if not timeline.tracks:
        return ""
    (track,) = timeline.tracks
    drawn = "".join(_figures(track, timeline))
    words = "the dashed line is the level to enter a state, the dotted one the level to leave it"
    return (
        f'<section><h2>Around the event</h2>{drawn}<p class="muted">Scores over time; {words}.</p>'
        f"</section>"
    )


def _figures(track: Track, timeline: Timeline) -> Iterator[str]:
    scope = scope_of(timeline)
    for name, width in (("wide", _WIDE_PX), ("narrow", _NARROW_PX)):
        drawing = chart(track, scope, width=width)
        label = f"Scores of the watch {track.watch} around the event"
        yield f'<figure class="{name}">{svg.render(drawing, label=label)}</figure>'


def _recorded(explanation: Explanation) -> Timeline:
    timeline = Timeline()
    event = explanation.event
    for point in explanation.observations:
        change = change_of(explanation) if point.decided else None
        timeline.add_observation(event.watch, _point(point), change)
    return timeline


def _point(point: ObservationSummary) -> TimelinePoint:
    return TimelinePoint(
        at_s=point.at_s,
        unix_time_s=point.unix_time_s,
        state=state_of(point.state, point.reason),
        scores=point.scores,
        thresholds=point.levels,
        margin=point.margin,
        luma=point.luma,
        condition=point.condition,
        impediment=None if point.impediment is None else UnknownReason(point.impediment),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
