"""Groups of near-duplicates, and in each group which pictures stay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sim.duplicates.files import FileFacts
from edge_sim.duplicates.likeness import (
    THRESHOLD,
    Looks,
    trimmed_vectors,
    whole_vectors,
)
from edge_sim.duplicates.linking import Watching, linked, linked_in_order, members
from edge_sim.errors import SearchError
from edge_sim.index_store import IndexEntry
from edge_sim.sources.pictures import natural_key

LEAST_THRESHOLD = 0.5
_SHARPER = 1.25
"""Two pictures whose sharpness differs by less than about this factor count as equally sharp:
saving as JPEG, resizing and brightening move it by less, blur that can be seen by more."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture that stays, and those it stands for, nearest first.

    Args:
        row: Of the picture.
        redundant: (row, likeness to the kept one) of the others; each at or above the threshold.
    """

    row: int
    redundant: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures linked by pairs above the threshold.

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
    entries: Sequence[IndexEntry],
    looks: Looks,
    *,
    threshold: float = THRESHOLD,
    sequence: bool = False,
    facts: Sequence[FileFacts] | None = None,
    watching: Watching | None = None,
) -> tuple[Group, ...]:
    """Return the groups of near-duplicates, the largest first.

    Args:
        entries: (N) pictures, from `IndexStore.entries`.
        looks: (N, 48, 48) uint8, from `IndexStore.looks`.
        threshold: Of `likeness`, 0.5 to 1.
        sequence: Only neighbours in the order of the names within one folder are linked: frames of
            a video or a time-lapse that repeat the one before, but not a scene that comes back.
        facts: What the file system says of each picture; linked ones always stay.
        watching: For a progress bar.

    Raises:
        SearchError: A threshold out of range.
    """
    if not LEAST_THRESHOLD <= threshold <= 1.0:
        raise SearchError(f"the threshold is a likeness of 0.5 to 1, got {threshold}")
    # Rounding may take a copy to 0.9999999.
    level = min(threshold, 1.0 - 1e-6)
    same = np.array([entry.content for entry in entries], np.intp)
    if sequence:
        roots = linked_in_order(looks, same, level, _in_order(entries))
    else:
        roots = linked(looks, same, level, watching=watching)
    chooser = _Chooser(entries, looks, same, level, facts or [FileFacts()] * len(entries))
    groups = [Group(chooser.kept(rows)) for rows in members(roots)]
    return tuple(sorted(groups, key=lambda group: (-len(group.rows), group.rows[0])))


def worth_of(entry: IndexEntry) -> tuple[float, ...]:
    """Return what pictures are kept by, larger is better: sharpness, pixels, bytes.

    Sharpness is taken relative to contrast, so that a brightened copy is no sharper; at the size
    of a thumbnail, so that pixels made by enlarging do not count as detail.
    """
    relative = entry.sharpness / max(entry.contrast, 1.0) ** 2
    step = math.floor(math.log(max(relative, 1e-6), _SHARPER) + 0.5)
    return (step, entry.width * entry.height, entry.file_bytes)


def _with_original(worth: tuple[float, ...], fact: FileFacts) -> tuple[float, ...]:
    """Return the worth of a picture, of equal ones the original before its copies."""
    step, pixels, size = worth
    return (step, pixels, not fact.is_copy, size, -fact.mtime_ns)


class _Chooser:
    def __init__(
        self,
        entries: Sequence[IndexEntry],
        looks: Looks,
        same: NDArray[np.intp],
        level: float,
        facts: Sequence[FileFacts],
    ) -> None:
        self._worth = [
            (fact.is_linked, *_with_original(worth_of(entry), fact), -row)
            for row, (entry, fact) in enumerate(zip(entries, facts, strict=True))
        ]
        self._stays = np.array([fact.is_linked for fact in facts], np.bool_)
        self._looks = looks
        self._same = same
        self._level = level

    def kept(self, rows: NDArray[np.intp]) -> tuple[Kept, ...]:
        """Return the best, then the best of those that are not near to one kept yet, and so on."""
        left = np.array(sorted(rows, key=lambda row: self._worth[row], reverse=True), np.intp)
        found = []
        while len(left):
            best, left = left[0], left[1:]
            scores = self._likeness(int(best), left)
            near = (scores >= self._level) & ~self._stays[left]
            order = np.argsort(-scores[near], kind="stable")
            pairs = zip(left[near][order], scores[near][order], strict=True)
            redundant = tuple((int(row), min(1.0, float(score))) for row, score in pairs)
            found.append(Kept(int(best), redundant))
            left = left[~near]
        return tuple(found)

    def _likeness(self, best: int, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the likeness of each row to the best; where one direction is enough, only that."""
        if not len(rows):
            return np.zeros(0, np.float32)
        one = self._looks[best][None]
        scores = (whole_vectors(self._looks[rows]) @ trimmed_vectors(one)[0].T).max(axis=1)
        scores[self._same[rows] == self._same[best]] = 1.0
        short = np.flatnonzero(scores < self._level)
        if len(short):
            back = trimmed_vectors(self._looks[rows[short]]) @ whole_vectors(one)[0]
            scores[short] = np.maximum(scores[short], back.max(axis=1))
        return np.asarray(scores, np.float32)


def _in_order(entries: Sequence[IndexEntry]) -> list[NDArray[np.intp]]:
    """Return the rows of each folder in natural order of the names."""
    folders: dict[Path, list[int]] = {}
    for row in sorted(range(len(entries)), key=lambda row: natural_key(entries[row].path)):
        folders.setdefault(entries[row].path.parent, []).append(row)
    return [np.array(run, np.intp) for run in folders.values()]
