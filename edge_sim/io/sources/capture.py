"""Protocol of an open device, and pictures made upright."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import as_bgr
from edge_sim.core.raw_pictures import RawPicture
from edge_sim.core.types import BgrImage

_TURNS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


LONGEST_GAP_S = 120.0
"""Longest wait for a picture while a camera sends data: key frames may be a minute apart."""


class Capture(Protocol):
    """An open device, used by one thread only.

    Optional attributes: `pause_s` and `due_in_s` of a device that is polled; `silence_hint`,
    advice for one that gives no picture; of a stream, `received_s`, monotonic time of its last
    bytes, and `interrupt()`, which ends a read from another thread. A device with `grab` and
    `retrieve` (see `GrabbingCapture`) is asked for the pixels of those pictures only that are
    looked at.
    """

    def read(self) -> NDArray[Any] | RawPicture | None:
        """Return the next picture, waiting for it; None if the device gave none."""

    def release(self) -> None:
        """Give the device back."""


class GrabbingCapture(Capture, Protocol):
    """Device that can take a picture without converting or decoding it to pixels."""

    def grab(self) -> bool:
        """Take the next picture, waiting for it; return False if the device gave none."""

    def retrieve(self) -> NDArray[Any] | RawPicture | None:
        """Return the picture of the last `grab`; None if it is none."""


VideoCapture = Callable[[str, int], Any]
"""`cv2.VideoCapture`, called with a path and a backend, or a stand-in for it."""
OpenCapture = Callable[[], Capture]
"""Opens the device; raises SourceError where it cannot be opened."""


def upright(pixels: NDArray[Any], rotate: int) -> BgrImage:
    """Return any usual picture as (H, W, 3) uint8 BGR, turned clockwise by `rotate` degrees.

    Raises:
        ValueError: Not a picture (see `imaging.as_bgr`).
    """
    picture = as_bgr(pixels)
    if rotate == 0:
        return picture
    return np.asarray(cv2.rotate(picture, _TURNS[rotate]), np.uint8)
