"""Raw pictures give the regions, and the pixels, that a converted picture gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sim.core.images import coarse_image, crop, decode, encode_jpeg, squash
from edge_sim.core.raw_pictures import (
    JpegPicture,
    PackedPicture,
    PlanarPicture,
    RawFrame,
    RawPicture,
    gate_part_of,
    reduction_of,
    region_of,
    sample_of,
    size_of,
)
from edge_sim.core.types import FULL_FRAME, BgrImage, Frame, Roi
from edge_sim.io.sources.synthetic.source import render
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import FrameFeatures, Region

QUARTER = Roi(0.5, 0.25, 1.0, 0.75)


def scene(size: tuple[int, int] = (1280, 720), state: str = "food") -> BgrImage:
    large = cv2.resize(render("bowl", state), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint8)


def planes_of(pixels: BgrImage) -> PlanarPicture:
    """Return the planes of a picture of even width and height."""
    height, width = pixels.shape[:2]
    yuv = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2YUV_I420), np.uint8)
    colour = yuv[height:].reshape(2, height // 2, width // 2)
    return PlanarPicture(yuv[:height], colour[0], colour[1])


def packed_of(pixels: BgrImage) -> PackedPicture:
    """Return the YUYV of a picture of even width and height."""
    planes = planes_of(pixels)
    data = np.empty((*pixels.shape[:2], 2), np.uint8)
    data[:, :, 0] = planes.luma
    data[:, ::2, 1] = planes.blue.repeat(2, axis=0)
    data[:, 1::2, 1] = planes.red.repeat(2, axis=0)
    return PackedPicture(data)


def raw(picture: RawPicture) -> RawFrame:
    return RawFrame(picture, 1.0, 2.0, 3, "cam")


def test_planes_converted_as_a_whole_are_what_opencv_makes_of_them() -> None:
    pixels = scene((64, 48))
    planes = planes_of(pixels)
    both = np.vstack([planes.luma, planes.blue.reshape(12, 64), planes.red.reshape(12, 64)])
    np.testing.assert_array_equal(planes.pixels(), cv2.cvtColor(both, cv2.COLOR_YUV2BGR_I420))


@settings(max_examples=60)
@given(
    st.integers(1, 41),
    st.integers(1, 33),
    st.tuples(*[st.floats(0.0, 1.0)] * 4),
    st.booleans(),
)
def test_a_region_of_planes_is_that_of_the_whole_whatever_its_corners(
    width: int, height: int, corners: tuple[float, ...], full_range: bool
) -> None:
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    if x1 == x2 or y1 == y2:
        return
    rng = np.random.default_rng(width * 100 + height)
    luma = rng.integers(0, 256, (height, width), np.uint8)
    small = (height + 1) // 2, (width + 1) // 2
    planes = PlanarPicture(
        luma,
        rng.integers(0, 256, small, np.uint8),
        rng.integers(0, 256, small, np.uint8),
        full_range,
    )
    whole, roi = planes.pixels(), Roi(x1, y1, x2, y2)
    assert whole.shape == (height, width, 3)
    np.testing.assert_array_equal(planes.region(roi, 96), crop(whole, roi))


@settings(max_examples=60)
@given(st.integers(1, 21), st.integers(1, 33), st.tuples(*[st.floats(0.0, 1.0)] * 4))
def test_a_region_of_yuyv_is_that_of_the_whole_whatever_its_corners(
    pairs: int, height: int, corners: tuple[float, ...]
) -> None:
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    if x1 == x2 or y1 == y2:
        return
    rng = np.random.default_rng(pairs * 100 + height)
    picture = PackedPicture(rng.integers(0, 256, (height, 2 * pairs, 2), np.uint8))
    whole, roi = picture.pixels(), Roi(x1, y1, x2, y2)
    assert whole.shape == (height, 2 * pairs, 3)
    np.testing.assert_array_equal(picture.region(roi, 96), crop(whole, roi))
    assert picture.coarse(roi).shape[0] in range(1, 48)


def test_black_and_white_of_yuyv_are_levels_16_and_235() -> None:
    for luma, level in ((16, 0), (235, 255)):
        data = np.full((8, 8, 2), 128, np.uint8)
        data[:, :, 0] = luma
        picture = PackedPicture(data)
        assert np.abs(picture.pixels().astype(int) - level).max() <= 1
        assert np.abs(picture.coarse(FULL_FRAME).astype(int) - level).max() <= 1
        assert int(picture.sample().max()) == luma - 16


def test_levels_of_the_full_range_are_not_stretched() -> None:
    grey = np.full((4, 4), 128, np.uint8)
    for luma, full_range, level in (
        (0, True, 0),
        (255, True, 255),
        (16, False, 0),
        (235, False, 255),
    ):
        planes = PlanarPicture(np.full((8, 8), luma, np.uint8), grey, grey, full_range=full_range)
        assert np.abs(planes.pixels().astype(int) - level).max() <= 1
        assert int(planes.sample().max()) == (luma if full_range else luma - 16)


@pytest.mark.parametrize("roi", [FULL_FRAME, QUARTER], ids=["whole", "quarter"])
@pytest.mark.parametrize("kind", ["jpeg", "planes", "packed"])
def test_the_embedding_of_a_region_is_that_of_the_converted_picture(kind: str, roi: Roi) -> None:
    embedder = open_embedder(None)
    pixels = scene()
    picture: RawPicture
    if kind == "jpeg":
        data = encode_jpeg(pixels)
        picture = JpegPicture(data, reduction_of((1280, 720), roi, embedder.input_px))
    else:
        picture = planes_of(pixels) if kind == "planes" else packed_of(pixels)
    converted = Frame(picture.pixels(), 1.0, 2.0, 3, "cam")
    found, wanted = (
        FrameFeatures(frame, embedder).of(Region(roi)) for frame in (raw(picture), converted)
    )
    assert float(found.embedding.vector @ wanted.embedding.vector) > 0.994
    assert np.abs(found.readings[0].astype(int) - wanted.readings[0]).mean() < 1.0
    assert found.readings[1].luma == pytest.approx(wanted.readings[1].luma, abs=0.5)
    assert found.readings[1].chroma == pytest.approx(wanted.readings[1].chroma, abs=0.5)


def test_a_frame_converts_only_what_is_looked_at() -> None:
    class Counted:
        size = (64, 48)

        def __init__(self) -> None:
            self.calls: list[str] = []

        def pixels(self) -> BgrImage:
            self.calls.append("pixels")
            return np.zeros((48, 64, 3), np.uint8)

        def region(self, roi: Roi, side_px: int) -> BgrImage:
            self.calls.append("region")
            return np.zeros((24, 32, 3), np.uint8)

        def coarse(self, roi: Roi) -> BgrImage:
            self.calls.append("coarse")
            return np.zeros((24, 32), np.uint8)

        def sample(self) -> BgrImage:
            return np.zeros((1, 1), np.uint8)

    picture = Counted()
    frame = raw(picture)
    features = FrameFeatures(frame, open_embedder(None))
    assert size_of(frame) == (64, 48)
    assert sample_of(frame).size == 1
    assert not picture.calls
    _ = features.of(Region(QUARTER)).coarse_image
    assert picture.calls == ["coarse"]
    for _ in range(2):
        _ = features.of(Region(QUARTER)).embedding
    assert picture.calls == ["coarse", "region"]
    assert frame.pixels is frame.pixels
    assert picture.calls == ["coarse", "region", "pixels"]


@pytest.mark.parametrize("full_range", [False, True])
def test_planes_halved_before_they_are_converted_are_the_halved_picture(full_range: bool) -> None:
    pixels = planes_of(scene())
    planes = PlanarPicture(pixels.luma, pixels.blue, pixels.red, full_range)
    whole = planes.pixels()
    half = planes.region(FULL_FRAME, 160)
    assert half.shape == (360, 640, 3)
    wanted = cv2.resize(whole, (640, 360), interpolation=cv2.INTER_AREA)
    assert np.abs(half.astype(int) - wanted).mean() < 1.0


def test_yuyv_halved_before_it_is_converted_is_the_halved_picture() -> None:
    picture = packed_of(scene())
    half = picture.region(FULL_FRAME, 160)
    assert half.shape == (360, 640, 3)
    wanted = cv2.resize(picture.pixels(), (640, 360), interpolation=cv2.INTER_AREA)
    assert np.abs(half.astype(int) - wanted).mean() < 1.0


@pytest.mark.parametrize("make", [planes_of, packed_of])
@pytest.mark.parametrize("colour", [(0, 0, 200), (0, 200, 0), (200, 60, 20)])
def test_the_coarse_image_of_planes_shows_a_change_no_less_than_that_of_the_picture(
    colour: tuple[int, int, int], make: Callable[[BgrImage], RawPicture]
) -> None:
    before = scene((640, 480))
    after = before.copy()
    after[200:280, 300:380] = colour
    changes = []
    for convert in (
        lambda picture: picture.coarse(QUARTER),
        lambda picture: coarse_image(crop(picture.pixels(), QUARTER)),
    ):
        old, new = (convert(make(pixels)).astype(int) for pixels in (before, after))
        changes.append((np.abs(new - old).mean(), old.mean()))
    # Where colours change in opposite directions, a mean of bytes of all of them shows less.
    assert changes[0][0] > 0.9 * changes[1][0]
    assert changes[0][1] == pytest.approx(changes[1][1], abs=2.0)


def test_a_jpeg_is_decoded_small_and_whole_when_somebody_asks() -> None:
    pixels = scene()
    data = encode_jpeg(pixels)
    picture = JpegPicture(data, 4)
    assert picture.size == (1280, 720)
    assert picture.region(FULL_FRAME, 80).shape == (180, 320, 3)
    # A region that needs more than was decoded gets it, and not more than that.
    assert picture.region(FULL_FRAME, 160).shape == (360, 640, 3)
    np.testing.assert_array_equal(raw(picture).pixels, decode(data))
    fine = picture.region(QUARTER, 160)
    np.testing.assert_array_equal(fine, crop(decode(data), QUARTER))


def test_the_coarse_image_of_a_jpeg_does_not_depend_on_what_was_decoded() -> None:
    data = encode_jpeg(scene())
    assert gate_part_of((1280, 720), FULL_FRAME) == 8
    assert gate_part_of((1280, 720), QUARTER) == 8
    assert gate_part_of((640, 480), QUARTER) == 8
    assert gate_part_of((320, 240), QUARTER) == 4
    for roi in (FULL_FRAME, QUARTER, Roi(0.137, 0.291, 0.683, 0.777)):
        largest = gate_part_of((1280, 720), roi)
        images = [JpegPicture(data, part).coarse(roi) for part in (1, 2, 4, 8) if part <= largest]
        for other in images[1:]:
            assert other.shape == images[0].shape
            assert np.abs(other.astype(int) - images[0]).mean() < 0.4


@settings(max_examples=40)
@given(st.integers(49, 99), st.integers(49, 99), st.tuples(*[st.floats(0.0, 1.0)] * 4))
def test_the_shape_of_the_coarse_image_of_a_jpeg_is_the_same_from_frame_to_frame(
    width: int, height: int, corners: tuple[float, ...]
) -> None:
    # Another shape opens the gate: it would never stay shut.
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    if x1 == x2 or y1 == y2:
        return
    roi = Roi(x1, y1, x2, y2)
    data = encode_jpeg(scene((width, height)))
    parts = [part for part in (1, 2, 4, 8) if part <= gate_part_of((width, height), roi)]
    assert len({JpegPicture(data, part).coarse(roi).shape for part in parts}) == 1


def test_a_jpeg_that_cannot_be_decoded_is_an_error_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="ends early, after 200 bytes: a JPEG"):
        JpegPicture(encode_jpeg(scene())[:200], 4)


def test_a_raw_frame_is_a_frame() -> None:
    picture = planes_of(scene((64, 48)))
    frame = raw(picture)
    assert isinstance(frame, Frame)
    numbered = frame.numbered(9)
    assert (numbered.index, numbered.captured_at_s, numbered.picture) == (9, 1.0, picture)
    later = replace(frame, captured_at_s=5.0)
    assert later.captured_at_s == 5.0
    np.testing.assert_array_equal(later.pixels, frame.pixels)
    np.testing.assert_array_equal(region_of(later, QUARTER, 96), crop(frame.pixels, QUARTER))
    assert later.numbered(4).index == 4
    assert squash(sample_of(later), 4).shape == (4, 4, 3)
