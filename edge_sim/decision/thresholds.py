"""Levels: where the score of a state lies, learned from the gallery and followed in use.

What a decider goes by and where it stands, so that a decision can be explained and repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from edge_sim.core.types import UNKNOWN, Doubt, Match, State, Threshold, UnknownReason
from edge_sim.core.vectors import median
from edge_sim.decision.features import stacked_features
from edge_sim.decision.lights import Lights, lights_of
from edge_sim.decision.novelty import (
    NovelLevel,
    is_one_moment,
    novel_levels,
    with_calibration,
)
from edge_sim.decision.rules import NO_RULES, Rules
from edge_sim.gallery.gallery import CalibratedLevel, Gallery

ENOUGH_REFERENCES = 5
"""Below this many references of a state its level is a guess, and is reported as such."""
USUAL_CENTRE = 0.75
USUAL_SPREAD = 0.08
"""Median and robust deviation of `combined` over new pictures of a state, on ten data sets."""
USUAL_OTHERS = 0.25
"""Median of `combined` over pictures of other states."""
_PRIOR_WORTH = 3.0  # references
_LEAST_SPREAD = 0.02
FLOOR, CEILING = 0.1, 0.95
"""Bounds of the leave level: below, everything is familiar; above, noise is a novelty."""
_TOWARDS_OWN = 0.2
"""The leave level lies this part of the way from the pictures of other states to the own ones."""
_LEAST_TOWARDS_OWN = 0.1
"""However far the scores drift, by what the references say of both."""
_SPREADS = 2.6
"""And no nearer to the own ones than this many robust deviations."""
CALIBRATION_PRIOR = 40.0
"""Scores of a state that a calibration must rest on to count half. It asks for the level that the
scores at hand just keep, which new pictures do not: over ten data sets, 5 / 15 references, three
draws, taken at its word it calls 24 / 16 % of known pictures unknown, and 80 / 81 % of those of a
state left out; at 40, 1.7 / 2.2 and 15 / 19; without any, 1.3 / 1.3 and 13 / 13."""
_HYSTERESIS = 0.15  # enter lies this part of the way from the leave level to the centre
_MEMORY_OBSERVATIONS = 200.0
_FURTHEST_SHIFT = 0.2
_MAD_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Level:
    """Distribution of `Score.combined` of a state on pictures of that state.

    Args:
        centre: Median, 0 to 1.
        spread: Robust standard deviation, above 0.
        others: Median on pictures of the other states; the usual one if there are none.
        references: That it was learned from, each left out of the gallery.
        calibrated: What was calibrated for the state; None where nothing was.
        novel: Where a picture becomes too novel for the state; None where that would be a guess.
        lights: In which it has references; empty where that is not known.
    """

    centre: float
    spread: float
    others: float
    references: int
    calibrated: CalibratedLevel | None = None
    novel: NovelLevel | None = None
    lights: Lights = field(default_factory=dict)


class Drift(msgspec.Struct, frozen=True):
    """Shift of the scores of a state, in one condition, since the gallery was made.

    Args:
        shift: Shift of the centre, within +-0.2.
        spread: Robust deviation seen in use; None before the first observation.
        observations: That were learned from.
    """

    shift: float = 0.0
    spread: float | None = None
    observations: int = msgspec.field(default=0, name="looks")

    def after(self, residual: float) -> Drift:
        """Return the drift after one more observation, `residual` above the centre of the
        gallery."""
        observations = self.observations + 1
        # Slow at once: the first observations count as much as later ones, not as the whole truth.
        share = 1.0 / _MEMORY_OBSERVATIONS
        shift = self.shift + share * (residual - self.shift)
        shift = min(max(shift, -_FURTHEST_SHIFT), _FURTHEST_SHIFT)
        away = _MAD_TO_DEVIATION * abs(residual - shift)
        spread = away if self.spread is None else self.spread + share * (away - self.spread)
        return Drift(shift, spread, observations)


def levels_of(gallery: Gallery, left_out: Sequence[Match | None]) -> dict[str, Level]:
    """Return the level of every state, from the match of each reference against all the others.

    With few references everything is drawn towards what is usual.
    """
    own: dict[str, list[float]] = {state: [] for state in gallery.states}
    others: dict[str, list[float]] = {state: [] for state in gallery.states}
    own_novelty: dict[str, list[float]] = {state: [] for state in gallery.states}
    other_novelty: dict[str, list[float]] = {state: [] for state in gallery.states}
    for reference, match in zip(gallery.references, left_out, strict=True):
        for item in () if match is None else match.states:
            is_own = item.state == reference.state
            (own if is_own else others)[item.state].append(item.score.combined)
            if item.score.novelty is not None:
                (own_novelty if is_own else other_novelty)[item.state].append(item.score.novelty)
    novel = novel_levels(own_novelty, other_novelty)
    for state, level in gallery.calibrated_novelty.items():
        novel[state] = with_calibration(novel.get(state), level)
    lights = lights_of(gallery)
    return {
        state: replace(
            level_from(own[state], others[state]),
            calibrated=gallery.calibrated.get(state),
            novel=novel.get(state),
            lights=lights[state],
        )
        for state in gallery.states
    }


def states_of_one_moment(gallery: Gallery) -> tuple[str, ...]:
    """Return the states whose references, three or more, vary no more than those of one moment.

    No level of novelty can be had from them, so a picture that differs in a part is not noticed.
    """
    found = []
    for state in gallery.states:
        own = gallery.of_state(state)
        if len(own) >= _LEAST_FOR_MOMENT and is_one_moment(stacked_features(own)):
            found.append(state)
    return tuple(found)


def one_moment_text(states: Sequence[str]) -> str:
    """Return the advice on states whose references were taken in one moment."""
    return (
        f"the references of {' and '.join(states)} look as if taken in one moment, so a picture "
        f"that differs in a part only is not noticed: add some of other hours or days, in other "
        f"light and a little otherwise placed"
    )


_LEAST_FOR_MOMENT = 3


def level_from(own: Sequence[float], others: Sequence[float]) -> Level:
    """Return the level that `combined` of left-out references tells.

    Args:
        own: Scores of references of the state.
        others: Scores of references of other states against the state.
    """
    centre = median(own) if own else USUAL_CENTRE
    spread = _MAD_TO_DEVIATION * median(np.abs(np.asarray(own) - centre)) if own else 0.0
    return Level(
        centre=_drawn(centre, USUAL_CENTRE, len(own)),
        spread=max(_drawn(spread, USUAL_SPREAD, len(own)), _LEAST_SPREAD),
        others=_drawn(median(others) if others else 0.0, USUAL_OTHERS, len(others)),
        references=len(own),
    )


def strictness(sensitivity: float) -> float:
    """Return how much clearer than at sensitivity 0.5 a change must be: 2 at 0, a half at 1."""
    return float(2.0 ** (1.0 - 2.0 * sensitivity))


def threshold_of(level: Level, drift: Drift, sensitivity: float) -> Threshold:
    """Return the levels in force.

    A picture that is nearly as unlike a state as those of other states are does not belong to it:
    `leave` lies a fifth of the way from their level to the own one, and at least 2.6 robust
    deviations below the own one. Both numbers are for sensitivity 0.5; at 1 the level lies twice
    as near to the own one, at 0 half as near. A calibrated level draws both towards it, the more
    the more scores it rests on, and follows the drift with them.
    """
    spread = level.spread
    if drift.spread is not None:
        seen = drift.observations / (drift.observations + _MEMORY_OBSERVATIONS)
        spread = max((1.0 - seen) * spread + seen * drift.spread, _LEAST_SPREAD)
    factor = strictness(sensitivity)
    centre = level.centre + drift.shift
    between = level.others + _TOWARDS_OWN / factor * (centre - level.others)
    leave = min(between, centre - _SPREADS * factor * spread)
    if drift.observations:
        floor = level.others + _LEAST_TOWARDS_OWN / factor * (level.centre - level.others)
        unmoved = level.centre - _SPREADS * factor * level.spread
        leave = max(leave, min(floor, unmoved))
    if level.calibrated is not None:
        worth = level.calibrated.same / (level.calibrated.same + CALIBRATION_PRIOR)
        asked = centre - factor * (level.centre - level.calibrated.threshold)
        # The calibrated level is the one to enter at; `leave` lies below it as always.
        below = (asked - _HYSTERESIS * max(centre, asked)) / (1.0 - _HYSTERESIS)
        leave = worth * below + (1.0 - worth) * leave
    leave = min(max(leave, FLOOR), CEILING)
    enter = leave + _HYSTERESIS * max(centre - leave, 0.0)
    return Threshold(enter=min(enter, 1.0), leave=leave)


def _drawn(value: float, usual: float, number: int) -> float:
    weight = number / (number + _PRIOR_WORTH)
    return weight * value + (1.0 - weight) * usual


class LearnedDrift(msgspec.Struct, frozen=True):
    """Shift of the scores of a state in one condition, as it is written."""

    state: str
    condition: str
    drift: Drift


def learned(drifts: Mapping[tuple[str, str], Drift]) -> tuple[LearnedDrift, ...]:
    """Return drifts per state and condition as they are written."""
    return tuple(LearnedDrift(*key, drift) for key, drift in sorted(drifts.items()))


def drifts_of(items: Iterable[LearnedDrift]) -> dict[tuple[str, str], Drift]:
    """Return written drifts per state and condition."""
    return {(item.state, item.condition): item.drift for item in items}


@dataclass(frozen=True, slots=True)
class Memory:
    """Learned drift and last state of a decider, kept over a restart.

    Args:
        state: That it says; None before the first decision.
        reason: Reason of `unknown`; None otherwise.
        drifts: (state, condition) -> drift.
    """

    state: str | None = None
    reason: str | None = None
    drifts: Mapping[tuple[str, str], Drift] = field(default_factory=dict)


_UNLIKE = frozenset(
    {
        UnknownReason.NOVEL,
        UnknownReason.AMBIGUOUS,
        UnknownReason.UNTAUGHT_LIGHT,
        UnknownReason.CAMERA_MOVED,
    }
)

_NO_DRIFT = Drift()
MARGIN = 0.2
"""Least lead of the best state over the runner-up, in probability, at sensitivity 0.5."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Complete configuration of a decider; equal settings give equal decisions.

    Args:
        levels: What the gallery says of the scores of each state.
        sensitivity: 0 to 1; 0.5 is the calibrated point, higher reports weaker changes.
        matches: Votes that a change takes.
        of: Votes that count; at least `matches`.
        enter: Level at which every state is entered, 0 to 1, whatever the gallery says; None lets
            it adapt, never below a fixed `leave`.
        leave: Level below which every state is left, 0 to 1; None lets it adapt, never above a
            fixed `enter`.
        rules: Which changes are implausible.

    Raises:
        ValueError: A number is out of range, or `leave` lies above `enter`.
    """

    levels: Mapping[str, Level] = field(default_factory=dict)
    sensitivity: float = 0.5
    matches: int = 3
    of: int = 5
    enter: float | None = None
    leave: float | None = None
    rules: Rules = NO_RULES

    def __post_init__(self) -> None:
        if not 0.0 <= self.sensitivity <= 1.0:
            raise ValueError(f"sensitivity must be 0 to 1, got {self.sensitivity}")
        if not 1 <= self.matches <= self.of <= sys.maxsize:  # what a row of votes can hold
            raise ValueError(
                f"confirmation needs 1 <= matches <= of, got {self.matches} of {self.of}"
            )
        for name, level in (("enter", self.enter), ("leave", self.leave)):
            if level is not None and not 0.0 <= level <= 1.0:
                raise ValueError(f"{name} must be 0 to 1, got {level}")
        if self.enter is not None and self.leave is not None and self.leave > self.enter:
            raise ValueError(f"leave {self.leave} lies above enter {self.enter}")

    def margin_needed(self, *, stays: bool) -> float:
        """Return the least lead over the runner-up, 0 to 0.9; half as much to stay as to come.

        A state is not left because it became a little unclear.
        """
        return min(MARGIN * strictness(self.sensitivity), 0.9) * (0.5 if stays else 1.0)

    def thresholds(
        self, drifts: Mapping[tuple[str, str], Drift], condition: str
    ) -> dict[str, Threshold]:
        """Return the levels in force in a condition, per state.

        Args:
            drifts: (state, condition) -> what was learned since the gallery was made.
            condition: Light regime of the observation.
        """
        return {
            state: self.imposed_on(
                threshold_of(level, drifts.get((state, condition), _NO_DRIFT), self.sensitivity)
            )
            for state, level in self.levels.items()
        }

    def imposed_on(self, adapted: Threshold) -> Threshold:
        """Return the threshold with the levels that are fixed; the other one gives way to them."""
        if self.enter is None and self.leave is None:
            return adapted
        enter = adapted.enter if self.enter is None else self.enter
        leave = adapted.leave if self.leave is None else self.leave
        if self.enter is None:
            return Threshold(max(enter, leave), leave)
        return Threshold(enter, min(leave, enter))


@dataclass(frozen=True, slots=True)
class Vote:
    """Vote of one observation.

    Args:
        state: A state, or `unknown` with the reason.
        probability: Probability of the state, 0 to 1; 0 for `unknown`.
        is_partial: Whether the picture as a whole is familiar and only a part of it is novel.
    """

    state: State
    probability: float
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class DecisionState:
    """State of the decision at the last observation, before it decided anything.

    Args:
        votes: That count, the oldest first; the last one is of this very observation.
        evidence: Sum of the log odds of each other state against the last one said, 0 and up.
        evidence_needed: Sum from which a change from one state to another is believed.
        margin_needed: Lead over the runner-up that the observation had to have, 0 to 1.
        waited: Whether the observation cast no vote because the light was changing.
        doubts: What the rules have against the change that the observation speaks for.
        novelty: Excess of the last observations, the oldest first; empty where it is not known.
        at_border: Whether some of the votes for another state fell in a light it was not taught in:
            then all that count must agree.
    """

    votes: tuple[Vote, ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict)
    evidence_needed: float = 0.0
    margin_needed: float = 0.0
    waited: bool = False
    doubts: tuple[Doubt, ...] = ()
    at_border: bool = False
    novelty: tuple[float, ...] = ()


def agree(a: State, b: State | None) -> bool:
    """Return whether two votes agree; any two that call the picture unlike do."""
    if b is None or a.name != b.name:
        return False
    return a.reason == b.reason or (a.reason in _UNLIKE and b.reason in _UNLIKE)


def votes_needed(settings: Settings, standing: DecisionState) -> int:
    """Return the number of votes that a change needs.

    All that count against the rules and in an untaught light. One more than usual where fewer rest
    on the picture as a whole: a hand or an animal in a part of it soon leaves.
    """
    if standing.doubts or standing.at_border:
        return settings.of
    votes = standing.votes
    if any(vote.is_partial for vote in votes) and votes[-1].state.name == UNKNOWN:
        whole = sum(agree(vote.state, votes[-1].state) and not vote.is_partial for vote in votes)
        more = min(settings.matches + 1, settings.of)
        return settings.matches if whole >= settings.matches else more
    return settings.matches
