"""The frame-by-frame protocol."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_sim.analysis.evaluation.states import Protocol, draws, evaluate_states
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.errors import DataError
from tests.analysis.evaluation.folders import embedded_set

LABELS = ["empty", "left", "right", None] * 12


def test_draws_take_references_of_every_state_and_ask_for_all_other_clean_frames() -> None:
    seen = embedded_set(LABELS)
    found = list(draws(seen, Protocol(references=3, draws=4, seed=5)))
    assert len(found) == 4
    for picked, asked in found:
        assert [seen.labels[row] for row in picked] == ["empty"] * 3 + ["left"] * 3 + ["right"] * 3
        assert not set(picked) & set(asked)
        assert len(picked) + len(asked) == 36
    assert found[0] != found[1]
    assert list(draws(seen, Protocol(references=3, draws=4, seed=5))) == found


def test_clear_states_are_separated_and_a_left_out_one_is_noticed() -> None:
    answers = evaluate_states(embedded_set(LABELS), GalleryScorer, Protocol(references=5, draws=2))
    result = answers.result
    assert result.balanced_accuracy > 0.95
    assert result.frames == 36
    assert result.open_set is not None
    assert result.open_set.auroc > 0.9
    assert set(result.confusion) == {"empty", "left", "right"}
    assert len(answers.probability) == len(answers.right) == 2 * (36 - 15)
    assert len(answers.novel) < len(answers.familiar)


def test_frames_and_accuracy_are_reported_by_state_and_light() -> None:
    seen = embedded_set(["left", "right"] * 8)
    grey = replace(seen.probes[0].quality, chroma=0.0)
    probes = (replace(seen.probes[0], quality=grey), *seen.probes[1:])
    result = evaluate_states(
        replace(seen, probes=probes), GalleryScorer, Protocol(references=3, draws=3, open_set=False)
    ).result
    assert set(result.conditions["left"]) == {"day", "ir"}
    assert set(result.conditions["right"]) == {"day"}
    assert result.conditions["left"]["ir"].frames == 1
    assert sum(cell.frames for cells in result.conditions.values() for cell in cells.values()) == 16
    assert result.conditions["right"]["day"].accuracy == 1.0


def test_a_light_that_was_never_asked_for_has_no_accuracy() -> None:
    seen = embedded_set(["left", "right"] * 2)
    grey = replace(seen.probes[0].quality, chroma=0.0)
    only = replace(seen, probes=(replace(seen.probes[0], quality=grey), *seen.probes[1:]))
    rows = {
        seed: evaluate_states(
            only, GalleryScorer, Protocol(references=1, draws=1, seed=seed, open_set=False)
        ).result.conditions["left"]["ir"]
        for seed in range(8)
    }
    assert {cell.accuracy is None for cell in rows.values()} == {True, False}
    assert all(cell.frames == 1 for cell in rows.values())


def test_the_open_set_can_be_left_out() -> None:
    answers = evaluate_states(
        embedded_set(LABELS), GalleryScorer, Protocol(references=2, draws=1, open_set=False)
    )
    assert answers.result.open_set is None
    assert len(answers.familiar) == 0


def test_a_state_with_few_frames_keeps_one_to_ask_for() -> None:
    seen = embedded_set(["left"] * 3 + ["right"] * 12)
    picked, asked = next(draws(seen, Protocol(references=5)))
    assert [seen.labels[row] for row in picked].count("left") == 2
    assert [seen.labels[row] for row in asked].count("left") == 1


def test_too_little_to_measure_is_reported() -> None:
    with pytest.raises(DataError, match="two states"):
        evaluate_states(embedded_set(["left"] * 4), GalleryScorer, Protocol())
    with pytest.raises(DataError, match="single frame"):
        evaluate_states(embedded_set(["left", "right", "right"]), GalleryScorer, Protocol())
