"""Which pictures belong together: union-find over the pairs above a threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_sim.duplicates.likeness import (
    COARSE,
    Looks,
    coarse_vectors,
    likeness,
    trimmed_vectors,
    whole_vectors,
)

Roots = NDArray[np.intp]
"""(N,) the smallest row of each row's group."""

Watching = Callable[[Iterable[int], int], Iterable[int]]
"""Takes the blocks of rows and their number, and yields them on as they are done."""

_BLOCK = 512
_COLUMNS = 16_384


def linked(
    looks: Looks,
    same: NDArray[np.intp],
    threshold: float,
    *,
    watching: Watching | None = None,
) -> Roots:
    """Return the groups over all pairs, found block by block.

    Args:
        looks: (N, 48, 48) uint8.
        same: (N,) equal numbers for pictures that are byte for byte the same.
        threshold: Of `likeness`.
        watching: For a progress bar.
    """
    roots = _of_equal(same)
    coarse, whole = coarse_vectors(looks), whole_vectors(looks)
    blocks = range(0, len(looks), _BLOCK)
    for at in blocks if watching is None else watching(blocks, len(blocks)):
        rows = np.arange(at, min(at + _BLOCK, len(looks)))
        first, second = _candidates(coarse, rows, COARSE)
        # Pictures that are in one group already need no measuring.
        apart = roots[first] != roots[second]
        first, second = first[apart], second[apart]
        near = _verified(looks, whole, first, second, threshold)
        join(roots, first[near], second[near])
    return roots


def linked_in_order(
    looks: Looks, same: NDArray[np.intp], threshold: float, runs: Sequence[NDArray[np.intp]]
) -> Roots:
    """Return the groups over neighbours within each run of rows.

    Args:
        looks: (N, 48, 48) uint8.
        same: (N,) equal numbers for pictures that are byte for byte the same.
        threshold: Of `likeness`.
        runs: Rows in the order in which the pictures were taken.
    """
    roots = np.arange(len(looks))
    for run in runs:
        first, second = run[:-1], run[1:]
        near = same[first] == same[second]
        for at in np.flatnonzero(~near):
            here = looks[second[at]][None]
            near[at] = likeness(looks[first[at]], here)[0] >= threshold
        join(roots, first[near], second[near])
    return roots


def join(roots: Roots, first: NDArray[np.intp], second: NDArray[np.intp]) -> None:
    """Bring the groups of all pairs (first, second) together; `roots` is changed."""
    while len(first):
        a, b = roots[first], roots[second]
        apart = a != b
        if not apart.any():
            return
        first, second, a, b = first[apart], second[apart], a[apart], b[apart]
        # Larger roots are hooked under smaller ones; two at once under one need another round.
        np.minimum.at(roots, np.maximum(a, b), np.minimum(a, b))
        _flatten(roots)


def members(roots: Roots) -> list[NDArray[np.intp]]:
    """Return the rows of each group of two and more."""
    order = np.argsort(roots, kind="stable")
    cuts = np.flatnonzero(np.diff(roots[order])) + 1
    return [part for part in np.split(order, cuts) if len(part) > 1]


def _of_equal(same: NDArray[np.intp]) -> Roots:
    """Return groups of equal numbers; np.unique gives the first place of each."""
    _, first, place = np.unique(same, return_index=True, return_inverse=True)
    return np.asarray(first[place.reshape(-1)], np.intp)


def _flatten(roots: Roots) -> None:
    while True:
        above = roots[roots]
        if np.array_equal(above, roots):
            return
        roots[:] = above


def _candidates(
    coarse: NDArray[np.float32], rows: NDArray[np.intp], level: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the ordered pairs of `rows` with all others that look alike from afar."""
    firsts, seconds = [], []
    for start in range(0, len(coarse), _COLUMNS):
        near = coarse[rows] @ coarse[start : start + _COLUMNS].T >= level
        first, second = np.nonzero(near)
        firsts.append(rows[first])
        seconds.append(second + start)
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    return first[first != second], second[first != second]


def _verified(
    looks: Looks,
    whole: NDArray[np.float32],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    threshold: float,
) -> NDArray[np.bool_]:
    """Return for each pair whether a trim of the first is the second.

    The other way round is another pair: every pair is met from both sides.
    """
    near = np.zeros(len(first), np.bool_)
    if not len(first):
        return near
    order = np.argsort(first, kind="stable")
    chosen, starts = np.unique(first[order], return_index=True)
    trimmed = trimmed_vectors(looks[chosen])
    for cuts, part in zip(trimmed, np.split(order, starts[1:]), strict=True):
        near[part] = (whole[second[part]] @ cuts.T).max(axis=1) >= threshold
    return near
