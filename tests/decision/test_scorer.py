"""GalleryScorer: which state, how familiar, and what it does with little or bad material."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.images import edges_of
from edge_sim.core.types import Embedding, Match
from edge_sim.core.vectors import normalised, ssim
from edge_sim.decision.features import features_of, stacked_features, with_structure
from edge_sim.decision.ridge import RIDGE, Labels, StackedRidges, fit_ridge
from edge_sim.decision.scorer import (
    MODELLED_REFERENCES,
    GalleryScorer,
    feature_weights,
    fit_inverse_temperature,
    probabilities,
)
from edge_sim.decision.subspace import NOISE, fit_span
from edge_sim.gallery.enrolment_checks import MOST_CONFLICTS, conflicts
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.probe import make_probe
from tests.pictured import CellsEmbedder, enrolled, gallery, picture, probe


def matched(scorer: GalleryScorer, state: str, seed: int) -> Match:
    match = scorer.best_match(probe(state, seed))
    assert match is not None
    return match


@pytest.mark.parametrize("references", [1, 2, 5])
@pytest.mark.parametrize("state", ["empty", "left", "right"])
def test_the_right_state_is_the_most_probable(state: str, references: int) -> None:
    scorer = GalleryScorer(gallery(references))
    for seed in range(5):
        assert matched(scorer, state, seed).best.state == state


def test_a_picture_of_the_gallery_is_fully_familiar() -> None:
    references = gallery(4)
    scorer = GalleryScorer(references)
    for reference in references:
        look = replace(
            probe("empty", 0),
            embedding=reference.embedding,
            thumbnail=reference.thumbnail,
            edges=edges_of(reference.thumbnail),
        )
        match = scorer.best_match(look)
        assert match is not None
        best = match.best
        assert (best.state, best.reference_id) == (reference.state, reference.reference_id)
        assert best.score.combined == pytest.approx(1.0, abs=1e-4)
        told = with_structure(match, look, references.summary().recall).best
        assert told.score.ssim == pytest.approx(1.0, abs=1e-4)
        assert best.score.cosine == pytest.approx(1.0, abs=1e-4)


def test_a_state_that_is_not_in_the_gallery_is_less_familiar_than_those_that_are() -> None:
    scorer = GalleryScorer(gallery(5))
    known = [matched(scorer, "left", seed).best.score.combined for seed in range(8)]
    novel = [matched(scorer, "top", seed).best.score.combined for seed in range(8)]
    assert min(known) > max(novel)


@given(seed=st.integers(0, 1000))
def test_the_order_of_the_references_changes_nothing(seed: int) -> None:
    references = list(gallery(3).references)
    look = probe("right", seed)
    straight = GalleryScorer(Gallery(references)).best_match(look)
    shuffled = [references[at] for at in np.random.default_rng(seed).permutation(len(references))]
    mixed = GalleryScorer(Gallery(shuffled)).best_match(look)
    assert straight is not None
    assert mixed is not None
    assert [item.state for item in straight.states] == [item.state for item in mixed.states]
    for a, b in zip(straight.states, mixed.states, strict=True):
        assert a.probability == pytest.approx(b.probability, abs=1e-3)
        assert a.score.combined == pytest.approx(b.score.combined, abs=1e-3)


def test_identical_references_in_two_states_leave_no_margin() -> None:
    twin = enrolled("left", 3)
    references = [
        *gallery(2, ("left", "right")).references,
        twin,
        replace(twin, reference_id="twin", state="right"),
    ]
    match = GalleryScorer(Gallery(references)).best_match(probe("left", 3))
    assert match is not None
    conflict = Gallery([twin, replace(twin, reference_id="twin", state="right")])
    match = GalleryScorer(conflict).best_match(probe("left", 3))
    assert match is not None
    assert match.margin == pytest.approx(0.0, abs=1e-6)


def test_an_empty_gallery_matches_nothing() -> None:
    scorer = GalleryScorer(Gallery())
    assert scorer.best_match(probe("left", 0)) is None
    assert scorer.leave_one_out() == ()


def test_a_gallery_of_one_state_says_how_familiar_and_is_sure_of_the_state() -> None:
    scorer = GalleryScorer(gallery(5, ("empty",)))
    assert matched(scorer, "empty", 1).best.probability == 1.0
    familiar = matched(scorer, "empty", 1).best.score.combined
    assert familiar > matched(scorer, "left", 1).best.score.combined + 0.02


def test_without_cells_the_other_views_decide() -> None:
    references = [
        replace(item, embedding=Embedding(item.embedding.vector, None, item.embedding.model_id))
        for item in gallery(4)
    ]
    scorer = GalleryScorer(Gallery(references))
    look = probe("right", 9)
    look = replace(look, embedding=Embedding(look.embedding.vector, None, "cells@1"))
    match = scorer.best_match(look)
    assert match is not None
    assert match.best.state == "right"


def test_structural_similarity_is_added_to_the_three_best_states_and_changes_nothing_else() -> None:
    references = gallery(2, ("empty", "left", "right", "top"))
    look = probe("left", 5)
    match = matched(GalleryScorer(references), "left", 5)
    told = with_structure(match, look, references.summary().recall)
    ssims = [item.score.ssim for item in told.states]
    expected = [
        ssim(look.thumbnail, references[item.reference_id].thumbnail) for item in match.states[:3]
    ]
    assert ssims == [*(pytest.approx(value, abs=1e-5) for value in expected), None]
    bare = [replace(item, score=replace(item.score, ssim=None)) for item in told.states]
    assert bare == list(match.states)


def test_another_structural_similarity_can_be_chosen() -> None:
    references = gallery(2)
    match = matched(GalleryScorer(references), "left", 5)
    told = with_structure(
        match, probe("left", 5), references.summary().recall, structural=lambda a, b: 0.25
    )
    assert told.best.score.ssim == 0.25


def test_a_reference_that_is_gone_has_no_structural_similarity() -> None:
    match = matched(GalleryScorer(gallery(2)), "left", 5)
    told = with_structure(match, probe("left", 5), Gallery().summary().recall)
    assert told == match


def test_another_reference_under_the_same_id_has_no_structural_similarity() -> None:
    references = gallery(2)
    match = matched(GalleryScorer(references), "left", 5)
    best = references[match.best.reference_id]
    seen_anew = replace(best, embedding=next(iter(references.of_state("empty"))).embedding)
    other_model = replace(best, embedding=replace(best.embedding, model_id="other@1"))
    for other in (seen_anew, other_model):
        told = with_structure(match, probe("left", 5), Gallery([other]).summary().recall)
        assert told == match


def test_leaving_one_out_equals_a_gallery_without_it() -> None:
    references = gallery(5)
    left_out = GalleryScorer(references).leave_one_out()
    for reference, match in list(zip(references, left_out, strict=True))[::4]:
        scorer = GalleryScorer(references.removing(reference.reference_id))
        look = replace(
            probe("empty", 0),
            embedding=reference.embedding,
            thumbnail=reference.thumbnail,
            edges=edges_of(reference.thumbnail),
        )
        without = scorer.best_match(look)
        assert match is not None
        assert without is not None
        assert match.best.state == without.best.state
        own = {item.state: item.score.combined for item in match.states}
        for item in without.states:
            # Familiarity is exact; the regression keeps its centre and scale, so it is close.
            assert own[item.state] == pytest.approx(item.score.combined, abs=1e-3)


def test_a_state_of_one_reference_is_missing_from_its_own_leave_one_out() -> None:
    references = Gallery([*gallery(3, ("empty", "left")).references, enrolled("right", 1)])
    match = GalleryScorer(references).leave_one_out()[-1]
    assert match is not None
    assert {item.state for item in match.states} == {"empty", "left"}
    assert sum(item.probability for item in match.states) == pytest.approx(1.0)


def many_references(number: int) -> Gallery:
    """A gallery of two states whose embeddings vary a little."""
    rng = np.random.default_rng(0)
    base = gallery(2, ("empty", "left")).references
    references = []
    for row in range(number):
        item = base[row % len(base)]
        vector = item.embedding.vector + rng.normal(0, 0.01, 64).astype(np.float32)
        embedding = Embedding(normalised(vector), item.embedding.spatial, "cells@1")
        references.append(replace(item, reference_id=f"{row}", embedding=embedding))
    return Gallery(references)


def test_more_references_than_are_modelled_stay_usable() -> None:
    references = many_references(MODELLED_REFERENCES + 300)
    scorer = GalleryScorer(references)
    assert matched(scorer, "left", 3).best.state == "left"
    left_out = scorer.leave_one_out()
    assert len(left_out) == len(references)
    assert all(match is not None and len(match.states) == 2 for match in left_out)


def test_fewer_references_can_be_left_out_than_there_are() -> None:
    references = many_references(600)
    every = GalleryScorer(references).leave_one_out()
    some = GalleryScorer(references, most_left_out=50).leave_one_out()
    rows = [row for row, match in enumerate(some) if match is not None]
    assert (len(some), len(rows), rows[0], rows[-1]) == (600, 50, 0, 599)
    for row in rows:
        few, whole = some[row], every[row]
        assert few is not None
        assert whole is not None
        assert few.best.state == whole.best.state
        assert few.best.score.combined == pytest.approx(whole.best.score.combined, abs=1e-4)


def test_the_features_of_a_large_gallery_are_held_once() -> None:
    references = many_references(4000)
    tracemalloc.start()
    try:
        scorer = GalleryScorer(references)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    held = scorer.best_match(probe("left", 3))
    assert held is not None
    rows = 4 * len(references) * sum(item.size for item in features_of(references["0"]).values())
    assert peak < 2 * rows


def test_views_are_unit_vectors() -> None:
    for view in features_of(probe("left", 1)).values():
        assert float(np.linalg.norm(view)) == pytest.approx(1.0, abs=1e-5)


def test_the_structure_view_hardly_moves_with_the_light() -> None:
    bright, dim = (features_of(probe("left", 1, gain=gain)) for gain in (1.0, 0.6))
    assert float(bright["structure"] @ dim["structure"]) > 0.95


def test_the_span_of_one_vector_explains_by_its_cosine() -> None:
    vector = normalised(np.array([3.0, 4.0, 0.0], np.float32))
    other = normalised(np.array([4.0, 3.0, 5.0], np.float32))
    span = fit_span(vector[None])
    expected = 1.0 - float(vector @ other) ** 2 / (1.0 + NOISE)
    assert span.residual(vector[None] @ other) == pytest.approx(expected, abs=1e-6)
    assert span.left_out[0] == pytest.approx(1.0)


def test_left_out_spans_equal_fits_without_the_reference() -> None:
    rows = normalised(np.random.default_rng(1).normal(size=(6, 20)) + 1.0)
    left_out = fit_span(rows).left_out
    for row in range(6):
        others = np.delete(rows, row, axis=0)
        unexplained = fit_span(others).residual(others @ rows[row])
        assert left_out[row] == pytest.approx(unexplained, abs=1e-4)


def test_the_regression_solves_its_normal_equations() -> None:
    rng = np.random.default_rng(2)
    rows = normalised(rng.normal(size=(12, 5)))
    labels = np.array([0, 1, 2] * 4)
    days = np.full(12, "day")
    ridge = fit_ridge(rows, Labels(labels, days, 3))
    ready = ridge.scaling.project(rows, "day").astype(np.float64)
    features = np.hstack([ready, np.ones((12, 1))])
    solved = np.linalg.solve(
        features.T @ features + RIDGE * np.eye(6), features.T @ np.eye(3)[labels]
    )
    np.testing.assert_allclose(ridge.predict(rows, "day"), features @ solved, atol=1e-4)


def test_what_a_condition_does_to_all_states_alike_is_taken_out() -> None:
    rng = np.random.default_rng(3)
    states = np.array([0, 1] * 8)
    night = np.arange(16) >= 8
    rows = rng.normal(0, 0.05, (16, 6))
    rows[:, 0] += np.where(states == 1, 0.3, -0.3)
    rows[night, 1] += 3.0  # night moves everything ten times further than the state does
    rows[night, 0] += 2.0
    labels = Labels(states, np.where(night, "ir", "day"), 2)
    ridge = fit_ridge(rows.astype(np.float32), labels)
    look = np.array([2.0 - 0.3, 3.0, 0, 0, 0, 0], np.float32)
    at_night = ridge.predict(look, "ir")
    assert at_night[0] > at_night[1] + 0.5
    # A condition that was never enrolled is compared with the middle of all.
    assert np.isfinite(ridge.predict(look, "dusk")).all()


def test_stacked_regressions_say_what_they_say_one_by_one() -> None:
    rng = np.random.default_rng(5)
    states, night = np.array([0, 1, 2] * 6), np.arange(18) >= 9
    labels = Labels(states, np.where(night, "ir", "day"), 3)
    views = [normalised(rng.normal(size=(18, width))) for width in (6, 8, 5)]
    ridges = [
        fit_ridge(rows, labels, blocks=blocks)
        for rows, blocks in zip(views, (1, 4, 1), strict=True)
    ]
    weights = (0.5, 0.3, 0.2)
    stacked = StackedRidges(list(zip(ridges, weights, strict=True)))
    for condition in ("day", "ir", "dusk"):
        looks = [normalised(rng.normal(size=(1, rows.shape[1])))[0] for rows in views]
        expected = sum(
            weight * ridge.predict(look, condition)
            for weight, ridge, look in zip(weights, ridges, looks, strict=True)
        )
        found = stacked.predict(np.concatenate(looks), condition)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@given(st.lists(st.floats(-5.0, 5.0), min_size=2, max_size=6), st.floats(0.1, 30.0))
def test_probabilities_sum_to_one_and_keep_the_order(values: list[float], sharpness: float) -> None:
    found = probabilities(np.array(values, np.float32), sharpness)
    assert float(found.sum()) == pytest.approx(1.0)
    assert found[int(np.argmax(values))] == pytest.approx(float(found.max()))


def test_a_view_that_errs_when_references_are_left_out_loses_trust() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    right = np.eye(2, dtype=np.float32)[labels]
    trust = feature_weights(
        {"good": right, "bad": 1.0 - right}, labels, labels >= 0, {"good": 0.5, "bad": 0.5}
    )
    assert trust["good"] > 0.9
    assert sum(trust.values()) == pytest.approx(1.0)


def test_certain_references_sharpen_and_doubtful_ones_blunt() -> None:
    labels = np.arange(40) % 2
    clear = np.eye(2, dtype=np.float32)[labels]
    doubtful = clear.copy()
    doubtful[:16] = 1.0 - doubtful[:16]
    everything = labels >= 0
    assert fit_inverse_temperature(clear, labels, everything) > fit_inverse_temperature(
        doubtful, labels, everything
    )


def test_only_views_that_all_references_have_are_used() -> None:
    with_cells, without = enrolled("left", 1), enrolled("left", 2)
    bare = Embedding(without.embedding.vector, None, "cells@1")
    assert "layout" in stacked_features([with_cells])
    assert "layout" not in stacked_features([with_cells, replace(without, embedding=bare)])


def test_a_picture_alone_in_its_light_is_left_out_with_the_centre_that_it_gave() -> None:
    rng = np.random.default_rng(3)
    rows = normalised(rng.normal(size=(9, 12)))
    states = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    lights = np.array(["day", "day", "day", "ir", "day", "day", "day", "ir", "ir"])
    labels = Labels(states, lights, 2)
    others = np.delete(np.arange(9), 3)
    rest = fit_ridge(rows[others], Labels(states[others], lights[others], 2))
    assert "ir" in fit_ridge(rows, labels).scaling.centres
    assert "ir" not in rest.scaling.centres
    np.testing.assert_allclose(
        fit_ridge(rows, labels).left_out[3], rest.predict(rows[3], "ir"), atol=1e-5
    )


def twins(state: str = "right") -> Gallery:
    twin = enrolled("left", 3)
    return Gallery(
        [
            *gallery(2, ("left", "right")).references,
            twin,
            replace(twin, reference_id="twin", state=state),
        ]
    )


def test_the_same_picture_under_two_states_is_a_conflict_and_under_one_is_none() -> None:
    (found,) = conflicts(twins())
    assert (found.first.reference_id, found.second.reference_id) == ("left-3", "twin")
    assert str(found) == "left-3 (left) and twin (right) show the same picture"
    assert conflicts(twins("left")) == ()
    assert conflicts(gallery(5)) == ()
    assert conflicts(Gallery()) == ()


def test_a_picture_saved_anew_is_still_the_same() -> None:
    twin = enrolled("left", 3)
    grain = np.random.default_rng(1).integers(-1, 2, twin.thumbnail.shape)
    again = np.clip(twin.thumbnail.astype(np.int16) + grain, 0, 255).astype(np.uint8)
    other = replace(twin, reference_id="again", state="right", thumbnail=again)
    assert len(conflicts(Gallery([twin, other]))) == 1


def test_an_embedding_that_two_pictures_share_is_no_conflict() -> None:
    twin = enrolled("left", 3)
    other = replace(twin, reference_id="dark", state="right", thumbnail=twin.thumbnail // 2)
    assert conflicts(Gallery([twin, other])) == ()


def test_however_many_conflicts_there_are_not_all_are_told() -> None:
    twin = enrolled("left", 3)
    many = [
        replace(twin, reference_id=f"{state}-{at}", state=state)
        for state in ("left", "right")
        for at in range(40)
    ]
    assert len(conflicts(Gallery(many))) == MOST_CONFLICTS


def test_ten_thousand_references_are_scored_and_searched_for_conflicts() -> None:
    base = gallery(5).references
    many = [
        replace(base[at % len(base)], reference_id=f"r{at}", state=base[at % len(base)].state)
        for at in range(10_000)
    ]
    big = Gallery(many)
    scorer = GalleryScorer(big)
    assert matched(scorer, "right", 7).best.state == "right"
    assert conflicts(big) == ()


def test_references_of_different_sizes_are_compared_like_any_others() -> None:
    sizes = [(640, 480), (33, 900), (96, 96), (1920, 1080)]
    references = []
    for at, item in enumerate(gallery(4).references):
        pixels = cv2.resize(picture(item.state, at), sizes[at % len(sizes)])
        made = make_probe(CellsEmbedder(), np.asarray(pixels, np.uint8))
        references.append(replace(item, embedding=made.embedding, thumbnail=made.thumbnail))
    scorer = GalleryScorer(Gallery(references))
    assert [matched(scorer, state, 50).best.state for state in ("empty", "left", "right")] == [
        "empty",
        "left",
        "right",
    ]
