"""A kind of event from outside, and the follower that reports it."""

from __future__ import annotations

from collections.abc import Sequence

import edge_sim
from edge_sim import events, protocols


class BrightnessRose(
    events.WatchEvent, frozen=True, kw_only=True, tag="brightness_rose", tag_field="type"
):
    """The mean grey level of a region passed a multiple of ten."""

    luma: float
    state: str


class BrightnessFollower:
    """Reports every ten grey levels that a region gains."""

    def __init__(self) -> None:
        self._tens: int | None = None

    def follow(
        self,
        look: edge_sim.Observation,
        said: edge_sim.State,
        change: protocols.StateChange | None,
    ) -> Sequence[protocols.EventDraft]:
        tens = int(look.quality.luma // 10)
        rose = self._tens is not None and tens > self._tens
        self._tens = tens
        if not rose:
            return ()
        return (events.draft(BrightnessRose, luma=round(look.quality.luma, 1), state=said.name),)


edge_sim.register_event(BrightnessRose)
edge_sim.register_follower("brightness", BrightnessFollower)
