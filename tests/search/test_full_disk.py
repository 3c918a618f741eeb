"""A disk that fills half-way through a build: one line, and a later build goes on from there."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge_sim.errors import SearchError
from edge_sim.search.build import update
from edge_sim.search.rows import IndexPlan
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.pictures import picture, write

EMBEDDER = open_embedder("thumbnail")
PICTURES = 40


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(PICTURES):
        write(folder / f"{number}.png", picture(number))
    return folder


def build(photos: Path, place: Path, kind: str = "exact") -> None:
    plan = IndexPlan(photos, EMBEDDER.model_id, "thumbnail", kind=kind)
    with IndexStore.open(place, create=plan) as store:
        update(store, EMBEDDER)
        store.prepare()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Refuse every write beyond it, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [1_000, 20_000, 45_000, 60_000, 100_000])
def test_a_build_on_a_disk_that_fills_is_one_line_and_goes_on_later(
    photos: Path, tmp_path: Path, size: int
) -> None:
    place = tmp_path / "photos.index"
    with pytest.raises(SearchError) as refused, files_no_larger_than(size):
        build(photos, place)
    assert "\n" not in str(refused.value)
    assert "disk" in str(refused.value) or "large" in str(refused.value)
    build(photos, place)
    with IndexStore.open(place) as store:
        assert store.problems() == ()
        assert len(store.entries()) == PICTURES


def test_vectors_that_do_not_fit_are_made_again_when_there_is_room(
    photos: Path, tmp_path: Path
) -> None:
    place = tmp_path / "photos.index"
    build(photos, place)
    (vectors,) = place.glob("vectors-*.npy")
    whole = np.load(vectors)
    vectors.unlink()
    with (
        IndexStore.open(place) as store,
        pytest.raises(SearchError, match=r"large|full"),
        files_no_larger_than(10_000),
    ):
        store.prepare()
    assert list(place.glob("vectors-*.npy")) == []
    build(photos, place)
    assert (np.load(vectors) == whole).all()
