"""Calibrations in the gallery file: kept, read back, and left alone once the references changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge_sim.decision.thresholds import Drift, Level, levels_of, threshold_of
from edge_sim.errors import GalleryError
from edge_sim.gallery.calibrations import (
    KeptCalibration,
    KeptRate,
    KeptThreshold,
    keep_calibration,
    kept_calibrations,
)
from edge_sim.gallery.gallery import CalibratedLevel
from edge_sim.gallery.store import GalleryStore
from tests.gallery.builders import enrolled

RATE = KeptRate(0.95, 0.9, 0.99)
KEPT = KeptCalibration(
    watch="bowl",
    score="state",
    aim="precision",
    value=0.9,
    at="2026-01-31T12:00:00.000Z",
    sample="2 references of bowl",
    model="m@1",
    revision=1,
    thresholds=(KeptThreshold("food", 0.6, RATE, RATE, RATE, 60, 40),),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "gallery.db"
    with GalleryStore.open(place, create=True) as store:
        store.add("bowl", [enrolled(1), enrolled(2)])
    keep_calibration(place, KEPT)
    return place


def calibrated(path: Path, watch: str = "bowl") -> dict[str, CalibratedLevel]:
    with GalleryStore.open(path) as store:
        return dict(store.gallery(watch).calibrated)


def test_a_calibration_comes_back_with_its_origin(path: Path) -> None:
    origin = "calibrated 2026-01-31 for precision at least 0.9 on 2 references of bowl"
    assert calibrated(path) == {"food": CalibratedLevel(0.6, 60, origin)}
    assert kept_calibrations(path) == (KEPT,)


def test_of_cosine_and_of_other_watches_the_decider_learns_nothing(path: Path) -> None:
    keep_calibration(path, msgspec.structs.replace(KEPT, watch="gate"))
    keep_calibration(path, msgspec.structs.replace(KEPT, score="cosine", revision=0))
    assert set(calibrated(path)) == {"food"}
    assert calibrated(path, "gate") == {}


def test_a_gallery_that_was_never_calibrated_has_no_levels(tmp_path: Path) -> None:
    place = tmp_path / "new.db"
    with GalleryStore.open(place, create=True) as store:
        store.add("bowl", [enrolled(1)])
    assert calibrated(place) == {}
    assert kept_calibrations(place) == ()


def test_a_changed_gallery_is_not_what_was_calibrated_until_the_change_is_undone(
    path: Path,
) -> None:
    with GalleryStore.open(path) as store:
        store.add("bowl", [enrolled(3)])
        assert store.gallery("bowl").calibrated == {}
        assert store.gallery("bowl", revision=1).calibrated.keys() == {"food"}
        store.undo()
        assert store.gallery("bowl").calibrated.keys() == {"food"}


def test_changes_that_move_no_score_leave_a_calibration_in_force(path: Path) -> None:
    with GalleryStore.open(path) as store:
        store.add("gate", [enrolled(9)])
        store.tag(["r1"], add=["good"])
        assert store.gallery("bowl").calibrated.keys() == {"food"}
        store.relabel(["r1"], "empty")
        assert store.gallery("bowl").calibrated == {}


@pytest.mark.parametrize("content", ["{", "[]", '{"watch": 1}'])
def test_a_damaged_calibration_is_an_error_that_says_how_to_make_it_anew(
    path: Path, content: str
) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE calibrations SET content = ?", (content,))
    for read in (kept_calibrations, calibrated):
        with pytest.raises(GalleryError, match="calibrate --write"):
            read(path)


def test_the_levels_of_a_gallery_carry_what_was_calibrated(path: Path) -> None:
    with GalleryStore.open(path) as store:
        gallery = store.gallery("bowl")
    levels = levels_of(gallery, [None] * len(gallery))
    assert {state: item.calibrated is not None for state, item in levels.items()} == {
        state: state == "food" for state in gallery.states
    }


LEVEL = Level(centre=0.8, spread=0.05, others=0.2, references=20)


def with_calibration(threshold: float, same: int) -> Level:
    return replace(LEVEL, calibrated=CalibratedLevel(threshold, same, ""))


def test_a_calibration_on_many_scores_sets_the_level_to_enter_at() -> None:
    found = threshold_of(with_calibration(0.7, 10**9), Drift(), 0.5)
    assert found.enter == pytest.approx(0.7, abs=1e-6)
    assert found.leave < 0.7


def test_the_more_scores_it_rests_on_the_nearer_the_level_comes() -> None:
    plain = threshold_of(LEVEL, Drift(), 0.5).enter
    levels = [threshold_of(with_calibration(0.7, n), Drift(), 0.5).enter for n in (0, 5, 40, 400)]
    assert levels[0] == pytest.approx(plain)
    assert levels == sorted(levels)
    assert levels[2] == pytest.approx((plain + 0.7) / 2, abs=1e-6)


def test_the_calibrated_level_follows_the_drift() -> None:
    level = with_calibration(0.7, 10**9)
    drifted = threshold_of(level, Drift(shift=-0.1), 0.5)
    assert drifted.enter == pytest.approx(0.6, abs=1e-6)


def test_sensitivity_moves_the_calibrated_level_too() -> None:
    level = with_calibration(0.7, 10**9)
    low, middle, high = (threshold_of(level, Drift(), value).enter for value in (0.0, 0.5, 1.0))
    assert (low, middle, high) == pytest.approx((0.6, 0.7, 0.75), abs=1e-6)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.5, 0.81, 1.0])
def test_any_calibration_gives_levels_that_can_be(threshold: float) -> None:
    found = threshold_of(with_calibration(threshold, 500), Drift(shift=0.2), 1.0)
    assert 0.0 <= found.leave <= found.enter <= 1.0
