"""Rules of a watch: allowed transitions and durations of states, and reports of their violation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from edge_sim.core.clock_steps import ClockSteps, corrected
from edge_sim.core.events import (
    EventDraft,
    StateOverdue,
    StateOverdueCleared,
    StateTooLong,
    StateTooShort,
    TransitionImplausible,
    WatchEvent,
    draft,
    utc_text,
)
from edge_sim.core.options import Name, Options, PositiveSeconds
from edge_sim.core.types import UNKNOWN, Doubt, Observation, State, StateChange


class Rules(Options, frozen=True):
    """Transitions and durations of the states of a watch; states that are not named may do
    anything.

    Args:
        allowed: State -> states that may follow it.
        min_duration_s: State -> seconds that it lasts at least.
        max_duration_s: State -> seconds after which it cannot still last.
        overdue_s: State -> seconds after which somebody wants to know.
        repeat_s: Seconds after which an overdue state is reported again; None tells once.

    Raises:
        ValueError: A duration is not above 0, or a state cannot last as long as it must.
    """

    allowed: dict[Name, tuple[Name, ...]] = msgspec.field(default_factory=dict)
    min_duration_s: dict[Name, PositiveSeconds] = msgspec.field(default_factory=dict)
    max_duration_s: dict[Name, PositiveSeconds] = msgspec.field(default_factory=dict)
    overdue_s: dict[Name, PositiveSeconds] = msgspec.field(default_factory=dict)
    repeat_s: PositiveSeconds | None = None

    def __post_init__(self) -> None:
        limits = (self.min_duration_s, self.max_duration_s, self.overdue_s)
        repeats = {} if self.repeat_s is None else {"repeat": self.repeat_s}
        for name, seconds in [item for table in (*limits, repeats) for item in table.items()]:
            if not seconds > 0.0:
                raise ValueError(f"a duration must be above 0, got {seconds} for {name}")
        for state, least_s in self.min_duration_s.items():
            if least_s > self.max_duration_s.get(state, least_s):
                raise ValueError(f"{state} cannot last {least_s} s at least and less at most")

    @property
    def states(self) -> frozenset[str]:
        """Every state that a rule names."""
        followers = [state for states in self.allowed.values() for state in states]
        tables = (self.allowed, self.min_duration_s, self.max_duration_s, self.overdue_s)
        return frozenset(followers).union(*tables)

    def allows(self, before: str, after: str) -> bool:
        """Return whether `after` may follow `before`."""
        followers = self.allowed.get(before)
        return followers is None or after in followers

    def is_too_short(self, state: str, lasted_s: float) -> bool:
        """Return whether `state` cannot be over after so long."""
        return lasted_s < self.min_duration_s.get(state, 0.0)


NO_RULES = Rules()


class RuleMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of a `RuleFollower`, kept over a restart.

    `in_state_s` counts only while the device was running. `overdue` is how often it was reported.
    """

    state: str | None = None
    since_unix_s: float = 0.0
    in_state_s: float = 0.0
    overdue: int = 0
    too_long: bool = False


class RuleFollower:
    """Follows how long a watch has been in its last known state.

    `unknown` interrupts nothing: as long as no other state is said, nothing tells that the last
    one was left. But nothing is reported about it either until it is said again. Time is that of
    the observations, so a clock that is set changes nothing; time that ran backwards counts as
    none.

    Args:
        rules: In force.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._now = RuleMemory()
        self._is_own = False
        self._clock = ClockSteps()
        self._last_s: float | None = None

    @property
    def is_overdue(self) -> bool:
        """Return whether a state was reported to be overdue and was not left since."""
        return self._now.overdue > 0

    @property
    def watches_overdue(self) -> bool:
        """Return whether any state can be overdue."""
        return bool(self._rules.overdue_s)

    def follow(
        self, observation: Observation, said: State, change: StateChange | None
    ) -> list[EventDraft]:
        """Return what there is to report after an observation; called once per observation, in
        time order."""
        self._pass_time(observation.captured_at_s)
        self._follow_clock(observation)
        notices: list[EventDraft] = []
        if said.name not in (UNKNOWN, self._now.state):
            notices += self._left(said.name, change)
            self._now = RuleMemory(said.name, observation.unix_time_s)
            self._is_own = True
        if said.name != UNKNOWN:
            notices += self._limits()
        return notices

    def snapshot(self) -> RuleMemory:
        """Return what to keep over a restart."""
        return self._now

    def restore(self, memory: RuleMemory) -> None:
        """Go on from there."""
        self._now, self._is_own = memory, False

    def _follow_clock(self, observation: Observation) -> None:
        """Correct the time at which the state began where the clock was set since then."""
        step_s = self._clock.step_s(observation.captured_at_s, observation.unix_time_s)
        if step_s:
            since_s = corrected(self._now.since_unix_s, step_s, is_own=self._is_own)
            self._now = msgspec.structs.replace(self._now, since_unix_s=since_s)

    def _pass_time(self, at_s: float) -> None:
        passed_s = 0.0 if self._last_s is None else max(at_s - self._last_s, 0.0)
        self._last_s = at_s
        if self._now.state is not None:
            in_state_s = self._now.in_state_s + passed_s
            self._now = msgspec.structs.replace(self._now, in_state_s=in_state_s)

    def _left(self, after: str, change: StateChange | None) -> Iterator[EventDraft]:
        now = self._now
        if now.state is None:
            return
        if now.overdue:
            yield _draft(StateOverdueCleared, now)
        doubts = () if change is None else change.doubts
        if Doubt.NOT_ALLOWED in doubts:
            yield draft(TransitionImplausible, before=now.state, after=after)
        if Doubt.TOO_SHORT in doubts:
            least_s = self._rules.min_duration_s[now.state]
            yield _draft(StateTooShort, now, after=after, limit_s=least_s)

    def _limits(self) -> Iterator[EventDraft]:
        now = self._now
        state = now.state or UNKNOWN
        most_s = self._rules.max_duration_s.get(state)
        if most_s is not None and now.in_state_s > most_s and not now.too_long:
            self._now = msgspec.structs.replace(self._now, too_long=True)
            yield _draft(StateTooLong, now, limit_s=most_s)
        limit_s = self._rules.overdue_s.get(state, math.inf)
        reported = self._times_overdue(now.in_state_s, limit_s)
        if reported == 0 < now.overdue:  # the rule was taken away, or grants more time by now
            self._now = msgspec.structs.replace(self._now, overdue=0)
            yield _draft(StateOverdueCleared, now)
        elif reported > now.overdue:
            # Of several repetitions that fell into a gap between two observations, one is reported.
            self._now = msgspec.structs.replace(self._now, overdue=reported)
            yield _draft(StateOverdue, now, limit_s=limit_s, number=reported)

    def _times_overdue(self, in_state_s: float, limit_s: float) -> int:
        beyond_s = in_state_s - limit_s
        if beyond_s < 0.0:
            return 0
        repeat_s = self._rules.repeat_s
        return 1 if repeat_s is None else 1 + int(beyond_s / repeat_s)


def _draft(kind: type[WatchEvent], now: RuleMemory, **facts: object) -> EventDraft:
    since, in_state_s = utc_text(now.since_unix_s), round(now.in_state_s, 3)
    return draft(kind, state=now.state, since=since, in_state_s=in_state_s, **facts)


class TimeInState:
    """Adds up the time between observations; time that ran backwards counts as none.

    Args:
        said: What was said before; None before anything was.
        lasted_s: For so long.
    """

    def __init__(self, said: State | None = None, lasted_s: float = 0.0) -> None:
        self._said = said
        self._lasted_s = lasted_s
        self._last_s: float | None = None

    def follow(self, said: State, at_s: float) -> float:
        """Return for how long was said what was said until this observation; called once per
        observation."""
        if self._last_s is not None:
            self._lasted_s += max(at_s - self._last_s, 0.0)
        self._last_s = at_s
        lasted_s = self._lasted_s
        if said != self._said:
            self._said, self._lasted_s = said, 0.0
        return lasted_s
