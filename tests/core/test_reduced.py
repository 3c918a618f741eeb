"""A JPEG decoded at a part of its size gives what the whole one gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_sim.core.images import (
    decode,
    decode_reduced,
    encode_jpeg,
    measure,
    reduction_for,
    squash,
)
from edge_sim.core.types import BgrImage
from edge_sim.io.sources.synthetic.source import render
from edge_sim.vision.embedders import open_embedder

SCENES = [("bowl", "empty"), ("bowl", "food"), ("gate", "open"), ("gate", "closed"), ("lamp", "on")]


def large(scene: str, state: str, size: tuple[int, int]) -> BgrImage:
    return np.asarray(cv2.resize(render(scene, state), size, interpolation=cv2.INTER_CUBIC))


def oriented(data: bytes, orientation: int) -> bytes:
    """Return a JPEG with an Exif segment that gives its orientation."""
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + bytes(
        [0, orientation, 0, 0, 0, 0, 0, 0]
    )
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


@pytest.mark.parametrize(
    ("width", "height", "part"),
    [
        (640, 480, 1),  # linear shrinking reads enough of it
        (1280, 720, 2),
        (1920, 1080, 4),
        (4000, 3000, 8),
        (8000, 6000, 8),
        (5000, 310, 1),  # too flat
        (160, 160, 1),
    ],
)
def test_the_part_leaves_both_sides_as_long_as_the_model_wants(
    width: int, height: int, part: int
) -> None:
    assert reduction_for(width, height, 160) == part
    assert part == 1 or min(width, height) // part >= 160


@pytest.mark.parametrize("size", [(1280, 720), (1283, 721), (1920, 1080), (3000, 2250)], ids=str)
@pytest.mark.parametrize(("scene", "state"), SCENES)
def test_the_embedding_is_that_of_the_whole_picture_as_near_as_jpeg_keeps_it(
    scene: str, state: str, size: tuple[int, int]
) -> None:
    embedder = open_embedder(None)
    data = encode_jpeg(large(scene, state, size))
    found = decode_reduced(data, embedder.input_px)
    assert found.pixels.shape[0] < size[1]
    assert (found.width, found.height) == size
    whole = decode(data)
    assert float(embedder.embed(found.pixels).vector @ embedder.embed(whole).vector) > 0.994
    small, small_quality = measure(found.pixels)
    large_, large_quality = measure(whole)
    assert np.abs(small.astype(int) - large_).mean() < 1.0
    assert small_quality.luma == pytest.approx(large_quality.luma, abs=0.5)
    assert small_quality.contrast == pytest.approx(large_quality.contrast, rel=0.02)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1920, 1080), (1601, 1200), (1600, 1608), (1599, 1600)], ids=str)
def test_the_orientation_is_applied_and_the_size_is_that_of_the_upright_picture(
    orientation: int, size: tuple[int, int]
) -> None:
    data = oriented(encode_jpeg(large("gate", "open", size)), orientation)
    whole, found = decode(data), decode_reduced(data, 96)
    assert (found.width, found.height) == (whole.shape[1], whole.shape[0])
    difference = squash(found.pixels, 96).astype(int) - squash(whole, 96)
    assert np.abs(difference).mean() < 1.5


def test_grey_and_progressive_pictures_are_reduced_like_others() -> None:
    picture = large("bowl", "food", (1920, 1080))
    grey = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))[1].tobytes()
    slow = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    for data in (grey, slow):
        found, whole = decode_reduced(data, 96).pixels, decode(data)
        assert found.shape == (270, 480, 3)
        assert np.abs(squash(found, 96).astype(int) - squash(whole, 96)).mean() < 1.0


def test_other_kinds_keep_their_size() -> None:
    picture = large("bowl", "food", (1920, 1080))
    for suffix in (".png", ".webp"):
        data = cv2.imencode(suffix, picture)[1].tobytes()
        assert decode_reduced(data, 96).pixels.shape == picture.shape


def test_what_cannot_be_decoded_is_an_error_as_without_reduction() -> None:
    data = encode_jpeg(large("bowl", "food", (1920, 1080)))
    for broken in (b"", b"\xff\xd8\xff", data[:300], b"P" * 40):
        with pytest.raises(ValueError, match=r"file|picture") as whole:
            decode(broken)
        with pytest.raises(ValueError, match=r"file|picture") as reduced:
            decode_reduced(broken, 96)
        assert str(reduced.value) == str(whole.value)
