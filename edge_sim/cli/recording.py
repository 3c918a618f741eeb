"""From the steps of a run to its timeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_sim.events import StateChanged

if TYPE_CHECKING:
    from edge_sim.loop import Step
    from edge_sim.pipeline import Region
    from edge_sim.report import Timeline


def record(timeline: Timeline, step: Step, regions: Mapping[str, Region]) -> None:
    """Add every look of `step`; looks with an event get their picture in colour."""
    event_of = {item.watch: item for item in step.events if isinstance(item, StateChanged)}
    for outcome in step.outcomes:
        event = event_of.get(outcome.watch)
        crop = None
        if event is not None and step.frame is not None:
            crop = regions[outcome.watch].pixels_of(step.frame.pixels)
        timeline.add(outcome, event, crop)
