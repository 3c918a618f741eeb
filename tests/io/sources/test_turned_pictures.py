"""A camera that is mounted turned: regions are those of the upright picture."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from edge_sim.core.images import coarse_image, crop, encode_jpeg
from edge_sim.core.raw_pictures import JpegPicture, RawFrame, RawPicture, region_of, size_of
from edge_sim.core.types import FULL_FRAME, BgrImage, Frame, Roi
from edge_sim.io.sources.capture import frame_of, upright
from tests.core.test_raw_pictures import packed_of, planes_of, scene

MOMENT = 1.0, 2.0, 3, "cam"
MAKERS: dict[str, Callable[[BgrImage], RawPicture]] = {
    "planes": planes_of,
    "packed": packed_of,
    "jpeg": lambda pixels: JpegPicture(encode_jpeg(pixels)),
}
CORNER = Roi(0.0, 0.0, 0.25, 0.5)
ROIS = [FULL_FRAME, CORNER, Roi(0.5, 0.25, 1.0, 0.75)]

kinds = pytest.mark.parametrize("kind", MAKERS)
turns = pytest.mark.parametrize("rotate", [90, 180, 270])


@kinds
@turns
def test_a_region_of_a_turned_picture_is_that_of_the_upright_one(kind: str, rotate: int) -> None:
    picture = MAKERS[kind](scene((320, 240)))
    frame, whole = frame_of(picture, rotate, MOMENT), upright(picture.pixels(), rotate)
    assert isinstance(frame, RawFrame)
    assert size_of(frame) == (whole.shape[1], whole.shape[0])
    np.testing.assert_array_equal(frame.pixels, whole)
    for roi in ROIS:
        np.testing.assert_array_equal(region_of(frame, roi, 240), crop(whole, roi))


@kinds
@turns
def test_a_change_lies_at_its_place_in_the_coarse_image(kind: str, rotate: int) -> None:
    # A mask is laid over the coarse image.
    back = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
    pixels = np.full((240, 320, 3), 60, np.uint8)
    crop(pixels, CORNER)[:] = 200
    frame = frame_of(MAKERS[kind](np.asarray(cv2.rotate(pixels, back[rotate]))), rotate, MOMENT)
    assert isinstance(frame, RawFrame)
    assert frame.picture is not None
    found, wanted = (
        cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA)
        for image in (frame.picture.coarse(FULL_FRAME), coarse_image(pixels))
    )
    np.testing.assert_array_equal(found > 130, wanted > 130)


def test_an_array_is_turned_at_once() -> None:
    pixels = scene((64, 48))
    frame = frame_of(pixels, 90, MOMENT)
    assert type(frame) is Frame
    np.testing.assert_array_equal(frame.pixels, upright(pixels, 90))


@kinds
def test_a_picture_that_is_not_turned_stays_as_it_is(kind: str) -> None:
    picture = MAKERS[kind](scene((64, 48)))
    frame = frame_of(picture, 0, MOMENT)
    assert isinstance(frame, RawFrame)
    assert frame.picture is picture
