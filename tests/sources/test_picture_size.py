from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.sources.picture_size import size_in_header

STARTS = st.sampled_from(
    [b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF....WEBPVP8X", b"BM", b"II*\0", b"MM\0*", b"P6 ", b""]
)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff", ".ppm", ".pgm"])
@given(width=st.integers(1, 300), height=st.integers(1, 300))
def test_the_header_tells_the_size_that_the_decoder_finds(
    suffix: str, width: int, height: int
) -> None:
    picture = np.zeros((height, width) if suffix == ".pgm" else (height, width, 3), np.uint8)
    done, data = cv2.imencode(suffix, picture)
    assert done
    assert size_in_header(data.tobytes()) == (width, height)


def test_a_lossless_webp_with_transparency_is_understood() -> None:
    done, data = cv2.imencode(".webp", np.zeros((30, 50, 4), np.uint8))
    assert done
    assert size_in_header(data.tobytes()) == (50, 30)


@given(start=STARTS, rest=st.binary(max_size=200))
def test_any_bytes_give_a_size_or_none(start: bytes, rest: bytes) -> None:
    size = size_in_header(start + rest)
    assert size is None or len(size) == 2
