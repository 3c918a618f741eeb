"""Calibration: from labelled scores to the threshold that meets a target, with intervals.

A score means "the same" at or above the threshold. The numbers of pairs rightly and wrongly called
the same over all thresholds give the precision-recall curve and the ROC; `choose` takes the point
that meets a target best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.tables import named_file, read_table
from edge_sim.core.types import FloatMatrix, Match
from edge_sim.errors import DataError
from edge_sim.gallery.gallery import Gallery

_Z95 = 1.959964  # two-sided 95 % of a normal distribution
_RESAMPLES = 200
PICTURES = 2000
"""Pictures of which all pairs are formed: two million pairs, a second of work."""


class Aim(str, Enum):
    """Kind of target of a threshold."""

    PRECISION = "precision"
    """Least precision; among the thresholds that keep it, the highest recall."""
    FPR = "fpr"
    """Highest false-positive rate; among the thresholds that keep it, the highest recall."""
    RECALL = "recall"
    """Least recall; among the thresholds that keep it, the highest precision."""


@dataclass(frozen=True, slots=True)
class Target:
    """A rate that the threshold must keep.

    Raises:
        DataError: `value` is not between 0 and 1.
    """

    aim: Aim
    value: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.value <= 1.0:
            raise DataError(f"{self.aim.value} {self.value} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class Rate:
    """A part of a whole with its 95 % interval, all 0 to 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Counts at every threshold; one entry per distinct score, the highest first.

    Args:
        thresholds: (T,) float64, descending; the same means at or above.
        hits: (T,) same pairs called the same.
        false: (T,) different pairs called the same.
        same: Number of same pairs.
        different: Number of different pairs.
    """

    thresholds: NDArray[np.float64]
    hits: NDArray[np.int64]
    false: NDArray[np.int64]
    same: int
    different: int

    @property
    def precision(self) -> NDArray[np.float64]:
        """(T,) part of those called the same that are."""
        return np.asarray(self.hits / (self.hits + self.false), np.float64)

    @property
    def recall(self) -> NDArray[np.float64]:
        """(T,) part of the same that is called so."""
        return np.asarray(self.hits / self.same, np.float64)

    @property
    def fpr(self) -> NDArray[np.float64]:
        """(T,) part of the different that is called the same; 0 if there are none."""
        return np.asarray(self.false / max(self.different, 1), np.float64)


@dataclass(frozen=True, slots=True)
class Choice:
    """A threshold and its rates on the labelled scores."""

    threshold: float
    precision: Rate
    recall: Rate
    fpr: Rate


def curve_of(scores: NDArray[Any] | Sequence[float], same: NDArray[Any] | Sequence[bool]) -> Curve:
    """Return the counts at every threshold.

    Args:
        scores: (N,) finite; higher is more alike.
        same: (N,) truth.

    Raises:
        DataError: Different lengths, NaN or infinity, or not both kinds.
    """
    values = np.asarray(scores, np.float64)
    truth = np.asarray(same, np.bool_)
    if values.shape != truth.shape or values.ndim != 1:
        raise DataError(f"{len(values)} scores for {len(truth)} labels; give one label per score")
    if not np.isfinite(values).all():
        raise DataError("a score is NaN or infinite; remove that row")
    positive = int(truth.sum())
    if positive in (0, len(truth)):
        kind = "different" if positive else "the same"
        raise DataError(f"none of {len(truth)} labelled scores is of a pair that is {kind}")
    order = np.argsort(-values, kind="stable")
    ranked, right = values[order], np.cumsum(truth[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each distinct score
    hits = right[last]
    return Curve(ranked[last], hits, last + 1 - hits, positive, len(truth) - positive)


def choose(curve: Curve, target: Target) -> Choice:
    """Return the best threshold that keeps the target, with Wilson intervals.

    Among equally good thresholds the strictest.

    Raises:
        DataError: No threshold keeps the target; the message names the nearest.
    """
    kept = {
        Aim.PRECISION: curve.precision >= target.value,
        Aim.FPR: curve.fpr <= target.value,
        Aim.RECALL: curve.recall >= target.value,
    }[target.aim]
    rows = np.flatnonzero(kept)
    if not len(rows):
        raise DataError(_out_of_reach(curve, target))
    first, second = curve.recall[rows], curve.precision[rows]
    if target.aim is Aim.RECALL:
        first, second = second, first
    # The last key of lexsort counts most; `-rows` prefers the strictest of equal thresholds.
    return at(curve, int(rows[np.lexsort((-rows, second, first))[-1]]))


def at(curve: Curve, place: int) -> Choice:
    """Return the rates of the threshold at a place of the curve."""
    hits, false = int(curve.hits[place]), int(curve.false[place])
    return Choice(
        threshold=float(curve.thresholds[place]),
        precision=wilson(hits, hits + false),
        recall=wilson(hits, curve.same),
        fpr=wilson(false, curve.different),
    )


def wilson(successes: int, number: int) -> Rate:
    """Return a rate with its 95 % score interval (Wilson, JASA 22, 1927); 0 to 1 of nothing."""
    if number == 0:
        return Rate(0.0, 0.0, 1.0)
    rate, square = successes / number, _Z95 * _Z95
    centre = (rate + square / (2 * number)) / (1 + square / number)
    spread = rate * (1 - rate) / number + square / (4 * number * number)
    half = _Z95 * spread**0.5 / (1 + square / number)
    # Exact at the ends, where rounding would leave the rate outside its own interval.
    return Rate(
        rate,
        0.0 if successes == 0 else max(centre - half, 0.0),
        1.0 if successes == number else min(centre + half, 1.0),
    )


def picked_pictures(number: int) -> NDArray[np.intp]:
    """Return the pictures to pair: all, or `PICTURES` of them evenly spread."""
    if number <= PICTURES:
        return np.arange(number, dtype=np.intp)
    return np.linspace(0, number - 1, PICTURES).round().astype(np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """All pairs among pictures.

    Args:
        scores: (N, N) float32, symmetric.
        labels: (N,) class of each picture.
    """

    scores: FloatMatrix
    labels: NDArray[np.intp]

    @property
    def alike(self) -> NDArray[np.bool_]:
        """(N, N) whether two pictures are of one class."""
        return np.asarray(self.labels[:, None] == self.labels[None, :], np.bool_)

    def flat(self) -> tuple[FloatMatrix, NDArray[np.bool_]]:
        """Return score and truth of each pair once."""
        upper = np.triu_indices(len(self.labels), 1)
        return self.scores[upper], self.alike[upper]


def with_pictures(choice: Choice, pairs: Pairs, *, seed: int = 0) -> Choice:
    """Return the choice with intervals from resampling the pictures.

    Pairs that share a picture are not independent, so intervals that count pairs are far too
    narrow; the pictures are the sample. Percentiles of 200 resamples (Efron & Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 13); pairs of a picture with itself do not count.
    """
    above = (pairs.scores >= choice.threshold).astype(np.float32)
    alike = pairs.alike.astype(np.float32)
    for plane in (above, alike):
        np.fill_diagonal(plane, 0.0)
    both = above * alike
    number = len(pairs.labels)
    rng = np.random.default_rng(seed)
    # (R, N) how often each picture is drawn
    weights = rng.multinomial(number, np.full(number, 1.0 / number), _RESAMPLES).astype(np.float32)
    sums = [np.einsum("rn,rn->r", weights @ plane, weights) for plane in (above, alike, both)]
    called, same, hits = (np.asarray(values, np.float64) for values in sums)
    squares = np.square(weights).sum(axis=1, dtype=np.float64)
    different = float(number * number) - squares - same
    return Choice(
        choice.threshold,
        _resampled(choice.precision, hits, called),
        _resampled(choice.recall, hits, same),
        _resampled(choice.fpr, called - hits, different),
    )


def state_trials(
    gallery: Gallery, left_out: Sequence[Match | None]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Return, per state, `combined` of every reference against it and whether it is its own.

    Args:
        gallery: The references.
        left_out: Matches of `leave_one_out` of a scorer.
    """
    trials: dict[str, list[tuple[float, bool]]] = {state: [] for state in gallery.states}
    for reference, match in zip(gallery.references, left_out, strict=True):
        for item in () if match is None else match.states:
            trials[item.state].append((item.score.combined, item.state == reference.state))
    return {
        state: (
            np.array([score for score, _ in rows], np.float64),
            np.array([own for _, own in rows], np.bool_),
        )
        for state, rows in trials.items()
    }


def _resampled(rate: Rate, part: NDArray[np.float64], whole: NDArray[np.float64]) -> Rate:
    known = whole > 0
    if not known.any():
        return rate
    low, high = np.quantile(part[known] / whole[known], (0.025, 0.975))
    # Where every resample agrees, the count of pairs still knows that the sample is small.
    return Rate(rate.value, min(float(low), rate.low), max(float(high), rate.high))


def _out_of_reach(curve: Curve, target: Target) -> str:
    if target.aim is Aim.PRECISION:
        best = int(np.argmax(curve.precision))
        found, rate = "highest precision", float(curve.precision[best])
    else:
        best = int(np.argmin(curve.fpr))
        found, rate = "lowest false-positive rate", float(curve.fpr[best])
    return (
        f"no threshold keeps {target.aim.value} {target.value:g} on {curve.same} same and "
        f"{curve.different} different; the {found} is {rate:.3f}, at {curve.thresholds[best]:.4f}"
    )


TRUTHS = {
    **dict.fromkeys(("1", "true", "yes", "same"), True),
    **dict.fromkeys(("0", "false", "no", "different"), False),
}
ScorePairs = Callable[[list[tuple[Path, Path]]], list[float]]
"""Function that scores pairs of pictures."""


def read_pairs(table: Path, score: ScorePairs) -> tuple[list[float], list[bool]]:
    """Return score and truth of every row.

    The table has a column `same` (1 or 0, yes or no, true or false) and either `score`, or `a`
    and `b`: pictures, relative to the folder of the table, that `score` is called with.

    Raises:
        DataError: No such table, a missing column, or a row that cannot be read; its line is named.
    """
    found = read_table(table)
    columns = set(found.header)
    if "same" not in columns or not ({"score"} <= columns or {"a", "b"} <= columns):
        names = ", ".join(name for name in found.header if name) or "none"
        raise DataError(f"{table}: needs the columns same and score, or same, a and b; has {names}")
    if not found.rows:
        raise DataError(f"{table}: the table has no rows")
    same = [_truth(table, line, found.field(row, "same")) for line, row in found.rows]
    if "score" in columns:
        return [_number(table, line, found.field(row, "score")) for line, row in found.rows], same
    pairs = [
        (
            _picture(table, line, found.field(row, "a")),
            _picture(table, line, found.field(row, "b")),
        )
        for line, row in found.rows
    ]
    return score(pairs), same


def _truth(table: Path, line: int, text: str) -> bool:
    try:
        return TRUTHS[text.strip().casefold()]
    except KeyError:
        raise DataError(f"{table}, row {line}: same is {text!r}; write 1 or 0") from None


def _number(table: Path, line: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{table}, row {line}: score {text!r} is no number") from None


def _picture(table: Path, line: int, text: str) -> Path:
    path = named_file(table.parent, text)
    if path is None:
        raise DataError(f"{table}, row {line}: there is no picture {text!r}")
    return path
