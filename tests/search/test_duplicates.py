"""Near-duplicates are found, others are not, and nothing is lost by following the list."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sim.core.images import decode, encode_jpeg, measure, squash
from edge_sim.core.types import BgrImage
from edge_sim.errors import SearchError
from edge_sim.search.duplicates import (
    THRESHOLD,
    FileFacts,
    Group,
    duplicate_groups,
    join,
    likeness,
    members,
)
from edge_sim.search.entries import IndexEntry
from edge_sim.search.rows import INDEX_THUMBNAIL_PX
from tests.pictures import picture

Pair = tuple[list[IndexEntry], NDArray[np.uint8]]


def indexed(pictures: list[BgrImage], *, folder: str = "", same: list[int] | None = None) -> Pair:
    """What an index keeps of pictures."""
    entries, thumbnails = [], []
    for row, pixels in enumerate(pictures):
        small, quality = measure(pixels)
        height, width = pixels.shape[:2]
        entries.append(
            IndexEntry(
                path=Path(folder) / f"{row}.png",
                width=width,
                height=height,
                file_bytes=height * width,
                sharpness=quality.sharpness,
                contrast=quality.contrast,
                content=row if same is None else same[row],
            )
        )
        thumbnails.append(squash(small, INDEX_THUMBNAIL_PX))
    return entries, np.stack(thumbnails) if thumbnails else np.zeros(
        (0, INDEX_THUMBNAIL_PX, INDEX_THUMBNAIL_PX), np.uint8
    )


def resized(pixels: BgrImage) -> BgrImage:
    return np.asarray(
        cv2.resize(pixels, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), np.uint8
    )


def saved(pixels: BgrImage) -> BgrImage:
    return decode(encode_jpeg(pixels, 50))


def brightened(pixels: BgrImage) -> BgrImage:
    return np.asarray(np.clip(pixels * 1.15 + 8, 0, 255), np.uint8)


def trimmed(pixels: BgrImage) -> BgrImage:
    height, width = pixels.shape[:2]
    return pixels[: height - height // 20, width // 20 :]


def blurred(pixels: BgrImage) -> BgrImage:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 1.2), np.uint8)


CHANGES = [resized, saved, brightened, trimmed]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_copy_is_found_among_others(change: object) -> None:
    assert callable(change)
    pictures = [picture(number, width=320, height=240) for number in range(30)]
    copies = [change(pixels) for pixels in pictures[:20]]
    found = {group.rows for group in duplicate_groups(*indexed([*pictures, *copies]))}
    wanted = {frozenset((row, 30 + row)) for row in range(20)}
    assert len(wanted & {frozenset(rows) for rows in found}) >= 16
    assert {frozenset(rows) for rows in found} <= wanted


def test_pictures_of_their_own_are_in_no_group() -> None:
    assert duplicate_groups(*indexed([picture(number) for number in range(40)])) == ()


def test_many_pictures_are_compared_across_blocks() -> None:
    pictures = [picture(number, width=64, height=48) for number in range(1100)]
    pictures[1099] = saved(pictures[3])
    (group,) = duplicate_groups(*indexed(pictures))
    assert set(group.rows) == {3, 1099}


def test_the_sharper_the_larger_and_the_heavier_stays() -> None:
    sharp = picture(1, width=320, height=240)
    (group,) = duplicate_groups(
        *indexed([blurred(sharp), resized(sharp), sharp, brightened(sharp)])
    )
    assert group.kept[0].row in (2, 3)
    assert 2 in group.rows
    (pair,) = duplicate_groups(*indexed([resized(sharp), sharp]))
    assert pair.kept[0].row == 1


@pytest.mark.parametrize("change", [saved, brightened], ids=lambda change: change.__name__)
@pytest.mark.parametrize("heavier", [False, True])
def test_of_equally_good_pictures_the_older_stays(change: object, heavier: bool) -> None:
    assert callable(change)
    for number in range(8):
        one = picture(number, width=320, height=240)
        entries, thumbnails = indexed([change(one), one])
        sizes = (9_000_000, 1000) if heavier else (1000, 9_000_000)
        entries = [replace(e, file_bytes=size) for e, size in zip(entries, sizes, strict=True)]
        facts = [FileFacts(mtime_ns=20), FileFacts(mtime_ns=10)]
        for group in duplicate_groups(entries, thumbnails, facts=facts):
            assert group.kept[0].row == 1


def test_bytes_that_are_the_same_are_a_group_even_where_there_is_nothing_to_see() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    assert duplicate_groups(*indexed([black, black])) == ()
    (group,) = duplicate_groups(*indexed([black, black], same=[4, 4]))
    assert group.redundant == (1,)
    assert group.kept[0].redundant[0][1] == 1.0


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), steps=st.integers(2, 12), threshold=st.floats(0.6, 0.95))
def test_every_picture_on_the_list_has_a_near_duplicate_that_stays(
    seed: int, steps: int, threshold: float
) -> None:
    # A row of pictures, each a little away from the one before, drifts from its start.
    canvas = picture(seed, width=320, height=120)
    pictures = [np.ascontiguousarray(canvas[:, 5 * at : 5 * at + 160]) for at in range(steps)]
    entries, thumbnails = indexed(pictures)
    groups = duplicate_groups(entries, thumbnails, threshold=threshold)
    for group in groups:
        assert group.redundant
        for kept in group.kept:
            for row, score in kept.redundant:
                assert score >= threshold - 1e-5
                assert likeness(thumbnails[kept.row], thumbnails[row][None])[0] >= threshold - 1e-5
    rows = [row for group in groups for row in group.rows]
    assert len(rows) == len(set(rows))


def test_in_a_sequence_a_scene_that_comes_back_is_not_a_duplicate() -> None:
    first, second = picture(1), picture(2)
    frames = [first, saved(first), second, saved(second), first]
    entries, thumbnails = indexed(frames, folder="clip")
    apart = duplicate_groups(entries, thumbnails, sequence=True)
    assert sorted(sorted(group.rows) for group in apart) == [[0, 1], [2, 3]]
    together = duplicate_groups(entries, thumbnails)
    assert sorted(sorted(group.rows) for group in together) == [[0, 1, 4], [2, 3]]


def test_a_sequence_goes_by_the_numbers_in_the_names_and_ends_with_the_folder() -> None:
    first = picture(1)
    entries, thumbnails = indexed([first] * 3, folder="a")
    moved = [
        IndexEntry(
            Path(name),
            160,
            120,
            9000,
            entries[0].sharpness,
            entries[0].contrast,
            row,
        )
        for row, name in enumerate(["a/f10.png", "b/f1.png", "a/f9.png"])
    ]
    (group,) = duplicate_groups(moved, thumbnails, sequence=True)
    assert set(group.rows) == {0, 2}


def test_the_largest_group_comes_first() -> None:
    one, two = picture(1), picture(2)
    groups = duplicate_groups(*indexed([one, saved(one), two, saved(two), brightened(two)]))
    assert [len(group.rows) for group in groups] == [3, 2]


@pytest.mark.parametrize("threshold", [0.0, 0.49, 1.01, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(SearchError, match=r"0\.5 to 1"):
        duplicate_groups(*indexed([picture(1)]), threshold=threshold)


def test_no_pictures_have_no_duplicates() -> None:
    entries, thumbnails = indexed([])
    assert duplicate_groups(entries, thumbnails) == ()


def test_likeness_is_symmetric_and_one_for_the_same() -> None:
    _, thumbnails = indexed([picture(1), trimmed(picture(1)), picture(2)])
    for a in thumbnails:
        for b in thumbnails:
            forth, back = likeness(a, b[None])[0], likeness(b, a[None])[0]
            assert forth == pytest.approx(back, abs=1e-5)
            assert -1.0001 <= forth <= 1.0001
    assert likeness(thumbnails[0], thumbnails[:1])[0] == pytest.approx(1.0, abs=1e-5)
    assert likeness(thumbnails[0], thumbnails[1:2])[0] >= THRESHOLD


@given(edges=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=60))
def test_union_find_gives_the_connected_components(edges: list[tuple[int, int]]) -> None:
    roots = np.arange(30)
    pairs = np.array(edges, np.intp).reshape(-1, 2)
    join(roots, pairs[:, 0], pairs[:, 1])
    wanted = {row: {row} for row in range(30)}
    for a, b in edges:
        merged = wanted[a] | wanted[b]
        for row in merged:
            wanted[row] = merged
    for row in range(30):
        assert roots[row] == min(wanted[row])
    assert {frozenset(map(int, part)) for part in members(roots)} == {
        frozenset(part) for part in wanted.values() if len(part) > 1
    }


def test_rows_of_a_group_name_each_kept_one_before_its_own() -> None:
    one = picture(1)
    (group,) = duplicate_groups(*indexed([saved(one), one, brightened(one)]))
    assert isinstance(group, Group)
    assert group.rows[0] == group.kept[0].row
    assert set(group.rows) - set(group.redundant) == {item.row for item in group.kept}
