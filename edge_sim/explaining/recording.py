"""Recorder: remembers the last looks of every watch, and keeps them when one gives an event."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import cv2

from edge_sim.deciding import DecisionState, Memory, Settings, learned
from edge_sim.domain import BgrImage, GrayImage
from edge_sim.events import StateChanged
from edge_sim.explaining.records import (
    Explanation,
    ObservedState,
    present_version,
    seen_look,
)
from edge_sim.imaging import encode_jpeg
from edge_sim.pipeline import Outcome, Watch

PICTURE_PX = 256
"""Longer side of a kept picture, at most."""


@runtime_checkable
class Reasoning(Protocol):
    """A decider that says what it goes by and where it stands."""

    @property
    def settings(self) -> Settings:
        """What it goes by."""

    @property
    def standing(self) -> DecisionState:
        """Where it stood at its last look, before that decided anything."""

    def snapshot(self) -> Memory:
        """Return what it says and has learned."""


class Recorder:
    """Makes the explanation of each event from the looks before it.

    It holds `looks` small values per watch; pictures are only held while an explanation is made.

    Args:
        looks: Remembered of each watch.
        pictures: Whether explanations hold the region's picture.
        configuration: Digest of what the configuration says of a watch.
    """

    def __init__(self, *, looks: int, pictures: bool, configuration: Callable[[str], str]) -> None:
        self._most = looks
        self._pictures = pictures
        self._configuration = configuration
        self._looks: dict[str, deque[ObservedState]] = {}

    def note(
        self, watch: Watch, outcome: Outcome, event: StateChanged | None, frame: BgrImage | None
    ) -> Explanation | None:
        """Remember one look; return the explanation of the event that it gave, if it gave one.

        Args:
            watch: That looked.
            outcome: Of the look.
            event: Of the change in it; None if it changed nothing.
            frame: The whole picture, (H, W, 3) uint8 BGR; None to keep the grey thumbnail alone.
        """
        looks = self._looks.setdefault(watch.name, deque(maxlen=self._most))
        looks.append(ObservedState(outcome.observation, outcome.state, outcome.thresholds))
        if event is None:
            return None
        picture = thumbnail = None
        if self._pictures:
            thumbnail = _png(outcome.probe.thumbnail)
            picture = None if frame is None else _jpeg(watch.region.pixels_of(frame))
        decider = watch.decider
        reasons = decider if isinstance(decider, Reasoning) else None
        return Explanation(
            event=event,
            cause=outcome.observation,
            settings=reasons.settings if reasons else None,
            standing=reasons.standing if reasons else None,
            drifts=learned(reasons.snapshot().drifts) if reasons else (),
            looks=tuple(seen_look(look, outcome.observation) for look in looks),
            gallery=watch.gallery.digest,
            configuration=self._configuration(watch.name),
            edge_sim=present_version(),
            picture=picture,
            thumbnail=thumbnail,
        )


def _png(thumbnail: GrayImage) -> bytes:
    return cv2.imencode(".png", thumbnail)[1].tobytes()


def _jpeg(pixels: BgrImage) -> bytes:
    height, width = pixels.shape[:2]
    shrink = min(1.0, PICTURE_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if shrink < 1.0 else pixels
    return encode_jpeg(small.astype("uint8"), 88)
