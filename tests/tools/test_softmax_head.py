"""The trained classifier that recorders offer."""

from __future__ import annotations

import numpy as np
import pytest
from comparing.softmax_head import SoftmaxHead, fitted
from hypothesis import given
from hypothesis import strategies as st

from tests.pictured import gallery, probe


def test_clear_states_are_told_apart_surely() -> None:
    head = SoftmaxHead(gallery(5))
    for state in ("empty", "left", "right"):
        match = head.best_match(probe(state, 9))
        assert match is not None
        assert match.best.state == state
        assert match.best.probability > 0.8
        assert match.best.score.combined == match.best.probability


def test_with_one_state_it_is_always_sure_of_it() -> None:
    match = SoftmaxHead(gallery(5, ("left",))).best_match(probe("right", 9))
    assert match is not None
    assert match.best.score.combined == 1.0


@given(seed=st.integers(0, 2**16), states=st.integers(2, 4))
def test_the_fit_is_where_the_loss_is_flat(seed: int, states: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(12, 6)).astype(np.float32)
    rows -= rows.mean(axis=0)
    wanted = np.eye(states)[rng.integers(0, states, 12)]
    weights = fitted(rows, wanted)
    raised = np.exp(rows @ weights)
    odds = raised / raised.sum(axis=1, keepdims=True)
    slope = rows.T @ (odds - wanted) / len(rows) + 1e-3 * weights
    assert np.abs(slope).max() < 0.01


def test_leaving_a_reference_out_fits_anew_without_it() -> None:
    references = gallery(3)
    left_out = SoftmaxHead(references).leave_one_out()
    for reference, match in zip(references, left_out, strict=True):
        assert match is not None
        assert match.best.state == reference.state
        assert match.best.probability == pytest.approx(
            max(item.probability for item in match.states)
        )
