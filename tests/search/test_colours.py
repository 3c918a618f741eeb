"""Colours tell pictures of one shape apart, and no re-encoding from its original."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.types import BgrImage
from edge_sim.search.colours import APART, colour_cells, colour_distances, differ_in_colour
from edge_sim.search.duplicates import duplicate_groups, linked
from edge_sim.search.rows import index_thumbnail
from tests.pictures import picture
from tests.search.test_duplicates import indexed


def shirt(colour: tuple[int, int, int]) -> BgrImage:
    """Return a garment of one colour on a grey wall, its folds the same for every colour."""
    drawn = np.full((120, 100, 3), 190, np.uint8)
    outline = np.array([[30, 20], [70, 20], [95, 45], [80, 60], [72, 50], [72, 110], [28, 110]])
    cv2.fillPoly(drawn, [np.vstack([outline, [[28, 50], [20, 60], [5, 45]]])], colour)
    folds = np.random.default_rng(3).normal(0, 12, (120, 100, 1))
    shaded = drawn + cv2.GaussianBlur(folds, (0, 0), 2)[..., None]
    return np.asarray(np.clip(shaded, 0, 255), np.uint8)


def distance(one: BgrImage, other: BgrImage) -> float:
    return float(colour_distances(colour_cells(one), colour_cells(other)[None])[0])


def test_shirts_of_other_colours_are_apart() -> None:
    assert distance(shirt((30, 30, 180)), shirt((30, 30, 30))) > APART
    assert distance(shirt((30, 30, 180)), shirt((180, 30, 30))) > APART


@pytest.mark.parametrize("factor", [0.8, 1.2])
@pytest.mark.parametrize("quality", [40, 85])
def test_a_brightened_and_saved_copy_has_its_colours(factor: float, quality: int) -> None:
    for one in (picture(1), picture(7), shirt((30, 30, 180))):
        bright = np.clip(one * factor, 0, 255).astype(np.uint8)
        data = cv2.imencode(".jpg", bright, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        assert distance(one, np.asarray(cv2.imdecode(data, 1), np.uint8)) < APART


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_distance_is_zero_to_itself_and_to_the_unknown(one: int, other: int) -> None:
    cells = colour_cells(picture(one))
    nothing = np.zeros_like(cells)
    assert colour_distances(cells, cells[None])[0] == pytest.approx(0.0, abs=1e-4)
    assert colour_distances(cells, nothing[None])[0] == 0.0
    assert colour_distances(nothing, colour_cells(picture(other))[None])[0] == 0.0


def test_pairs_are_compared_as_one_by_one() -> None:
    cells = np.stack([colour_cells(picture(number)) for number in range(6)])
    first, second = np.triu_indices(6, 1)
    wanted = [
        bool(colour_distances(cells[a], cells[b][None])[0] > APART)
        for a, b in zip(first, second, strict=True)
    ]
    assert differ_in_colour(cells, cells, first, second).tolist() == wanted


def test_groups_are_of_one_colour() -> None:
    pictures = [shirt((30, 30, 180)), shirt((30, 30, 180)), shirt((30, 30, 30))]
    entries, thumbnails = indexed(pictures)
    colours = np.stack([colour_cells(pixels) for pixels in pictures])
    (group,) = duplicate_groups(entries, thumbnails, colours=colours)
    assert sorted(group.rows) == [0, 1]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_copies_are_found_where_they_are_asked_for(quarters: int, mirrored: bool) -> None:
    one = picture(4)
    turned = np.rot90(one[:, ::-1] if mirrored else one, quarters)
    pictures = [one, np.ascontiguousarray(turned), picture(9)]
    thumbnails = np.stack([index_thumbnail(pixels) for pixels in pictures])
    colours = np.stack([colour_cells(pixels) for pixels in pictures])
    same = np.arange(3)
    found = linked(thumbnails, same, 0.82, colours=colours, turned=True)
    assert found.tolist() == [0, 0, 2]
    if quarters or mirrored:
        assert linked(thumbnails, same, 0.82, colours=colours).tolist() == [0, 1, 2]
