"""Scene health: conditions, impediments, and the monitor over rows of looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sim.core.images import edges_of, thumbnail
from edge_sim.core.types import BgrImage, Probe, Quality, UnknownReason
from edge_sim.gallery.gallery import Gallery
from edge_sim.vision.alignment import SceneView
from edge_sim.vision.light import CONDITIONS, ConditionTracker, condition_of
from edge_sim.vision.probe import make_probe
from edge_sim.vision.scene_monitor import (
    ImageLimits,
    SceneMonitor,
    crispness_of,
    impediment_of,
    limits_of,
)
from tests.builders import GOOD_QUALITY
from tests.pictured import CellsEmbedder, gallery, picture


def quality(**readings: float) -> Quality:
    return replace(GOOD_QUALITY, **readings)


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        pytest.param({}, "day", id="day"),
        pytest.param({"luma": 40.0}, "dusk", id="little light"),
        pytest.param({"luma": 40.0, "chroma": 1.0}, "ir", id="grey"),
        pytest.param({"chroma": 2.0}, "ir", id="grey and bright"),
        pytest.param({"luma": 245.0, "chroma": 0.4}, "day", id="white has no room for colour"),
        pytest.param({"luma": 6.0}, "dark", id="no light"),
        pytest.param({"luma": 6.0, "chroma": 0.0}, "dark", id="no light, grey"),
    ],
)
def test_the_condition_follows_light_and_colour(readings: dict[str, float], expected: str) -> None:
    assert condition_of(quality(**readings)) == expected


def test_a_reading_at_the_border_does_not_flicker() -> None:
    tracker = ConditionTracker()
    levels = [100.0, 61.0, 63.0, 61.0, 64.0, 60.0, 80.0, 63.0]
    found = [tracker.follow(quality(luma=level)) for level in levels]
    assert found == ["day", *["dusk"] * 5, "day", "day"]


@given(luma=st.floats(0, 255), chroma=st.floats(0, 255), current=st.sampled_from(CONDITIONS))
def test_every_reading_has_a_condition_and_the_next_look_keeps_it(
    luma: float, chroma: float, current: str
) -> None:
    reading = quality(luma=luma, chroma=chroma)
    found = condition_of(reading, current)
    assert found in CONDITIONS
    assert condition_of(reading, found) == found


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        pytest.param({}, None, id="good"),
        pytest.param({"luma": 5.0, "contrast": 2.0}, UnknownReason.DARK, id="dark"),
        pytest.param({"luma": 5.0, "contrast": 30.0}, None, id="night with lamps"),
        pytest.param(
            {"luma": 252.0, "clipped_bright": 0.99}, UnknownReason.OVEREXPOSED, id="overexposed"
        ),
        pytest.param({"contrast": 3.0, "sharpness": 2.0}, UnknownReason.COVERED, id="covered"),
        pytest.param({"sharpness": 5.0}, UnknownReason.BLURRED, id="blurred"),
        pytest.param({"contrast": 20.0, "sharpness": 60.0}, None, id="fog leaves the detail"),
    ],
)
def test_the_impediment_of_a_picture(
    readings: dict[str, float], expected: UnknownReason | None
) -> None:
    limits = ImageLimits(contrast=40.0, detail=0.14, relative_contrast=0.3, luma_low=90.0)
    assert impediment_of(quality(**readings), limits) is expected


def test_what_the_references_share_is_no_impediment() -> None:
    white = np.full((96, 96), 250, np.uint8)
    white[40:44, 40:44] = 235
    reading = quality(luma=250.0, contrast=0.6, sharpness=4.0, clipped_bright=0.99)
    assert impediment_of(reading) is UnknownReason.OVEREXPOSED
    assert impediment_of(reading, limits_of([white])) is None


def probe_at(pixels: BgrImage, at: int) -> Probe:
    return make_probe(CellsEmbedder(), pixels, captured_at_s=float(at), frame_index=at)


def reasons(
    pictures: Sequence[BgrImage], watched: Gallery | None = None
) -> list[UnknownReason | None]:
    monitor = SceneMonitor(gallery(4) if watched is None else watched)
    return [monitor.inspect(probe_at(pixels, at)).impediment for at, pixels in enumerate(pictures)]


def usual(count: int, state: str = "empty") -> list[BgrImage]:
    return [picture(state, seed) for seed in range(count)]


def test_usual_pictures_and_changes_of_state_are_no_impediment() -> None:
    pictures = usual(10) + usual(10, "left") + usual(10, "right") + usual(10, "top")
    assert reasons(pictures) == [None] * 40


def test_a_jump_of_the_light_is_lighting_once_and_then_settles() -> None:
    pictures = usual(20) + [picture("empty", 20 + at, gain=0.5) for at in range(10)]
    found = reasons(pictures)
    assert found[20] is UnknownReason.LIGHTING
    assert found[:20] == [None] * 20
    assert found[21:] == [None] * 9


def test_slow_light_is_no_jump() -> None:
    pictures = [picture("empty", at, gain=1.0 - 0.012 * at) for at in range(40)]
    assert set(reasons(pictures)) == {None}


def test_a_lid_on_the_lens_is_covered_and_clears_when_it_is_gone() -> None:
    lid = [np.full((96, 96, 3), (8, 9, 22), np.uint8) for _ in range(5)]
    found = reasons(usual(5) + lid + usual(3))
    assert found[5:10] == [UnknownReason.COVERED] * 5
    assert found[10:] == [None] * 3


def test_nightfall_is_dark_not_covered() -> None:
    pictures = [picture("empty", at, gain=0.93**at) for at in range(60)]
    found = reasons(pictures)
    assert UnknownReason.COVERED not in found
    assert found[-1] is UnknownReason.DARK


def grown(pixels: BgrImage) -> BgrImage:
    return np.asarray(cv2.resize(pixels, (96, 96)), np.uint8)


def shifted(pixels: BgrImage, x: int, y: int) -> BgrImage:
    return np.ascontiguousarray(np.roll(pixels, (y, x), axis=(0, 1)))


def test_a_camera_turned_away_has_moved_until_it_is_turned_back() -> None:
    away = [shifted(pixels, 37, 21) for pixels in usual(8)]
    found = reasons(usual(5) + away + usual(3))
    assert found[7:13] == [UnknownReason.CAMERA_MOVED] * 6
    assert found[:5] == [None] * 5
    assert found[13:] == [None] * 3


def test_until_it_is_sure_that_the_camera_moved_the_view_is_novel() -> None:
    away = [shifted(pixels, 37, 21) for pixels in usual(3)]
    found = reasons(usual(5) + away + usual(1))
    assert found[5:] == [
        UnknownReason.NOVEL,
        UnknownReason.NOVEL,
        UnknownReason.CAMERA_MOVED,
        None,
    ]


@pytest.mark.parametrize("shift", [(3, 2), (-6, 4), (0, -8)])
def test_a_small_knock_is_borne(shift: tuple[int, int]) -> None:
    knocked = [shifted(pixels, *shift) for pixels in usual(8)]
    assert reasons(usual(5) + knocked) == [None] * 13


def test_somebody_right_before_the_lens_has_not_moved_the_camera() -> None:
    rng = np.random.default_rng(3)
    passing = [grown(rng.integers(0, 255, (9, 9, 3)).astype(np.uint8)) for _ in range(8)]
    assert UnknownReason.CAMERA_MOVED not in reasons(usual(5) + passing)


def test_the_very_same_picture_from_a_lively_source_is_frozen_until_it_lives_again() -> None:
    still = [picture("empty", 99)] * 20
    found = reasons(usual(60) + still + usual(3))
    assert found[:60] == [None] * 60
    assert found[70:80] == [UnknownReason.FROZEN] * 10
    assert found[80:] == [None] * 3


def test_whoever_saw_the_whole_picture_says_whether_it_is_the_same() -> None:
    monitor = SceneMonitor(gallery(4))
    probes = [replace(probe_at(pixels, at), repeated=False) for at, pixels in enumerate(usual(60))]
    one = probe_at(picture("empty", 99), 60)
    for probe in [*probes, replace(one, repeated=False)]:
        monitor.inspect(probe)
    lively = [monitor.inspect(replace(one, repeated=False)).impediment for _ in range(20)]
    still = [monitor.inspect(replace(one, repeated=True)).impediment for _ in range(20)]
    assert lively == [None] * 20
    assert still[10:] == [UnknownReason.FROZEN] * 10


def test_a_source_without_noise_is_never_frozen() -> None:
    pictures = [picture("empty", at // 6) for at in range(240)] + [picture("left", 1)] * 40
    assert UnknownReason.FROZEN not in reasons(pictures)


def test_an_out_of_focus_lens_is_blurred() -> None:
    rng = np.random.default_rng(5)
    fine = grown(rng.integers(0, 255, (32, 32, 3)).astype(np.uint8))
    references = gallery(1, ("empty",)).references
    sharp = Gallery([replace(references[0], thumbnail=thumbnail(fine))])
    blurred = [np.asarray(cv2.GaussianBlur(fine, (0, 0), 3.0), np.uint8)] * 2
    assert reasons([fine, *blurred, fine], sharp) == [None, *[UnknownReason.BLURRED] * 2, None]


def test_without_references_only_plain_readings_count() -> None:
    black = [np.zeros((96, 96, 3), np.uint8)]
    found = reasons([*usual(3), *black], Gallery())
    assert found == [None, None, None, UnknownReason.DARK]


def test_the_view_agrees_with_itself_and_with_nothing_else() -> None:
    view = SceneView([thumbnail(pixels) for pixels in usual(4)])
    empty, left = thumbnail(picture("empty", 8)), thumbnail(picture("left", 8))
    upside_down = np.ascontiguousarray(empty[::-1])
    assert view.agreement(edges_of(empty)) > 0.8
    assert not view.is_lost(left, edges_of(left))
    assert view.is_lost(upside_down, edges_of(upside_down))
    assert not SceneView([]).is_lost(empty, edges_of(empty))


def _readings(grey: NDArray[np.uint8]) -> Quality:
    colour = np.repeat(grey[..., None], 3, axis=2)
    return make_probe(CellsEmbedder(), colour).quality


def test_a_smooth_thing_in_focus_is_not_blurred_beside_a_rough_one() -> None:
    rng = np.random.default_rng(3)
    road = rng.integers(90, 130, (96, 96)).astype(np.uint8)
    car = np.full((96, 96), 60, np.uint8)
    car[20:76, 12:84] = 190
    limits = limits_of([road])
    reading = _readings(car)
    assert impediment_of(reading, limits) is UnknownReason.BLURRED  # by its detail alone
    assert impediment_of(reading, limits, car) is None
    soft = np.asarray(cv2.GaussianBlur(car, (0, 0), 4.0), np.uint8)
    reading = _readings(soft)
    assert impediment_of(reading, limits, soft) is UnknownReason.BLURRED


def test_crispness_is_a_matter_of_focus_and_not_of_contrast() -> None:
    edge = np.full((96, 96), 40, np.uint8)
    edge[:, 48:] = 200
    faint = np.asarray(90 + (edge.astype(np.float32) - 40) / 4, np.uint8)
    soft = np.asarray(cv2.GaussianBlur(edge, (0, 0), 2.0), np.uint8)
    assert crispness_of(edge) == pytest.approx(crispness_of(faint), rel=0.1)
    assert crispness_of(soft) < 0.5 * crispness_of(edge)
