"""The map keeps what is near near, and its groups are those of the pictures."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sim.errors import SearchError
from edge_sim.search.picture_map import HDBSCAN, TSNE, MapPlan, PictureMap, picture_map


def bunches(sizes: tuple[int, ...], width: int = 16) -> np.ndarray:
    """Return rows in bunches of these sizes, far apart."""
    draw = np.random.default_rng(5)
    centres = draw.normal(size=(len(sizes), width))
    rows = [c + 0.05 * draw.normal(size=(n, width)) for c, n in zip(centres, sizes, strict=True)]
    return np.concatenate(rows).astype(np.float32)


def test_groups_are_the_bunches_the_largest_first() -> None:
    sizes = (5, 30, 12)
    found = picture_map(bunches(sizes), MapPlan(groups=3))
    assert np.bincount(found.groups).tolist() == sorted(sizes, reverse=True)
    assert len(set(found.groups[:5])) == len(set(found.groups[5:35])) == 1
    assert {int(found.groups[row]) for row, *_ in found.typical} == {0, 1, 2}


def test_the_plane_is_that_of_the_principal_components() -> None:
    rows = bunches((40, 40))
    points = picture_map(rows, MapPlan(groups=2)).points
    centred = rows - rows.mean(axis=0)
    first = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    assert abs(np.corrcoef(first, points[:, 0])[0, 1]) > 0.999


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 40), width=st.integers(1, 8), groups=st.integers(1, 9))
def test_every_picture_has_a_place_and_a_group(count: int, width: int, groups: int) -> None:
    rows = np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)
    found = picture_map(rows, MapPlan(groups=groups))
    assert found.points.shape == (count, 2)
    assert ((found.points >= 0) & (found.points <= 1)).all()
    assert len(found.groups) == count
    assert len(found.typical) == len(found.odd) == len(set(found.groups.tolist()))
    again = picture_map(rows, MapPlan(groups=groups))
    assert np.array_equal(found.points, again.points)
    assert np.array_equal(found.groups, again.groups)


def test_examples_are_in_order_of_their_distance_to_the_middle() -> None:
    found = picture_map(bunches((12, 3)), MapPlan(groups=2, examples=4))
    for typical, odd in zip(found.typical, found.odd, strict=True):
        near, far = found.distances[list(typical)], found.distances[list(odd)]
        assert near.tolist() == sorted(near.tolist())
        assert far.tolist() == sorted(far.tolist(), reverse=True)
        assert near[0] <= far[-1]
    assert [len(rows) for rows in found.typical] == [4, 3]


def test_no_picture_is_no_map() -> None:
    with pytest.raises(SearchError, match="no picture"):
        picture_map(np.zeros((0, 4), np.float32))


@pytest.mark.parametrize(
    "choices",
    [
        {"groups": 0},
        {"groups": 201},
        {"layout": "circle"},
        {"grouping": "alphabet"},
        {"grouping": HDBSCAN, "groups": 3},
        {"grouping": HDBSCAN, "smallest": 1},
        {"smallest": 3},
        {"examples": 0},
    ],
)
def test_choices_that_make_no_sense_are_rejected(choices: dict[str, Any]) -> None:
    with pytest.raises(SearchError):
        MapPlan(**choices)


@pytest.mark.parametrize("choices", [{"layout": TSNE}, {"grouping": HDBSCAN}])
def test_without_scikit_learn_the_extra_is_named(
    choices: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SearchError, match=r"edge_sim\[map\]"):
        picture_map(bunches((5,)), MapPlan(**choices))


def learned(rows: np.ndarray, **choices: Any) -> PictureMap:
    """Return a map by scikit-learn."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: edge_sim[map]")
    return picture_map(rows, MapPlan(**choices))


def test_tsne_keeps_bunches_together_and_is_the_same_again() -> None:
    sizes = (40, 20, 12)
    rows = bunches(sizes)
    found = learned(rows, layout=TSNE, groups=3)
    assert np.bincount(found.groups).tolist() == sorted(sizes, reverse=True)
    apart = np.linalg.norm(found.points[:, None] - found.points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert np.array_equal(found.groups[apart.argmin(axis=1)], found.groups)
    assert np.array_equal(learned(rows, layout=TSNE, groups=3).points, found.points)


def test_hdbscan_finds_the_bunches_and_what_belongs_to_none() -> None:
    sizes = (30, 20)
    strays = 3.0 * np.eye(16, dtype=np.float32)[:2]
    rows = np.concatenate([bunches(sizes), strays])
    found = learned(rows, grouping=HDBSCAN)
    assert np.bincount(found.groups[:50]).tolist() == list(sizes)
    assert sorted(found.ungrouped) == [50, 51]
    assert found.distances[50:].min() > found.distances[:50].max()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("layout", ["pca", TSNE])
def test_few_or_equal_pictures_have_a_place_and_no_group(count: int, layout: str) -> None:
    for rows in (bunches((count,)), np.ones((count, 4), np.float32)):
        found = learned(rows, layout=layout, grouping=HDBSCAN)
        assert np.isfinite(found.points).all()
        assert found.points.shape == (count, 2)
        assert (found.typical, found.odd, len(found.ungrouped)) == ((), (), count)
        assert not found.distances.any()
