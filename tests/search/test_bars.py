"""Bars around a picture are cut off, and nothing else is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.types import BgrImage
from edge_sim.search.bars import without_bars
from tests.pictures import picture


def barred(pixels: BgrImage, down: int, across: int, grey: int = 0) -> BgrImage:
    colour = (grey, grey, grey)
    return np.asarray(
        cv2.copyMakeBorder(pixels, down, down, across, across, cv2.BORDER_CONSTANT, value=colour),
        np.uint8,
    )


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0, 16, 255]))
def test_bars_of_any_colour_are_cut_off(down: int, across: int, grey: int) -> None:
    found = without_bars(barred(picture(3), down, across, grey))
    assert np.array_equal(found, without_bars(picture(3)))


@pytest.mark.parametrize("quality", [95, 60])
def test_ripples_of_jpeg_do_not_hide_a_bar(quality: int) -> None:
    pixels = barred(picture(3), 40, 0)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    again = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    rows = picture(3).shape[0]
    assert rows <= without_bars(again).shape[0] <= rows + 16  # a block of the encoder at each end


def test_a_plain_side_is_no_bar() -> None:
    pixels = picture(3).copy()
    pixels[:20] = 200
    assert without_bars(pixels).shape == pixels.shape


@pytest.mark.parametrize("grey", [0, 128])
def test_a_plain_picture_stays_whole(grey: int) -> None:
    pixels = np.full((40, 60, 3), grey, np.uint8)
    assert without_bars(pixels).shape == pixels.shape


def test_two_bars_take_no_more_than_most_of_a_side() -> None:
    found = without_bars(barred(picture(3), 2000, 0))
    assert found.shape[0] >= 0.1 * (4000 + picture(3).shape[0]) - 1
