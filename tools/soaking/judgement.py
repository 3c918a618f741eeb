"""Check of the events of a sink: none lost, none delivered twice, the last state right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_sim.core.events import StateChanged, from_json_line


def problems_of(bodies: Sequence[bytes]) -> list[str]:
    """Return the faults in the events of one sink: lost ones and repeated ones."""
    found = []
    events = list(dict.fromkeys(bodies))  # at least once: the same bytes again are no fault
    ids = [from_json_line(body).id for body in events]
    if len(set(ids)) != len(ids):
        found.append(f"{len(ids) - len(set(ids))} ids stand for two different events")
    said: dict[str, str] = {}
    for body in events:
        event = from_json_line(body)
        if not isinstance(event, StateChanged):
            continue
        if event.watch in said and event.before != said[event.watch]:
            found.append(f"{event.id}: {event.watch} was {said[event.watch]}, not {event.before}")
        said[event.watch] = event.after
    return found


def last_said(bodies: Sequence[bytes]) -> dict[str, str]:
    """Return the state of every watch after these events."""
    events = [from_json_line(body) for body in bodies]
    return {event.watch: event.after for event in events if isinstance(event, StateChanged)}


def wrong_end(bodies: Sequence[bytes], shown: Mapping[str, str]) -> list[str]:
    """Return the watches whose last event has another state than is shown."""
    said = last_said(bodies)
    return [
        f"{watch} says {said.get(watch)} at the end and shows {state}"
        for watch, state in shown.items()
        if said.get(watch) != state
    ]


def lines_of(path: Path) -> list[bytes]:
    """Return the lines of an event file and of its rotated parts, oldest first."""
    rotated = sorted(
        path.parent.glob(f"{path.name}.*"), key=lambda file: -int(file.suffix.lstrip("."))
    )
    return [
        line + b"\n" for file in (*rotated, path) for line in file.read_bytes().splitlines() if line
    ]
