"""Novelty: a part that no reference shows is found where the whole looks familiar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sim.core.types import FloatMatrix
from edge_sim.decision.features import APPEARANCE, LAYOUT, TONE
from edge_sim.decision.novelty import (
    AVERAGED,
    NovelLevel,
    RecentNovelty,
    fit_novelty,
    novel_levels,
    strengths,
    with_calibration,
)
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.gallery.gallery import CalibratedLevel
from tests.pictured import gallery, probe

CELLS = 16


def scene(number: int, *, restless: int = 0, seed: int = 0) -> dict[str, FloatMatrix]:
    """Views of pictures of one scene with a little noise; the first `restless` cells vary."""
    rng = np.random.default_rng([seed, 1])
    base = np.random.default_rng(7).normal(size=(CELLS, 8))
    cells = np.repeat(base[None], number, axis=0) + 0.05 * rng.normal(size=(number, CELLS, 8))
    cells[:, :restless] = rng.normal(size=(number, restless, 8))
    return views_of(cells)


def views_of(cells: NDArray[Any]) -> dict[str, FloatMatrix]:
    cells = cells / np.linalg.norm(cells, axis=-1, keepdims=True)
    whole = cells.mean(axis=1)
    whole = whole / np.linalg.norm(whole, axis=-1, keepdims=True)
    flat = cells.reshape(len(cells), -1) / np.sqrt(CELLS)
    tone = np.abs(whole)
    views = {APPEARANCE: whole, LAYOUT: flat, TONE: tone / np.linalg.norm(tone, axis=1)[:, None]}
    return {name: np.asarray(rows, np.float32) for name, rows in views.items()}


def with_another_cell(views: Mapping[str, FloatMatrix], cell: int) -> dict[str, FloatMatrix]:
    cells = views[LAYOUT].reshape(len(views[LAYOUT]), CELLS, -1) * np.sqrt(CELLS)
    cells = np.array(cells)
    cells[:, cell] = np.random.default_rng(11).normal(size=cells[:, cell].shape)
    return views_of(cells)


def test_left_out_references_are_as_novel_as_new_pictures_of_the_state() -> None:
    novelty = fit_novelty(scene(12), CELLS)
    new = novelty.of(scene(200, seed=1))
    assert abs(float(np.median(new)) - float(np.median(novelty.left_out))) < 0.25


def test_one_cell_that_no_reference_shows_is_more_novel_than_any_picture_of_the_state() -> None:
    novelty = fit_novelty(scene(8), CELLS)
    known = scene(50, seed=1)
    assert novelty.of(with_another_cell(known, 9)).min() > novelty.of(known).max() + 0.3


def test_a_change_in_a_steady_part_counts_more_than_one_in_a_restless_part() -> None:
    novelty = fit_novelty(scene(8, restless=3), CELLS)
    known = scene(1, restless=3, seed=1)
    steady = novelty.of(with_another_cell(known, 9))[0] - novelty.of(known)[0]
    restless = novelty.of(with_another_cell(known, 1))[0] - novelty.of(known)[0]
    assert steady > 2.0 * max(restless, 0.0)


def test_many_pictures_at_once_are_as_novel_as_one_by_one() -> None:
    novelty = fit_novelty(scene(5, restless=2), CELLS)
    new = scene(6, restless=2, seed=3)
    single = [
        float(novelty.of({name: rows[at : at + 1] for name, rows in new.items()})[0])
        for at in range(6)
    ]
    assert novelty.of(new) == pytest.approx(single, abs=1e-5)


def test_the_scorer_gives_novelty_for_the_best_state_and_for_references_left_out() -> None:
    references = gallery(4)
    scorer = GalleryScorer(references)
    match = scorer.best_match(probe("left", 9))
    assert match is not None
    assert match.best.score.novelty is not None
    assert match.states[1].score.novelty is None
    for reference, left_out in zip(references, scorer.leave_one_out(), strict=True):
        assert left_out is not None
        others = [item for item in left_out.states if item.state != reference.state]
        assert all(item.score.novelty is not None for item in others)


def test_the_only_reference_of_a_state_has_no_novelty_of_its_own() -> None:
    references = gallery(1)
    for reference, match in zip(references, GalleryScorer(references).leave_one_out(), strict=True):
        assert match is not None
        assert all(item.state != reference.state for item in match.states)


OWN = [-2.5, -2.1, -2.3, -1.9, -2.7]


def test_a_level_lies_above_the_references_by_a_margin_that_shrinks_with_their_number() -> None:
    few, many = (novel_levels({"ok": own}, {"ok": []})["ok"] for own in (OWN, OWN * 4))
    assert few.usual == pytest.approx(many.usual)
    assert max(OWN) < many.usual + many.margin < few.usual + few.margin


def test_other_states_draw_the_level_towards_them_where_they_lie_far() -> None:
    def margin(others: float) -> float:
        own = {"a": OWN, "b": OWN}
        return novel_levels(own, {"a": [others] * 5, "b": [others] * 5})["a"].margin

    assert margin(0.0) < margin(2.0) < margin(4.0)


def test_states_that_novelty_does_not_tell_apart_hardly_make_anything_novel() -> None:
    def margin(others: float) -> float:
        own = {"a": OWN, "b": OWN}
        return novel_levels(own, {"a": [others] * 5, "b": [others] * 5})["a"].margin

    assert margin(-2.3) > margin(-2.0) > margin(-1.5)
    assert margin(-2.3) == margin(-3.0) > 2.0 * margin(-1.5)


def test_a_burst_of_one_moment_sets_no_level() -> None:
    burst = [-2.42, -2.46, -2.44, -2.46, -2.47]
    assert novel_levels({"ok": burst}, {"ok": []}) == {}
    assert novel_levels({"a": burst, "b": burst}, {"a": [-1.0], "b": [-1.0]}) == {}
    assert set(novel_levels({"a": burst, "b": OWN}, {"a": [-1.0], "b": [-1.0]})) == {"a", "b"}


def test_references_of_one_moment_are_told_by_their_grey_levels_whatever_the_embedder() -> None:
    views = scene(6)
    views[TONE] = np.asarray(np.repeat(views[TONE][:1], 6, axis=0), np.float32)
    assert np.isnan(fit_novelty(views, CELLS).left_out).all()
    # The embedder still sees noise between them.
    assert np.isfinite(fit_novelty(scene(6), CELLS).left_out).all()


def test_a_single_reference_sets_no_level() -> None:
    assert novel_levels({"ok": [], "other": []}, {"ok": [-1.0], "other": [-1.0]}) == {}


def test_a_weak_novelty_needs_three_looks_and_a_strong_one_a_single_look() -> None:
    recent = RecentNovelty()
    for excess, expected in ((0.1, False), (1.2, False), (1.2, False), (1.2, True), (0.1, False)):
        recent.follow(excess)
        assert recent.is_novel(1.0) is expected
        assert not recent.is_novel(1.0, at_once=True)
    recent.follow(2.1)
    assert recent.is_novel(1.0)
    assert recent.is_novel(1.0, at_once=True)


@given(st.floats(2.1, 9.0), st.floats(2.1, 9.0))
def test_what_has_passed_by_is_not_novel_any_more(first: float, second: float) -> None:
    recent = RecentNovelty()
    for excess in (0.1, first, second):
        recent.follow(excess)
    assert recent.is_novel(1.0)
    recent.follow(0.1)
    assert not recent.is_novel(1.0)


def test_what_is_no_number_leaves_nothing_behind() -> None:
    recent = RecentNovelty()
    recent.follow(0.5)
    recent.follow(float("nan"))
    assert recent.excesses == (0.5,)


@given(st.lists(st.floats(-5.0, 5.0), min_size=1, max_size=AVERAGED), st.floats(0.5, 2.0))
def test_more_caution_never_finds_more(excesses: list[float], caution: float) -> None:
    recent = RecentNovelty()
    recent.resume(excesses)
    assert recent.is_novel(caution) <= recent.is_novel(0.5)
    assert recent.is_novel(caution) == (max(strengths(excesses, caution)) > caution)


def test_the_excess_is_in_margins() -> None:
    assert NovelLevel(-2.0, 0.5).excess(-1.0) == pytest.approx(2.0)


def test_the_more_pictures_a_calibration_rests_on_the_nearer_the_level_comes() -> None:
    level = NovelLevel(-2.0, 0.5)
    tops = []
    for number in (0, 20, 400):
        found = with_calibration(level, CalibratedLevel(-1.8, number, ""))
        tops.append(found.usual + found.margin)
    assert tops[0] == pytest.approx(-1.5)
    assert tops[1] == pytest.approx(-1.65)
    assert tops == sorted(tops, reverse=True)
    assert tops[-1] > -1.8


def test_a_calibration_alone_makes_a_level_where_references_of_one_moment_make_none() -> None:
    found = with_calibration(None, CalibratedLevel(-1.0, 12, ""))
    assert found.excess(-1.0) == pytest.approx(1.0)
    assert found.margin > 0.0


def test_a_calibration_below_the_references_leaves_a_margin() -> None:
    assert with_calibration(NovelLevel(-2.0, 0.5), CalibratedLevel(-3.0, 10**9, "")).margin > 0.0
