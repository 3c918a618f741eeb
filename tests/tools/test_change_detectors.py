"""Detectors that say when a picture changes."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np
import pytest
from comparing.change_detectors import AdaptiveCuts, ForegroundShare, watched

from edge_sim.analysis.evaluation.datasets import EmbeddedSet
from edge_sim.analysis.evaluation.events import Played, judge
from edge_sim.core.types import BgrImage
from edge_sim.errors import DataError
from tests.pictured import picture


class Scripted:
    """Sounds at the given looks."""

    def __init__(self, *places: int) -> None:
        self.places = places
        self.looks = -1

    def observe(self, pixels: BgrImage) -> bool:
        self.looks += 1
        return self.looks in self.places


def clip(labels: Sequence[str | None]) -> EmbeddedSet:
    def look(row: int) -> BgrImage:
        return picture(labels[row] or "top", row)

    return EmbeddedSet("clip", (), tuple(labels), read_region=look)


def flat(level: int) -> BgrImage:
    return np.full((64, 64, 3), level, np.uint8)


def test_mog2_sounds_once_for_a_change_that_lasts() -> None:
    detector = ForegroundShare(in_a_row=3)
    pictures = [flat(80)] * 20 + [flat(200)] * 20
    assert [at for at, pixels in enumerate(pictures) if detector.observe(pixels)] == [22]


def test_mog2_passes_over_a_single_odd_picture() -> None:
    detector = ForegroundShare(in_a_row=3)
    pictures = [flat(80)] * 20 + [flat(200)] + [flat(80)] * 20
    assert not any(detector.observe(pixels) for pixels in pictures)


def test_a_detector_is_given_the_names_of_the_states() -> None:
    seen = clip(["empty"] * 10 + ["left"] * 10 + ["empty"] * 10)
    found = judge(seen, watched(seen, range(30), lambda: Scripted(11, 21)))
    assert (found.true_changes, found.reported, found.f1) == (3, 3, 1.0)
    assert found.delay_frames == 1.0
    assert found.unknown_share is None
    assert found.wrong_share is None
    assert found.sure_wrong is None


def test_an_alarm_at_nothing_is_false_and_a_change_without_one_is_missed() -> None:
    seen = clip(["empty"] * 20 + ["left"] * 20)
    found = judge(seen, watched(seen, range(40), lambda: Scripted(5, 9)))
    assert found.false_events == 2
    assert found.recall == 0.5
    assert found.precision == pytest.approx(1 / 3)
    assert found.delay_frames is None


def test_every_alarm_in_a_clip_without_a_change_is_false() -> None:
    seen = clip(["empty"] * 50)
    found = judge(seen, watched(seen, range(50), lambda: Scripted(5, 30)))
    assert found.false_events == 2
    assert found.false_per_1000 == 40.0


def test_a_clip_too_short_for_any_state_has_only_false_alarms() -> None:
    found = judge(clip(["empty", "left"]), Played((0, 1), (), (), (), (1,)))
    assert (found.true_changes, found.false_events) == (0, 1)


def test_a_set_without_pictures_cannot_be_watched() -> None:
    with pytest.raises(DataError, match="no pictures"):
        watched(EmbeddedSet("memory", (), ("empty",)), range(1), lambda: Scripted())


def test_scenedetect_finds_a_cut_or_names_the_package() -> None:
    if importlib.util.find_spec("scenedetect") is None:
        with pytest.raises(DataError, match=r"edge_sim\[bench\]"):
            AdaptiveCuts()
        return
    detector = AdaptiveCuts()
    noise = np.random.default_rng(0)
    pictures = [picture("empty", at) for at in range(12)]
    pictures += [noise.integers(0, 255, (96, 96, 1), np.uint8).repeat(3, axis=2)] * 12
    sounded = [at for at, pixels in enumerate(pictures) if detector.observe(pixels)]
    assert sounded == [14]
