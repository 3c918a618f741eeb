"""Hidden pixels change nothing that is computed."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_sim.vision.probe import Mask

SIDES = st.integers(1, 40)


@given(height=SIDES, width=SIDES, mask_height=SIDES, mask_width=SIDES, grey=st.booleans())
def test_only_pixels_that_count_are_left(
    height: int, width: int, mask_height: int, mask_width: int, grey: bool
) -> None:
    rng = np.random.default_rng(height * 41 + width)
    shape = (height, width) if grey else (height, width, 3)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    plane = rng.integers(0, 256, (mask_height, mask_width), dtype=np.uint8)
    counts = cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST) >= 128
    if not grey:
        counts = counts[:, :, None]
    mask = Mask(plane)
    for _ in range(2):
        np.testing.assert_array_equal(mask.hide(pixels), np.where(counts, pixels, 128))


def test_a_view_of_a_frame_is_hidden_and_the_frame_is_not_written_to() -> None:
    frame = np.full((60, 80, 3), 7, np.uint8)
    plane = np.zeros((10, 10), np.uint8)
    plane[:, :5] = 255
    hidden = Mask(plane).hide(frame[10:50, 20:60])
    assert (hidden[:, :20] == 7).all()
    assert (hidden[:, 20:] == 128).all()
    assert (frame == 7).all()


def test_a_source_that_changes_its_size_again_and_again_holds_no_memory() -> None:
    mask = Mask(np.full((4, 4), 255, np.uint8))
    for side in range(1, 200):
        mask.hide(np.zeros((side, side), np.uint8))
    assert len(mask._fitted) <= 2


@pytest.mark.parametrize(
    "plane", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)], ids=str
)
def test_what_is_no_mask_is_refused(plane: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="mask must be"):
        Mask(plane)
