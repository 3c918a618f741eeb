"""Explanations from a score log: the looks before and after every event, decided again."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from edge_sim.deciding import learned
from edge_sim.explaining import Explanation, ObservedState, SeenLook, seen_look
from edge_sim.replaying.course import ReplayRun
from edge_sim.replaying.reading import Reading, Seen
from edge_sim.score_log import BadLine, Line

LOOKS_BEFORE, LOOKS_AFTER = 60, 30
"""Of an event, kept around it."""


@dataclass(slots=True, eq=False)
class _Growing:
    """An explanation whose looks after the event are still being read."""

    explanation: Explanation
    looks: list[SeenLook] = field(default_factory=list)

    def whole(self) -> Explanation:
        looks = (*self.explanation.looks, *self.looks)
        return msgspec.structs.replace(self.explanation, looks=looks)


def explanations(
    lines: Iterable[Line | BadLine], reading: Reading, course: ReplayRun
) -> Iterator[Explanation]:
    """Yield the explanation of every event that deciding the log again gives, in order.

    Args:
        lines: From `score_log.read_lines`.
        reading: With `course` as its first course; tells afterwards what the log lacks.
        course: With the settings of the log.

    Raises:
        DataError: As in `Reading.looks`.
    """
    before: defaultdict[str, deque[ObservedState]] = defaultdict(lambda: deque(maxlen=LOOKS_BEFORE))
    growing: dict[str, _Growing] = {}
    for seen in reading.looks(lines):
        watch = seen.line.watch
        decider = course.deciders[watch]
        look = ObservedState(seen.observation, decider.state, decider.thresholds)
        before[watch].append(look)
        open_one = growing.get(watch)
        if open_one is not None and seen.changes[0] is None:
            open_one.looks.append(seen_look(look, open_one.explanation.cause))
            if len(open_one.looks) >= LOOKS_AFTER:
                yield growing.pop(watch).whole()
        elif seen.changes[0] is not None:
            if open_one is not None:
                yield open_one.whole()
            growing[watch] = _Growing(_explanation(seen, course, tuple(before[watch])))
    yield from (item.whole() for item in growing.values())


def _explanation(seen: Seen, course: ReplayRun, looks: tuple[ObservedState, ...]) -> Explanation:
    decider = course.deciders[seen.line.watch]
    event = course.events[-1][1]
    bare = Explanation(
        event=event,
        cause=seen.observation,
        settings=decider.settings,
        standing=decider.standing,
        drifts=learned(decider.snapshot().drifts),
    )
    return msgspec.structs.replace(bare, looks=tuple(seen_look(look, bare.cause) for look in looks))
