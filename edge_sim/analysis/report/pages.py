"""Blocks of a report that show a timeline or a grid of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.report.document import Block, data_uri, document
from edge_sim.analysis.report.timeline import (
    NO_OBSERVATIONS,
    Timeline,
    TimelineEvent,
    TimelinePoint,
    Track,
    TrueSpan,
    TrueStates,
    facts,
    figures,
    left_out,
    started_text,
    summarise,
    true_spans,
    wrong_spans,
)
from edge_sim.core.images import squash_into
from edge_sim.core.types import UNKNOWN, FloatMatrix

_SIDE_PX = 180
"""Longer side of a picture on the page; drawn at up to 150, so that it stays sharp."""
_MOST_POINTS = 2000  # two per pixel of a wide chart
_ELAPSED_S = 3600.0
"""Runs up to so long are read in time since their start, longer ones by the clock."""

Mark = Literal["good", "warn", "wrong"]


@dataclass(frozen=True, slots=True, eq=False)
class CaptionedPicture:
    """One picture and the lines under it.

    Args:
        picture: (H, W, 3) or (H, W) uint8, BGR or grey, of any size; None if it cannot be read.
        lines: The first is set in bold.
        mark: Meaning of a frame that sets it apart; None draws none.
    """

    picture: NDArray[np.uint8] | None
    lines: tuple[str, ...]
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class PictureRow:
    """A row of cards under a heading; the cards are made when the page is written."""

    heading: str
    note: str
    cards: Iterable[CaptionedPicture]


def image_grid(title: str, facts: Iterable[str], sections: Iterable[PictureRow]) -> str:
    """Return a page with rows of pictures as an HTML document.

    Args:
        title: Title of the page.
        facts: Lines under the title.
        sections: Rows of cards, in order.
    """
    return document(title, map(grid, sections), facts=list(facts))


def grid(row: PictureRow) -> Block:
    """Return a row of cards as a block."""
    cards = [
        {
            "picture": None if card.picture is None else data_uri(_small(card.picture)),
            "lines": card.lines,
            "mark": card.mark,
        }
        for card in row.cards
    ]
    return {"kind": "grid", "heading": row.heading, "note": row.note, "cards": cards}


def map_block(
    points: FloatMatrix, groups: NDArray[np.intp], names: Sequence[str], advice: str
) -> Block:
    """Return a map of pictures as a block, on which a lasso chooses some.

    Args:
        points: (N, 2) float32, 0 to 1.
        groups: (N) intp, -1 for a picture in no group.
        names: (N) texts by which the chosen pictures are listed.
        advice: Line under the list.
    """
    x, y = (np.round(points[:, axis].astype(np.float64), 4).tolist() for axis in (0, 1))
    return {
        "kind": "map",
        "x": x,
        "y": y,
        "groups": groups.tolist(),
        "names": names,
        "advice": advice,
    }


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    factor = _SIDE_PX / max(height, width)
    if factor >= 1.0:
        return picture
    shape = (max(1, round(height * factor)), max(1, round(width * factor)), *picture.shape[2:])
    return squash_into(picture, np.empty(shape, np.uint8))


_READING = (
    "A state is entered when its score stays at or above its enter level (dashed) and left when "
    "the score falls below its leave level (dotted); the levels adapt to the light. Striped bands "
    "are times at which the watch reported unknown, with the reason. The margin is the lead of the "
    "most probable state over the second."
)


def page(timeline: Timeline, title: str, truth: Mapping[str, TrueStates]) -> str:
    """Return the report of a run as an HTML document."""
    started = started_text(timeline)
    blocks = [track_block(track, truth.get(track.watch, ())) for track in timeline.tracks]
    if not blocks:
        blocks = [{"kind": "texts", "parts": [{"heading": "", "paragraphs": [NO_OBSERVATIONS]}]}]
    return document(
        title,
        blocks,
        facts=[f"edge_sim timeline, started {started}"] if started else [],
        footer=_READING if started else "",
    )


def track_block(track: Track, truth: TrueStates = ()) -> Block:
    """Return the record of one watch as a block; `truth` may be empty."""
    points = track.points
    head = {"kind": "timeline", "watch": track.watch, "facts": facts(track)}
    if not points:
        return {**head, "t": [], "states": [], "events": [], "nothing": NO_OBSERVATIONS}
    first = points[0]

    def clock(at_s: float) -> float:
        # Frame time never runs backwards, so it places the points; the clock dates the first.
        return round(first.unix_time_s + at_s - first.at_s, 3)

    spans = track.spans()
    true = true_spans(truth, spans[0].start_s, spans[-1].end_s)
    states = sorted({*track.states, *(item.state for item in true)} - {UNKNOWN, "transition"})
    return {
        **head,
        "figures": figures(track, summarise(track, truth)),
        "states": states,
        "elapsed": points[-1].at_s - first.at_s <= _ELAPSED_S,
        **_series(_thinned(points), states, clock),
        "spans": [
            {
                "start": clock(span.start_s),
                "end": clock(span.end_s),
                "state": span.state.name,
                "reason": None if span.state.reason is None else span.state.reason.value,
            }
            for span in spans
        ],
        "truth": [_span(item, clock) for item in true if item.state in states],
        "wrong": [_span(item, clock) for item in wrong_spans(spans, true)],
        "events": [_event(event, clock) for event in track.events],
        "left_out": left_out(track),
    }


def _thinned(points: Sequence[TimelinePoint]) -> Sequence[TimelinePoint]:
    return points[:: -(-len(points) // _MOST_POINTS)]


def _series(
    points: Sequence[TimelinePoint], states: Sequence[str], clock: Callable[[float], float]
) -> dict[str, object]:
    """Return the values of each point by name; None where a point has none."""
    ends = [*(clock(point.at_s) for point in points), clock(points[-1].at_s)]
    lights = []
    place = 0
    for light, run in groupby(points, key=lambda point: point.condition):
        start, place = place, place + len(list(run))
        lights.append({"start": ends[start], "end": ends[place], "light": light})
    levels = [(point.thresholds, point.scores) for point in points]
    return {
        "t": ends[:-1],
        "scores": {state: [_rounded(s.get(state)) for _, s in levels] for state in states},
        "enter": {
            state: [_rounded(t[state].enter) if state in t else None for t, _ in levels]
            for state in states
        },
        "leave": {
            state: [_rounded(t[state].leave) if state in t else None for t, _ in levels]
            for state in states
        },
        "margin": [_rounded(point.margin) for point in points],
        "luma": [round(point.luma, 1) for point in points],
        "lights": lights,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _span(item: TrueSpan, clock: Callable[[float], float]) -> dict[str, object]:
    return {"start": clock(item.start_s), "end": clock(item.end_s), "state": item.state}


def _event(event: TimelineEvent, clock: Callable[[float], float]) -> dict[str, object]:
    change, point = event.change, event.point
    return {
        "number": event.number,
        "at": clock(point.at_s),
        "before": None if change.before is None else change.before.name,
        "after": change.after.name,
        "reason": None if change.after.reason is None else change.after.reason.value,
        "confidence": round(change.confidence, 4),
        "scores": {state: _rounded(score) for state, score in point.scores.items()},
        "levels": {
            state: (_rounded(level.enter), _rounded(level.leave))
            for state, level in point.thresholds.items()
        },
        "light": point.condition,
        "picture": None if event.picture is None else data_uri(event.picture),
    }
