"""Near-duplicates among pictures: groups, and in each group which pictures to keep.

Nothing is deleted here or anywhere in edge_sim: the result is a list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sim.errors import SearchError
from edge_sim.index_store import Entry, PictureTable
from edge_sim.ranking import Rows
from edge_sim.sources.pictures import natural_key

THRESHOLD = 0.97
"""Cosine of two embeddings at and above which two pictures count as near-duplicates."""
_BLOCK = 1024
"""Rows compared at a time with all later ones: 1,024 x 33,000 products are 135 MB of float32."""
_COLUMNS = 16_384
_SHARPER = 1.25
"""Two pictures whose sharpness differs by less than this factor count as equally sharp: saving as
JPEG at quality 40 to 95, resizing and brightening move it by less."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture that stays, and those it stands for, nearest first.

    Args:
        row: Of the picture.
        redundant: (row, cosine with the kept one) of the others; each at or above the threshold.
    """

    row: int
    redundant: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures linked by pairs above the threshold; the largest groups first.

    A chain of small steps can link pictures that are no near-duplicates of each other, so a group
    may keep several: every picture that need not stay has a near-duplicate that does.
    """

    kept: tuple[Kept, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """All pictures, each kept one before those it stands for."""
        return tuple(
            row for item in self.kept for row in (item.row, *(other for other, _ in item.redundant))
        )

    @property
    def redundant(self) -> tuple[int, ...]:
        """The pictures that need not stay."""
        return tuple(other for item in self.kept for other, _ in item.redundant)


def duplicate_groups(
    table: PictureTable, *, threshold: float = THRESHOLD, sequence: bool = False
) -> tuple[Group, ...]:
    """Return the groups of near-duplicates among the pictures of an index, the largest first.

    Args:
        table: From `IndexStore.table`; the global vectors are compared.
        threshold: Cosine, above 0 and at most 1.
        sequence: Only neighbours in the order of the names within one folder are linked: frames of
            a video or a time-lapse that repeat the one before, but not a scene that comes back.

    Raises:
        SearchError: A threshold out of range.
    """
    if not 0.0 < threshold <= 1.0:
        raise SearchError(f"the threshold is a cosine above 0 and at most 1, got {threshold}")
    rows = table.vectors[:, : table.dimension]
    # Rounding may take a copy of a picture to 0.9999999.
    level = min(threshold, 1.0 - 1e-6)
    if sequence:
        roots = _linked_in_order(rows, level, _in_order(table.entries))
    else:
        roots = _linked(rows, level)
    worth = [worth_of(entry) for entry in table.entries]
    groups = [Group(_kept(rows, level, members, worth)) for members in _members(roots)]
    return tuple(sorted(groups, key=lambda group: (-len(group.rows), group.rows[0])))


def worth_of(entry: Entry) -> tuple[float, ...]:
    """Return what pictures are kept by, larger is better: sharpness, pixels, bytes.

    Sharpness is taken relative to contrast, so that a brightened copy is no sharper; at the size
    of a thumbnail, so that pixels made by enlarging do not count as detail.
    """
    relative = entry.sharpness / max(entry.contrast, 1.0) ** 2
    step = math.floor(math.log(max(relative, 1e-6), _SHARPER) + 0.5)
    return (step, entry.width * entry.height, entry.file_bytes)


def _linked(rows: Rows, level: float) -> NDArray[np.intp]:
    """Return (N,) the smallest row of each row's group, over all pairs, block by block."""
    roots = np.arange(len(rows))
    for at in range(0, len(rows), _BLOCK):
        block = np.asarray(rows[at : at + _BLOCK], np.float32)
        for start in range(at, len(rows), _COLUMNS):
            near = block @ np.asarray(rows[start : start + _COLUMNS], np.float32).T >= level
            first, second = np.nonzero(near)
            first, second = first + at, second + start
            apart = first < second
            _join(roots, first[apart], second[apart])
    return _resolved(roots)


def _linked_in_order(
    rows: Rows, level: float, runs: Sequence[NDArray[np.intp]]
) -> NDArray[np.intp]:
    roots = np.arange(len(rows))
    for run in runs:
        for at in range(0, len(run) - 1, _BLOCK):
            part = np.asarray(rows[run[at : at + _BLOCK + 1]], np.float32)
            near = np.einsum("ij,ij->i", part[:-1], part[1:]) >= level
            here = np.flatnonzero(near) + at
            _join(roots, run[here], run[here + 1])
    return _resolved(roots)


def _in_order(entries: Sequence[Entry]) -> list[NDArray[np.intp]]:
    """Return the rows of each folder in natural order of the names."""
    folders: dict[object, list[int]] = {}
    for row in sorted(range(len(entries)), key=lambda row: natural_key(entries[row].path)):
        folders.setdefault(entries[row].path.parent, []).append(row)
    return [np.array(run, np.intp) for run in folders.values()]


def _join(roots: NDArray[np.intp], first: NDArray[np.intp], second: NDArray[np.intp]) -> None:
    """Union-find over many pairs at once: hook larger roots under smaller ones until none moves."""
    while len(first):
        _flatten(roots)
        a, b = roots[first], roots[second]
        apart = a != b
        if not apart.any():
            return
        first, second, a, b = first[apart], second[apart], a[apart], b[apart]
        np.minimum.at(roots, np.maximum(a, b), np.minimum(a, b))


def _flatten(roots: NDArray[np.intp]) -> None:
    while True:
        above = roots[roots]
        if np.array_equal(above, roots):
            return
        roots[:] = above


def _resolved(roots: NDArray[np.intp]) -> NDArray[np.intp]:
    _flatten(roots)
    return roots


def _members(roots: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    order = np.argsort(roots, kind="stable")
    cuts = np.flatnonzero(np.diff(roots[order])) + 1
    return [part for part in np.split(order, cuts) if len(part) > 1]


def _kept(
    rows: Rows, level: float, members: NDArray[np.intp], worth: Sequence[tuple[float, ...]]
) -> tuple[Kept, ...]:
    """Return what stays: the best, then the best of those that are not near to one kept yet."""
    left = np.array(sorted(members, key=lambda row: (worth[row], -row), reverse=True), np.intp)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        cosines = np.asarray(rows[left], np.float32) @ np.asarray(rows[best], np.float32)
        near = cosines >= level
        nearest = np.argsort(-cosines[near], kind="stable")
        redundant = zip(left[near][nearest], cosines[near][nearest], strict=True)
        pairs = tuple((int(row), min(1.0, float(cosine))) for row, cosine in redundant)
        kept.append(Kept(int(best), pairs))
        left = left[~near]
    return tuple(kept)
