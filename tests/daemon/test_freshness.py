"""A camera that repeats one picture is noticed; a still scene is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sim.daemon.freshness import Freshness
from edge_sim.domain import Frame
from edge_sim.errors import SourceError
from tests.builders import flat_frame


def noisy(index: int) -> Frame:
    pixels = np.random.default_rng(index).integers(100, 104, (24, 32, 3)).astype(np.uint8)
    return Frame(pixels, float(index), 0.0, index, "fake")


def test_noise_in_a_still_scene_is_fresh() -> None:
    freshness = Freshness("yard", 5.0)
    for index in range(50):
        freshness.check(noisy(index))
    assert freshness.repeated == 0


def test_the_same_picture_for_too_long_is_a_loss_until_another_comes() -> None:
    freshness = Freshness("yard", 5.0)
    for index in range(5):
        freshness.check(flat_frame(index=index))
    for index in (5, 6):
        with pytest.raises(SourceError, match=f"yard: frozen, the same picture for {index} s"):
            freshness.check(flat_frame(index=index))
    freshness.check(flat_frame(90, index=7))
    assert freshness.repeated == 6


def test_without_a_limit_nothing_is_frozen() -> None:
    freshness = Freshness("yard", None)
    for index in range(50):
        freshness.check(flat_frame(index=index * 100))


def test_time_that_runs_backwards_begins_anew() -> None:
    freshness = Freshness("yard", 5.0)
    freshness.check(flat_frame(index=100))
    freshness.check(flat_frame(index=0))
    freshness.check(flat_frame(index=4))
