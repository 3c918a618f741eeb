"""Retrieval figures on vectors whose neighbours are known."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sim.analysis.evaluation.datasets import LabelledPicture
from edge_sim.analysis.evaluation.retrieval import evaluate_retrieval, retrieve
from edge_sim.core.vectors import normalised
from edge_sim.errors import DataError
from tests.pictured import CellsEmbedder, picture


def test_separate_classes_are_found_perfectly() -> None:
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(4, 16), 6, axis=0)
    vectors = normalised(centres + rng.normal(0, 0.05, centres.shape))
    found = evaluate_retrieval("four", vectors, [name for name in "abcd" for _ in range(6)])
    assert found.hit_rate_at_1 == found.mean_average_precision == found.precision_at_5 == 1.0
    assert (found.pictures, found.classes) == (24, 4)
    assert found.precision_at_10 == 0.5  # a class has five others
    assert found.precision_at_recall == (1.0,) * 11
    assert found.embed_ms is None


def test_a_picture_alone_in_its_class_does_not_ask() -> None:
    vectors = normalised(np.random.default_rng(1).normal(size=(5, 8)))
    assert evaluate_retrieval("odd", vectors, ["a", "a", "b", "c", "c"]).pictures == 4
    with pytest.raises(DataError, match="no class has two"):
        evaluate_retrieval("odd", vectors, list("abcde"))
    with pytest.raises(DataError, match="two classes"):
        evaluate_retrieval("odd", vectors, ["a"] * 5)


def test_random_vectors_are_found_by_chance() -> None:
    vectors = normalised(np.random.default_rng(2).normal(size=(200, 32)))
    found = evaluate_retrieval("noise", vectors, [f"{at % 4}" for at in range(200)])
    assert 0.15 < found.hit_rate_at_1 < 0.35
    assert found.hit_rate_at_100 > 0.99
    assert 0.2 < found.mean_average_precision < 0.3


def test_pictures_are_embedded_and_timed() -> None:
    pictures = [
        LabelledPicture(state, f"{state}/{at}.png", picture(state, at))
        for state in ("left", "right")
        for at in range(4)
    ]
    found = retrieve("drawn", pictures, CellsEmbedder())
    assert found.hit_rate_at_1 == 1.0
    assert found.embed_ms is not None
    with pytest.raises(DataError, match="no picture"):
        retrieve("nothing", [], CellsEmbedder())


def test_recall_is_the_part_of_the_class_that_is_found_and_a_hit_is_one_of_it() -> None:
    vectors = normalised(np.repeat(np.eye(2, 8), 6, axis=0) + 0.01)
    found = evaluate_retrieval("two", vectors, ["a"] * 6 + ["b"] * 6)
    assert found.hit_rate_at_1 == 1.0
    assert found.recall_at_1 == pytest.approx(1 / 5)
    assert found.recall_at_5 == found.recall_at_100 == 1.0


def test_a_picture_whose_nearest_is_of_another_class_is_named() -> None:
    vectors = normalised(np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [1, 0.01, 0]], float))
    found = evaluate_retrieval(
        "odd", vectors, ["a", "a", "b", "b"], centred=False, files=["1", "2", "3", "4"]
    )
    assert [(item.file, item.label, item.nearest_label) for item in found.wrong] == [
        ("1", "a", "b"),
        ("2", "a", "b"),
        ("3", "b", "a"),
        ("4", "b", "a"),
    ]
