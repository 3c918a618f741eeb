"""From the steps of a run to its timeline and its score log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_sim.events import StateChanged

if TYPE_CHECKING:
    from edge_sim.loop import Step
    from edge_sim.pipeline import Region, Watch
    from edge_sim.report import Timeline
    from edge_sim.score_log import ScoreLog


def record(timeline: Timeline, step: Step, regions: Mapping[str, Region]) -> None:
    """Add every look of `step`; looks with an event get their picture in colour."""
    event_of = {item.watch: item for item in step.events if isinstance(item, StateChanged)}
    for outcome in step.outcomes:
        event = event_of.get(outcome.watch)
        crop = None
        if event is not None and step.frame is not None:
            crop = regions[outcome.watch].pixels_of(step.frame.pixels)
        timeline.add(outcome, event, crop)


def note_scores(log: ScoreLog, step: Step, watches: Mapping[str, Watch], device: str) -> None:
    """Write down every look of `step`, whole if the log takes it.

    Raises:
        DataError: The disk is full or gone.
    """
    from edge_sim.score_log import Deciding

    if step.frame is None:
        return
    for outcome in step.outcomes:
        watch = watches[outcome.watch]
        deciding = Deciding(device, step.frame.source, watch.decider)
        log.note(outcome, watch.gallery.revision, deciding)
