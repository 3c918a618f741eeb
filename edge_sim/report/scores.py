"""Scores over time and their distribution, a pair of diagrams per watch, state and light."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_sim.report.diagram import Axis, Diagram, Series, sheet
from edge_sim.report.drawing import Drawing
from edge_sim.review import Traces

_POINTS = 300
_BINS = 40


def score_sheet(traces: Mapping[str, Traces]) -> Drawing:
    """Return a row of two diagrams per state and light; the mark is what the gallery expects."""
    diagrams: list[Diagram] = []
    for watch, trace in sorted(traces.items()):
        expected = {(r.state, r.condition): r.expected for r in trace.drift.readings()}
        for (state, condition), scores in sorted(trace.scores.items()):
            values = np.array(scores, np.float64)
            name = f"{watch}: {state}, {condition}"
            diagrams += [
                _over_time(name, values),
                _spread(name, values, expected.get((state, condition))),
            ]
    return sheet(diagrams, columns=2, title="Scores" if diagrams else "No scores")


def _over_time(name: str, values: np.typing.NDArray[np.float64]) -> Diagram:
    """Means of so many neighbours that the line has no more points than can be seen."""
    parts = np.array_split(values, min(_POINTS, len(values)))
    means = [float(part.mean()) for part in parts]
    places = np.linspace(0.0, float(max(len(values) - 1, 1)), len(means))
    points = tuple((float(x), y) for x, y in zip(places, means, strict=True))
    x = Axis("looks", 0.0, float(max(len(values) - 1, 1)), digits=0)
    return Diagram(f"{name} in order", x, Axis("score"), (Series("", points, "state0"),))


def _spread(name: str, values: np.typing.NDArray[np.float64], expected: float | None) -> Diagram:
    counts, edges = np.histogram(values, _BINS, (0.0, 1.0))
    shares = counts / max(len(values), 1)
    middles = (edges[:-1] + edges[1:]) / 2
    bars = tuple((float(x), float(y)) for x, y in zip(middles, shares, strict=True))
    series = Series("", bars, "state0", bar=1.0 / _BINS)
    marks = () if expected is None else ((expected, f"expected {expected:.2f}"),)
    y = Axis("share", 0.0, float(shares.max()) * 1.1, digits=2)
    return Diagram(f"{name}, {len(values)} looks", Axis("score"), y, (series,), marks)
