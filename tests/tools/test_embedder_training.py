"""Parts of the training that need numpy alone: views, targets, probes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def load(repository: Path, name: str) -> ModuleType:
    folder = str(repository / "tools")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(f"embedder_training.{name}")


def test_area_weights_keep_the_mean(repository: Path) -> None:
    weights = load(repository, "teachers").area_weights(7, 4)
    values = np.arange(7.0)
    assert weights.shape == (4, 7)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose((weights @ values).mean(), values.mean(), atol=1e-6)


def test_views_repeat_and_differ_by_photo_and_number(repository: Path) -> None:
    pack = load(repository, "pack")
    picture = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    first = pack.cut_view(picture, 1, 5, 0)
    np.testing.assert_array_equal(first, pack.cut_view(picture, 1, 5, 0))
    np.testing.assert_array_equal(picture, pack.cut_view(picture, 0, 5, 0))
    others = [pack.cut_view(picture, 2, 5, 0), pack.cut_view(picture, 1, 6, 0)]
    assert all(first.shape != other.shape or (first != other).any() for other in others)


def test_mean_average_precision_is_one_for_two_tight_classes(repository: Path) -> None:
    probe = load(repository, "probe")
    rows = np.repeat(np.eye(2, 8, dtype=np.float32), 5, axis=0)
    labels = np.repeat(np.array(["a", "b"]), 5)
    assert probe.mean_average_precision(rows, labels) == pytest.approx(1.0)


def test_states_that_differ_in_one_cell_are_told_apart_by_the_grid_alone(
    repository: Path,
) -> None:
    probe = load(repository, "probe")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array(["empty", "full"]), 20)
    pooled = rng.normal(size=(40, 16)).astype(np.float32)
    grids = np.ones((40, 4, 4, 8), dtype=np.float32)
    grids += rng.normal(scale=0.1, size=grids.shape).astype(np.float32)
    grids[labels == "full", 1, 2, :4] *= -1.0
    found = probe.states_accuracy(pooled, grids, labels)
    assert found["spatial_ridge"] == pytest.approx(1.0)
    assert found["global_ridge"] < 0.8
