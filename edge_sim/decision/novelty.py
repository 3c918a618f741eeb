"""Novelty: distance of a picture from all references of a state, wherever in it the change is.

Familiarity (`Score.combined`) judges the picture as a whole. States of a fixed camera often differ
in a part of it only, beside cells that vary by themselves: sky, passers-by, labels. Novelty weighs
each cell by how steady the references of the state are there, and adds the most changed cells to
the residual of the span of the references. It is a logarithm: a margin is a ratio of distances and
fits a quiet and a lively scene alike.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import FloatMatrix
from edge_sim.core.vectors import quantiles
from edge_sim.decision.envelope import ENOUGH, Envelope, fit_envelope
from edge_sim.decision.features import APPEARANCE, LAYOUT, TONE
from edge_sim.decision.subspace import Subspace, span_of_cosines
from edge_sim.gallery.gallery import CalibratedLevel

AVERAGED = 3
"""Observations over which novelty is averaged: a passer-by is gone by then, a new state stays."""
_USUAL_SPREAD = 0.25
_SPREAD_WORTH = 5.0
"""Deviation of the novelty of left-out references within a state, on ten data sets with three
embedders, and the number of references it counts as."""
_ALONE = 1.96
_ALONE_FEW = 4.0
"""Deviations above the references of the state at which a picture is novel, in a watch of one
state; a handful of references needs more."""
_TOWARDS_OTHERS = 0.52
_OTHERS_QUANTILE = 0.4
_NEAREST = 1.28
"""In a watch of several states: this part of the way to the less novel references of the others,
and no nearer than `_NEAREST` deviations."""
_FAR_APART = 2.7
_BLIND = 3.6
"""Deviations added, the more the nearer the references of the other states lie than `_FAR_APART`
deviations: novelty cannot see there what tells the states apart, nor would it see a new one."""
_LEAST_SPREAD = 0.055
_ONE_MOMENT = 1.2e-4
"""References that vary less in novelty, or in the mean squared distance of their coarse grey levels
to the nearest other, were taken in one moment: they do not show what is usual at another one,
under a shadow or in other light. The grey levels tell so whatever the embedder: bursts vary by
0.00001 to 0.00004, five references of ten data sets by 0.0004 to 0.08."""
_CALIBRATION_PRIOR = 20.0
"""Pictures that a calibration must rest on to count half."""
_LEAST_MARGIN = 0.05
_SINGLE = 2.0
"""Times the margin for one observation; a mean of `AVERAGED` is steadier."""
_MOST_OF_ONE = 1.2


@dataclass(frozen=True, slots=True)
class NovelLevel:
    """Level above which a picture is too novel for a state.

    Args:
        usual: Mean novelty of the references of the state, each left out of the others.
        margin: Distance above `usual` from which a mean of `AVERAGED` observations is too novel at
            sensitivity 0.5; above 0.
    """

    usual: float
    margin: float

    def excess(self, novelty: float) -> float:
        """Return the novelty above the usual one, in margins: above 1 is too novel."""
        return (novelty - self.usual) / self.margin


def novel_levels(
    own: Mapping[str, Sequence[float]], others: Mapping[str, Sequence[float]]
) -> dict[str, NovelLevel]:
    """Return the level of every state with at least two references; none for those of one moment.

    The deviation is shared by the states of a gallery: it is a matter of the scene more than of
    the state, and a handful of references of one state hardly tells it.

    Args:
        own: State -> novelty of its references, each left out.
        others: State -> novelty to it of the references of other states.
    """
    known = {state: np.asarray(values) for state, values in own.items() if len(values) > 1}
    squares = sum(float(np.square(values - values.mean()).sum()) for values in known.values())
    freedom = sum(len(values) - 1 for values in known.values())
    if squares <= freedom * _LEAST_SPREAD**2:
        return {}
    variance = (_SPREAD_WORTH * _USUAL_SPREAD**2 + squares) / (_SPREAD_WORTH + freedom)
    return {
        state: _level_of(values, variance, others.get(state, ())) for state, values in known.items()
    }


def _level_of(own: NDArray[Any], variance: float, others: Sequence[float]) -> NovelLevel:
    """Return the level from the novelty of left-out references and of those of other states."""
    usual, deviation, number = float(own.mean()), math.sqrt(variance), len(own)
    if not len(others):
        return NovelLevel(usual, _ALONE * math.sqrt(1.0 + _ALONE_FEW / number) * deviation)
    way = max(float(quantiles(others, (_OTHERS_QUANTILE,))[0]) - usual, 0.0)
    blind = max(1.0 - way / (_FAR_APART * deviation), 0.0)
    margin = max(_TOWARDS_OTHERS * way, (_NEAREST + _BLIND * blind) * deviation)
    return NovelLevel(usual, (1.0 + 1.0 / number) * margin)


def with_calibration(level: NovelLevel | None, calibrated: CalibratedLevel) -> NovelLevel:
    """Return the level drawn towards a calibrated one, the more the more pictures it rests on.

    Args:
        level: What the references say; None where they say nothing.
        calibrated: Novelty above which a picture is too novel, and the number of normal pictures.
    """
    if level is None:
        usual = calibrated.threshold - _ALONE * _USUAL_SPREAD
        return NovelLevel(usual, calibrated.threshold - usual)
    worth = calibrated.same / (calibrated.same + _CALIBRATION_PRIOR)
    asked = max(calibrated.threshold - level.usual, _LEAST_MARGIN)
    return NovelLevel(level.usual, worth * asked + (1.0 - worth) * level.margin)


class RecentNovelty:
    """Excess of the last observations, each above the level of its most probable state.

    A new state is most like now the one, now the other known state: the mean goes on over that.
    """

    def __init__(self) -> None:
        self._excesses: deque[float] = deque(maxlen=AVERAGED)

    @property
    def excesses(self) -> tuple[float, ...]:
        """Excess of the last observations, the oldest first; empty where novelty is not known."""
        return tuple(self._excesses)

    def follow(self, excess: float) -> None:
        """Add one observation; an excess that is not a number is ignored."""
        if math.isfinite(excess):
            self._excesses.append(excess)

    def resume(self, excesses: Iterable[float]) -> None:
        """Continue after observations with these excesses."""
        self.forget()
        self._excesses.extend(excesses)

    def forget(self) -> None:
        """Forget all observations."""
        self._excesses.clear()

    def is_novel(self, strictness: float, *, at_once: bool = False) -> bool:
        """Return whether the last observation, or the mean of the last ones, is too novel.

        Args:
            strictness: Factor on the margin, 1 at sensitivity 0.5.
            at_once: Whether only the last observation counts.
        """
        if not self._excesses:
            return False
        alone, together = strengths(self.excesses, strictness)
        return (alone if at_once else max(alone, together)) > strictness


def strengths(excesses: Sequence[float], strictness: float = 1.0) -> tuple[float, float]:
    """Return the novelty of the last observation and that of their mean, in margins.

    A single observation needs more than a mean, and in the mean each is bounded, so that two alone
    cannot make the mean too novel unless the third is half so.

    Args:
        excesses: Of the last observations, the oldest first; at least one.
        strictness: Factor on the margin that both are compared with.
    """
    alone = excesses[-1] / _SINGLE
    if len(excesses) < AVERAGED:
        return alone, alone
    most = _MOST_OF_ONE * strictness
    return alone, sum(min(excess, most) for excess in excesses) / AVERAGED


VIEWS: Mapping[str, float] = {APPEARANCE: 0.4, LAYOUT: 0.4, TONE: 0.2}
"""Weight of each view; the weights of missing views go to the others. Structure does not improve
the ranking. All constants here are flat: half or double of one changes what is found at 2 % false
by less than 0.02."""
_NOISE = 0.1
_UNREST_SHARE = 0.3
_CHANGED_SHARE = 0.2  # of the cells: those that changed most
_CHANGED_WORTH = 0.3  # of their logarithm beside that of the residual part
_RESIDUAL_OFFSET = 0.2
_LEAST_CHANGE = 0.03
_USUAL_UNREST = 0.25
_TINY = np.float32(1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class Novelty:
    """Novelty of pictures to one state.

    Args:
        rows: View -> (N, D) unit rows of the references; all views but `LAYOUT`.
        shares: View -> weight, summing to 1 with that of the cells.
        cells: (C, N, D) unit cells of the references.
        cell_shares: (C,) weight of each cell in the cosine of a picture.
        steadiness: (C,) weight of a change of each cell, about a half.
        span: Softened span of the references.
        envelope: Envelope of their planes; None where it is not looked at.
        left_out: (N,) novelty of each reference to the others; not a number where they were all
            taken in one moment, empty with a single one.
    """

    rows: Mapping[str, FloatMatrix]
    shares: Mapping[str, float]
    cells: FloatMatrix
    cell_shares: NDArray[np.float32]
    steadiness: NDArray[np.float32]
    span: Subspace
    envelope: Envelope | None
    left_out: NDArray[np.float32]

    def of(
        self, views: Mapping[str, FloatMatrix], planes: FloatMatrix | None = None
    ) -> NDArray[np.float32]:
        """Return the (M,) novelty of M pictures.

        Args:
            views: View -> (M, D) unit rows.
            planes: (M, P) planes; not needed without an envelope.
        """
        cosines, distances = self._compared(views)
        novelty = _novelty(self.span.residuals(cosines), _changed(distances, self.steadiness))
        if self.envelope is not None and planes is not None:
            novelty += self.envelope.of(planes)
        return novelty

    def _compared(
        self, views: Mapping[str, FloatMatrix]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (N, M) cosines, and (C, M) distances of cells to the nearest reference."""
        own = unit_cells(views, len(self.cells))
        alike = self.cells @ own.transpose(0, 2, 1)
        cosines = (self.cell_shares @ alike.reshape(len(alike), -1)).reshape(alike.shape[1:])
        for name, rows in self.rows.items():
            cosines += np.float32(self.shares[name]) * (rows @ views[name].T)
        return cosines, np.maximum(2.0 - 2.0 * alike.max(axis=1), 0.0)


def fit_novelty(
    views: Mapping[str, FloatMatrix], cells: int, planes: FloatMatrix | None = None
) -> Novelty:
    """Return the measure of novelty to a state.

    Args:
        views: View -> (N, D) unit rows of its references; N at least 1.
        cells: Number of cells of the layout.
        planes: (N, P) planes of the references, for an envelope of them; None for none.
    """
    has_cells = LAYOUT in views
    weights = {name: weight for name, weight in VIEWS.items() if name in views}
    if not weights:
        weights = dict.fromkeys(views, 1.0)
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in weights.items()}
    blocks = unit_cells(views, cells if has_cells else 1)
    alike = blocks @ blocks.transpose(0, 2, 1)
    number = alike.shape[1]
    alone = _distances_to_others(alike)
    unrest = alone.mean(axis=1) if number > 1 else np.full(len(blocks), _USUAL_UNREST)
    steadiness = _steadiness(unrest)
    cell_shares = steadiness / steadiness.sum() * (shares[LAYOUT] if has_cells else 0.0)
    rows = {name: views[name] for name in shares if name != LAYOUT}
    gram = np.einsum("c,cnm->nm", cell_shares, alike)
    for name, own in rows.items():
        gram = gram + shares[name] * (own @ own.T)
    span = span_of_cosines(gram, _NOISE)
    envelope = None if planes is None or number < ENOUGH else fit_envelope(planes)
    left_out = np.zeros(0, np.float32)
    if number > 1:
        left_out = _novelty(span.left_out, _changed(alone, steadiness))
        if envelope is not None:
            left_out += envelope.left_out
        if is_one_moment(views):
            left_out[:] = np.nan
    return Novelty(
        rows,
        shares,
        np.ascontiguousarray(blocks),
        cell_shares.astype(np.float32),
        steadiness.astype(np.float32),
        span,
        envelope,
        left_out,
    )


def unit_cells(views: Mapping[str, FloatMatrix], cells: int) -> FloatMatrix:
    """Return (C, M, D) unit cells of M pictures; any other view is one where there are none."""
    rows = views[LAYOUT] if LAYOUT in views else next(iter(views.values()))
    blocks = rows.reshape(len(rows), cells, -1).transpose(1, 0, 2)
    lengths = np.sqrt(np.einsum("cmd,cmd->cm", blocks, blocks))
    return np.asarray(blocks / np.maximum(lengths, _TINY)[..., None], np.float32)


def _distances_to_others(alike: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (C, N) squared distances of each cell to its nearest other reference."""
    others = alike.copy()
    every = np.arange(alike.shape[1])
    others[:, every, every] = -1.0
    return np.asarray(np.maximum(2.0 - 2.0 * others.max(axis=2), 0.0), np.float32)


def is_one_moment(views: Mapping[str, FloatMatrix]) -> bool:
    """Return whether the coarse grey levels of two references or more hardly differ."""
    if TONE not in views:
        return False
    tone = views[TONE].astype(np.float64)
    alike = tone @ tone.T
    np.fill_diagonal(alike, -1.0)
    return float(np.mean(2.0 - 2.0 * alike.max(axis=1))) < _ONE_MOMENT


def _steadiness(unrest: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (C,) weight of each cell, a half where its references lie apart as usual."""
    mean = max(float(unrest.mean()), 1e-6)
    share = _UNREST_SHARE
    return np.asarray(0.5 * (1.0 + share) * mean / (unrest + share * mean), np.float32)


def _changed(
    distances: NDArray[np.float32], steadiness: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the (M,) mean of the most changed cells from (C, M) distances."""
    weighed = distances * steadiness[:, None]
    most = max(1, round(_CHANGED_SHARE * len(weighed)))
    return np.asarray(np.sort(weighed, axis=0)[-most:].mean(axis=0), np.float32)


def _novelty(residual: NDArray[np.float32], changed: NDArray[np.float32]) -> NDArray[np.float32]:
    whole = np.log(residual + _RESIDUAL_OFFSET)
    return np.asarray(whole + _CHANGED_WORTH * np.log(changed + _LEAST_CHANGE), np.float32)
