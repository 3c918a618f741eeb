"""Course: what would have been decided with some settings.

Reading: the looks of a log in order, given to several courses at once.

Comparing: which events would be gained and which lost.

Explanations from a score log: the looks before and after every event, decided again.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter

import msgspec

from edge_sim.core.events import EventOrigin, StateChanged, state_changed, utc_text
from edge_sim.core.types import Match, Observation, State, StateChange, UnknownReason
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.thresholds import Level, Settings, learned
from edge_sim.errors import DataError
from edge_sim.runtime.explanations import (
    Explanation,
    ObservationSummary,
    ObservedState,
    summarise_observation,
)
from edge_sim.runtime.score_log import (
    SCHEMA,
    BadLine,
    DeciderLine,
    Line,
    ScoreLine,
    fault_of,
    memory_of,
)


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings to decide with in place of those in the log; None keeps what the log says.

    Args:
        sensitivity: 0 to 1.
        matches: Votes that a change takes.
        of: Votes that count.
        enter: Level at which every state is entered, 0 to 1.
        leave: Level below which every state is left, 0 to 1.
    """

    sensitivity: float | None = None
    matches: int | None = None
    of: int | None = None
    enter: float | None = None
    leave: float | None = None

    def granted(self, settings: Settings) -> Settings:
        """Return the settings that come of it.

        Raises:
            DataError: They contradict each other.
        """
        wanted = {
            name: value
            for name, value in (
                ("sensitivity", self.sensitivity),
                ("matches", self.matches),
                ("of", self.of),
                ("enter", self.enter),
                ("leave", self.leave),
            )
            if value is not None
        }
        try:
            return replace(settings, **wanted)  # type: ignore[arg-type]
        except ValueError as error:
            raise DataError(f"these settings make no sense together: {error}") from error


class ReplayRun:
    """Decides the looks of a log with the settings of then, or with some of them changed.

    Args:
        wish: What is changed.
    """

    def __init__(self, wish: Overrides | None = None) -> None:
        self.wish = wish or Overrides()
        self.events: list[tuple[int, StateChanged]] = []
        """(number of the look, event), in the order of the log."""
        self._deciders: dict[str, AdaptiveDecider] = {}
        self._origins: dict[str, EventOrigin] = {}

    @property
    def deciders(self) -> Mapping[str, AdaptiveDecider]:
        """In force now, per watch."""
        return self._deciders

    def begin(self, line: DeciderLine) -> None:
        """Decide the looks of a watch as this decider from now on.

        Raises:
            DataError: The wish does not go with its settings, or the line contradicts itself.
        """
        decider = AdaptiveDecider.following(self.wish.granted(line.settings))
        try:
            decider.restore(memory_of(line))
        except ValueError as error:
            raise DataError(f"the decider of {line.watch!r} makes no sense: {error}") from error
        self._deciders[line.watch] = decider
        self._origins[line.watch] = EventOrigin(
            line.device, line.source, line.watch, line.model, line.gallery_revision
        )

    def decide(self, watch: str, look: int, observation: Observation) -> StateChange | None:
        """Return the change that a look gives; its watch has begun."""
        change = self._deciders[watch].observe(observation)
        if change is not None:
            self.events.append((look, state_changed(change, self._origins[watch])))
        return change


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


MOVED_LOOKS = 15
"""An event for the same state that comes up to so many looks earlier or later is the same one."""


class MovedEvent(msgspec.Struct, frozen=True):
    """An event for the same state, `looks` later than it was; earlier if negative."""

    then: ReplayedEvent
    now: ReplayedEvent
    looks: int


@dataclass(frozen=True, slots=True)
class EventComparison:
    """What was decided at the time, held against what would be decided.

    Args:
        same: Events that would be the very same: id, moment and states.
        moved: Events for the same state, some looks earlier or later or from another state.
        gained: Events that there would be more.
        lost: Events that there would not be.
    """

    same: tuple[ReplayedEvent, ...]
    moved: tuple[MovedEvent, ...]
    gained: tuple[ReplayedEvent, ...]
    lost: tuple[ReplayedEvent, ...]

    @property
    def is_equal(self) -> bool:
        """Whether everything would be as it was."""
        return not (self.moved or self.gained or self.lost)


def compared(
    logged: Sequence[tuple[int, ReplayedEvent]], decided: Sequence[tuple[int, StateChanged]]
) -> EventComparison:
    """Return which of the logged events would be the same, moved or lost, and which are new.

    Args:
        logged: From `Reading.logged`.
        decided: From `ReplayRun.events`.
    """
    known = {event.id for _, event in logged}
    made = [(look, as_replayed(event)) for look, event in decided]
    again = {event.id for _, event in made}
    same = tuple(event for _, event in made if event.id in known)
    fresh = [(look, event) for look, event in made if event.id not in known]
    moved: list[MovedEvent] = []
    lost: list[ReplayedEvent] = []
    for look, then in ((look, event) for look, event in logged if event.id not in again):
        near = [
            (abs(at - look), (at, now))
            for at, now in fresh
            if (then.watch, then.after) == (now.watch, now.after) and abs(at - look) <= MOVED_LOOKS
        ]
        if not near:
            lost.append(then)
            continue
        _, pair = min(near, key=itemgetter(0))
        fresh.remove(pair)
        moved.append(MovedEvent(then, pair[1], pair[0] - look))
    return EventComparison(same, tuple(moved), tuple(event for _, event in fresh), tuple(lost))


def as_replayed(event: StateChanged) -> ReplayedEvent:
    """Return what a comparison says of an event."""
    return ReplayedEvent(
        id=event.id,
        watch=event.watch,
        at=event.at,
        before=event.before,
        before_reason=event.before_reason,
        after=event.after,
        reason=event.reason,
        confidence=event.confidence,
    )


LOOKS_BEFORE, LOOKS_AFTER = 60, 30
"""Of an event, kept around it."""


@dataclass(slots=True, eq=False)
class _Growing:
    """An explanation whose looks after the event are still being read."""

    explanation: Explanation
    looks: list[ObservationSummary] = field(default_factory=list)

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
            open_one.looks.append(summarise_observation(look, open_one.explanation.cause))
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
    return msgspec.structs.replace(
        bare, looks=tuple(summarise_observation(look, bare.cause) for look in looks)
    )
