"""Previews: sources that are opened to be seen before they are configured.

Only cameras and drawn scenes are opened by an address from a page: a path would let whoever may use
the page read files of the device. A preview that nobody asks for a picture is closed.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import cv2
import msgspec

from edge_sim.core.images import encode_jpeg, measure
from edge_sim.core.protocols import Embedder, FrameSource
from edge_sim.core.types import BgrImage, Frame
from edge_sim.errors import CommandError, ConfigError, SourceError
from edge_sim.io.sources import check_source, is_live, open_source
from edge_sim.io.sources.live import LiveSource
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.uri import masked
from edge_sim.vision.light import condition_of
from edge_sim.vision.probe import Region, RegionFeatures
from edge_sim.web.live import at_most_wide

MAX_PREVIEWS = 4
IDLE_S = 30.0
"""Time without a request after which a preview is closed, seconds."""
MAX_OPENING = 2
"""Previews that are being opened at one time: each holds a thread for that long."""
FRAME_S = 0.1
"""Least time between two frames of a source that plays as fast as it is read, seconds."""
OPEN_S = 12.0
_DEVICE = re.compile(r"/dev/(?:video\d+|v4l/by-(?:id|path)/[^/\0]+)|\d{1,3}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
MAX_ADDRESS = 2000
_PLAYED = frozenset({"synthetic"})
"""Schemes that are not live, and name no file."""

OpenSource = Callable[[str, SourceOptions], FrameSource]


def check_address(uri: str) -> None:
    """Check that an address from a page names a camera or a drawn scene, and no file.

    Raises:
        ConfigError: It does not.
    """
    text = uri.strip()
    shown = repr(masked(text)[:200])
    is_device = text.isdecimal() or text.startswith("/dev/")
    # The scheme alone decides: nothing is asked of the file system.
    found = None if len(text) > MAX_ADDRESS or "\0" in text else _SCHEME.match(text)
    scheme = "v4l2" if is_device else found[1].lower() if found else ""
    if scheme in ("", "video", "folder"):
        raise ConfigError(
            f"{shown} is no camera: give rtsp://..., http://..., /dev/video0 or csi:0; a file to "
            "play is named in the configuration file"
        )
    if scheme == "v4l2" and not _DEVICE.fullmatch(text.removeprefix("v4l2:").removeprefix("//")):
        raise ConfigError(f"{shown} is no video device such as /dev/video0")
    if scheme not in _PLAYED and not is_live(text):
        raise ConfigError(f"{shown} is no camera; name it in the configuration file")
    check_source(text, SourceOptions(name=masked(text)))


class PreviewInfo(msgspec.Struct, frozen=True):
    """Preview that is open: size in pixels, and the light regime of the whole frame."""

    id: str
    uri: str
    width: int
    height: int
    light: str


@dataclass(slots=True, eq=False)
class _Preview:
    source: FrameSource
    info: PreviewInfo
    newest: Frame
    used_s: float
    read_s: float
    lock: threading.Lock = field(default_factory=threading.Lock)


class PreviewSessions:
    """Open previews, few, each closed after a time without a request; for any thread.

    Args:
        open_source: Opener of sources; tests give their own.
        idle_s: Time without a request after which a preview is closed, seconds.
        most: Most previews at one time; one more closes the one unused for longest.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        open_source: OpenSource = open_source,
        *,
        idle_s: float = IDLE_S,
        most: int = MAX_PREVIEWS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_source = open_source
        self._idle_s = idle_s
        self._most = most
        self._clock = clock
        self._open: dict[str, _Preview] = {}
        self._opening = 0
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def open(self, uri: str, options: SourceOptions | None = None) -> PreviewInfo:
        """Open a source, wait for its first frame, and return the facts of it.

        Raises:
            ConfigError: The address names no camera.
            SourceError: It cannot be opened, or gives no picture; passwords are masked.
            CommandError: Too many are being opened.
        """
        check_address(uri)
        options = options or SourceOptions()
        options = msgspec.structs.replace(
            options, name=masked(uri), open_timeout_s=min(options.open_timeout_s, OPEN_S)
        )
        with self._lock:
            if self._opening >= MAX_OPENING:
                raise CommandError("too many previews are being opened; wait for the others")
            self._opening += 1
        try:
            source = self._open_source(uri, options)
            try:
                preview = self._begun(uri, source)
            except BaseException:
                source.close()
                raise
        finally:
            with self._lock:
                self._opening -= 1
        self._keep(preview)
        return preview.info

    def adopt(self, name: str, source: FrameSource) -> PreviewInfo:
        """Preview a source that is open, such as one that the daemon reads; closed like any other.

        Args:
            name: Name of the source, for people.
            source: Open source.

        Raises:
            SourceError: It gives no picture; it is closed then.
        """
        try:
            preview = self._begun(name, source)
        except BaseException:
            source.close()
            raise
        self._keep(preview)
        return preview.info

    def frame(self, preview_id: str) -> Frame:
        """Return the newest frame of a preview.

        Raises:
            CommandError: It is not open, or not any more.
            SourceError: The source was lost; it is opened again in the background.
        """
        with self._lock:
            preview = self._open.get(preview_id)
            if preview is None:
                raise CommandError("this preview is not open any more; open it again")
            preview.used_s = self._clock()
        with preview.lock:
            self._read(preview)
            return preview.newest

    def close(self, preview_id: str) -> None:
        """Close a preview; one that is not open is no error."""
        with self._lock:
            preview = self._open.pop(preview_id, None)
        if preview is not None:
            _close(preview)

    def close_idle(self) -> None:
        """Close the previews that nobody asks any more."""
        limit_s = self._clock() - self._idle_s
        with self._lock:
            idle = [name for name, item in self._open.items() if item.used_s <= limit_s]
        for name in idle:
            self.close(name)

    def close_all(self) -> None:
        """Close all previews."""
        with self._lock:
            timer, self._timer = self._timer, None
            names = list(self._open)
        if timer is not None:
            timer.cancel()
        for name in names:
            self.close(name)

    def __len__(self) -> int:
        return len(self._open)

    def _begun(self, uri: str, source: FrameSource) -> _Preview:
        frame = source.read()
        if frame is None:
            raise SourceError(f"{masked(uri)}: it ended before its first picture")
        height, width = frame.pixels.shape[:2]
        name = secrets.token_urlsafe(12)
        info = PreviewInfo(name, masked(uri), width, height, light_of(frame.pixels))
        now_s = self._clock()
        return _Preview(source, info, frame, now_s, now_s)

    def _keep(self, preview: _Preview) -> None:
        with self._lock:
            self._open[preview.info.id] = preview
            over = sorted(self._open.values(), key=lambda item: item.used_s)[: -self._most]
        for item in over:
            self.close(item.info.id)
        self._arm()

    def _read(self, preview: _Preview) -> None:
        source = preview.source
        if isinstance(source, LiveSource):
            if source.ready:
                preview.newest = source.read_now() or preview.newest
            return
        now_s = self._clock()
        if now_s - preview.read_s >= FRAME_S:
            preview.read_s = now_s
            preview.newest = source.read() or preview.newest

    def _arm(self) -> None:
        """Close what is idle after a while, and again as long as something is open."""

        def tick() -> None:
            self.close_idle()
            with self._lock:
                self._timer = None
                more = bool(self._open)
            if more:
                self._arm()

        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(self._idle_s / 3, tick)
                self._timer.daemon = True
                self._timer.name = "previews"
                self._timer.start()


def model_png(pixels: BgrImage, region: Region, embedder: Embedder) -> bytes:
    """Return the picture that the model is given for a region of a frame, as PNG.

    It is made by the function that the loop uses.

    Args:
        pixels: (H, W, 3) uint8 BGR, whole frame.
        region: Region and mask.
        embedder: Embedder of the device; only its input size counts.
    """
    features = RegionFeatures(Region(region.roi).pixels_of(pixels), embedder, mask=region.mask)
    done, data = cv2.imencode(".png", features.model_pixels)
    if not done:
        raise ValueError("OpenCV cannot encode the input of the model")
    return data.tobytes()


def jpeg_of(pixels: BgrImage, width: int | None = None, quality: int = 85) -> bytes:
    """Return a picture as JPEG, at most `width` pixels wide."""
    return encode_jpeg(at_most_wide(pixels, width), quality)


def light_of(pixels: BgrImage) -> str:
    """Return the light regime of a picture, as in `day`."""
    return condition_of(measure(pixels)[1])


def _close(preview: _Preview) -> None:
    if isinstance(preview.source, LiveSource):
        preview.source.leave()
        return
    with preview.lock, closing(preview.source):
        pass
