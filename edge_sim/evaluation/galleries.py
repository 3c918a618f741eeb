"""Which frames of a labelled set become references."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sim.errors import DataError
from edge_sim.evaluation.seen import SeenSet
from edge_sim.evaluation.states import Protocol, draws
from edge_sim.gallery import Gallery

DAY_S = 86400.0
CLIP_REFERENCES = 8
"""Per state, for a clip that is played with references from before or beside it."""

Plan = tuple[Gallery, Sequence[int]]
"""A gallery and the rows that are played with it."""


def plans_for(clip: SeenSet, protocol: Protocol, *, beside: SeenSet | None = None) -> list[Plan]:
    """Return how a clip is played.

    With references from `beside`; or, for a clip of one state, from its own beginning; else with
    references drawn from the clip itself, the rest of which is played, once for each draw.

    Args:
        clip: To be played.
        protocol: How many references, draws and which seed.
        beside: A set of the same view.

    Raises:
        DataError: The order of the frames is not known, or there are too few.
    """
    if not clip.is_ordered:
        raise DataError(f"{clip.name}: the order of its frames is not that of shooting")
    rows = range(len(clip.probes))
    if beside is not None:
        return [(gallery_beside(clip, beside, protocol.references), rows)]
    if len(clip.states) == 1:
        picked = set(first_rows(clip, protocol.references))
        return [(clip.gallery(sorted(picked)), [row for row in rows if row not in picked])]
    return [(clip.gallery(picked), asked) for picked, asked in draws(clip, protocol)]


def first_rows(seen: SeenSet, number: int) -> tuple[int, ...]:
    """Return rows of a clip of one state: over the first day if it is dated, else the first ones.

    Raises:
        DataError: The clip has not more frames than that.
    """
    rows = seen.clean_rows
    if len(rows) <= number:
        raise DataError(
            f"{seen.name}: {len(rows)} frames, needs more than {number} to take so many "
            "references; ask for fewer with --references"
        )
    if not seen.is_dated:
        return rows[:number]
    start_s = seen.probes[rows[0]].unix_time_s
    day = [row for row in rows if seen.probes[row].unix_time_s < start_s + DAY_S]
    return spread(seen, day, number)


def spread(seen: SeenSet, rows: Sequence[int], number: int) -> tuple[int, ...]:
    """Return `number` of the rows, or all if there are fewer, evenly spread over their time."""
    if len(rows) <= number:
        return tuple(rows)
    times = np.array([seen.probes[row].unix_time_s for row in rows])
    wanted = np.linspace(times[0], times[-1], number)
    picked = sorted({int(np.argmin(np.abs(times - moment))) for moment in wanted})
    return tuple(rows[place] for place in picked)


def gallery_beside(clip: SeenSet, other: SeenSet, number: int) -> Gallery:
    """Return references for a clip from another set of the same view.

    Of each state `number` frames, spread over the day of `other` that lies nearest before or
    after the clip.

    Raises:
        DataError: One of the sets is not dated, or a state has no frame outside the clip.
    """
    if not (clip.is_dated and other.is_dated):
        raise DataError(f"{clip.name}, {other.name}: both need dates to take references beside")
    times = [probe.unix_time_s for probe in clip.probes]
    picked: list[int] = []
    for state in other.states:
        rows = other.rows_of(state)
        before = [row for row in rows if other.probes[row].unix_time_s < min(times)]
        after = [row for row in rows if other.probes[row].unix_time_s > max(times)]
        if not before and not after:
            raise DataError(f"{other.name}: the state {state!r} has no frame outside the clip")
        picked += spread(other, _nearest_day(other, before, after, clip), number)
    return other.gallery(picked)


def _nearest_day(
    other: SeenSet, before: Sequence[int], after: Sequence[int], clip: SeenSet
) -> list[int]:
    def time_of(row: int) -> float:
        return other.probes[row].unix_time_s

    start_s, end_s = clip.probes[0].unix_time_s, clip.probes[-1].unix_time_s
    is_before = bool(before) and (
        not after or start_s - time_of(before[-1]) <= time_of(after[0]) - end_s
    )
    if is_before:
        return [row for row in before if time_of(row) > time_of(before[-1]) - DAY_S]
    return [row for row in after if time_of(row) < time_of(after[0]) + DAY_S]
