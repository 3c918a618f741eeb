"""Reading: the looks of a log in order, given to several courses at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from edge_sim.deciding import Level
from edge_sim.domain import Match, Observation, State, StateChange, UnknownReason
from edge_sim.errors import DataError
from edge_sim.events import utc_text
from edge_sim.replaying.course import ReplayRun
from edge_sim.score_log import BadLine, DeciderLine, Line, ScoreLine, fault_of
from edge_sim.score_log.lines import SCHEMA

SHOWN_FAULTS = 10


class ReplayedEvent(msgspec.Struct, frozen=True):
    """A change, as it was or as it would be; `confidence` is null for what only the log tells."""

    id: str
    watch: str
    at: str
    before: str | None
    before_reason: str | None
    after: str
    reason: str | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One look of the log.

    Args:
        line: As it is written.
        observation: What it was decided from, its match filled in.
        said: What the watch said then.
        changes: What each course makes of it, in their order.
    """

    line: ScoreLine
    observation: Observation
    said: State
    changes: tuple[StateChange | None, ...]


@dataclass(slots=True, eq=False)
class _LogPosition:
    """How far the looks of one watch have been read."""

    levels: Mapping[str, Level]
    said: State | None
    next_look: int
    last_match: Match | None = None


class Reading:
    """Gives the looks of a log to courses, and counts what stands between them and the truth.

    A log with every look of every watch since its deciders began decides again exactly as it was.
    What is missing is counted: `missing` looks that are not in the log, `unread` ones that cannot
    be placed, `midway` beginnings in the middle of a decider's work, `summaries` without what
    decisions are made from, `bad` lines with the first `faults`.

    Args:
        courses: At least one.
    """

    def __init__(self, courses: Sequence[ReplayRun]) -> None:
        self._courses = tuple(courses)
        self._places: dict[str, _LogPosition] = {}
        self.logged: list[tuple[int, ReplayedEvent]] = []
        """(number of the look, event), in the order of the log."""
        self.whole = self.summaries = self.missing = self.unread = self.midway = self.bad = 0
        self.versions: set[str] = set()
        self.faults: list[str] = []

    @property
    def watches(self) -> tuple[str, ...]:
        """That have begun, in the order of the log."""
        return tuple(self._places)

    @property
    def is_exact(self) -> bool:
        """Whether nothing is missing: the same settings then give the logged events."""
        return not (self.missing or self.unread or self.midway)

    def looks(self, lines: Iterable[Line | BadLine]) -> Iterator[Seen]:
        """Yield every look after the courses have decided it.

        Raises:
            DataError: The log was written by a newer edge_sim, or a wish cannot be granted.
        """
        for line in lines:
            if isinstance(line, BadLine):
                self._note(f"{line.place}: {line.fault}")
            elif isinstance(line, DeciderLine):
                _check_schema(line)
                self._begin(line)
            elif isinstance(line, ScoreLine):
                _check_schema(line)
                seen = self._look(line)
                if seen is not None:
                    yield seen

    def _begin(self, line: DeciderLine) -> None:
        place = self._places.get(line.watch)
        if not line.begun:
            if place is not None and place.next_look == line.look:
                return  # the log was put aside here and goes on: the courses know more than this
            self.midway += 1
        if place is not None and line.look > place.next_look:
            self.missing += line.look - place.next_look
        try:
            said = _state(line.state, line.reason)
            for course in self._courses:
                course.begin(line)
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            self._note(f"{line.watch}, before look {line.look}: {error}")
            return
        self.versions.add(line.edge_sim)
        self._places[line.watch] = _LogPosition(line.settings.levels, said, line.look)

    def _look(self, line: ScoreLine) -> Seen | None:
        if line.observation is None:
            self.summaries += 1
            return None
        place = self._places.get(line.watch)
        if place is None:
            self.unread += 1
            return None
        if line.look != place.next_look:
            self.missing += max(line.look - place.next_look, 1)
            place.last_match = None
        place.next_look = line.look + 1
        observation = _filled(line, line.observation, place)
        try:
            said = _state(line.state, line.reason)
        except ValueError as error:
            self._note(f"{line.watch}, look {line.look}: {error}")
            said = None
        if observation is None or said is None:
            self.unread += 1
            return None
        fault = fault_of(observation, place.levels)
        if fault:
            self._note(f"{line.watch}, look {line.look}: {fault}")
            self.unread += 1
            return None
        place.last_match = observation.match
        if line.event is not None:
            event = _logged(line.event, line.watch, observation.unix_time_s, place.said, said)
            self.logged.append((line.look, event))
        place.said = said if line.event is not None else place.said
        self.whole += 1
        changes = tuple(
            course.decide(line.watch, line.look, observation) for course in self._courses
        )
        return Seen(line, observation, said, changes)

    def _note(self, fault: str) -> None:
        self.bad += 1
        if len(self.faults) < SHOWN_FAULTS:
            self.faults.append(fault)


def _state(name: str | None, reason: str | None) -> State | None:
    if name is None:
        return None
    return State(name, None if reason is None else UnknownReason(reason))


def _filled(line: ScoreLine, observation: Observation, place: _LogPosition) -> Observation | None:
    """Return the observation with its match; None if that was in a line that is missing."""
    if not line.repeated:
        return observation
    return None if place.last_match is None else replace(observation, match=place.last_match)


def _check_schema(line: DeciderLine | ScoreLine) -> None:
    if line.schema > SCHEMA:
        raise DataError(
            f"the log was written by a newer edge_sim (schema {line.schema}, this one reads up to "
            f"{SCHEMA}); upgrade edge_sim"
        )


def _logged(
    event_id: str, watch: str, unix_time_s: float, before: State | None, after: State
) -> ReplayedEvent:
    return ReplayedEvent(
        id=event_id,
        watch=watch,
        at=utc_text(unix_time_s),
        before=before.name if before else None,
        before_reason=before.reason.value if before and before.reason else None,
        after=after.name,
        reason=after.reason.value if after.reason else None,
        confidence=None,
    )
