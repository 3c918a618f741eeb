"""The map keeps what is near near, and its groups are those of the pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sim.errors import SearchError
from edge_sim.search.picture_map import picture_map


def bunches(sizes: tuple[int, ...], width: int = 16) -> np.ndarray:
    """Return rows in bunches of these sizes, far apart."""
    draw = np.random.default_rng(5)
    centres = draw.normal(size=(len(sizes), width))
    rows = [c + 0.05 * draw.normal(size=(n, width)) for c, n in zip(centres, sizes, strict=True)]
    return np.concatenate(rows).astype(np.float32)


def test_groups_are_the_bunches_the_largest_first() -> None:
    sizes = (5, 30, 12)
    found = picture_map(bunches(sizes), 3)
    assert np.bincount(found.groups).tolist() == sorted(sizes, reverse=True)
    assert len(set(found.groups[:5])) == len(set(found.groups[5:35])) == 1
    assert {int(found.groups[row]) for row in found.typical} == {0, 1, 2}


def test_the_plane_is_that_of_the_principal_components() -> None:
    rows = bunches((40, 40))
    points = picture_map(rows, 2).points
    centred = rows - rows.mean(axis=0)
    first = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    assert abs(np.corrcoef(first, points[:, 0])[0, 1]) > 0.999


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 40), width=st.integers(1, 8), groups=st.integers(1, 9))
def test_every_picture_has_a_place_and_a_group(count: int, width: int, groups: int) -> None:
    rows = np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)
    found = picture_map(rows, groups)
    assert found.points.shape == (count, 2)
    assert ((found.points >= 0) & (found.points <= 1)).all()
    assert len(found.groups) == count
    assert len(found.typical) == len(found.odd) == len(set(found.groups.tolist()))
    again = picture_map(rows, groups)
    assert np.array_equal(found.points, again.points)
    assert np.array_equal(found.groups, again.groups)


@pytest.mark.parametrize(("rows", "groups"), [(0, None), (3, 0), (3, 201)])
def test_what_cannot_be_drawn_is_refused(rows: int, groups: int | None) -> None:
    with pytest.raises(SearchError):
        picture_map(np.zeros((rows, 4), np.float32), groups)
