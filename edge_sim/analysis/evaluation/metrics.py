"""Metrics: pure functions from answers to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SURE = 0.9
"""Probability from which an answer counts as sure."""


def confusion(truth: Sequence[str], reported: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return true state -> reported state -> frames."""
    table: dict[str, dict[str, int]] = {}
    for true, answer in zip(truth, reported, strict=True):
        row = table.setdefault(true, {})
        row[answer] = row.get(answer, 0) + 1
    return {true: dict(sorted(row.items())) for true, row in sorted(table.items())}


def balanced_accuracy(table: Mapping[str, Mapping[str, int]]) -> float:
    """Return the mean over the true states of the part that is right, 0 to 1."""
    rates = [row.get(true, 0) / sum(row.values()) for true, row in table.items()]
    return float(np.mean(rates))


def calibration_error(probabilities: NDArray[Any], right: NDArray[Any], bins: int = 10) -> float:
    """Return the expected calibration error, 0 to 1.

    The mean over bins of equal width, weighted by their frames, of the distance between the mean
    probability and the part that was right (Naeini et al., AAAI 2015).
    """
    if len(probabilities) == 0:
        return 0.0
    which = np.minimum((np.asarray(probabilities) * bins).astype(int), bins - 1)
    gaps = [
        float(np.mean(which == one))
        * abs(float(np.mean(right[which == one])) - float(np.mean(probabilities[which == one])))
        for one in np.unique(which)
    ]
    return float(sum(gaps))


def auroc(familiar: NDArray[Any], novel: NDArray[Any]) -> float:
    """Return the part of pairs whose familiar score is above the novel one; 0.5 is chance.

    Raises:
        ValueError: One of the two is empty.
    """
    if len(familiar) == 0 or len(novel) == 0:
        raise ValueError("auroc needs scores of both kinds")
    both = np.concatenate([familiar, novel])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    number, others = len(familiar), len(novel)
    return float((ranks[:number].sum() - number * (number + 1) / 2.0) / (number * others))


def recall_at_false_rate(
    familiar: NDArray[Any], novel: NDArray[Any], false_rate: float = 0.05
) -> float:
    """Return the part of `novel` below the level that `false_rate` of `familiar` lies below."""
    return float(np.mean(novel < np.quantile(familiar, false_rate)))


def roc_curve(familiar: NDArray[Any], novel: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (false unknown, found unknown) rates over all levels, both from 0 to 1."""
    levels = np.unique(np.concatenate([familiar, novel]))
    false = np.array([0.0, *(float(np.mean(familiar <= level)) for level in levels)])
    found = np.array([0.0, *(float(np.mean(novel <= level)) for level in levels)])
    return false, found


def precision_recall_curve(
    familiar: NDArray[Any], novel: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (recall, precision) of `unknown` at or below each level, in rising order."""
    levels = np.unique(np.concatenate([familiar, novel]))
    found = np.array([int(np.sum(novel <= level)) for level in levels])
    called = found + np.array([int(np.sum(familiar <= level)) for level in levels])
    return found / len(novel), found / called


def f1(precision: float, recall: float) -> float:
    """Return the harmonic mean; 0 where both are."""
    total = precision + recall
    return 2.0 * precision * recall / total if total > 0.0 else 0.0


def average_precision(relevant: NDArray[np.bool_]) -> float:
    """Return the average precision of one ranked list; 0 if nothing in it is relevant."""
    hits = np.flatnonzero(relevant)
    if len(hits) == 0:
        return 0.0
    return float(np.mean(np.arange(1, len(hits) + 1) / (hits + 1)))


def interpolated_precision(relevant: NDArray[np.bool_], recalls: NDArray[Any]) -> NDArray[Any]:
    """Return the highest precision of one ranked list at or beyond each recall, 0 to 1.

    0 everywhere if nothing in the list is relevant.
    """
    hits = np.flatnonzero(relevant)
    if len(hits) == 0:
        return np.zeros(len(recalls))
    numbers = np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate((numbers / (hits + 1))[::-1])[::-1]
    places = np.searchsorted(numbers / len(hits), recalls - 1e-9)
    return np.asarray(best[places])


def mean_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of every number that all rows may have; nested ones too, others left out.

    Missing values are skipped.
    """
    means: dict[str, Any] = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows if row[name] is not None]
        if values and all(isinstance(value, (int, float)) for value in values):
            means[name] = sum(values) / len(values)
        elif name == "open_set" and values:
            means[name] = mean_figures(values)
    return means
