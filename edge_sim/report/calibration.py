"""What a calibration rests on: histograms of same and different, precision-recall, ROC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_sim.calibration import Curve
from edge_sim.report.diagram import Axis, Diagram, Series, sheet
from edge_sim.report.drawing import Drawing, Point

_BINS = 40
_POINTS = 400
"""More points of a curve than pixels show nothing more."""


def curves(trials: Sequence[tuple[str, Curve, float]], *, title: str) -> Drawing:
    """Return a row of three diagrams per (name, curve, threshold)."""
    diagrams: list[Diagram] = []
    for name, curve, threshold in trials:
        diagrams += [_histogram(name, curve, threshold), _precision(curve, threshold)]
        diagrams.append(_roc(curve, threshold))
    return sheet(diagrams, title=title)


def _histogram(name: str, curve: Curve, threshold: float) -> Diagram:
    low, high = float(curve.thresholds[-1]), float(curve.thresholds[0])
    low, high = (low, high) if high > low else (low - 0.05, high + 0.05)
    edges = np.linspace(low, high, _BINS + 1)
    shares = []
    for counts, number in ((curve.false, curve.different), (curve.hits, curve.same)):
        each = np.diff(np.concatenate([[0], counts]))
        shares.append(np.histogram(curve.thresholds, edges, weights=each)[0] / number)
    top = max(float(share.max()) for share in shares) * 1.1
    middles = (edges[:-1] + edges[1:]) / 2
    series = tuple(
        Series(word, _points(middles, share), ink, bar=float(edges[1] - edges[0]))
        for word, share, ink in zip(
            ("different", "same"), shares, ("state1", "state0"), strict=True
        )
    )
    mark = ((threshold, f"{threshold:.3f}"),)
    x, y = Axis("score", low, high, digits=2), Axis("share", 0.0, top, digits=2)
    return Diagram(f"{name}: {curve.same} same, {curve.different} different", x, y, series, mark)


def _precision(curve: Curve, threshold: float) -> Diagram:
    place = int(np.argmin(np.abs(curve.thresholds - threshold)))
    points = _points(curve.recall, curve.precision)
    series = (Series("", points, "state0"), _here(curve.recall[place], curve.precision[place]))
    return Diagram("Precision over recall", Axis("recall"), Axis("precision"), series)


def _roc(curve: Curve, threshold: float) -> Diagram:
    place = int(np.argmin(np.abs(curve.thresholds - threshold)))
    points = ((0.0, 0.0), *_points(curve.fpr, curve.recall))
    chance = Series("", ((0.0, 0.0), (1.0, 1.0)), "axis", dashed=True)
    series = (
        chance,
        Series("", points, "state0"),
        _here(curve.fpr[place], curve.recall[place]),
    )
    return Diagram("ROC", Axis("false-positive rate"), Axis("recall"), series)


def _here(x: float, y: float) -> Series:
    """Return a cross at the chosen point."""
    d = 0.015
    corners = ((x - d, y - d), (x + d, y + d), (x, y), (x - d, y + d), (x + d, y - d))
    return Series("chosen", corners, "wrong")


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Point, ...]:
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(int))
    return tuple((float(x[row]), float(y[row])) for row in rows)
