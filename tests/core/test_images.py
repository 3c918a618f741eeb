"""Pictures of every kind become regions, thumbnails and readings."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sim.core.images import (
    as_bgr,
    coarse_image,
    crop,
    decode,
    encode_jpeg,
    halved,
    measure,
    squash,
    squash_into,
    thumbnail,
)
from edge_sim.core.types import Roi


def encoded(suffix: str) -> bytes:
    """Return an encoded picture whose pixels do not compress to nothing."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    return cv2.imencode(suffix, noise)[1].tobytes()


def coloured(height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (200, 40, 10)
    pixels[:, width // 2 :] = (10, 60, 220)
    return pixels


@pytest.mark.parametrize(
    ("pixels", "value"),
    [
        (np.full((4, 5), 7, np.uint8), 7),
        (np.full((4, 5, 1), 7, np.uint8), 7),
        (np.full((4, 5, 3), 7, np.uint8), 7),
        (np.full((4, 5, 4), 7, np.uint8), 7),
        (np.full((4, 5), 7 * 256, np.uint16), 7),
        (np.full((4, 5), 7 * 256, ">u2"), 7),
        (np.full((4, 5, 3), 1.0, np.float32), 255),
        (np.full((4, 5), 2.0, np.float64), 255),
    ],
    ids=["grey", "grey-1", "bgr", "bgra", "16-bit", "16-bit-big", "float", "float-above-1"],
)
def test_any_usual_picture_becomes_bgr(pixels: NDArray[Any], value: int) -> None:
    bgr = as_bgr(pixels)
    assert bgr.shape == (4, 5, 3)
    assert bgr.dtype == np.uint8
    assert (bgr == value).all()


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4,), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((4, 5, 2), np.uint8),
        np.zeros((4, 5, 3), np.int64),
        np.full((4, 5, 3), np.nan, np.float32),
        np.full((4, 5, 3), 200.0, np.float32),
        np.broadcast_to(np.uint8(0), (10_000, 10_000, 3)),
    ],
    ids=["1-d", "empty", "2-channels", "int64", "nan", "float-0-255", "100-megapixels"],
)
def test_what_is_no_picture_is_refused(pixels: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="picture"):
        as_bgr(pixels)


@given(
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
)
def test_a_crop_is_a_view_of_at_least_one_pixel(
    corners: tuple[float, float, float, float], height: int, width: int
) -> None:
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    if x1 == x2 or y1 == y2:
        return
    pixels = np.zeros((height, width, 3), np.uint8)
    region = crop(pixels, Roi(x1, y1, x2, y2))
    assert min(region.shape) >= 1
    assert np.shares_memory(region, pixels)


@pytest.mark.parametrize(
    "corners",
    [(0, 0, 1.2, 1), (-0.1, 0, 1, 1), (0.5, 0, 0.5, 1), (0, 1, 1, 0), (float("nan"), 0, 1, 1)],
    ids=str,
)
def test_a_region_outside_the_frame_is_refused(corners: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="roi must be"):
        Roi(*corners)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (40, 60), (5000, 10)], ids=str)
def test_any_size_has_a_thumbnail_and_readings(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 90, np.uint8)
    small, quality = measure(pixels)
    assert small.shape == (96, 96)
    assert quality.luma == pytest.approx(90, abs=1)
    assert quality.contrast == 0
    np.testing.assert_array_equal(small, thumbnail(pixels))


def test_a_50_megapixel_frame_is_measured() -> None:
    _, quality = measure(np.full((5000, 10_000, 3), 200, np.uint8))
    assert quality.luma == pytest.approx(200, abs=1)


def test_chroma_tells_colour_from_grey() -> None:
    grey = np.repeat(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], 40, axis=0)
    assert measure(np.repeat(grey, 3, axis=2))[1].chroma < 1
    assert measure(coloured())[1].chroma > 50


def test_clipping_counts_the_fraction_of_dark_and_bright_pixels() -> None:
    pixels = np.full((96, 96, 3), 128, np.uint8)
    pixels[:24] = 0
    pixels[72:] = 255
    quality = measure(pixels)[1]
    assert quality.clipped_dark == pytest.approx(0.25)
    assert quality.clipped_bright == pytest.approx(0.25)


def test_sharpness_falls_when_a_picture_is_blurred() -> None:
    sharp = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    blurred = squash(squash(sharp, 24), 96)
    assert measure(blurred)[1].sharpness < measure(sharp)[1].sharpness / 5


def test_a_picture_survives_encoding() -> None:
    pixels = coloured()
    assert np.abs(decode(encode_jpeg(pixels)).astype(int) - pixels).mean() < 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", r"not a picture that OpenCV can decode \(text\)"),
        (b"\0" * 900, "only zeros"),
        (b"PK\3\4" + bytes(99), "a zip archive"),
        (b"<!DOCTYPE html><p>", "a web page"),
        (b"\x1aE\xdf\xa3" + bytes(99), "a video"),
        (b"\xfe\xdc" * 99, "unknown content"),
        (encode_jpeg(coloured())[:40], "ends early, after 40 bytes: a JPEG"),
        (encode_jpeg(coloured())[:-40], "ends early, after .*: a JPEG of "),
        (encoded(".png")[:200], "ends early, after 200 bytes of at least .*: a PNG of "),
        (encoded(".bmp")[:200], "ends early, after 200 bytes of at least .*: a BMP of "),
        (encoded(".webp")[:-9], "ends early, after .* of at least .*: a WebP of "),
        (encoded(".tiff")[:99], "ends early, after 99 bytes of at least .*: a TIFF"),
        (encoded(".ppm")[:-9], "ends early, after .* of at least .*: a PNM of "),
        (encoded(".png")[:60] + bytes(60) + encoded(".png")[120:], r"\(damaged PNG of "),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG pictures are not read"),
        (b"\0\0\1\0" + bytes(99), "ICO pictures are not read"),
    ],
    ids=str,
)
def test_bytes_that_are_no_picture_are_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(data)


@pytest.mark.parametrize("shape", [(480, 640), (1080, 1920), (97, 701), (50, 2000)], ids=str)
def test_a_picture_squashed_before_squashes_to_the_same(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    small = squash(pixels, 160)
    np.testing.assert_array_equal(squash(small, 160), small)


def test_squashing_averages_noise_away() -> None:
    noise = np.random.default_rng(2).normal(128, 20, (960, 960, 3)).clip(0, 255).astype(np.uint8)
    assert squash(noise, 96).std() < 4


def test_squashing_shifts_nothing() -> None:
    pixels = np.zeros((481, 643, 3), np.uint8)
    pixels[200:280, 300:340] = 255
    small = squash(pixels, 96)[:, :, 0].astype(np.float64)
    rows, columns = np.indices(small.shape)
    assert (rows * small).sum() / small.sum() == pytest.approx(240 / 481 * 96 - 0.5, abs=0.25)
    assert (columns * small).sum() / small.sum() == pytest.approx(320 / 643 * 96 - 0.5, abs=0.25)


@pytest.mark.parametrize("shape", [(480, 640), (301, 401), (1080, 1920), (200, 700)], ids=str)
def test_halving_first_changes_little_against_one_step(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    one_step = cv2.resize(smooth, (96, 96), interpolation=cv2.INTER_AREA)
    # An odd row or column is left out at each halving: a third of a pixel of 96 at the far edge.
    assert np.abs(squash(smooth.astype(np.uint8), 96).astype(int) - one_step).mean() < 3.0


@pytest.mark.parametrize("shape", [(480, 640), (481, 643), (1081, 1923), (2, 400_000)], ids=str)
def test_large_pictures_are_halved_like_small_ones(shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(5).integers(0, 256, (*shape, 3), dtype=np.uint8)
    tall, wide = shape[0] // 2, shape[1] // 2
    even = frame[: 2 * tall, : 2 * wide].astype(np.uint16)
    quads = even.reshape(tall, 2, wide, 2, 3).sum(axis=(1, 3))
    np.testing.assert_array_equal(halved(frame, tall, wide), (quads + 2) // 4)


def test_a_squash_fills_the_buffer_it_is_given() -> None:
    target = np.zeros((20, 30, 3), np.uint8)
    assert squash_into(coloured(200, 300), target) is target
    np.testing.assert_array_equal(target[0, 0], coloured()[0, 0])


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (96, 96), (480, 640), (1081, 1923)], ids=str)
def test_a_glimpse_has_24_rows_and_more_where_the_picture_has(shape: tuple[int, int]) -> None:
    seen = coarse_image(np.full((*shape, 3), 77, np.uint8))
    assert (seen == 77).all()
    assert min(shape[0], 24) <= seen.shape[0] <= 200
    assert seen.shape[1] >= min(3 * shape[1], 24)


def test_a_glimpse_of_a_view_is_that_of_its_copy() -> None:
    frame = np.random.default_rng(3).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    view = frame[37:411, 101:498]
    np.testing.assert_array_equal(coarse_image(view), coarse_image(view.copy()))


@pytest.mark.parametrize("shape", [(60, 80), (480, 640), (1080, 1920)], ids=str)
def test_a_thing_of_two_thumbnail_pixels_shows_in_a_glimpse_wherever_it_is(
    shape: tuple[int, int],
) -> None:
    empty = np.full((*shape, 3), 100, np.uint8)
    tall, wide = -(-2 * shape[0] // 96), -(-2 * shape[1] // 96)
    for top in range(0, shape[0] - tall, max(shape[0] // 7, 1)):
        there = empty.copy()
        there[top : top + tall, -wide - 3 : -3] = 180
        assert np.abs(coarse_image(there).astype(int) - coarse_image(empty)).max() >= 10
