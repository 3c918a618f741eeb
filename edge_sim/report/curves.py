"""Values over time as lines that hold no more points than can be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from edge_sim.report.axis import AxisScale
from edge_sim.report.drawing import Point
from edge_sim.report.timeline import Look

Reading = Callable[[Look], float | None]
"""Takes one value out of a look; None where there is none."""

_VISIBLE_PX = 0.25


def curve(
    looks: Iterable[Look], reading: Reading, x: AxisScale, y: AxisScale
) -> tuple[tuple[Point, ...], ...]:
    """Return the readings as lines, broken where there is none.

    Per pixel column only the first, lowest, highest and last value are kept: the line looks the
    same and its length is bounded by the width of the picture.
    """
    return tuple(
        tuple(_thinned([(x(look.at_s), y(value)) for look, value in run]))
        for run in _runs(looks, reading)
    )


def steps(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return a line that holds each value until the next point; what cannot be seen is dropped."""
    if not points:
        return ()
    corners = [points[0]]
    for x, y in points[1:]:
        if abs(y - corners[-1][1]) >= _VISIBLE_PX:
            corners += [(x, corners[-1][1]), (x, y)]
    last_x = points[-1][0]
    if corners[-1][0] != last_x or len(corners) == 1:
        corners.append((last_x, corners[-1][1]))
    return tuple(corners)


def _runs(looks: Iterable[Look], reading: Reading) -> Iterator[list[tuple[Look, float]]]:
    run: list[tuple[Look, float]] = []
    for look in looks:
        value = reading(look)
        if value is not None:
            run.append((look, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _thinned(points: Sequence[Point]) -> Iterator[Point]:
    column: list[Point] = []
    for point in points:
        if column and int(point[0]) != int(column[0][0]):
            yield from _extremes(column)
            column = []
        column.append(point)
    if column:
        yield from _extremes(column)


def _extremes(column: Sequence[Point]) -> Iterator[Point]:
    if len(column) <= 4:
        yield from column
        return
    places = range(len(column))
    low = min(places, key=lambda i: column[i][1])
    high = max(places, key=lambda i: column[i][1])
    for i in sorted({0, low, high, len(column) - 1}):
        yield column[i]
