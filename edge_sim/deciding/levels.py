"""Levels: where the score of a state lies, learned from the gallery and followed in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_sim.domain import Match, Threshold
from edge_sim.gallery import Gallery

ENOUGH_REFERENCES = 5
"""Below this many references of a state its level is a guess, and is reported as such."""
DEFAULT_CENTRE = 0.62
DEFAULT_SPREAD = 0.11
"""Median and robust deviation of `combined` over new pictures of a state, on ten data sets."""
_PRIOR_WORTH = 3.0  # references
_LEAST_SPREAD = 0.04
FLOOR, CEILING = 0.15, 0.8
"""Bounds of the leave level: below, everything is familiar; above, noise is a novelty."""
_LEAVE_SPREADS = 2.6
"""Leave this many robust deviations under the centre, at sensitivity 0.5."""
_ENTER_SPREADS = 1.0  # and enter this many above the leave level
_MEMORY_LOOKS = 200.0
_FURTHEST_SHIFT = 0.2
_MAD_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Level:
    """Where `Score.combined` of a state lies on pictures of that state.

    Args:
        centre: Median, 0 to 1.
        spread: Robust standard deviation, above 0.
        references: That it was learned from, each left out of the gallery.
    """

    centre: float
    spread: float
    references: int

    @property
    def is_known(self) -> bool:
        """Whether there were enough references to know."""
        return self.references >= ENOUGH_REFERENCES


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the scores of a state, in one condition, have moved since the gallery was made.

    Args:
        shift: Of the centre, within +-0.2.
        spread: Robust deviation seen in use; None before the first look.
        looks: That were learned from.
    """

    shift: float = 0.0
    spread: float | None = None
    looks: int = 0

    def after(self, residual: float) -> Drift:
        """Return the drift after one more look, `residual` above the centre of the gallery."""
        looks = self.looks + 1
        # Slow at once: the first looks count as much as later ones, not as the whole truth.
        share = 1.0 / _MEMORY_LOOKS
        shift = self.shift + share * (residual - self.shift)
        shift = min(max(shift, -_FURTHEST_SHIFT), _FURTHEST_SHIFT)
        away = _MAD_TO_DEVIATION * abs(residual - shift)
        spread = away if self.spread is None else self.spread + share * (away - self.spread)
        return Drift(shift, spread, looks)


def levels_of(gallery: Gallery, left_out: Sequence[Match | None]) -> dict[str, Level]:
    """Return the level of every state, from the match of each reference against all the others.

    With few references centre and spread are drawn towards what is usual.
    """
    own: dict[str, list[float]] = {state: [] for state in gallery.states}
    for reference, match in zip(gallery.references, left_out, strict=True):
        scores = () if match is None else match.states
        own[reference.state] += [s.score.combined for s in scores if s.state == reference.state]
    return {state: level_from(values) for state, values in own.items()}


def level_from(values: Sequence[float]) -> Level:
    """Return the level that left-out scores of one state tell; the usual one if there are none."""
    number = len(values)
    weight = number / (number + _PRIOR_WORTH)
    if not number:
        return Level(DEFAULT_CENTRE, DEFAULT_SPREAD, 0)
    centre = float(np.median(values))
    spread = _MAD_TO_DEVIATION * float(np.median(np.abs(np.asarray(values) - centre)))
    return Level(
        centre=weight * centre + (1.0 - weight) * DEFAULT_CENTRE,
        spread=max(weight * spread + (1.0 - weight) * DEFAULT_SPREAD, _LEAST_SPREAD),
        references=number,
    )


def threshold_of(level: Level, drift: Drift, sensitivity: float) -> Threshold:
    """Return the levels in force.

    `leave` lies `k` deviations under the centre. k is 2.6 at sensitivity 0.5, half of it at 1 and
    twice at 0: the higher the sensitivity, the less unlikeness it takes to leave a state.
    """
    spread = level.spread
    if drift.spread is not None:
        seen = drift.looks / (drift.looks + _MEMORY_LOOKS)
        spread = max((1.0 - seen) * spread + seen * drift.spread, _LEAST_SPREAD)
    factor = 2.0 ** (1.0 - 2.0 * sensitivity)
    centre = level.centre + drift.shift
    leave = min(max(centre - _LEAVE_SPREADS * factor * spread, FLOOR), CEILING)
    enter = min(max(leave + _ENTER_SPREADS * spread, leave), 0.9)
    return Threshold(enter=max(enter, leave), leave=leave)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a decider has learned, to be kept across restarts.

    Args:
        state: That it says; None before the first decision.
        reason: Of `unknown`; None otherwise.
        drifts: (state, condition) -> drift.
    """

    state: str | None = None
    reason: str | None = None
    drifts: Mapping[tuple[str, str], Drift] = field(default_factory=dict)
