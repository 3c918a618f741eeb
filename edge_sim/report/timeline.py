"""What a run did, recorded look by look in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import (
    BgrImage,
    Observation,
    State,
    StateChange,
    Threshold,
    UnknownReason,
)
from edge_sim.events import StateChanged
from edge_sim.gallery import GallerySummary
from edge_sim.pipeline import Outcome

MAX_LOOKS = 4000
"""Looks kept per watch; above it every second one is dropped and only every second recorded."""
MAX_MOMENTS = 500
"""Events kept per watch: above it, the first and the latest half."""
MAX_PICTURES = 60
"""Event pictures kept per watch: above it, the first and the latest half."""
_PICTURE_PX = 192


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a watch adds to the lines of the picture.

    Args:
        at_s: Of the frame; never before the look before.
        unix_time_s: Of the frame.
        state: What the watch said from then on.
        scores: `Score.combined` per state; empty if the gallery is.
        thresholds: In force, per state.
        margin: Of the match; None without one.
        luma: 0 to 255.
        condition: Light regime.
        impediment: Why this look could not be decided on; None if it could.
    """

    at_s: float
    unix_time_s: float
    state: State
    scores: Mapping[str, float]
    thresholds: Mapping[str, Threshold]
    margin: float | None
    luma: float
    condition: str
    impediment: UnknownReason | None


@dataclass(frozen=True, slots=True, eq=False)
class TimelineEvent:
    """An event with the look that decided it; numbered from 1 per watch."""

    number: int
    look: Look
    change: StateChange
    picture: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class StateSpan:
    """A state and the time it was in force, in seconds of frame time."""

    start_s: float
    end_s: float
    state: State


@dataclass(slots=True, eq=False)
class Track:
    """The record of one watch; filled by `Timeline.add` and `Timeline.describe`."""

    watch: str
    source: str = ""
    model_id: str = ""
    gallery_revision: int | None = None
    references: dict[str, int] = field(default_factory=dict)
    looks_seen: int = 0
    moments_seen: int = 0
    moments: list[TimelineEvent] = field(default_factory=list)
    _plain: list[Look] = field(default_factory=list)
    _stride: int = 1
    _last_s: float | None = None

    @property
    def looks(self) -> tuple[Look, ...]:
        """Kept looks in time order, those with events included."""
        merged = [*self._plain, *(moment.look for moment in self.moments)]
        return tuple(sorted(merged, key=lambda look: look.at_s))

    @property
    def states(self) -> tuple[str, ...]:
        """Every state that was compared with or enrolled, sorted."""
        names = set(self.references)
        for look in self.looks:
            names.update(look.scores)
        return tuple(sorted(names))

    def spans(self) -> tuple[StateSpan, ...]:
        """Return what the watch said, as states with their times, without gaps."""
        looks = self.looks
        if not looks:
            return ()
        starts = [looks[0], *(new for old, new in pairwise(looks) if new.state != old.state)]
        ends = [*(look.at_s for look in starts[1:]), looks[-1].at_s]
        return tuple(
            StateSpan(look.at_s, end_s, look.state)
            for look, end_s in zip(starts, ends, strict=True)
        )

    def record(self, outcome: Outcome, crop: BgrImage | None) -> None:
        """Take one look over."""
        change = outcome.change
        picture = None if change is None else _picture(outcome, crop)
        self.record_look(_look_of(outcome), change, picture)

    def record_look(
        self, look: Look, change: StateChange | None, picture: NDArray[np.uint8] | None
    ) -> None:
        """Take one look over that is known without its probe."""
        # A source that starts over, such as a file played twice, must not draw lines backwards.
        if self._last_s is not None and look.at_s < self._last_s:
            look = replace(look, at_s=self._last_s)
        self._last_s = look.at_s
        if change is not None:
            self._keep_moment(look, change, picture)
        elif self.looks_seen % self._stride == 0:
            self._plain.append(look)
        self.looks_seen += 1
        if len(self._plain) > MAX_LOOKS:
            self._plain = self._plain[::2]
            self._stride *= 2

    def _keep_moment(
        self, look: Look, change: StateChange, picture: NDArray[np.uint8] | None
    ) -> None:
        self.moments_seen += 1
        self.moments.append(TimelineEvent(self.moments_seen, look, change, picture))
        pictured = [i for i, moment in enumerate(self.moments) if moment.picture is not None]
        if len(pictured) > MAX_PICTURES:
            middle = pictured[MAX_PICTURES // 2]
            self.moments[middle] = replace(self.moments[middle], picture=None)
        if len(self.moments) > MAX_MOMENTS:
            del self.moments[MAX_MOMENTS // 2]


class Timeline:
    """Records the outcomes of a run, to be drawn by `edge_sim.report.write`.

    Memory stays bounded however long the run is: see `MAX_LOOKS`, `MAX_MOMENTS`, `MAX_PICTURES`.
    """

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}

    @property
    def tracks(self) -> tuple[Track, ...]:
        """One per watch, in the order of their first appearance."""
        return tuple(self._tracks.values())

    def describe(self, watch: str, gallery: GallerySummary, *, source: str = "") -> None:
        """Note what a watch is compared with, for the header; the latest call counts.

        Without `source`, the one that the events name stays.
        """
        track = self._track(watch)
        track.source = source or track.source
        track.gallery_revision = gallery.revision
        track.references = dict(gallery.counts)
        track.model_id = gallery.model_id or track.model_id

    def add(
        self, outcome: Outcome, event: StateChanged | None = None, crop: BgrImage | None = None
    ) -> None:
        """Record one look.

        Args:
            outcome: Of the look; a change in it becomes a numbered event.
            event: Of that change; tells source and gallery revision where `describe` was not
                called.
            crop: The region's pixels in colour, for the picture of the event; without it the
                grey thumbnail is shown.
        """
        track = self._track(outcome.watch)
        track.model_id = outcome.probe.embedding.model_id
        if event is not None:
            track.source = event.source
            track.gallery_revision = event.gallery_revision
        track.record(outcome, crop)

    def add_look(
        self,
        watch: str,
        look: Look,
        change: StateChange | None = None,
        picture: NDArray[np.uint8] | None = None,
    ) -> None:
        """Record one look of which no outcome is at hand, as in a replay.

        Args:
            watch: Whose look it is.
            look: Its readings; `Look.at_s` is the place on the time axis.
            change: That it decided; becomes a numbered event.
            picture: (H, W, 3) or (H, W) uint8 of the event; None shows none.
        """
        self._track(watch).record_look(look, change, picture)

    def _track(self, watch: str) -> Track:
        return self._tracks.setdefault(watch, Track(watch))


def _look_of(outcome: Outcome) -> Look:
    observation = outcome.observation
    return look_of(observation, outcome.state, outcome.thresholds, observation.captured_at_s)


def look_of(
    observation: Observation, state: State, thresholds: Mapping[str, Threshold], at_s: float
) -> Look:
    """Return what an observation adds to the lines, at a place on the time axis."""
    match = observation.match
    return Look(
        at_s=at_s,
        unix_time_s=observation.unix_time_s,
        state=state,
        scores={} if match is None else {s.state: s.score.combined for s in match.states},
        thresholds=thresholds,
        margin=None if match is None else match.margin,
        luma=observation.quality.luma,
        condition=observation.condition,
        impediment=observation.impediment,
    )


def _picture(outcome: Outcome, crop: BgrImage | None) -> NDArray[np.uint8]:
    if crop is None:
        return outcome.probe.thumbnail.copy()
    height, width = crop.shape[:2]
    shrink = min(1.0, _PICTURE_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small: NDArray[np.uint8] = cv2.resize(crop, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return small
