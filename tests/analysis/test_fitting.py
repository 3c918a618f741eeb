"""A head ranks pictures by what tells the states apart, and by nothing it was not shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.analysis.adaptation import fit_head, thinned
from edge_sim.core.types import Reference
from edge_sim.errors import GalleryError
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.head import Head
from tests.analysis.galleries import DIMENSION, gallery_of, look, stacked


def ranked_rightly(head: Head, *, cells: bool = True) -> float:
    """Return the part of unseen pictures whose adapted nearest other is of their state."""
    looks = [look(number % 2, 9_000 + number, cells=cells) for number in range(60)]
    rows = np.stack([head.adapted(item).vector for item in looks])
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2.0)
    return float(np.mean(cosines.argmax(axis=1) % 2 == np.arange(60) % 2))


@pytest.mark.parametrize("cells", [True, False], ids=["with cells", "without cells"])
def test_unseen_pictures_are_ranked_by_state_and_not_by_light(cells: bool) -> None:
    head = fit_head(gallery_of(cells=cells))
    looks = [look(number % 2, 9_000 + number, cells=cells) for number in range(60)]
    plain = stacked(looks) @ stacked(looks).T
    np.fill_diagonal(plain, -2.0)
    assert np.mean(plain.argmax(axis=1) % 2 == np.arange(60) % 2) < 0.85
    assert ranked_rightly(head, cells=cells) == 1.0


def test_the_cells_are_used_where_only_they_tell() -> None:
    # A mark in one corner cell of one state; the global vectors say nothing.
    told = Gallery(_marked(item) for item in gallery_of(signal=0.0))
    head = fit_head(told)
    rows = np.stack([head.adapted(item.embedding).vector for item in told])
    cosines = rows @ rows.T
    same = told.state_rows[:, None] == told.state_rows[None, :]
    assert cosines[same].min() > cosines[~same].max()


def test_a_state_counts_the_same_however_many_references_it_has() -> None:
    assert ranked_rightly(fit_head(gallery_of((40, 5)))) > 0.95


def test_more_states_make_more_numbers() -> None:
    head = fit_head(gallery_of((6, 6, 6)))
    assert head.states == ("s0", "s1", "s2")
    assert head.dimension == DIMENSION + 3
    assert head.adapted(look(2, 77)).vector.shape == (DIMENSION + 3,)


@given(st.permutations(range(12)))
def test_the_order_of_enrolment_makes_no_difference(order: list[int]) -> None:
    references = gallery_of((6, 6)).references
    head = fit_head(Gallery(references[place] for place in order))
    same = fit_head(Gallery(references))
    probe = look(1, 123)
    np.testing.assert_allclose(head.adapted(probe).vector, same.adapted(probe).vector, atol=1e-5)


def test_references_that_are_all_the_same_picture_are_no_crash() -> None:
    one = gallery_of((1, 1)).references
    copies = [
        replace(item, reference_id=f"{item.reference_id}-{copy}")
        for item in one
        for copy in range(5)
    ]
    assert np.isfinite(fit_head(Gallery(copies)).adapted(look(0, 5)).vector).all()


def test_many_references_are_thinned_evenly_and_no_state_is_lost() -> None:
    gallery = gallery_of((1500, 6, 30), cells=False)
    fewer = thinned(gallery)
    assert [len(fewer.of_state(state)) for state in fewer.states] == [333, 6, 30]
    kept = [int(item.reference_id[1:]) for item in fewer.of_state("s0")]
    assert (kept[0], kept[-1]) == (0, 1499)
    assert max(np.diff(kept)) <= 5
    assert thinned(fewer) is fewer


def _marked(item: Reference) -> Reference:
    spatial = item.embedding.spatial
    assert spatial is not None
    cells = spatial.copy()
    cells[0, 0, 5] += 2.0 * (item.state == "s0")
    return replace(item, embedding=replace(item.embedding, spatial=cells))


@pytest.mark.parametrize("counts", [(), (5,)], ids=["empty", "one state"])
def test_there_is_nothing_to_learn_from_fewer_than_two_states(counts: tuple[int, ...]) -> None:
    with pytest.raises(GalleryError, match="two states or more"):
        fit_head(gallery_of(counts))
