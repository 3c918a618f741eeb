"""Replay of a score log: observations decided again, with the settings of the log or others."""

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
    """Settings in place of those in the log; None keeps those of the log.

    Args:
        sensitivity: 0 to 1.
        matches: Votes needed for a change.
        of: Latest votes that are counted.
        enter: Level at which every state is entered, 0 to 1.
        leave: Level below which every state is left, 0 to 1.
    """

    sensitivity: float | None = None
    matches: int | None = None
    of: int | None = None
    enter: float | None = None
    leave: float | None = None

    def applied_to(self, settings: Settings) -> Settings:
        """Return the settings with the overrides.

        Raises:
            DataError: They contradict each other.
        """
        changed = {
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
            return replace(settings, **changed)  # type: ignore[arg-type]
        except ValueError as error:
            raise DataError(f"these settings make no sense together: {error}") from error


class ReplayRun:
    """Decider of the observations of a log, with its settings or with overrides.

    Args:
        overrides: Settings to change.
    """

    def __init__(self, overrides: Overrides | None = None) -> None:
        self.overrides = overrides or Overrides()
        self.events: list[tuple[int, StateChanged]] = []
        """(number of the observation, event), in the order of the log."""
        self._deciders: dict[str, AdaptiveDecider] = {}
        self._origins: dict[str, EventOrigin] = {}

    @property
    def deciders(self) -> Mapping[str, AdaptiveDecider]:
        """Current decider of each watch."""
        return self._deciders

    def begin(self, line: DeciderLine) -> None:
        """Decide the observations of a watch as this decider from now on.

        Raises:
            DataError: The overrides contradict its settings, or the line contradicts itself.
        """
        decider = AdaptiveDecider.following(self.overrides.applied_to(line.settings))
        try:
            decider.restore(memory_of(line))
        except ValueError as error:
            raise DataError(f"the decider of {line.watch!r} makes no sense: {error}") from error
        self._deciders[line.watch] = decider
        self._origins[line.watch] = EventOrigin(
            line.device, line.source, line.watch, line.model, line.gallery_revision
        )

    def decide(self, watch: str, number: int, observation: Observation) -> StateChange | None:
        """Return the change that an observation causes; its watch has begun."""
        change = self._deciders[watch].observe(observation)
        if change is not None:
            self.events.append((number, state_changed(change, self._origins[watch])))
        return change


SHOWN_FAULTS = 10


class ReplayedEvent(msgspec.Struct, frozen=True):
    """A change, as it was or as it would be; `confidence` is null for events of the log."""

    id: str
    watch: str
    at: str
    before: str | None
    before_reason: str | None
    after: str
    reason: str | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class ReplayedObservation:
    """One observation of the log.

    Args:
        line: Line of the log.
        observation: Observation of the line, its match filled in.
        state: State reported at the time.
        changes: Changes that it causes in each run, in their order.
    """

    line: ScoreLine
    observation: Observation
    state: State
    changes: tuple[StateChange | None, ...]


@dataclass(slots=True, eq=False)
class _LogPosition:
    """Position in the log of one watch."""

    levels: Mapping[str, Level]
    state: State | None
    next_number: int
    last_match: Match | None = None


class Reading:
    """Reader of a log that gives its observations to runs and counts what is missing.

    A log with every observation of every watch since the start of its deciders gives the same
    decisions again. Counted are `missing` observations that are not in the log, `unread` ones that
    cannot be placed, `midway` deciders that had started before the log, `summaries` without the
    data of a decision, and `bad` lines with the first `faults`.

    Args:
        runs: Runs to fill, at least one.
    """

    def __init__(self, runs: Sequence[ReplayRun]) -> None:
        self._runs = tuple(runs)
        self._places: dict[str, _LogPosition] = {}
        self.logged: list[tuple[int, ReplayedEvent]] = []
        """(number of the observation, event), in the order of the log."""
        self.whole = self.summaries = self.missing = self.unread = self.midway = self.bad = 0
        self.versions: set[str] = set()
        self.faults: list[str] = []

    @property
    def watches(self) -> tuple[str, ...]:
        """Watches that have begun, in the order of the log."""
        return tuple(self._places)

    @property
    def is_exact(self) -> bool:
        """Return whether nothing is missing: the same settings then give the logged events."""
        return not (self.missing or self.unread or self.midway)

    def observations(self, lines: Iterable[Line | BadLine]) -> Iterator[ReplayedObservation]:
        """Yield every observation after the runs have decided it.

        Raises:
            DataError: The log was written by a newer edge_sim, or overrides contradict settings.
        """
        for line in lines:
            if isinstance(line, BadLine):
                self._note(f"{line.place}: {line.fault}")
            elif isinstance(line, DeciderLine):
                _check_schema(line)
                self._begin(line)
            elif isinstance(line, ScoreLine):
                _check_schema(line)
                replayed = self._observe(line)
                if replayed is not None:
                    yield replayed

    def _begin(self, line: DeciderLine) -> None:
        place = self._places.get(line.watch)
        if not line.begun:
            if place is not None and place.next_number == line.number:
                return  # the log was rotated here and continues: the runs know more than this
            self.midway += 1
        if place is not None and line.number > place.next_number:
            self.missing += line.number - place.next_number
        try:
            state = _state(line.state, line.reason)
            for run in self._runs:
                run.begin(line)
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            self._note(f"{line.watch}, before observation {line.number}: {error}")
            return
        self.versions.add(line.edge_sim)
        self._places[line.watch] = _LogPosition(line.settings.levels, state, line.number)

    def _observe(self, line: ScoreLine) -> ReplayedObservation | None:
        if line.observation is None:
            self.summaries += 1
            return None
        place = self._places.get(line.watch)
        if place is None:
            self.unread += 1
            return None
        if line.number != place.next_number:
            self.missing += max(line.number - place.next_number, 1)
            place.last_match = None
        place.next_number = line.number + 1
        observation = _filled(line, line.observation, place)
        try:
            state = _state(line.state, line.reason)
        except ValueError as error:
            self._note(f"{line.watch}, observation {line.number}: {error}")
            state = None
        if observation is None or state is None:
            self.unread += 1
            return None
        fault = fault_of(observation, place.levels)
        if fault:
            self._note(f"{line.watch}, observation {line.number}: {fault}")
            self.unread += 1
            return None
        place.last_match = observation.match
        if line.event is not None:
            event = _logged(line.event, line.watch, observation.unix_time_s, place.state, state)
            self.logged.append((line.number, event))
        place.state = state if line.event is not None else place.state
        self.whole += 1
        changes = tuple(run.decide(line.watch, line.number, observation) for run in self._runs)
        return ReplayedObservation(line, observation, state, changes)

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


MOVED_OBSERVATIONS = 15
"""Distance up to which two events for the same state count as one that moved."""


class MovedEvent(msgspec.Struct, frozen=True):
    """An event for the same state, `observations` later than it was; earlier if negative."""

    then: ReplayedEvent
    now: ReplayedEvent
    observations: int


@dataclass(frozen=True, slots=True)
class EventComparison:
    """Comparison of the logged events with those of a replay.

    Args:
        same: Events with equal id, time and states.
        moved: Events for the same state, some observations earlier or later or from another state.
        gained: Events of the replay only.
        lost: Events of the log only.
    """

    same: tuple[ReplayedEvent, ...]
    moved: tuple[MovedEvent, ...]
    gained: tuple[ReplayedEvent, ...]
    lost: tuple[ReplayedEvent, ...]

    @property
    def is_equal(self) -> bool:
        """Return whether all events are the same."""
        return not (self.moved or self.gained or self.lost)


def compared(
    logged: Sequence[tuple[int, ReplayedEvent]], decided: Sequence[tuple[int, StateChanged]]
) -> EventComparison:
    """Return which of the logged events would be the same, moved or lost, and which are new.

    Args:
        logged: Events of `Reading.logged`.
        decided: Events of `ReplayRun.events`.
    """
    known = {event.id for _, event in logged}
    made = [(number, as_replayed(event)) for number, event in decided]
    again = {event.id for _, event in made}
    same = tuple(event for _, event in made if event.id in known)
    fresh = [(number, event) for number, event in made if event.id not in known]
    moved: list[MovedEvent] = []
    lost: list[ReplayedEvent] = []
    for number, then in ((at, event) for at, event in logged if event.id not in again):
        near = [
            (abs(at - number), (at, now))
            for at, now in fresh
            if (then.watch, then.after) == (now.watch, now.after)
            and abs(at - number) <= MOVED_OBSERVATIONS
        ]
        if not near:
            lost.append(then)
            continue
        _, pair = min(near, key=itemgetter(0))
        fresh.remove(pair)
        moved.append(MovedEvent(then, pair[1], pair[0] - number))
    return EventComparison(same, tuple(moved), tuple(event for _, event in fresh), tuple(lost))


def as_replayed(event: StateChanged) -> ReplayedEvent:
    """Return an event as it is compared."""
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


OBSERVATIONS_BEFORE, OBSERVATIONS_AFTER = 60, 30
"""Observations kept around an event."""


@dataclass(slots=True, eq=False)
class _Growing:
    """An explanation whose observations after the event are still being read."""

    explanation: Explanation
    observations: list[ObservationSummary] = field(default_factory=list)

    def complete(self) -> Explanation:
        observations = (*self.explanation.observations, *self.observations)
        return msgspec.structs.replace(self.explanation, observations=observations)


def explanations(
    lines: Iterable[Line | BadLine], reading: Reading, run: ReplayRun
) -> Iterator[Explanation]:
    """Yield the explanation of every event that deciding the log again gives, in order.

    Args:
        lines: Lines of `score_log.read_lines`.
        reading: Reader whose first run is `run`; counts afterwards what the log lacks.
        run: Run with the settings of the log.

    Raises:
        DataError: The log was written by a newer edge_sim.
    """
    before: defaultdict[str, deque[ObservedState]] = defaultdict(
        lambda: deque(maxlen=OBSERVATIONS_BEFORE)
    )
    growing: dict[str, _Growing] = {}
    for replayed in reading.observations(lines):
        watch = replayed.line.watch
        decider = run.deciders[watch]
        observed = ObservedState(replayed.observation, decider.state, decider.thresholds)
        before[watch].append(observed)
        open_one = growing.get(watch)
        if open_one is not None and replayed.changes[0] is None:
            open_one.observations.append(
                summarise_observation(observed, open_one.explanation.cause)
            )
            if len(open_one.observations) >= OBSERVATIONS_AFTER:
                yield growing.pop(watch).complete()
        elif replayed.changes[0] is not None:
            if open_one is not None:
                yield open_one.complete()
            growing[watch] = _Growing(_explanation(replayed, run, tuple(before[watch])))
    yield from (item.complete() for item in growing.values())


def _explanation(
    replayed: ReplayedObservation, run: ReplayRun, observations: tuple[ObservedState, ...]
) -> Explanation:
    decider = run.deciders[replayed.line.watch]
    event = run.events[-1][1]
    bare = Explanation(
        event=event,
        cause=replayed.observation,
        settings=decider.settings,
        standing=decider.standing,
        drifts=learned(decider.snapshot().drifts),
    )
    return msgspec.structs.replace(
        bare, observations=tuple(summarise_observation(item, bare.cause) for item in observations)
    )
