"""CSI cameras of a Raspberry Pi, through picamera2.

The camera gives every picture twice: at the size that is wanted, and as a small YUV picture.
Copying a large one from the camera's memory costs more than looking at it, so that the change gate
gets the small one, and a region is copied only to be embedded.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import LEAST_COARSE_PX, coarse_image, crop, span_of
from edge_sim.core.protocols import FrameSource
from edge_sim.core.raw_pictures import PlanarPicture, RawPicture
from edge_sim.core.types import BgrImage, GrayImage, Roi
from edge_sim.errors import ConfigError, SourceError
from edge_sim.io.sources.live import open_live
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.uri import label

DEFAULT_WIDTH_PX = 640
DEFAULT_HEIGHT_PX = 480
_SMALL_PART = 4
_LARGE_PX = 720
"""Shorter side from which the small picture is a quarter of the size, not half of it."""
_MOST_HELD = 2
"""Pictures in the camera's memory, of six buffers: another is kept as the newest one, one is being
taken, and the camera needs the others."""


def open_csi(place: str, options: SourceOptions, *, picamera2: Any = None) -> FrameSource:
    """Return the open source of CSI camera number `place`.

    Args:
        place: Number of the camera; empty is 0.
        options: Options of the source; width and height default to 640 x 480.
        picamera2: Module, imported if None; tests give their own.

    Raises:
        ConfigError: `place` is no number.
        SourceError: picamera2 is not installed, or the camera does not open.
    """
    number = csi_number(place)
    module = picamera2 or _import_picamera2()
    name = label(options.name, f"csi:{place}")
    return open_live(lambda: CsiCamera(module, number, name, options), options)


def csi_number(place: str) -> int:
    """Return the number of a CSI camera; none is 0.

    Raises:
        ConfigError: `place` is no number.
    """
    if place and not (place.isascii() and place.isdecimal()):
        raise ConfigError(f"csi:{place}: the camera must be a number, such as csi:0")
    return int(place or 0)


class CsiPicture:
    """Picture in the camera's memory, copied as far as somebody looks at it.

    The camera has few buffers: the picture gives its own back when it is no longer needed, and
    earlier after `detach`.

    Args:
        request: Completed request of picamera2, with the stream `main`.
        mapped: `MappedArray` of picamera2.
        size: Width and height, pixels.
        small: The same picture at a part of the size.
        give_back: Receiver of the request once its buffer is not needed, from any thread.
    """

    def __init__(
        self,
        request: Any,
        mapped: Any,
        *,
        size: tuple[int, int],
        small: PlanarPicture,
        give_back: Callable[[Any], None],
    ) -> None:
        self._request = request
        self._mapped = mapped
        self._return = give_back
        self.size = size
        """Width and height, pixels."""
        self._small = small
        self._whole: BgrImage | None = None
        self._lock = threading.Lock()  # the reader detaches what the loop looks at

    def pixels(self) -> BgrImage:
        """Return the whole picture."""
        with self._lock:
            if self._whole is None:
                self._whole = self._request.make_array("main")
                self._give_back()
            return self._whole

    def region(self, roi: Roi, side_px: int) -> BgrImage:  # noqa: ARG002 - as every raw picture
        """Return a region at full size."""
        with self._lock:
            if self._whole is None:
                with self._mapped(self._request, "main") as view:
                    return crop(view.array, roi).copy()
        return crop(self._whole, roi)

    def coarse(self, roi: Roi) -> GrayImage:
        """Return the coarse image of a region; of the small picture unless too little is left."""
        width, height = self._small.size
        left, right = span_of(roi.x1, roi.x2, width)
        top, bottom = span_of(roi.y1, roi.y2, height)
        if min(right - left, bottom - top) >= LEAST_COARSE_PX:
            return self._small.coarse(roi)
        return coarse_image(self.region(roi, LEAST_COARSE_PX))

    def sample(self) -> NDArray[np.uint8]:
        """Return some rows of the small picture; levels from 16 are moved to 0."""
        return self._small.sample()

    @property
    def is_held(self) -> bool:
        """True while the picture is in the camera's memory."""
        return self._request is not None

    def detach(self) -> None:
        """Copy the picture and give its buffer back."""
        self.pixels()

    def _give_back(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            self._return(request)

    def __del__(self) -> None:
        self._give_back()


class CsiCamera:
    """An open CSI camera.

    Raises:
        SourceError: There is no such camera or it cannot be started.
    """

    def __init__(self, module: Any, number: int, name: str, options: SourceOptions) -> None:
        self._name = name
        self._mapped = module.MappedArray
        self._gives_small = False
        self._request: Any = None
        self._held: list[weakref.ref[CsiPicture]] = []
        # Released here, by the reader: a picture may end while picamera2 holds its own lock.
        self._returned: deque[Any] = deque()
        count = len(module.Picamera2.global_camera_info())
        if number >= count:
            found = f"there are {count}, numbered from 0" if count else "no CSI camera is connected"
            raise SourceError(f"{name}: no such camera; {found}")
        try:
            self._camera = module.Picamera2(camera_num=number)
            self._start(options)
        except (RuntimeError, OSError, ValueError) as error:
            raise SourceError(f"{name}: the camera does not start: {error}") from error

    def read(self) -> NDArray[Any] | RawPicture | None:
        """Return the next picture.

        Raises:
            SourceError: The camera stopped.
        """
        return self.retrieve() if self.grab() else None

    def grab(self) -> bool:
        """Take the next picture, waiting for it; copy nothing.

        Raises:
            SourceError: The camera stopped.
        """
        with self._translated():
            self._release_requests()
            self._request = self._camera.capture_request()
        return True

    def retrieve(self) -> NDArray[Any] | RawPicture | None:
        """Return the picture of the last `grab`.

        Raises:
            SourceError: The camera stopped.
        """
        request, self._request = self._request, None
        if request is None:
            return None
        with self._translated():
            if not self._gives_small:
                pixels: NDArray[Any] = request.make_array("main")
                request.release()
                return pixels
            small = _planes_of(request.make_array("lores"), self._small_size)
            picture = CsiPicture(
                request,
                self._mapped,
                size=self._size,
                small=small,
                give_back=self._returned.append,
            )
            self._detach(_MOST_HELD - 1)
            self._held = [*self._held, weakref.ref(picture)]
        return picture

    def release(self) -> None:
        """Stop and release the camera."""
        with contextlib.suppress(RuntimeError, OSError):
            self._detach(0)
            self._release_requests()
        self._camera.stop()
        self._camera.close()

    def _release_requests(self) -> None:
        """Give the camera back what was taken and is not needed."""
        request, self._request = self._request, None
        if request is not None:
            request.release()
        while self._returned:
            self._returned.popleft().release()

    def _detach(self, most: int) -> None:
        """Copy the oldest pictures that somebody keeps, until only `most` hold a buffer."""
        kept = [picture for held in self._held if (picture := held()) and picture.is_held]
        for picture in kept[: max(len(kept) - most, 0)]:
            picture.detach()
        self._held = [weakref.ref(picture) for picture in kept if picture.is_held]

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, OSError) as error:
            raise SourceError(f"{self._name}: lost: {error}") from error

    def _start(self, options: SourceOptions) -> None:
        width, height = (
            options.width or DEFAULT_WIDTH_PX,
            options.height or DEFAULT_HEIGHT_PX,
        )
        part = _SMALL_PART if min(width, height) >= _LARGE_PX else _SMALL_PART // 2
        small = {"size": (_even(width // part), _even(height // part)), "format": "YUV420"}
        # The format that picamera2 calls RGB888 lies in memory as blue, green, red.
        wishes = {
            "main": {"size": (width, height), "format": "RGB888"},
            "controls": {"FrameRate": options.fps} if options.fps else {},
        }
        try:
            self._configure(lores=small, **wishes)
            self._gives_small = True
        except RuntimeError:  # not every camera gives a second stream
            self._configure(**wishes)
        self._camera.start()

    def _configure(self, **wishes: Any) -> None:
        self._camera.configure(self._camera.create_video_configuration(**wishes))
        given = self._camera.camera_configuration()
        self._size = given["main"]["size"]
        self._small_size = given["lores"]["size"] if "lores" in wishes else (0, 0)


def _even(side: int) -> int:
    return max(side // 2 * 2, 2)


def _planes_of(rows: NDArray[np.uint8], size: tuple[int, int]) -> PlanarPicture:
    """Return the planes of YUV 4:2:0 in rows as wide as those of the luma, with what fills them.

    Args:
        rows: (H * 3 / 2, stride) uint8.
        size: Width and height without the filling, pixels.
    """
    (width, height), stride = size, rows.shape[1]
    luma = rows[:height, :width]
    colour = rows.reshape(-1)[height * stride : height * stride * 3 // 2]
    blue, red = colour.reshape(2, height // 2, stride // 2)[:, :, : width // 2]
    return PlanarPicture(luma, blue, red)


def _import_picamera2() -> Any:
    try:
        return importlib.import_module("picamera2")
    except ImportError as error:
        raise SourceError(
            "csi: picamera2 cannot be imported; install it with: sudo apt install "
            "python3-picamera2 (and make the environment with --system-site-packages)"
        ) from error
    except Exception as error:
        # Built for another numpy it raises ValueError; a broken libcamera may raise anything.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SourceError(
            f"csi: picamera2 is installed but cannot be imported ({reason}); it must fit numpy and "
            "libcamera of this environment: use those of apt, or install numpy<2"
        ) from error
