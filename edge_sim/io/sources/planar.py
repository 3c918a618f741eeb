"""Video decoded by PyAV to planes, which only the regions of the watches are converted from.

OpenCV's FFmpeg converts every frame that is taken as a whole, which costs as much as decoding it.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.picture_header import check_size
from edge_sim.core.raw_pictures import PlanarPicture, RawPicture
from edge_sim.errors import SourceError
from edge_sim.io.sources.capture import LONGEST_GAP_S
from edge_sim.io.sources.options import SourceOptions

_PLANAR = frozenset({"yuv420p", "yuvj420p"})
_OPEN_SHARE = 0.8
"""Part of the time for opening that FFmpeg has: its own time-out leaves no hanging thread."""
_MOST_BROKEN = 100
"""Packets in a row that cannot be decoded, after which a stream has failed."""
_AHEAD_S = 0.2
_FRAMES_AHEAD = 4
"""Seconds, and frames, before a frame is wanted from which all are decoded again."""
_HINT = "install PyAV (pip install 'edge_sim[video]'), or leave out decoder: pyav"

Picture = NDArray[Any] | RawPicture


class PlanarStream:
    """A live stream that PyAV reads.

    Args:
        address: Address on loopback, or FFmpeg's name of a pipe.
        name: Name of the source in messages.
        options: Time-outs, and whether only key frames are decoded.

    Raises:
        SourceError: It cannot be opened in time, or PyAV is not installed.
    """

    silence_hint = "; if its key frames are far apart, set read_timeout_s to twice their interval"

    def __init__(self, address: str, name: str, options: SourceOptions) -> None:
        self._name = name
        self.wanted_at_s = -math.inf
        """Time from which a frame is wanted, monotonic seconds; until shortly before, frames that
        no other one needs are not decoded."""
        self._module = _pyav(name)
        scheme = address.partition(":")[0]
        settings = {"protocol_whitelist": "pipe" if scheme == "pipe" else "rtsp,rtp,tcp"}
        if scheme == "rtsp":
            settings["rtsp_transport"] = "tcp"
        limits_s = options.open_timeout_s * _OPEN_SHARE, LONGEST_GAP_S
        try:
            self._container = self._module.open(address, options=settings, timeout=limits_s)
        except (self._module.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceError(f"{name}: the stream does not open: {reason}") from error
        self._frames = self._decoded(options)
        self._frame: Any = None

    def _decoded(self, options: SourceOptions) -> Iterator[Any]:
        return _frames(
            self._container,
            key_frames_only=options.key_frames_only,
            is_idle=lambda ahead_s: time.monotonic() + ahead_s < self.wanted_at_s,
        )

    def read(self) -> Picture | None:
        """Return the next picture; None at the end.

        Raises:
            SourceError: It cannot be decoded.
        """
        return self.retrieve() if self.grab() else None

    def grab(self) -> bool:
        """Decode the next picture; return False at the end.

        Raises:
            SourceError: It cannot be decoded.
        """
        try:
            self._frame = next(self._frames, None)
        except (self._module.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"{self._name}: cannot be decoded: {error}") from error
        return self._frame is not None

    def retrieve(self) -> Picture | None:
        """Return the picture of the last `grab`: its planes, or BGR of other formats."""
        frame, self._frame = self._frame, None
        return None if frame is None else picture_of(frame)

    def release(self) -> None:
        """Close the connection."""
        self._container.close()


class PlanarVideo:
    """Frames of a file, read like `cv2.VideoCapture`.

    Args:
        path: The file.
        name: Name of the file in messages.
        options: Whether only key frames are decoded.

    Raises:
        SourceError: It is no video that FFmpeg can read, or PyAV is not installed.
    """

    def __init__(self, path: Path, name: str, options: SourceOptions) -> None:
        self._name = name
        self._module = _pyav(name)
        self._file = path.open("rb")
        try:
            self._container = self._module.open(self._file)
            if not self._container.streams.video:
                raise ValueError("it has no video")
        except (self._module.FFmpegError, OSError, ValueError) as error:
            self._file.close()
            reason = getattr(error, "strerror", None) or error
            raise SourceError(f"{name}: not a video that FFmpeg can read ({reason})") from error
        stream = self._container.streams.video[0]
        self._start_s = float((stream.start_time or 0) * stream.time_base)
        self._properties = {
            cv2.CAP_PROP_FPS: float(stream.average_rate or 0.0),
            cv2.CAP_PROP_FRAME_COUNT: 0.0 if options.key_frames_only else float(stream.frames),
            cv2.CAP_PROP_FRAME_WIDTH: float(stream.width),
            cv2.CAP_PROP_FRAME_HEIGHT: float(stream.height),
        }
        self._frames = _frames(self._container, key_frames_only=options.key_frames_only)

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        """Return True: a file that cannot be opened raises an error."""
        return True

    def read(self) -> tuple[bool, Picture | None]:
        """Return whether there is a frame, and the frame.

        Raises:
            SourceError: It cannot be decoded.
        """
        try:
            frame = next(self._frames, None)
        except (self._module.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"{self._name}: cannot be decoded: {error}") from error
        if frame is None:
            return False, None
        at_s = math.nan if frame.time is None else frame.time - self._start_s
        self._properties[cv2.CAP_PROP_POS_MSEC] = at_s * 1000.0
        return True, picture_of(frame)

    def get(self, prop: int) -> float:
        """Return a reading."""
        return self._properties.get(prop, 0.0)

    def set(self, prop: int, value: float) -> bool:  # noqa: ARG002 - OpenCV's interface
        """Return False: nothing can be set."""
        return False

    def release(self) -> None:
        """End decoding. Safe to call twice."""
        self._container.close()
        self._file.close()


def picture_of(frame: Any) -> Picture:
    """Return the picture of a frame of PyAV.

    The planes are views of the decoder's memory, which lives as long as they do.
    """
    if frame.format.name not in _PLANAR:
        pixels: NDArray[Any] = frame.to_ndarray(format="bgr24")
        return pixels
    luma, blue, red = (
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    )
    return PlanarPicture(luma, blue, red, full_range=frame.format.name == "yuvj420p")


def _frames(
    container: Any,
    *,
    key_frames_only: bool,
    is_idle: Callable[[float], bool] = lambda _: False,
) -> Iterator[Any]:
    """Yield the frames of the first video stream.

    Args:
        container: Open container of PyAV.
        key_frames_only: Whether only key frames are decoded.
        is_idle: Function that returns whether no frame is wanted for so many seconds; frames that
            no other one needs are left out then.

    Raises:
        ValueError: There is none, or a picture is too large.
    """
    if not container.streams.video:
        raise ValueError("it has no video")
    stream = container.streams.video[0]
    codec = stream.codec_context
    codec.thread_count = 1  # by default one per core, for every camera
    if key_frames_only:
        codec.skip_frame = "NONKEY"
    # Decoders give a frame some packets after its own.
    ahead_s = max(_AHEAD_S, _FRAMES_AHEAD / float(stream.average_rate or _FRAMES_AHEAD))
    broken, leaves_out = 0, False
    for packet in container.demux(stream):
        if not key_frames_only and is_idle(ahead_s) != leaves_out:
            leaves_out = not leaves_out
            codec.skip_frame = "NONREF" if leaves_out else "DEFAULT"
        try:
            frames = packet.decode()
        except ValueError:  # as PyAV calls invalid data: a packet was lost on the way
            broken += 1
            if broken >= _MOST_BROKEN:
                raise
            continue
        for frame in frames:
            broken = 0
            check_size(frame.width, frame.height)
            yield frame


def _pyav(name: str) -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise SourceError(f"{name}: decoder: pyav needs PyAV; {_HINT}") from error
