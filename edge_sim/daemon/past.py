"""The picture of an event of days ago, from what is kept of every change of state."""

from __future__ import annotations

from edge_sim.config import Config
from edge_sim.daemon.records import explanations_path
from edge_sim.enrolment import EnrolmentCandidate
from edge_sim.errors import CommandError, DataError
from edge_sim.events import unix_time_s
from edge_sim.explaining import find_explanation
from edge_sim.imaging import decode
from edge_sim.sinks.remote import Teach


def picture_of_event(config: Config, command: Teach) -> EnrolmentCandidate:
    """Return the region as it was at the event that `command` names.

    Pictures are kept only with `explanations.pictures`, at most 256 pixels wide, as JPEG.

    Raises:
        CommandError: There is no such event of this watch, or no picture of it.
    """
    wanted = command.event_id or ""
    path = explanations_path(config)
    if path is None:
        raise CommandError(
            f"no picture of the event {wanted} is kept: explanations.path is null, or the outbox "
            "is in memory"
        )
    try:
        kept = find_explanation([path], wanted)
    except DataError as error:
        raise CommandError(f"no picture of the event {wanted} is kept: {error}") from error
    event = kept.event
    if event.watch != command.watch:
        raise CommandError(f"the event {event.id} is of {event.watch}, not of {command.watch}")
    if kept.picture is None:
        raise CommandError(
            f"the event {event.id} at {event.at} is known, but no picture of it was kept; set "
            "explanations.pictures: true for the next one, or teach what is seen now"
        )
    try:
        pixels = decode(kept.picture)
    except ValueError as error:
        raise CommandError(f"the picture of the event {event.id} is damaged: {error}") from error
    return EnrolmentCandidate(f"event {event.id}", pixels, unix_time_s(event.at))
