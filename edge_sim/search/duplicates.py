"""Near-duplicates among the pictures of an index: groups, and the pictures to keep.

Nothing is deleted here or anywhere in edge_sim: the result is a list. A near-duplicate is the same
picture resized, saved again, brightened, or trimmed at its edges. Embeddings answer another
question, whether the same kind of thing is seen. Measured on 33,055 photos and four re-encodings of
1,000 of them (resized to 0.5-0.9, JPEG 40-85, brightness times 0.8-1.2 plus -15-15, up to 5 %
trimmed), pairs found, recall and precision: cosine of the default model at 0.97: 0.58 and 0.06;
correlation of whole grey thumbnails at 0.96: 0.975 and 0.988; of their details at `THRESHOLD`:
0.987 and 0.995.

Pairs above a threshold are joined by union-find, and each group keeps its best pictures. A symbolic
link and what it points to are one picture, and so are hard links. Deleting what others point to
loses the picture, and deleting a link frees nothing, so neither is ever advised.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sim.errors import SearchError
from edge_sim.io.sources.pictures import natural_key
from edge_sim.search.colours import APART, Colours, colour_distances, differ_in_colour
from edge_sim.search.entries import IndexEntry
from edge_sim.search.frames import file_of
from edge_sim.search.rows import INDEX_THUMBNAIL_PX

THRESHOLD = 0.82
"""From the measurement above; 0.75 gives 0.991 and 0.988, 0.90 gives 0.918 and 0.998."""
COARSE = 0.8
"""Pairs whose 16x16 thumbnails correlate less are skipped: 0.991 of the near-duplicates above
reach it, and 24 other pictures in 33,055 per picture."""

Thumbnails = NDArray[np.uint8]
"""(N, 48, 48) uint8, grey."""
Vectors = NDArray[np.float32]

_SIDE = 24
_COARSE = 16
_TRIMS = (0.025, 0.05)
"""Fractions of width and height that may be missing, both edges together."""
_FLOOR = 2.0
"""Grey levels of deviation below which a thumbnail counts as noise: flat pictures match nothing."""
_SOFT = 8.0
"""Grey levels of detail that count half as much as the strongest edge."""
_FLOOR_DETAIL = 0.7 / _SOFT
"""As `_FLOOR`, of detail of 0.7 grey levels."""


def coarse_vectors(thumbnails: Thumbnails) -> Vectors:
    """Return (N, 256) float32: the 16x16 thumbnails less their means, of unit length or shorter."""
    if not len(thumbnails):
        return np.zeros((0, _COARSE * _COARSE), np.float32)
    step = INDEX_THUMBNAIL_PX // _COARSE
    blocks = thumbnails.reshape(len(thumbnails), _COARSE, step, _COARSE, step)
    rows = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(len(thumbnails), -1)
    return _scaled(rows - rows.mean(axis=1, keepdims=True), _FLOOR)


def whole_vectors(thumbnails: Thumbnails) -> Vectors:
    """Return (N, 576) float32: the detail of the 24x24 thumbnails, of unit length or shorter."""
    return _cut(thumbnails, _MATRICES[:1], ((0, 0),))[:, 0]


def trimmed_vectors(thumbnails: Thumbnails) -> Vectors:
    """Return (N, 19, 576) float32: `whole_vectors`, and the same of what each trim leaves."""
    return _cut(thumbnails, _MATRICES, _CUTS)


def likeness(one: Thumbnails, others: Thumbnails) -> Vectors:
    """Return (N,) likeness of `others` to `one`, -1 to 1: the best over trims of either.

    Args:
        one: (48, 48) uint8.
        others: (N, 48, 48) uint8.
    """
    whole = whole_vectors(others) @ trimmed_vectors(one[None])[0].T
    back = trimmed_vectors(others) @ whole_vectors(one[None])[0]
    return np.asarray(np.maximum(whole.max(axis=1), back.max(axis=1)), np.float32)


def likeness_among(thumbnails: Thumbnails) -> Vectors:
    """Return the (N, N) float32 symmetric likeness among (N, 48, 48) thumbnails."""
    whole, trimmed = whole_vectors(thumbnails), trimmed_vectors(thumbnails)
    found = np.full((len(thumbnails), len(thumbnails)), -1.0, np.float32)
    for cut in range(trimmed.shape[1]):
        np.maximum(found, trimmed[:, cut] @ whole.T, out=found)
    return np.asarray(np.maximum(found, found.T), np.float32)


def _cut(thumbnails: Thumbnails, matrices: Vectors, cuts: tuple[tuple[int, int], ...]) -> Vectors:
    found = np.empty((len(thumbnails), len(cuts), _SIDE * _SIDE), np.float32)
    for at in range(0, len(thumbnails), 256):
        part = thumbnails[at : at + 256].astype(np.float32)
        # Cropping and shrinking are linear and go by rows and columns apart.
        rows = np.einsum("cyh,nhw->ncyw", matrices, part, optimize=True)
        for number, (down, across) in enumerate(cuts):
            small = rows[:, down] @ matrices[across].T
            # Coarse structure is alike in many pictures, such as a bright sky over dark ground;
            # the rest after a 5x5 mean is alike in near-duplicates only.
            detail = small - _MEANS @ small @ _MEANS.T
            # Strong edges count little more than weak ones, or a frame around would decide alone.
            detail /= np.abs(detail) + _SOFT
            found[at : at + 256, number] = _scaled(detail.reshape(len(part), -1), _FLOOR_DETAIL)
    return found


def _scaled(rows: Vectors, floor: float) -> Vectors:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    least = np.float32(floor * rows.shape[1] ** 0.5)
    return np.asarray(rows / np.maximum(length, least), np.float32)


def _matrix(start: float, size: float) -> Vectors:
    """Return (24, 48) float32 that takes 24 linear samples of `size` pixels from `start`."""
    places = start + (np.arange(_SIDE) + 0.5) * size / _SIDE - 0.5
    weights = 1.0 - np.abs(places[:, None] - np.arange(INDEX_THUMBNAIL_PX))
    return np.clip(weights, 0.0, None).astype(np.float32)


def _matrices() -> Vectors:
    found = [_matrix(0.0, INDEX_THUMBNAIL_PX)]
    for trim in _TRIMS:
        missing = trim * INDEX_THUMBNAIL_PX
        found += [_matrix(missing * part, INDEX_THUMBNAIL_PX - missing) for part in (0.0, 0.5, 1.0)]
    return np.stack(found)


def _means() -> Vectors:
    """Return (24, 24) float32 that takes the mean of 5 neighbours, the border mirrored."""
    found = np.zeros((_SIDE, _SIDE), np.float32)
    for row in range(_SIDE):
        for step in range(-2, 3):
            at = abs(row + step)
            found[row, at if at < _SIDE else 2 * _SIDE - 2 - at] += 0.2
    return found


_MATRICES = _matrices()
_MEANS = _means()
_CUTS = (
    (0, 0),
    *((down, across) for down in (1, 2, 3) for across in (1, 2, 3)),
    *((down, across) for down in (4, 5, 6) for across in (4, 5, 6)),
)
"""Pairs of matrices of each cut: both sides are trimmed by the same fraction."""


Roots = NDArray[np.intp]
"""(N,) the smallest row of each row's group."""

ProgressWrapper = Callable[[Iterable[int], int], Iterable[int]]
"""Wrapper of the blocks of rows and their number that yields the same blocks."""

_BLOCK = 512
_COLUMNS = 16_384


def linked(
    thumbnails: Thumbnails,
    same: NDArray[np.intp],
    threshold: float,
    *,
    colours: Colours | None = None,
    turned: bool = False,
    progress: ProgressWrapper | None = None,
) -> Roots:
    """Return the groups over all pairs, found block by block.

    Args:
        thumbnails: (N, 48, 48) uint8.
        same: (N,) equal numbers for pictures that are byte for byte the same.
        threshold: Least `likeness` of near-duplicates, 0.5 to 1.
        colours: (N, 8, 8, 2) uint8, see `search.colours`; None compares none.
        turned: Whether pictures that were turned by quarters or mirrored are near-duplicates.
        progress: Wrapper that shows the progress.
    """
    roots = _of_equal(same)
    coarse, whole = coarse_vectors(thumbnails), whole_vectors(thumbnails)
    blocks = range(0, len(thumbnails), _BLOCK)
    for at in blocks if progress is None else progress(blocks, len(blocks)):
        rows = np.arange(at, min(at + _BLOCK, len(thumbnails)))
        for turn in ORIENTATIONS if turned else ORIENTATIONS[:1]:
            seen = turn(thumbnails[rows])
            first, second = _candidates(coarse_vectors(seen), coarse, rows, COARSE)
            # Pictures that are in one group already need no comparison.
            apart = roots[first] != roots[second]
            first, second = first[apart], second[apart]
            near = _verified(seen, whole, first - at, second, threshold)
            first, second = first[near], second[near]
            if colours is not None and len(first):
                seen_colours = turn(colours[rows])
                alike = ~differ_in_colour(seen_colours, colours, first - at, second)
                first, second = first[alike], second[alike]
            join(roots, first, second)
    return roots


def _as_is(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return planes


def _turned(quarters: int, mirrored: bool) -> Orientation:
    def turn(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        found = np.rot90(planes, quarters, axes=(1, 2))
        return np.ascontiguousarray(found[:, :, ::-1] if mirrored else found)

    return turn


Orientation = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Function that turns (N, S, S, ...) squares."""
ORIENTATIONS: tuple[Orientation, ...] = (
    _as_is,
    *(_turned(quarters, False) for quarters in (1, 2, 3)),
    *(_turned(quarters, True) for quarters in range(4)),
)


def linked_in_order(
    thumbnails: Thumbnails,
    same: NDArray[np.intp],
    threshold: float,
    runs: Sequence[NDArray[np.intp]],
    *,
    colours: Colours | None = None,
) -> Roots:
    """Return the groups over neighbours within each run of rows.

    Args:
        thumbnails: (N, 48, 48) uint8.
        same: (N,) equal numbers for pictures that are byte for byte the same.
        threshold: Least `likeness` of near-duplicates, 0.5 to 1.
        runs: Rows in the order in which the pictures were taken.
        colours: (N, 8, 8, 2) uint8; None compares none.
    """
    roots = np.arange(len(thumbnails))
    for run in runs:
        first, second = run[:-1], run[1:]
        near = same[first] == same[second]
        for at in np.flatnonzero(~near):
            here = thumbnails[second[at]][None]
            near[at] = likeness(thumbnails[first[at]], here)[0] >= threshold
            if near[at] and colours is not None:
                one, other = colours[first[at]], colours[second[at]]
                near[at] = colour_distances(one, other[None])[0] <= APART
        join(roots, first[near], second[near])
    return roots


def join(roots: Roots, first: NDArray[np.intp], second: NDArray[np.intp]) -> None:
    """Join the groups of all pairs (first, second); changes `roots`."""
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
    block: Vectors, coarse: Vectors, rows: NDArray[np.intp], level: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the ordered pairs of `rows` and all others whose coarse thumbnails correlate.

    `block` has the vectors of `rows`, perhaps turned.
    """
    firsts, seconds = [], []
    for start in range(0, len(coarse), _COLUMNS):
        near = block @ coarse[start : start + _COLUMNS].T >= level
        first, second = np.nonzero(near)
        firsts.append(rows[first])
        seconds.append(second + start)
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    return first[first != second], second[first != second]


def _verified(
    thumbnails: Thumbnails,
    whole: NDArray[np.float32],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    threshold: float,
) -> NDArray[np.bool_]:
    """Return for each pair whether a trim of the first is the second.

    The reverse is another pair: every pair is compared in both directions.
    """
    near = np.zeros(len(first), np.bool_)
    if not len(first):
        return near
    order = np.argsort(first, kind="stable")
    chosen, starts = np.unique(first[order], return_index=True)
    trimmed = trimmed_vectors(thumbnails[chosen])
    for cuts, part in zip(trimmed, np.split(order, starts[1:]), strict=True):
        near[part] = (whole[second[part]] @ cuts.T).max(axis=1) >= threshold
    return near


_COPY = re.compile(
    r"(?:[ _-]\(\d+\)|\(\d+\)|[ _-]+(?:copy|kopie|copie|copia)(?:[ _-]*\(?\d+\)?)?|~\d*)$"
    r"|^(?:copy|kopie) (?:of|von) ",
    re.IGNORECASE,
)
_UNKNOWN_TIME_NS = 1 << 63


@dataclass(frozen=True, slots=True)
class FileFacts:
    """File system facts of one picture.

    Args:
        is_copy: Whether its name is one that programs give to copies.
        mtime_ns: Time of the last change; far in the future if unknown.
        is_linked: Whether it is a link, or another picture of the list is a link to it.
    """

    is_copy: bool = False
    mtime_ns: int = _UNKNOWN_TIME_NS
    is_linked: bool = False


@dataclass(frozen=True, slots=True)
class Distinct:
    """Pictures of a list, each file once.

    Args:
        rows: Rows that represent a file of their own.
        facts: File facts of each of these rows.
        links: Row of every other name of a file -> the row that represents it.
    """

    rows: tuple[int, ...]
    facts: tuple[FileFacts, ...]
    links: dict[int, int]


def distinct_files(root: Path, entries: Sequence[IndexEntry]) -> Distinct:
    """Return each file once; of several names the one that is no link, then the first, stays.

    Frames of videos are left out.

    Args:
        root: Folder that the paths of the entries are relative to.
        entries: Pictures of an index.
    """
    names: dict[tuple[int, int], list[int]] = {}
    states: list[os.stat_result | None] = []
    soft = []
    for row, entry in enumerate(entries):
        path = root / entry.path
        if file_of(entry.path) != entry.path:
            states.append(None)
            soft.append(False)
            continue  # a frame of a video is no file that could be deleted
        state = _state(path)
        states.append(state)
        soft.append(path.is_symlink())
        key = (-1, row) if state is None else (state.st_dev, state.st_ino)
        names.setdefault(key, []).append(row)
    rows, facts, links = [], [], {}
    for group in names.values():
        group.sort(key=lambda row: (soft[row], natural_key(entries[row].path)))
        first = group[0]
        state = states[first]
        rows.append(first)
        facts.append(
            FileFacts(
                is_copy=_COPY.search(entries[first].path.stem) is not None,
                mtime_ns=_UNKNOWN_TIME_NS if state is None else state.st_mtime_ns,
                is_linked=len(group) > 1 or soft[first],
            )
        )
        links.update(dict.fromkeys(group[1:], first))
    order = sorted(range(len(rows)), key=rows.__getitem__)
    return Distinct(tuple(rows[at] for at in order), tuple(facts[at] for at in order), links)


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


LEAST_THRESHOLD = 0.5
_SHARPER = 1.4
"""Two pictures whose sharpness differs by less than this factor count as equally sharp: saving as
JPEG, resizing and brightening move it by less, blur that can be seen by more."""
_AS_LARGE = 0.98
"""Part of the pixels of the largest from which on a picture counts as large as it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Picture to keep, and those it represents, nearest first.

    Args:
        row: Row of the picture.
        redundant: (row, likeness to the kept one) of the others; each at or above the threshold.
    """

    row: int
    redundant: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Group of pictures linked by pairs above the threshold.

    A chain of small steps can link pictures that are no near-duplicates of each other, so a group
    may keep several: every redundant picture has a near-duplicate that is kept.
    """

    kept: tuple[Kept, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """All pictures, each kept one before those it represents."""
        return tuple(
            row for item in self.kept for row in (item.row, *(other for other, _ in item.redundant))
        )

    @property
    def redundant(self) -> tuple[int, ...]:
        """Redundant pictures."""
        return tuple(other for item in self.kept for other, _ in item.redundant)


def duplicate_groups(
    entries: Sequence[IndexEntry],
    thumbnails: Thumbnails,
    *,
    threshold: float = THRESHOLD,
    sequence: bool = False,
    facts: Sequence[FileFacts] | None = None,
    colours: Colours | None = None,
    turned: bool = False,
    progress: ProgressWrapper | None = None,
) -> tuple[Group, ...]:
    """Return the groups of near-duplicates, the largest first.

    Args:
        entries: (N) pictures, from `IndexStore.entries`.
        thumbnails: (N, 48, 48) uint8, from `IndexStore.thumbnails`.
        threshold: Least `likeness` of near-duplicates, 0.5 to 1.
        sequence: Whether only neighbours in the order of the names within one folder are linked:
            frames of a video that repeat the one before, but not a scene that comes back.
        facts: File facts of each picture; linked ones are always kept.
        colours: (N, 8, 8, 2) uint8, from `IndexStore.colours`; None compares grey levels only.
        turned: Whether turned and mirrored copies are near-duplicates; not with `sequence`.
        progress: Wrapper that shows the progress.

    Raises:
        SearchError: A threshold out of range.
    """
    if not LEAST_THRESHOLD <= threshold <= 1.0:
        raise SearchError(f"the threshold is a likeness of 0.5 to 1, got {threshold}")
    # Rounding may take a copy to 0.9999999.
    level = min(threshold, 1.0 - 1e-6)
    same = np.array([entry.content for entry in entries], np.intp)
    if sequence:
        roots = linked_in_order(thumbnails, same, level, _in_order(entries), colours=colours)
    else:
        roots = linked(thumbnails, same, level, colours=colours, turned=turned, progress=progress)
    known = facts or [FileFacts()] * len(entries)
    chooser = _Chooser(entries, thumbnails, same, level, known, colours, turned=turned)
    groups = [Group(chooser.kept(rows)) for rows in members(roots)]
    return tuple(sorted(groups, key=lambda group: (-len(group.rows), group.rows[0])))


def relative_sharpness(entry: IndexEntry) -> float:
    """Return the sharpness of a picture relative to its contrast.

    A brightened copy is no sharper by it; measured at the size of a thumbnail, pixels made by
    enlarging do not count as detail.
    """
    return entry.sharpness / max(entry.contrast, 1.0) ** 2


class _Chooser:
    def __init__(
        self,
        entries: Sequence[IndexEntry],
        thumbnails: Thumbnails,
        same: NDArray[np.intp],
        level: float,
        facts: Sequence[FileFacts],
        colours: Colours | None,
        *,
        turned: bool,
    ) -> None:
        self._colours = colours
        self._turns = ORIENTATIONS if turned else ORIENTATIONS[:1]
        self._sharpness = np.array([relative_sharpness(entry) for entry in entries])
        self._pixels = np.array([entry.width * entry.height for entry in entries])
        # Of equally good pictures the original: no name of a copy, older, less compressed.
        self._originality = [
            (not fact.is_copy, -fact.mtime_ns, entry.file_bytes, -row)
            for row, (entry, fact) in enumerate(zip(entries, facts, strict=True))
        ]
        self._stays = np.array([fact.is_linked for fact in facts], np.bool_)
        self._thumbnails = thumbnails
        self._same = same
        self._level = level

    def kept(self, rows: NDArray[np.intp]) -> tuple[Kept, ...]:
        """Return the best, then repeatedly the best that is near to none kept so far."""
        left = np.asarray(rows, np.intp)
        found = []
        while len(left):
            best = self._best(left)
            left = left[left != best]
            scores = self._likeness(int(best), left)
            near = (scores >= self._level) & ~self._stays[left]
            order = np.argsort(-scores[near], kind="stable")
            pairs = zip(left[near][order], scores[near][order], strict=True)
            redundant = tuple((int(row), min(1.0, float(score))) for row, score in pairs)
            found.append(Kept(int(best), redundant))
            left = left[~near]
        return tuple(found)

    def _best(self, rows: NDArray[np.intp]) -> int:
        """Return the picture to keep: linked, sharp and large, and of those the original."""
        if self._stays[rows].any():
            rows = rows[self._stays[rows]]
        sharpness = self._sharpness[rows]
        rows = rows[sharpness >= sharpness.max() / _SHARPER]
        pixels = self._pixels[rows]
        rows = rows[pixels >= _AS_LARGE * pixels.max()]
        return int(max(rows.tolist(), key=self._originality.__getitem__))

    def _likeness(self, best: int, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the likeness of each row to the best, over all turns; 0 for other colours."""
        scores = np.zeros(len(rows), np.float32)
        for turn in self._turns if len(rows) else ():
            found = self._likeness_as(turn, best, rows)
            if self._colours is not None:
                own = turn(self._colours[best][None])[0]
                found[colour_distances(own, self._colours[rows]) > APART] = 0.0
            np.maximum(scores, found, out=scores)
        scores[self._same[rows] == self._same[best]] = 1.0
        return scores

    def _likeness_as(
        self, turn: Orientation, best: int, rows: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return the likeness of each row to the turned best; one direction where it is enough."""
        one = turn(self._thumbnails[best][None])
        scores = (whole_vectors(self._thumbnails[rows]) @ trimmed_vectors(one)[0].T).max(axis=1)
        short = np.flatnonzero(scores < self._level)
        if len(short):
            back = trimmed_vectors(self._thumbnails[rows[short]]) @ whole_vectors(one)[0]
            scores[short] = np.maximum(scores[short], back.max(axis=1))
        return np.asarray(scores, np.float32)


def _in_order(entries: Sequence[IndexEntry]) -> list[NDArray[np.intp]]:
    """Return the rows of each folder in natural order of the names."""
    folders: dict[Path, list[int]] = {}
    for row in sorted(range(len(entries)), key=lambda row: natural_key(entries[row].path)):
        folders.setdefault(entries[row].path.parent, []).append(row)
    return [np.array(run, np.intp) for run in folders.values()]
