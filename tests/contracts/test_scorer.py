"""Promises of every scorer, baselines included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from comparing.baselines import SCORERS
from comparing.softmax_head import SoftmaxHead

from edge_sim.core.images import edges_of
from edge_sim.core.protocols import Scorer
from edge_sim.core.types import Embedding
from edge_sim.errors import ModelError
from edge_sim.gallery.gallery import Gallery
from tests.pictured import enrolled, gallery, probe

Make = Callable[[Gallery], Scorer]


@pytest.fixture(params=SCORERS, ids=str)
def make(request: pytest.FixtureRequest) -> Make:
    return SCORERS[request.param]


def test_the_probabilities_of_the_states_sum_to_one(make: Make) -> None:
    for count in (1, 4):
        match = make(gallery(count)).best_match(probe("left", 7))
        assert match is not None
        assert sum(item.probability for item in match.states) == pytest.approx(1.0)
        assert all(0.0 <= item.probability <= 1.0 for item in match.states)


def test_every_state_of_the_gallery_is_in_the_match_the_most_probable_first(make: Make) -> None:
    match = make(gallery(2)).best_match(probe("left", 7))
    assert match is not None
    assert {item.state for item in match.states} == {"empty", "left", "right"}
    odds = [item.probability for item in match.states]
    assert odds == sorted(odds, reverse=True)


def test_scores_keep_to_their_ranges_and_name_a_reference_of_their_state(make: Make) -> None:
    references = gallery(3)
    match = make(references).best_match(probe("top", 7))
    assert match is not None
    for item in match.states:
        assert references[item.reference_id].state == item.state
        assert 0.0 <= item.score.combined <= 1.0
        assert -1.0 <= item.score.cosine <= 1.0
        assert item.score.ssim is None or -1.0 <= item.score.ssim <= 1.0


def test_a_picture_of_the_gallery_scores_one(make: Make) -> None:
    if make is SoftmaxHead:
        pytest.skip("what a softmax says is a probability, not how like a reference a picture is")
    references = gallery(3)
    scorer = make(references)
    for reference in references:
        look = replace(
            probe("empty", 0),
            embedding=reference.embedding,
            thumbnail=reference.thumbnail,
            edges=edges_of(reference.thumbnail),
        )
        match = scorer.best_match(look)
        assert match is not None
        own = next(item for item in match.states if item.state == reference.state)
        assert own.score.combined == pytest.approx(1.0, abs=1e-4)
        assert own.reference_id == reference.reference_id


def test_nothing_is_matched_by_an_empty_gallery(make: Make) -> None:
    scorer = make(Gallery())
    assert scorer.best_match(probe("left", 0)) is None
    assert scorer.leave_one_out() == ()


def test_leaving_out_the_only_reference_leaves_nothing(make: Make) -> None:
    assert make(Gallery([enrolled("left", 1)])).leave_one_out() == (None,)


def test_leave_one_out_answers_for_each_reference_in_order(make: Make) -> None:
    references = gallery(3)
    matches = make(references).leave_one_out()
    assert len(matches) == len(references)
    for reference, match in zip(references, matches, strict=True):
        assert match is not None
        assert reference.reference_id not in {item.reference_id for item in match.states}


def test_a_probe_of_another_model_is_refused(make: Make) -> None:
    look = probe("left", 1)
    alien = Embedding(look.embedding.vector, look.embedding.spatial, "other@2")
    with pytest.raises(ModelError, match="other@2"):
        make(gallery(1)).best_match(replace(look, embedding=alien))


def test_nan_cannot_reach_a_scorer() -> None:
    vector = probe("left", 1).embedding.vector.copy()
    vector[0] = float("nan")
    with pytest.raises(ValueError, match="unit length"):
        Embedding(vector, None, "cells@1")


def test_the_same_probe_gets_the_same_match(make: Make) -> None:
    scorer = make(gallery(3))
    assert scorer.best_match(probe("left", 3)) == scorer.best_match(probe("left", 3))
