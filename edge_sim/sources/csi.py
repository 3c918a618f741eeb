"""Ribbon-cable cameras of a Raspberry Pi, through picamera2 (OpenCV cannot reach them)."""

from __future__ import annotations

import importlib
from typing import Any

from numpy.typing import NDArray

from edge_sim.errors import ConfigError, SourceError
from edge_sim.protocols import FrameSource
from edge_sim.sources.live import open_live
from edge_sim.sources.options import SourceOptions
from edge_sim.sources.uri import label

DEFAULT_WIDTH_PX = 640
DEFAULT_HEIGHT_PX = 480


def open_csi(place: str, options: SourceOptions, *, picamera2: Any = None) -> FrameSource:
    """Return the open source of CSI camera number `place`.

    Args:
        place: Number of the camera; empty is 0.
        options: As for every source; width and height default to 640 x 480.
        picamera2: The module, given by tests; imported if None.

    Raises:
        ConfigError: `place` is no number.
        SourceError: picamera2 is not installed, or the camera does not open.
    """
    if place and not place.isdecimal():
        raise ConfigError(f"csi:{place}: the camera must be a number, such as csi:0")
    module = picamera2 or _import_picamera2()
    name = label(options.name, f"csi:{place}")
    return open_live(lambda: CsiCamera(module, int(place or 0), name, options), options)


class CsiCamera:
    """An open CSI camera.

    Raises:
        SourceError: There is no such camera or it cannot be started.
    """

    def __init__(self, module: Any, number: int, name: str, options: SourceOptions) -> None:
        self._name = name
        count = len(module.Picamera2.global_camera_info())
        if number >= count:
            found = f"there are {count}, numbered from 0" if count else "no CSI camera is connected"
            raise SourceError(f"{name}: no such camera; {found}")
        try:
            self._camera = module.Picamera2(camera_num=number)
            self._start(options)
        except (RuntimeError, OSError, ValueError) as error:
            raise SourceError(f"{name}: the camera does not start: {error}") from error

    def read(self) -> NDArray[Any] | None:
        """Return the next picture.

        Raises:
            SourceError: The camera stopped.
        """
        try:
            pixels: NDArray[Any] | None = self._camera.capture_array("main")
        except (RuntimeError, OSError) as error:
            raise SourceError(f"{self._name}: lost: {error}") from error
        return pixels

    def release(self) -> None:
        """Stop and give the camera back."""
        self._camera.stop()
        self._camera.close()

    def _start(self, options: SourceOptions) -> None:
        size = (options.width or DEFAULT_WIDTH_PX, options.height or DEFAULT_HEIGHT_PX)
        # The format that picamera2 calls RGB888 lies in memory as blue, green, red.
        configuration = self._camera.create_video_configuration(
            main={"size": size, "format": "RGB888"},
            controls={"FrameRate": options.fps} if options.fps else {},
        )
        self._camera.configure(configuration)
        self._camera.start()


def _import_picamera2() -> Any:
    try:
        return importlib.import_module("picamera2")
    except ImportError as error:
        raise SourceError(
            "csi: picamera2 cannot be imported; install it with: sudo apt install "
            "python3-picamera2 (and make the environment with --system-site-packages)"
        ) from error
    except Exception as error:
        # Built for another numpy it raises ValueError; a broken libcamera raises what it likes.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SourceError(
            f"csi: picamera2 is installed but cannot be imported ({reason}); it must fit numpy and "
            "libcamera of this environment: use those of apt, or install numpy<2"
        ) from error
