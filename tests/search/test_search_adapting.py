"""A collection seen through a head is searched as any other, by what the head has learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_sim.analysis.adaptation import fit_head
from edge_sim.core.types import THUMBNAIL_PX
from edge_sim.errors import ModelError, SearchError
from edge_sim.gallery.gallery import Gallery
from edge_sim.search.searcher import (
    Collection,
    Query,
    Searcher,
    SearchFilter,
    adapted,
    adapted_query,
    collection_of_references,
)
from tests.analysis.galleries import gallery_of, look

GALLERY = gallery_of((10, 10))
HEAD = fit_head(GALLERY)
BLANK = np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)


def collection_of(gallery: Gallery, watch: str = "") -> Collection:
    return collection_of_references([(watch, item, ()) for item in gallery.references])


def states_found(collection: Collection, query: Query) -> list[str]:
    answer = Searcher(collection).search(query, SearchFilter(top_k=10))
    return [hit.facts["state"] for hit in answer.hits]


@pytest.mark.parametrize("state", [0, 1])
def test_the_references_of_the_state_come_first(state: int) -> None:
    collection = collection_of(GALLERY)
    query = Query(look(state, 4711), BLANK)
    assert set(states_found(collection, query)) == {"s0", "s1"}
    found = states_found(adapted(collection, HEAD), adapted_query(query, HEAD))
    assert found == [f"s{state}"] * 10


def test_scores_are_cosines_of_the_head() -> None:
    query = Query(look(1, 4711), BLANK)
    searcher = Searcher(adapted(collection_of(GALLERY), HEAD))
    hit = searcher.search(adapted_query(query, HEAD), SearchFilter(top_k=1)).hits[0]
    own = HEAD.adapted(query.embedding).vector
    reference = HEAD.adapted(GALLERY[hit.name].embedding).vector
    assert hit.score == pytest.approx(float(own @ reference), abs=1e-5)
    assert hit.cosine == pytest.approx(hit.score, abs=1e-5)


def test_names_and_facts_stay() -> None:
    collection = collection_of(GALLERY, watch="gate")
    through = adapted(collection, HEAD)
    assert through.names == collection.names
    assert list(through.facts(3)) == list(collection.facts(3))
    assert (through.kind, through.graph) == ("exact", None)


def test_rows_are_read_in_parts_without_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = collection_of(GALLERY)
    whole = np.asarray(adapted(collection, HEAD).vectors)
    monkeypatch.setattr("edge_sim.search.searcher._CHUNK_ROWS", 7)
    np.testing.assert_allclose(adapted(collection, HEAD).vectors, whole, atol=1e-6)


def test_an_empty_collection_stays_empty() -> None:
    empty = adapted(collection_of(Gallery()), HEAD)
    assert states_found(empty, adapted_query(Query(look(0, 1), BLANK), HEAD)) == []


def test_pictures_of_another_model_are_refused() -> None:
    other = replace(collection_of(GALLERY), model_id="other@2")
    with pytest.raises(ModelError, match=r"embedded with other@2"):
        adapted(other, HEAD)


def test_pictures_without_the_cells_that_were_learned_are_refused() -> None:
    with pytest.raises(SearchError, match="build the index with --scale both"):
        adapted(collection_of(gallery_of(cells=False)), HEAD)
