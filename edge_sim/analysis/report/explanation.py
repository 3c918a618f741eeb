"""One event on a page: the words, the pictures that were compared, and the scores around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.explain import Account, origin_text, where_text
from edge_sim.analysis.report.document import Block, document, table, texts
from edge_sim.analysis.report.pages import CaptionedPicture, PictureRow, grid, track_block
from edge_sim.analysis.report.timeline import (
    Timeline,
    TimelinePoint,
    change_of,
    state_of,
)
from edge_sim.core.images import as_bgr, decode, gray
from edge_sim.core.types import BgrImage, GrayImage, UnknownReason
from edge_sim.core.vectors import SSIM_RADIUS_PX, ssim_map, ssim_planes
from edge_sim.runtime.explanations import Explanation, ObservationSummary
from edge_sim.vision.locate import drawn, locate, novelty_map

_MAP_PX = 192
_RED_BGR = (32, 0, 176)


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
    """Return the whole page as an HTML document that needs no network and no other file.

    Args:
        explanation: Explanation of the event.
        account: The same in sentences.
        references: Reference id -> pictures; missing ones are named without a picture.
    """
    at = explanation.event.at.replace("T", " ").replace("Z", " UTC")
    return document(
        f"{account.headline}, {at}",
        explanation_blocks(explanation, account, references),
        facts=[f"{at}, {where_text(explanation)}"],
        footer=origin_text(explanation),
    )


def explanation_blocks(
    explanation: Explanation, account: Account, references: Mapping[str, ReferencePicture]
) -> list[Block]:
    """Return the parts of the page: words, pictures, every state, and the time around it."""
    words = texts(
        (
            ("Why this", account.why_state),
            ("Why then", account.why_then),
            ("What would have changed it", account.what_if),
        )
    )
    compared = PictureRow("What was compared", "", _cards(explanation, references))
    blocks = [words, grid(compared)]
    if account.states:
        blocks.append(_states(account))
    return [*blocks, *map(track_block, _recorded(explanation).tracks)]


def similarity_picture(probe: GrayImage, reference: GrayImage) -> BgrImage:
    """Return a map of the difference of two (T, T) thumbnails, (192, 192, 3) uint8 BGR.

    The reference in pale grey, red laid over it where structural similarity is low: none at 1,
    all red at 0 and below.
    """
    alike = np.clip(ssim_map(ssim_planes(probe), ssim_planes(reference)), 0.0, 1.0)
    unlike = np.pad(1.0 - alike, SSIM_RADIUS_PX, mode="edge")[..., None]
    pale = 255.0 - 0.5 * (255.0 - as_bgr(reference).astype(np.float32))
    mixed = pale * (1.0 - unlike) + np.array(_RED_BGR, np.float32) * unlike
    small = np.clip(mixed + 0.5, 0.0, 255.0).astype(np.uint8)
    large = cv2.resize(small, (_MAP_PX, _MAP_PX), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large, np.uint8)


def novel_parts(picture: BgrImage, reference: BgrImage) -> BgrImage:
    """Return a picture in grey, red and framed where it shows what the reference does not."""
    return drawn(picture, novelty_map(picture, [reference]), locate(picture, [reference]))


_NOVEL_WORDS = ("What is new", "framed: parts that the nearest reference does not show")


def _cards(
    explanation: Explanation, references: Mapping[str, ReferencePicture]
) -> Iterator[CaptionedPicture]:
    probe = _decoded(explanation.thumbnail)
    seen = _decoded(explanation.picture)
    if seen is None and probe is None:
        yield _card(None, "The picture", "was not kept: set explanations.pictures to keep one")
    else:
        yield _card(probe if seen is None else seen, "The picture", "that decided")
    match = explanation.cause.match
    best = None if match is None else match.best
    for item in () if match is None else match.states:
        shown = references.get(item.reference_id)
        named = f"{item.reference_id}, cosine {item.score.cosine:.3f}"
        if shown is None:
            yield _card(None, item.state, f"{named}; not in the gallery at hand")
            continue
        yield _card(shown.picture, item.state, named)
        if probe is not None:
            unlike = similarity_picture(gray(probe), shown.thumbnail)
            ssim = "" if item.score.ssim is None else f" {item.score.ssim:.3f}"
            yield _card(unlike, f"SSIM{ssim}", f"red where the picture is unlike {item.state}")
        if item is best and seen is not None and explanation.event.reason == "novel":
            yield _card(novel_parts(seen, shown.picture), *_NOVEL_WORDS)


def _card(picture: NDArray[np.uint8] | None, title: str, words: str) -> CaptionedPicture:
    return CaptionedPicture(picture, (title, words))


def _decoded(data: bytes | None) -> BgrImage | None:
    if data is None:
        return None
    try:
        return decode(data)
    except ValueError:
        return None  # the page shows the rest without it


def _states(account: Account) -> Block:
    heads = ("state", "probability", "score", "enter", "leave", "evidence", "cosine", "SSIM")
    rows = [
        (
            row.state,
            *map(_number, (row.probability, row.score, row.enter, row.leave, row.evidence)),
            *map(_number, (row.cosine, row.ssim)),
            row.reference,
        )
        for row in account.states
    ]
    return table("Every state", (*heads, "nearest reference"), rows)


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
