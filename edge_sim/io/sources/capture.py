"""Protocol of an open device, and frames of upright pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import as_bgr
from edge_sim.core.raw_pictures import RawFrame, RawPicture
from edge_sim.core.types import BgrImage, Frame, GrayImage, Roi

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
    bytes, and `interrupt()`, which ends a read from another thread; `wanted_at_s`, set to the
    monotonic time from which a picture is wanted: earlier ones may be left out. A device with
    `grab` and `retrieve` (see `GrabbingCapture`) is asked for the pixels of those pictures only
    that are looked at.
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


class VideoWrapper:
    """Device that reads a video, to which it hands on what is wished."""

    _video: GrabbingCapture

    @property
    def wanted_at_s(self) -> float:
        """Time from which a picture is wanted, monotonic seconds."""
        return getattr(self._video, "wanted_at_s", -math.inf)

    @wanted_at_s.setter
    def wanted_at_s(self, at_s: float) -> None:
        if hasattr(self._video, "wanted_at_s"):
            self._video.wanted_at_s = at_s


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


def frame_of(
    raw: NDArray[Any] | RawPicture, rotate: int, moment: tuple[float, float, int, str]
) -> Frame:
    """Return the frame of a picture as a device or decoder gave it.

    Args:
        raw: Any usual picture, or one that is converted on demand, and turned then.
        rotate: Degrees clockwise that it is turned by.
        moment: The other arguments of `Frame`.

    Raises:
        ValueError: Not a picture (see `images.as_bgr`).
    """
    if isinstance(raw, np.ndarray):
        return Frame(upright(raw, rotate), *moment)
    return RawFrame(TurnedPicture(raw, rotate) if rotate else raw, *moment)


class TurnedPicture:
    """Picture of a camera that is mounted turned; only what is looked at is turned.

    Args:
        picture: Picture as the camera sees it.
        rotate: Degrees clockwise: 90, 180 or 270.
    """

    def __init__(self, picture: RawPicture, rotate: int) -> None:
        self._picture = picture
        self._rotate = rotate

    @property
    def size(self) -> tuple[int, int]:
        """Width and height when turned, pixels."""
        width, height = self._picture.size
        return (width, height) if self._rotate == 180 else (height, width)

    def pixels(self) -> BgrImage:
        """Return the whole picture."""
        return self._turned(self._picture.pixels())

    def region(self, roi: Roi, side_px: int) -> BgrImage:
        """Return a region, see `RawPicture.region`."""
        return self._turned(self._picture.region(self._before(roi), side_px))

    def coarse(self, roi: Roi) -> GrayImage:
        """Return the coarse image of a region; the order of its colours is turned as well."""
        return self._turned(self._picture.coarse(self._before(roi)))

    def sample(self) -> NDArray[np.uint8]:
        """Return a sample of the picture as the camera sees it."""
        return self._picture.sample()

    def _turned(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.rotate(pixels, _TURNS[self._rotate]), np.uint8)

    def _before(self, roi: Roi) -> Roi:
        """Return where a region lies in the picture as the camera sees it."""
        if self._rotate == 180:
            return Roi(1.0 - roi.x2, 1.0 - roi.y2, 1.0 - roi.x1, 1.0 - roi.y1)
        if self._rotate == 90:
            return Roi(roi.y1, 1.0 - roi.x2, roi.y2, 1.0 - roi.x1)
        return Roi(1.0 - roi.y2, roi.x1, 1.0 - roi.y1, roi.x2)
