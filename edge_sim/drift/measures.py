"""The two measures of drift, as pure functions and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.quantiles import quantiles

LEAST_SHARE = 1e-4
"""What an empty bin counts as, so that the index stays finite; of a small sample more."""
NOTABLE_PSI = 0.25
"""The usual limit (Siddiqi, Credit Risk Scorecards, 2006); small samples get a wider one."""
BINS = 10
_PER_BIN = 5  # references in a bin of the baseline, at least
_NORMAL_POINT = 3.719  # one of ten thousand stable samples is called drifted
LEAST_DEVIATION = 0.02
"""Of scores; less is noise, whatever its distribution."""
TOLERANCE, ALARM = 0.3, 25.0
"""Of Page-Hinkley, in deviations: millions of steady looks between two false alarms (Siegmund's
approximation), still 700,000 where few references made the deviation seem 15 % too small, and
36 looks to find a mean that moved by one deviation."""


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Where scores lay at calibration.

    Args:
        edges: (B - 1,) inner edges, ascending; a score on an edge belongs to the bin above.
        shares: (B,) of the baseline in each bin; they sum to 1.
        mean: Of the scores.
        deviation: Standard deviation, never below 0.02.
        number: Of scores.
    """

    edges: NDArray[np.float64]
    shares: NDArray[np.float64]
    mean: float
    deviation: float
    number: int


def baseline_of(scores: Sequence[float] | NDArray[Any]) -> Baseline:
    """Return quantile bins of scores: ten, or fewer so that each holds five.

    Raises:
        ValueError: No scores, or NaN or infinity among them.
    """
    values = np.asarray(scores, np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("a baseline needs finite scores")
    bins = int(np.clip(len(values) // _PER_BIN, 2, BINS))
    edges = np.array(sorted(set(quantiles(values, np.arange(1, bins) / bins).tolist())))
    counts = counted(edges, values)
    deviation = max(float(values.std()), LEAST_DEVIATION)
    return Baseline(edges, counts / len(values), float(values.mean()), deviation, len(values))


def counted(edges: NDArray[np.float64], scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return how many scores fall into each bin."""
    places = np.searchsorted(edges, scores, side="right")
    return np.bincount(places, minlength=len(edges) + 1).astype(np.float64)


def psi(
    expected: NDArray[np.float64], found: NDArray[np.float64], *, floor: float = LEAST_SHARE
) -> float:
    """Return the population stability index of two distributions over the same bins, 0 and up.

    `sum((f - e) ln(f / e))` over shares that are at least `floor`: the symmetrised Kullback-Leibler
    divergence.
    """
    e, f = (np.maximum(shares, floor) for shares in (expected, found))
    return float(((f - e) * np.log(f / e)).sum())


def psi_limit(bins: int, number: float, baseline: float) -> float:
    """Return the index above which two samples of these sizes did drift.

    Of two samples of one distribution the index is about chi-squared with `bins` - 1 degrees times
    `1/n + 1/m` (Yurdakul & Naranjo, Journal of Risk Model Validation, 2020); its 99.99 % point by
    Wilson and Hilferty, and never below 0.25.
    """
    degrees = max(bins - 1, 1)
    spread = 2.0 / (9.0 * degrees)
    point = degrees * (1.0 - spread + _NORMAL_POINT * spread**0.5) ** 3
    return max(NOTABLE_PSI, float(point * (1.0 / max(number, 1.0) + 1.0 / max(baseline, 1.0))))


class PageHinkley(msgspec.Struct, frozen=True):
    """The test for a moved mean (Page 1954, Hinkley 1971), both ways; an immutable value.

    Values are in deviations of the baseline, whose mean is 0. `rise` and `fall` are the sums of
    what lies beyond the tolerance, never below 0; `mean` is the running mean that they are
    measured from.
    """

    looks: int = 0
    mean: float = 0.0
    rise: float = 0.0
    fall: float = 0.0

    def after(self, value: float, *, prior: int) -> PageHinkley:
        """Return the test after one more value; `prior` scores steady the mean."""
        looks = self.looks + 1
        away = value - self.mean
        return PageHinkley(
            looks,
            self.mean + away / (prior + looks),
            max(0.0, self.rise + away - TOLERANCE),
            max(0.0, self.fall - away - TOLERANCE),
        )

    @property
    def direction(self) -> str | None:
        """`rise` or `fall` once the mean has moved; None before."""
        if max(self.rise, self.fall) <= ALARM:
            return None
        return "rise" if self.rise > self.fall else "fall"
