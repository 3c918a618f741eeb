"""Gallery: a value with one matrix; and the names that watches and states may have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.types import Embedding, Reference
from edge_sim.core.vectors import cosine, cosine_to_all
from edge_sim.errors import GalleryError
from edge_sim.gallery.gallery import Gallery, checked_name
from tests.builders import reference
from tests.strategies import names, references


@given(name=names)
def test_letters_digits_underscore_and_dash_make_a_name(name: str) -> None:
    assert checked_name("state", name) == name


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a/b", "..", "é", "a\n", "x" * 65, "unknown", "Unknown", "none", "NONE", "a\0"],
    ids=repr,
)
def test_anything_else_is_refused_with_the_word_for_what_it_names(name: str) -> None:
    with pytest.raises(GalleryError, match="cannot be the name of a watch") as caught:
        checked_name("watch", name)
    assert "\n" not in str(caught.value)


@given(items=references())
def test_rows_of_the_matrix_are_the_vectors_in_order(items: list[Reference]) -> None:
    gallery = Gallery(items)
    assert len(gallery) == len(items)
    assert list(gallery) == items
    for row, item in enumerate(items):
        np.testing.assert_array_equal(gallery.matrix[row], item.embedding.vector)
        assert gallery.states[gallery.state_rows[row]] == item.state
        assert gallery[item.reference_id] is item


@given(items=references(), split=st.integers(0, 8))
def test_adding_in_parts_is_the_same_as_all_at_once(items: list[Reference], split: int) -> None:
    whole = Gallery(items, revision=3)
    parts = Gallery(items[:split], revision=3).adding(*items[split:])
    assert list(parts) == list(whole)
    assert parts.revision == 3
    np.testing.assert_array_equal(parts.matrix, whole.matrix)
    np.testing.assert_array_equal(parts.state_rows, whole.state_rows)


@given(items=references(), chosen=st.sets(st.integers(0, 7)))
def test_removing_leaves_the_others_in_their_order(
    items: list[Reference], chosen: set[int]
) -> None:
    gone = {f"r{number}" for number in chosen if number < len(items)}
    before = Gallery(items)
    after = before.removing(*gone)
    assert list(after) == [item for item in items if item.reference_id not in gone]
    assert list(before) == items, "the gallery it came from is as it was"
    assert not any(name in after for name in gone)


@given(items=references().filter(bool))
def test_the_matrix_finds_the_reference_that_a_loop_finds(items: list[Reference]) -> None:
    query = items[-1].embedding.vector
    fast = cosine_to_all(query, Gallery(items).matrix)
    slow = [cosine(query, item.embedding.vector) for item in items]
    np.testing.assert_allclose(fast, slow, atol=1e-5)


@given(items=references())
def test_cells_are_stacked_in_the_same_order(items: list[Reference]) -> None:
    cells = Gallery(items).cells
    if not items:
        assert cells is None
        return
    assert cells is not None
    for row, item in enumerate(items):
        assert item.embedding.spatial is not None
        np.testing.assert_array_equal(cells[row].ravel(), item.embedding.spatial.ravel())


def test_a_gallery_without_spatial_descriptors_has_no_cells() -> None:
    assert Gallery([reference("a", "open", 1.0, 0.0)]).cells is None


def test_references_of_a_state_keep_their_order() -> None:
    items = [
        reference("a", "open", 1, 0),
        reference("b", "shut", 0, 1),
        reference("c", "open", 1, 1),
    ]
    assert [item.reference_id for item in Gallery(items).of_state("open")] == ["a", "c"]
    assert Gallery(items).of_state("ajar") == ()


def test_an_id_may_be_given_once() -> None:
    with pytest.raises(GalleryError, match="share an id"):
        Gallery([reference("a", "open", 1, 0), reference("a", "shut", 0, 1)])


def test_two_models_are_never_mixed_and_the_message_says_what_to_do() -> None:
    other = reference("b", "open", 1, 0)
    foreign = Reference(
        reference_id="b",
        state="open",
        embedding=Embedding(other.embedding.vector, None, "other@2"),
        thumbnail=other.thumbnail,
        condition="day",
        enrolled_at=other.enrolled_at,
    )
    with pytest.raises(GalleryError, match=r"fake@1, other@2.*edge-sim gallery reembed"):
        Gallery([reference("a", "open", 1, 0), foreign])


def test_vectors_of_two_lengths_are_refused() -> None:
    with pytest.raises(GalleryError, match="different lengths"):
        Gallery([reference("a", "open", 1, 0), reference("b", "open", 1, 0, 0)])


def test_an_unknown_id_is_named() -> None:
    gallery = Gallery([reference("a", "open", 1, 0)])
    with pytest.raises(GalleryError, match="'z'"):
        gallery["z"]
    with pytest.raises(GalleryError, match="'z'"):
        gallery.removing("a", "z")


def test_an_empty_gallery_is_a_gallery() -> None:
    gallery = Gallery()
    assert (len(gallery), gallery.states, gallery.model_id) == (0, (), None)
    assert gallery.matrix.shape == (0, 0)
    assert "no state" in repr(gallery)


def test_the_coverage_counts_every_state_in_every_light_that_there_is() -> None:
    night = replace(reference("b", "open", 0, 1), condition="ir")
    pictures = [reference("a", "open", 1, 0), night, reference("c", "closed", 1, 0)]
    assert Gallery(pictures).coverage() == {
        "closed": {"day": 1, "ir": 0},
        "open": {"day": 1, "ir": 1},
    }
    assert Gallery().coverage() == {}
