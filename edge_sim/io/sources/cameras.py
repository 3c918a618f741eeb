"""Video4Linux cameras, through OpenCV."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.files import exists, is_dir
from edge_sim.core.protocols import FrameSource
from edge_sim.core.raw_pictures import JpegPicture, PackedPicture, RawPicture
from edge_sim.errors import SourceError
from edge_sim.io.sources.capture import VideoCapture
from edge_sim.io.sources.live import open_live
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.uri import label, local_path

_MJPEG = int.from_bytes(b"MJPG", "little")
_YUYV = int.from_bytes(b"YUYV", "little")

logger = logging.getLogger(__name__)

DEVICES = Path("/dev")
SYSTEM = Path("/sys/class/video4linux")


@dataclass(frozen=True, slots=True)
class Camera:
    """A capture device of this machine.

    Args:
        path: The most durable path: under `/dev/v4l/by-id` where there is one, which stays the
            same when the camera is plugged in again.
        device: `/dev/videoN`, as of now.
        label: Name that the driver gives it; may be empty.
    """

    path: str
    device: str
    label: str


def list_cameras(devices: Path = DEVICES, system: Path = SYSTEM) -> tuple[Camera, ...]:
    """Return the video devices of this machine, those with a durable path first.

    Many cameras have a second device without pictures (metadata); it is listed too.
    """
    by_id: dict[str, str] = {}
    links = devices / "v4l" / "by-id"
    for link in sorted(links.iterdir()) if is_dir(links) else ():
        by_id.setdefault(link.resolve().name, str(link))
    names = sorted((path.name for path in devices.glob("video[0-9]*")), key=lambda n: (len(n), n))
    cameras = [
        Camera(by_id.get(name, str(devices / name)), str(devices / name), _label(system / name))
        for name in names
    ]
    return tuple(sorted(cameras, key=lambda camera: camera.path == camera.device))


def open_camera(
    place: str, options: SourceOptions, *, video_capture: VideoCapture | None = None
) -> FrameSource:
    """Return the open source of a camera: a path below `/dev`, or a bare number.

    Raises:
        SourceError: There is no such camera, it may not be read, or it does not open.
    """
    path = f"/dev/video{place}" if place.isdecimal() else local_path(place)
    name = label(options.name, path)
    make = video_capture or cv2.VideoCapture
    return open_live(lambda: OpenCvCamera(path, name, options, make), options)


class OpenCvCamera:
    """An open Video4Linux device.

    Raises:
        SourceError: There is no such device, it may not be read, or it does not open.
    """

    def __init__(
        self, path: str, name: str, options: SourceOptions, video_capture: VideoCapture
    ) -> None:
        _check(path, name)
        self._capture = video_capture(path, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(
                f"{name}: the camera does not open; another program may be using it, "
                f"or it is the camera's metadata device (try the next lower number)"
            )
        # A camera takes the nearest values that it supports. The newest frame counts, not a queue.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        for prop, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, options.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, options.height),
            (cv2.CAP_PROP_FPS, options.fps),
        ):
            if value is not None:
                self._capture.set(prop, value)
        # As the camera sends it: decoded or converted here, where and as large as it is needed.
        sent_as = round(self._capture.get(cv2.CAP_PROP_FOURCC))
        as_sent = sent_as in (_MJPEG, _YUYV) and self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        self._sent_as = sent_as if as_sent else None
        self.part = 1
        """Divisor of both sides at which JPEG pictures are decoded, see `JpegPicture`."""
        width = round(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = round(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self._size = width, height
        if (options.width or width, options.height or height) != (width, height):
            logger.warning(
                "%s: %s x %s is configured, the camera gives %d x %d",
                name,
                options.width or "any",
                options.height or "any",
                width,
                height,
            )

    def read(self) -> NDArray[Any] | RawPicture | None:
        """Return the next picture; None if the driver gave none."""
        return self.retrieve() if self.grab() else None

    def grab(self) -> bool:
        """Take the next picture as the driver has it; return False if it gave none."""
        return bool(self._capture.grab())

    def retrieve(self) -> NDArray[Any] | RawPicture | None:
        """Return the picture of the last `grab`, converted; None if it cannot be."""
        done, pixels = self._capture.retrieve()
        if not done or self._sent_as is None:
            return pixels if done else None
        if self._sent_as == _YUYV:
            return self._packed(pixels)
        try:
            return JpegPicture(pixels.tobytes(), self.part)
        except ValueError:
            return None

    def _packed(self, pixels: NDArray[Any]) -> RawPicture | None:
        width, height = self._size
        if pixels.dtype == np.uint8 and pixels.size == 2 * width * height and width % 2 == 0:
            return PackedPicture(pixels.reshape(height, width, 2))
        # Not the bytes that belong to this size: OpenCV shall convert those to come.
        self._sent_as = None
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)
        return None

    def release(self) -> None:
        """Release the device."""
        self._capture.release()


def _check(path: str, name: str) -> None:
    if not exists(Path(path)):
        cameras = ", ".join(camera.path for camera in list_cameras())
        found = f"there is {cameras}" if cameras else "none is connected: plug it in"
        raise SourceError(f"{name}: no such camera; {found}; `edge-sim discover` lists all")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(
            f"{name}: not allowed to use the camera; add the user to its group, "
            f"usually: sudo usermod -aG video USER"
        )


def _label(folder: Path) -> str:
    try:
        return (folder / "name").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
