from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.core.picture_header import read_header

STARTS = st.sampled_from(
    [b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF....WEBPVP8X", b"BM", b"II*\0", b"MM\0*", b"P6 ", b""]
)


def size_in_header(data: bytes) -> tuple[int, int] | None:
    header = read_header(data)
    return None if header is None else header.size


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


def vp8x(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + sides


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (vp8x(70_000, 3), (70_000, 3)),
        (b"\xff\xd8\xff\xff\xc2\0\x11\x08\0\x05\0\x07rest", (7, 5)),
        (b"\xff\xd8\xff\x01\xff\xc0\0\x11\x08\0\x05\0\x07rest", (7, 5)),
        (b"\xff\xd8not a marker", None),
        (b"RIFF\0\0\0\0WEBPNEW!", None),
        (b"P6\n# a remark\n20 30\n255\n", (20, 30)),
        (b"BM" + bytes(16) + (40).to_bytes(4, "little") + b"\xe2\xff\xff\xff", (40, 30)),
        (b"MM\0*\0\0\0\x08\0\0", None),
    ],
    ids=[
        "extended webp",
        "jpeg with fill bytes",
        "jpeg with a lone marker",
        "jpeg that breaks off",
        "unknown webp",
        "ppm with a remark",
        "bmp from the top",
        "tiff without size",
    ],
)
def test_rarer_headers_are_understood_or_left_alone(
    data: bytes, size: tuple[int, int] | None
) -> None:
    assert size_in_header(data) == size


def test_a_lossy_webp_is_understood() -> None:
    done, data = cv2.imencode(
        ".webp", np.zeros((30, 50, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 50]
    )
    assert done
    assert data.tobytes()[12:16] == b"VP8 "
    assert size_in_header(data.tobytes()) == (50, 30)


@given(start=STARTS, rest=st.binary(max_size=200))
def test_any_bytes_give_a_size_or_none(start: bytes, rest: bytes) -> None:
    size = size_in_header(start + rest)
    assert size is None or len(size) == 2
