"""Which references cover the others: k-center and the choice of the most useful few."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import FloatMatrix
from edge_sim.gallery import Gallery
from edge_sim.scoring.evidence import WEIGHTS, stacked_evidence

SAME_LOOK = 0.02
"""References nearer than this show the same look: what the duplicate gate refuses lies, on ten
real sets, at 0.003 to 0.02, new looks of the same state at 0.02 to 0.2."""
_PART_OF_THE_WAY = 0.25
"""And they must be four times nearer to each other than to another state."""


def distances(gallery: Gallery) -> FloatMatrix:
    """Return (N, N) float32, 1 less the weighted cosine of all views of `scoring.evidence`."""
    views = stacked_evidence(gallery.references)
    total = sum(WEIGHTS[name] for name in views)
    apart = np.ones((len(gallery), len(gallery)), np.float32)
    for name, rows in views.items():
        apart -= np.float32(WEIGHTS[name] / total) * (rows @ rows.T)
    return np.maximum(apart, np.float32(0.0))


def representative(apart: NDArray[Any], number: int) -> list[int]:
    """Return the rows that stand for all best, the most useful first.

    The first half by greedy facility location (each takes the most distance away from all), which
    finds what is usual; the rest by farthest-first traversal (Gonzalez, Theoretical Computer
    Science 38, 1985), the 2-approximation of k-center, which finds what is rare. Keeping 5 of 25
    references of ten real sets so leaves a mean balanced accuracy of 0.972; k-center alone 0.967,
    facility location alone 0.968, chance 0.953, all 25 0.988. Weighing by the uncertainty of the
    references changed nothing (0.968 and 0.965): what is far is uncertain already.

    Args:
        apart: (N, N) distances.
        number: How many; all if there are not as many.
    """
    number = min(number, len(apart))
    chosen: list[int] = []
    near = np.full(len(apart), float(apart.max(initial=0.0)) + 1.0)
    while len(chosen) < number:
        if len(chosen) < (number + 1) // 2:
            gain = np.maximum(near[None, :] - apart, 0.0).sum(axis=1)
        else:
            gain = near.copy()
        gain[chosen] = -1.0
        chosen.append(int(np.argmax(gain)))
        near = np.minimum(near, apart[chosen[-1]])
    return chosen


def redundant_rows(
    apart: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any]
) -> dict[int, int]:
    """Return each row that shows the look of another one that stays, and which.

    Args:
        apart: (N, N) distances.
        labels: (N,) state of each row; a look is the same only far from other states.
        groups: (N,) only rows of one group, a state in one light, stand for each other.
    """
    found: dict[int, int] = {}
    others = np.where(labels[:, None] == labels[None, :], np.inf, apart).min(axis=1, initial=np.inf)
    radius = np.minimum(SAME_LOOK, _PART_OF_THE_WAY * others)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        within = apart[np.ix_(rows, rows)]
        kept = _cover(within, radius[rows])
        for place, row in enumerate(rows):
            if place not in kept:
                found[int(row)] = int(rows[kept[int(np.argmin(within[place, kept]))]])
    return dict(sorted(found.items()))


def _cover(apart: NDArray[Any], radius: NDArray[Any]) -> list[int]:
    """Return rows within whose reach all lie: farthest first, beginning in the middle."""
    kept = [int(np.argmin(apart.sum(axis=1)))]
    near = apart[kept[0]].copy()
    while np.any(near > radius):
        near[kept] = -1.0
        kept.append(int(np.argmax(np.where(near > radius, near, -1.0))))
        near = np.minimum(near, apart[kept[-1]])
    return kept
