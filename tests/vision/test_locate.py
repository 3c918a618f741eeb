"""The part that no reference shows is located, and nothing that light or outlines cause."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sim.core.types import Roi
from edge_sim.errors import DataError, PictureError
from edge_sim.vision.locate import NovelRegion, locate, novelty_map

Gray = NDArray[np.uint8]


def board(seed: int = 0, *, noise: float = 2.0) -> Gray:
    """Drawn tracks and pads, always the same, with noise of its own."""
    plane = np.full((240, 320), 60, np.uint8)
    for at in range(6):
        cv2.line(plane, (20, 30 + 35 * at), (300, 30 + 35 * at), 190, 6)
        cv2.circle(plane, (40 + 45 * at, 48 + 22 * (at % 3)), 8, 230, -1)
    grain = np.random.default_rng(seed).normal(0.0, noise, plane.shape)
    return np.asarray(np.clip(plane + grain, 0, 255), np.uint8)


def with_fault(plane: Gray) -> Gray:
    faulty = plane.copy()
    faulty[165:180, 200:222] = 60  # a track is interrupted
    return faulty


FAULT = Roi(200 / 320, 165 / 240, 222 / 320, 180 / 240)


def covers(a: Roi, b: Roi) -> bool:
    wide = min(a.x2, b.x2) - max(a.x1, b.x1)
    high = min(a.y2, b.y2) - max(a.y1, b.y1)
    areas = [(roi.x2 - roi.x1) * (roi.y2 - roi.y1) for roi in (a, b)]
    return wide > 0.0 and high > 0.0 and wide * high >= 0.33 * min(areas)


def test_a_picture_like_its_reference_has_no_region() -> None:
    assert locate(board(1), [board(2)]) == ()


def test_a_fault_is_the_one_region() -> None:
    (found,) = locate(with_fault(board(1)), [board(2)])
    assert covers(found.roi, FAULT)
    assert found.strength > 0.0


def test_colour_and_another_size_of_the_reference_change_nothing() -> None:
    colour = np.repeat(with_fault(board(1))[..., None], 3, axis=2)
    larger = np.asarray(cv2.resize(board(2), (640, 480), interpolation=cv2.INTER_LINEAR), np.uint8)
    (found,) = locate(colour, [larger])
    assert covers(found.roi, FAULT)


@pytest.mark.parametrize("gain", [0.6, 0.8, 1.15])
def test_light_is_no_region_and_hides_none(gain: float) -> None:
    slope = np.linspace(0.85, 1.0, 320, dtype=np.float32)[None]

    def lit(plane: Gray) -> Gray:
        return np.asarray(np.clip(plane * gain * slope, 0, 255), np.uint8)

    assert locate(lit(board(1)), [board(2)]) == ()
    (found,) = locate(lit(with_fault(board(1))), [board(2)])
    assert covers(found.roi, FAULT)


@pytest.mark.parametrize(("x", "y"), [(1, 0), (0, 1), (-5, 4)])
def test_a_small_shift_of_the_camera_is_no_region(x: int, y: int) -> None:
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)

    def moved(plane: Gray) -> Gray:
        return np.asarray(
            cv2.warpAffine(plane, move, (320, 240), borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    assert locate(moved(board(1)), [board(2)]) == ()
    found = locate(moved(with_fault(board(1))), [board(2)])
    assert [covers(item.roi, FAULT) for item in found] == [True]


def test_what_varies_among_the_references_is_explained() -> None:
    def labelled(seed: int, level: int) -> Gray:
        plane = board(seed)
        plane[100:125, 60:110] = level
        return plane

    references = [labelled(2, 90), labelled(3, 220)]
    assert locate(labelled(4, 150), references) == ()
    assert len(locate(labelled(4, 150), references[:1])) == 1


@pytest.mark.parametrize("share", [0.15, 0.3, 0.45])
def test_a_large_part_is_no_light(share: float) -> None:
    plane = board(1)
    height, width = round(240 * share), round(320 * share)
    plane[20 : 20 + height, 20 : 20 + width] = 120
    found = locate(plane, [board(2)])
    covered = np.zeros(plane.shape, np.bool_)
    for item in found:
        roi = item.roi
        rows = slice(round(roi.y1 * 240), round(roi.y2 * 240))
        covered[rows, round(roi.x1 * 320) : round(roi.x2 * 320)] = True
    assert covered[20 : 20 + height, 20 : 20 + width].mean() > 0.85
    covered[20 : 20 + height, 20 : 20 + width] = False
    assert covered.mean() < 0.02


def test_a_box_is_corner_width_and_height() -> None:
    assert NovelRegion(Roi(0.1, 0.2, 0.4, 0.9), 0.1).box == (0.1, 0.2, 0.3, 0.7)


@pytest.mark.parametrize("value", [None, "a.png", np.zeros((4, 4), np.float32)])
def test_what_is_no_picture_is_rejected(value: object) -> None:
    with pytest.raises(PictureError):
        locate(value, [board()])  # type: ignore[arg-type]


def test_the_strongest_region_comes_first() -> None:
    plane = with_fault(board(1))
    plane[60:64, 120:140] = 255
    regions = locate(plane, [board(2)])
    assert [item.strength for item in regions] == sorted(
        (item.strength for item in regions), reverse=True
    )
    assert covers(regions[0].roi, FAULT)


def test_a_fault_at_the_border_stays_within_the_picture() -> None:
    plane = board(1)
    plane[:20, :25] = 240
    (found,) = locate(plane, [board(2)])
    assert (found.roi.x1, found.roi.y1) == (0.0, 0.0)


def test_flat_and_tiny_pictures_are_no_error() -> None:
    flat = np.full((9, 9), 100, np.uint8)
    assert locate(flat, [flat]) == ()
    assert novelty_map(flat, [np.zeros((1, 1), np.uint8)]).shape == (9, 9)


def test_without_a_reference_it_says_so() -> None:
    with pytest.raises(DataError, match="no reference"):
        locate(board(), [])
