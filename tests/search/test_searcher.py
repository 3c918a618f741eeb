"""A search gives what was asked for, in the right order, and refuses what makes no sense."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import and_
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.images import thumbnail
from edge_sim.core.ranking import Metric
from edge_sim.core.types import Reference
from edge_sim.core.vectors import ssim
from edge_sim.errors import GalleryError, ModelError, SearchError
from edge_sim.gallery.gallery import Gallery
from edge_sim.search.build import update
from edge_sim.search.filters import equals
from edge_sim.search.rows import IndexPlan, VectorScale
from edge_sim.search.searcher import (
    METRICS,
    Collection,
    Query,
    Searcher,
    SearchFilter,
    collection_of_index,
    collection_of_references,
)
from edge_sim.search.store import IndexStore
from edge_sim.vision.embedders import open_embedder
from tests.builders import embedding, reference
from tests.pictures import picture, write

EMBEDDER = open_embedder("thumbnail")
KNOWN = {
    "g1": (1.0, 0.0, 0.0),
    "g2": (0.0, 1.0, 0.0),
    "g3": (0.5, 0.5, 0.0),
    "g4": (0.0, 0.0, 1.0),
    "g5": (0.2, 0.1, 0.0),
}


def collection_of(gallery: Gallery, watch: str = "") -> Collection:
    return collection_of_references([(watch, item, ()) for item in gallery.references])


def known_gallery() -> Gallery:
    states = {"g1": "open", "g2": "closed", "g3": "open", "g4": "closed", "g5": "open"}
    return Gallery(reference(name, states[name], *numbers) for name, numbers in KNOWN.items())


def pictured(number: int, state: str, **metadata: str) -> Reference:
    pixels = picture(number)
    return replace(
        reference(f"r{number}", state, 1.0),
        embedding=EMBEDDER.embed(pixels),
        thumbnail=thumbnail(pixels),
        metadata=metadata,
    )


def query_of(number: int) -> Query:
    pixels = picture(number)
    return Query(EMBEDDER.embed(pixels), thumbnail(pixels))


@pytest.fixture(scope="module")
def searcher() -> Searcher:
    gallery = Gallery(
        pictured(number, "open" if number % 3 else "closed", light="lamp" if number % 2 else "sun")
        for number in range(24)
    )
    return Searcher(collection_of(gallery, watch="gate"))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        write(folder / ("a" if number < 6 else "b") / f"{number}.png", picture(number))
    plan = IndexPlan(folder, EMBEDDER.model_id, "thumbnail", VectorScale.BOTH)
    with IndexStore.open(folder / "index", create=plan) as store:
        update(store, EMBEDDER)
        store.tag([Path("a/3.png")], "odd")
        return collection_of_index(store)


def names_of(searcher: Searcher, wanted: SearchFilter, number: int = 5) -> list[str]:
    return [hit.name for hit in searcher.search(query_of(number), wanted).hits]


def test_the_known_answer_from_a_gallery() -> None:
    found = known_gallery().search(embedding(0.6, 0.8, 0.0), 5)
    assert [item.reference.reference_id for item in found] == ["g3", "g5", "g2", "g1", "g4"]
    assert [item.score for item in found[:2]] == pytest.approx([0.990, 0.894], abs=5e-4)


def test_a_gallery_finds_the_least_similar_first() -> None:
    found = known_gallery().search(embedding(0.6, 0.8, 0.0), 2, least=True)
    assert [item.reference.reference_id for item in found] == ["g4", "g1"]


def test_a_gallery_filters_by_state_and_metadata() -> None:
    found = known_gallery().search(embedding(0.6, 0.8, 0.0), 5, where={"state": "closed"})
    assert [item.reference.reference_id for item in found] == ["g2", "g4"]
    assert known_gallery().search(embedding(1.0, 0.0, 0.0), where={"light": "sun"}) == ()


def test_a_gallery_ranks_by_distance_too() -> None:
    found = known_gallery().search(embedding(0.6, 0.8, 0.0), 1, metric=Metric.MANHATTAN)
    assert found[0].reference.reference_id == "g3"
    assert found[0].score == pytest.approx(0.2, abs=1e-3)


def test_a_gallery_refuses_the_embedding_of_another_model() -> None:
    with pytest.raises(ModelError, match="other@1"):
        known_gallery().search(embedding(1.0, 0.0, 0.0, model_id="other@1"))


def test_a_gallery_refuses_to_find_nothing() -> None:
    with pytest.raises(GalleryError, match="at least 1"):
        known_gallery().search(embedding(1.0, 0.0, 0.0), 0)


def test_an_empty_gallery_finds_nothing() -> None:
    assert Gallery().search(embedding(1.0, 0.0)) == ()
    assert Searcher(collection_of(Gallery())).search(query_of(1), SearchFilter()).hits == ()


@pytest.mark.parametrize("metric", METRICS)
def test_a_picture_is_most_like_itself(searcher: Searcher, metric: str) -> None:
    first = searcher.search(query_of(5), SearchFilter(metric=metric)).hits[0]
    assert first.name == "r5"
    distance = metric in ("euclidean", "manhattan")
    assert first.score == pytest.approx(0.0 if distance else 1.0, abs=1e-3)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("least", [False, True])
def test_scores_are_in_order(searcher: Searcher, metric: str, least: bool) -> None:
    answer = searcher.search(query_of(5), SearchFilter(metric=metric, least=least))
    scores = np.array([hit.score for hit in answer.hits])
    falls = (metric in ("euclidean", "manhattan")) == least
    assert len(scores) == 24
    assert (np.diff(scores) <= 0 if falls else np.diff(scores) >= 0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_the_least_similar_are_the_most_similar_backwards(searcher: Searcher, metric: str) -> None:
    most = names_of(searcher, SearchFilter(metric=metric))
    assert names_of(searcher, SearchFilter(metric=metric, least=True)) == most[::-1]


def test_ssim_is_that_of_the_thumbnails(searcher: Searcher) -> None:
    for hit in searcher.search(query_of(5), SearchFilter(metric="ssim", top_k=4)).hits:
        wanted = ssim(thumbnail(picture(5)), thumbnail(picture(int(hit.name[1:]))))
        assert hit.score == pytest.approx(wanted, abs=1e-6)


def test_fused_is_two_parts_of_cosine_and_one_of_ssim(searcher: Searcher) -> None:
    for hit in searcher.search(query_of(5), SearchFilter(metric="fused", top_k=4)).hits:
        assert hit.ssim is not None
        assert hit.score == pytest.approx((2 * hit.cosine + hit.ssim) / 3, abs=1e-6)


@given(
    state=st.sampled_from([None, "open", "closed", "ajar"]),
    light=st.sampled_from([None, "sun", "lamp"]),
    k=st.integers(1, 30),
    metric=st.sampled_from(METRICS),
)
def test_filters_give_the_whole_ranking_less_what_does_not_pass(
    searcher: Searcher, state: str | None, light: str | None, k: int, metric: str
) -> None:
    pairs = (("state", state), ("light", light))
    wanted = {(key, value) for key, value in pairs if value is not None}
    where = reduce(and_, (equals(key, value) for key, value in wanted)) if wanted else None
    whole = searcher.search(query_of(5), SearchFilter(metric=metric)).hits
    passing = [hit.name for hit in whole if wanted <= set(hit.facts.items())]
    answer = searcher.search(query_of(5), SearchFilter(metric=metric, where=where, top_k=k))
    assert [hit.name for hit in answer.hits] == passing[:k]
    assert answer.eligible == len(passing)


def test_a_filter_by_what_no_picture_has_names_what_there_is(searcher: Searcher) -> None:
    with pytest.raises(SearchError, match="no picture has 'colour'; filter by condition, light"):
        searcher.search(query_of(1), SearchFilter(where=equals("colour", "red")))


def test_only_scores_at_or_above_the_least_are_given(searcher: Searcher) -> None:
    whole = searcher.search(query_of(5), SearchFilter()).hits
    answer = searcher.search(query_of(5), SearchFilter(min_score=whole[3].score))
    assert [hit.name for hit in answer.hits] == [hit.name for hit in whole[:4]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: SearchFilter(top_k=0),
        lambda: SearchFilter(metric="hamming"),
        lambda: SearchFilter(metric="euclidean", min_score=0.5),
        lambda: SearchFilter(min_score=1.5),
        lambda: SearchFilter(min_score=float("nan")),
    ],
    ids=["no k", "metric", "score of a distance", "score above 1", "NaN"],
)
def test_what_makes_no_sense_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(SearchError):
        make()


def test_a_query_of_another_model_is_refused(searcher: Searcher) -> None:
    query = Query(embedding(1.0, 0.0, model_id="other@1"), query_of(1).thumbnail)
    with pytest.raises(ModelError, match="other@1; search with the same model"):
        searcher.search(query, SearchFilter())


@pytest.mark.parametrize("scale", list(VectorScale), ids=lambda scale: scale.value)
def test_every_scale_of_an_index_finds_the_picture_itself(
    index: Collection, scale: VectorScale
) -> None:
    found = Searcher(index).search(query_of(7), SearchFilter(scale=scale, top_k=3)).hits
    assert found[0].name == "b/7.png"
    assert found[0].score == pytest.approx(1.0, abs=1e-4)


def test_both_scales_are_the_mean_of_the_two(index: Collection) -> None:
    searcher = Searcher(index)
    found = {
        scale: {
            hit.name: hit.score
            for hit in searcher.search(query_of(7), SearchFilter(scale=scale)).hits
        }
        for scale in VectorScale
    }
    for name, score in found[VectorScale.BOTH].items():
        mean = (found[VectorScale.GLOBAL][name] + found[VectorScale.SPATIAL][name]) / 2
        assert score == pytest.approx(mean, abs=1e-5)


def test_an_index_without_cells_says_how_to_get_them(index: Collection) -> None:
    flat = replace(index, vectors=index.vectors[:, : index.dimension])
    with pytest.raises(SearchError, match="--scale both"):
        Searcher(flat).search(query_of(7), SearchFilter(scale=VectorScale.SPATIAL))


def test_an_index_filters_by_folder_and_tag(index: Collection) -> None:
    searcher = Searcher(index)
    assert names_of(searcher, SearchFilter(where=equals("tag", "odd"))) == ["a/3.png"]
    inside = names_of(searcher, SearchFilter(where=equals("folder", "b")))
    assert sorted(inside) == ["b/10.png", "b/11.png", "b/6.png", "b/7.png", "b/8.png", "b/9.png"]


def test_pictures_that_are_gone_are_counted_when_their_pixels_are_needed(
    index: Collection,
) -> None:
    gone = replace(index, thumbnail=lambda row: None if row == 0 else index.thumbnail(row))
    answer = Searcher(gone).search(query_of(7), SearchFilter(metric="ssim"))
    assert (len(answer.hits), answer.unseen) == (11, 1)
