"""SceneHealth: when trouble with the picture is worth reporting, and when it is over."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from edge_sim.core.clock_steps import ClockSteps, corrected
from edge_sim.core.events import (
    EventDraft,
    SceneCleared,
    SceneImpaired,
    SceneProblem,
    WatchEvent,
    draft,
    utc_text,
)
from edge_sim.core.options import Options, Seconds
from edge_sim.core.types import UNKNOWN, Observation, State, StateChange, UnknownReason

PROBLEM_OF: Mapping[UnknownReason, SceneProblem] = {
    UnknownReason.CAMERA_MOVED: SceneProblem.CAMERA_MOVED,
    UnknownReason.NO_SIGNAL: SceneProblem.NO_SIGNAL,
    UnknownReason.COVERED: SceneProblem.COVERED,
    UnknownReason.LIGHTING: SceneProblem.LIGHTING,
    UnknownReason.BLURRED: SceneProblem.DEFOCUSED,
    UnknownReason.FROZEN: SceneProblem.FROZEN,
    UnknownReason.DARK: SceneProblem.DARK,
    UnknownReason.OVEREXPOSED: SceneProblem.OVEREXPOSED,
}
USUAL = (
    SceneProblem.CAMERA_MOVED,
    SceneProblem.NO_SIGNAL,
    SceneProblem.COVERED,
    SceneProblem.DEFOCUSED,
    SceneProblem.FROZEN,
    SceneProblem.OVEREXPOSED,
    SceneProblem.REGION_MOVED,
)
"""Told by default: `dark` and `lighting` come every evening and need nobody."""
_LEAST_OBSERVATIONS = 3
_DEPTH: Mapping[SceneProblem | None, int] = {
    SceneProblem.FROZEN: 1,
    SceneProblem.CAMERA_MOVED: 2,
    SceneProblem.LIGHTING: 3,
    None: 4,
}
"""An observation says one thing, the outermost first: a dark observation does not tell whether the
camera moved. What is not named here is read from the single picture, and lies at 0."""


class ReportingPolicy(Options, frozen=True):
    """Conditions under which a problem is reported, never after fewer than 3 observations.

    Args:
        report: Problems to report.
        raise_after_s: Duration of a problem before it is reported; seconds of frame time.
        clear_after_s: Time without a problem before it is reported as over; seconds of frame time.
        min_interval_s: Least time between two reports of the same problem; seconds of frame time.

    Raises:
        ValueError: A number is negative or none.
    """

    earlier_keys: ClassVar[Mapping[str, str]] = {
        "tell": "report",
        "after_s": "raise_after_s",
        "clear_s": "clear_after_s",
        "again_s": "min_interval_s",
    }
    report: tuple[SceneProblem, ...] = USUAL
    raise_after_s: Seconds = 10.0
    clear_after_s: Seconds = 30.0
    min_interval_s: Seconds = 600.0

    def __post_init__(self) -> None:
        for name in ("raise_after_s", "clear_after_s", "min_interval_s"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


class ProblemMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A problem that was reported and is not over, or was reported not long ago (`raised` false).

    `lasted_s` and `rested_s`, since it was reported last, count only while the device was running.
    """

    problem: SceneProblem
    raised: bool
    since_unix_s: float
    lasted_s: float
    rested_s: float


@dataclass(slots=True)
class _ProblemTrack:
    """One problem: the present row of observations with it, or of observations without it."""

    raised: bool = False
    since_unix_s: float = 0.0
    is_own: bool = False
    lasted_s: float = 0.0
    bad_observations: int = 0
    good_observations: int = 0
    good_s: float = 0.0
    rested_s: float = math.inf


class SceneHealth:
    """Follows the impediments of the observations at one watch, and tells those that last.

    No flapping: a problem is reported after `raise_after_s` of observations that all show it, is
    over after `clear_after_s` of observations that all do not, and is reported again after
    `min_interval_s` at the earliest; what comes back sooner is reported then, if it still lasts.

    Args:
        policy: Conditions of a report; None takes the defaults.
    """

    def __init__(self, policy: ReportingPolicy | None = None) -> None:
        self._policy = policy or ReportingPolicy()
        self._tracks: dict[SceneProblem, _ProblemTrack] = {}
        self._clock = ClockSteps()
        self._last_s: float | None = None
        self._passed_s = 0.0
        self.region_moved = False
        """Return whether references were taken of another region than the watch observes."""
        self.reported: Mapping[SceneProblem, float] = {}
        """Problems that were reported and are not over, with the Unix time at which they began;
        replaced as a whole, so any thread may read it."""

    @property
    def can_report(self) -> bool:
        """Return whether any problem is worth reporting."""
        return bool(self._policy.report)

    def follow(
        self,
        observation: Observation,
        said: State,
        change: StateChange | None,  # noqa: ARG002
    ) -> list[EventDraft]:
        """Return what there is to report after an observation; called once per observation, in
        time order."""
        last_s, self._last_s = self._last_s, observation.captured_at_s
        self._passed_s = 0.0 if last_s is None else max(observation.captured_at_s - last_s, 0.0)
        step_s = self._clock.step_s(observation.captured_at_s, observation.unix_time_s)
        if step_s:
            self._correct(step_s)
        seen = _seen(observation, said)
        if seen is not None and seen in self._policy.report:
            self._tracks.setdefault(seen, _ProblemTrack())
        notices: list[EventDraft] = []
        for problem, track in self._tracks.items():
            track.rested_s += self._passed_s
            if problem is SceneProblem.REGION_MOVED:
                continue
            notices += self._after(problem, track, seen, observation.unix_time_s)
        notices += self._follow_region(observation.unix_time_s)
        self._tracks = {
            problem: track
            for problem, track in self._tracks.items()
            if track.raised
            or track.bad_observations
            or track.rested_s < self._policy.min_interval_s
        }
        if notices:
            self._show()
        return notices

    def snapshot(self) -> tuple[ProblemMemory, ...]:
        """Return what to keep over a restart."""
        return tuple(
            ProblemMemory(problem, track.raised, track.since_unix_s, track.lasted_s, track.rested_s)
            for problem, track in sorted(tuple(self._tracks.items()))
            if math.isfinite(track.rested_s)
        )

    def restore(self, memory: Sequence[ProblemMemory]) -> None:
        """Go on from there; of what is not worth reporting any more, only what was reported."""
        self._tracks = {
            item.problem: _ProblemTrack(
                raised=item.raised,
                since_unix_s=item.since_unix_s,
                lasted_s=item.lasted_s,
                rested_s=item.rested_s,
            )
            for item in memory
            if item.raised or item.problem in self._policy.report
        }
        self._show()

    def _correct(self, step_s: float) -> None:
        """Correct the times at which problems began: the clock was set since then."""
        for track in self._tracks.values():
            track.since_unix_s = corrected(track.since_unix_s, step_s, is_own=track.is_own)
        self._show()

    def _follow_region(self, unix_time_s: float) -> Iterator[EventDraft]:
        """Report a moved region at once: it is a fact of the configuration, and cannot flap."""
        problem = SceneProblem.REGION_MOVED
        track = self._tracks.get(problem)
        is_due = self.region_moved and problem in self._policy.report
        if track is not None and track.raised:
            track.lasted_s += self._passed_s
            if not is_due:
                track.raised = False
                yield _draft(SceneCleared, problem, track)
        elif is_due:
            track = _ProblemTrack(raised=True, since_unix_s=unix_time_s, is_own=True, rested_s=0.0)
            self._tracks[problem] = track
            yield _draft(SceneImpaired, problem, track)

    def _show(self) -> None:
        self.reported = {
            problem: track.since_unix_s for problem, track in self._tracks.items() if track.raised
        }

    def _after(
        self,
        problem: SceneProblem,
        track: _ProblemTrack,
        seen: SceneProblem | None,
        unix_time_s: float,
    ) -> Iterator[EventDraft]:
        if track.raised and problem not in self._policy.report:
            self._tracks[problem] = _ProblemTrack()  # it is not worth reporting any more
            yield _draft(SceneCleared, problem, track)
        elif seen is problem:
            yield from self._bad(problem, track, unix_time_s)
        elif _disproves(seen, problem):
            yield from self._good(problem, track)
        else:
            _hidden(track, self._passed_s)

    def _bad(
        self, problem: SceneProblem, track: _ProblemTrack, unix_time_s: float
    ) -> Iterator[EventDraft]:
        if track.raised or track.bad_observations:
            track.lasted_s += self._passed_s + track.good_s
        else:
            track.since_unix_s, track.is_own, track.lasted_s = unix_time_s, True, 0.0
        track.bad_observations += 1
        track.good_observations, track.good_s = 0, 0.0
        lasts = (
            track.bad_observations >= _LEAST_OBSERVATIONS
            and track.lasted_s >= self._policy.raise_after_s
        )
        if lasts and not track.raised and track.rested_s >= self._policy.min_interval_s:
            track.raised, track.rested_s = True, 0.0
            yield _draft(SceneImpaired, problem, track)

    def _good(self, problem: SceneProblem, track: _ProblemTrack) -> Iterator[EventDraft]:
        track.bad_observations = 0
        if track.good_observations:
            track.good_s += self._passed_s
        else:
            track.lasted_s += self._passed_s  # to the first observation without it
        track.good_observations += 1
        over = (
            track.good_observations >= _LEAST_OBSERVATIONS
            and track.good_s >= self._policy.clear_after_s
        )
        if track.raised and over:
            track.raised = False
            yield _draft(SceneCleared, problem, track)


def _draft(kind: type[WatchEvent], problem: SceneProblem, track: _ProblemTrack) -> EventDraft:
    since, lasted_s = utc_text(track.since_unix_s), round(track.lasted_s, 3)
    return draft(kind, problem=problem, since=since, lasted_s=lasted_s)


def _seen(observation: Observation, said: State) -> SceneProblem | None:
    """Return what is wrong with an observation; nothing where the watch knows better."""
    if observation.impediment is UnknownReason.CAMERA_MOVED and said.name != UNKNOWN:
        return None  # the picture is familiar: its region has no fixed background
    return None if observation.impediment is None else PROBLEM_OF.get(observation.impediment)


def _hidden(track: _ProblemTrack, passed_s: float) -> None:
    """An observation that cannot show the problem: what was reported stays, what begins begins
    anew."""
    track.lasted_s += passed_s + track.good_s
    track.bad_observations = track.good_observations = 0
    track.good_s = 0.0


def _disproves(seen: SceneProblem | None, problem: SceneProblem) -> bool:
    """Return whether an observation that shows `seen` would show `problem` instead if it were
    there."""
    deep, own = _DEPTH.get(seen, 0), _DEPTH.get(problem, 0)
    return own < deep or own == deep == 0
