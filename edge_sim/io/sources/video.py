"""Video files, with the times that the file itself carries."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.files import exists, is_dir, is_file, plain_name, printable, size_of, start_of
from edge_sim.core.images import decode
from edge_sim.core.picture_header import READ_KINDS, check_size, content_of, read_header
from edge_sim.core.raw_pictures import RawPicture
from edge_sim.core.types import Frame
from edge_sim.errors import SourceError
from edge_sim.io.sources.capture import VideoCapture, frame_of
from edge_sim.io.sources.containers import completeness_of
from edge_sim.io.sources.interlaced import deinterlaced
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.planar import PlanarVideo
from edge_sim.io.sources.uri import label, local_path

ASSUMED_FPS = 25.0
MAX_FPS = 1000.0
_MJPEG = int.from_bytes(b"MJPG", "little")
_START_BYTES = 512
_JUMP_S = 2.0
"""A time this far ahead of the frame before is compared with the frames after it."""
_LONGEST_S = 1e9  # 31 years
_FRAMES_AHEAD = 4  # frames


class VideoFile:
    """The frames of a video file in order.

    Times are those of the container; where they stall or run back, they continue from the last good
    one at the frame rate, and a time that neither the frame before nor those after it confirm is
    ignored. A file that breaks off is played as far as it decodes, and then reported.

    Args:
        path: The file.
        options: `name`, `rotate`, `fps`, `loop`, `start_unix_s`.
        video_capture: `cv2.VideoCapture`, or the stand-in of a test.

    Raises:
        SourceError: There is no such file, or it is not a video.
        AccessError: The system denies access.
    """

    def __init__(
        self, path: str, options: SourceOptions, *, video_capture: VideoCapture | None = None
    ) -> None:
        self._path = Path(path)
        self._make_capture = video_capture
        self._options = options
        self._name = printable(options.name or path)
        self._label = printable(label(options.name, path))
        self._index = 0
        self._offset_s = 0.0
        self._closed = False
        self._ended = False
        self._is_empty = True
        self._played = 0
        self._open()

    @property
    def name(self) -> str:
        """Safe to log."""
        return self._name

    def read(self) -> Frame | None:
        """Return the next frame; None after the last one.

        Raises:
            SourceError: The source was closed, or the file ended earlier than it should.
        """
        if self._closed:
            raise SourceError(f"{self._name}: read after close")
        if self._ended:
            return None
        taken = self._waiting.popleft() if self._waiting else self._decoded()
        if taken is None:
            return self._at_end()
        raw, read_s = taken
        at_s = self._offset_s + self._next_time_s(read_s)
        moment = at_s, self._options.start_unix_s + at_s, self._index, self._name
        try:
            frame = frame_of(raw, self._options.rotate, moment)
        except ValueError as error:
            raise SourceError(f"{self._label}: frame {self._index}: {error}") from error
        is_converted = isinstance(raw, np.ndarray)
        self._is_empty = self._is_empty and is_converted and not frame.pixels.any()
        self._index += 1
        self._played += 1
        return frame

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._closed = True
        self._capture.release()

    def _open(self) -> None:
        self._check_kind()
        self._capture = self._open_capture()
        if not self._capture.isOpened():
            raise SourceError(f"{self._label}: {self._unreadable()}")
        self._check_frame_size()
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        usable = math.isfinite(fps) and 0.0 < fps <= MAX_FPS
        self._fps = fps if usable else self._options.fps or ASSUMED_FPS
        promised = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._promised = int(promised) if math.isfinite(promised) and promised > 0 else 0
        # As packets, decoded here: FFmpeg's converter keeps the colours of the first picture where
        # their sampling changes, and checks no size before it decodes.
        self._as_packets = self._capture.get(cv2.CAP_PROP_FOURCC) == _MJPEG and bool(
            self._capture.set(cv2.CAP_PROP_FORMAT, -1)
        )
        self._waiting: deque[tuple[NDArray[Any] | RawPicture, float]] = deque()
        self._fault = ""
        self._is_empty = True
        self._played = 0
        self._first_s = 0.0
        self._last_s = -1.0 / self._fps
        self._ended = False

    def _unreadable(self) -> str:
        """Return why FFmpeg does not open the file."""
        content = content_of(start_of(self._path, _START_BYTES))
        if content not in ("a video", "unknown content"):
            return f"not a video ({content})"
        try:
            breaks_off = completeness_of(self._path).breaks_off
        except OSError:
            breaks_off = False
        if breaks_off:
            size = size_of(self._path)
            return f"not a video that FFmpeg can read: cut off too early, after {size} bytes"
        if content == "a video":
            return "holds no pictures that FFmpeg can read: sound or subtitles only, or damaged"
        return "not a video that FFmpeg can read, or cut off too early"

    def _check_kind(self) -> None:
        if not is_file(self._path):
            what = "no such file; check the path"
            if exists(self._path):
                what = "is a folder" if is_dir(self._path) else "is not a regular file"
            raise SourceError(f"{self._label}: {what}")
        header = read_header(start_of(self._path, _START_BYTES))
        if header is not None and header.kind not in READ_KINDS | {"GIF"}:
            raise SourceError(
                f"{self._label}: is a picture ({header.kind}), not a video; "
                f"FFmpeg would read a part of it only. Convert it to JPEG or PNG"
            )

    def _open_capture(self) -> Any:
        with plain_name(self._path) as plain:
            if self._make_capture is not None:
                return self._make_capture(plain, cv2.CAP_FFMPEG)
            if self._options.decoder == "pyav":
                return PlanarVideo(self._path, self._label, self._options)
            found = deinterlaced(self._path, self._label)
            return cv2.VideoCapture(plain, cv2.CAP_FFMPEG) if found is None else found

    def _check_frame_size(self) -> None:
        width, height = (
            self._capture.get(prop)
            for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width > 0 and height > 0:
            try:
                check_size(int(width), int(height))
            except ValueError as error:
                self._capture.release()
                raise SourceError(f"{self._label}: {error}") from error

    def _decoded(self) -> tuple[NDArray[Any] | RawPicture, float] | None:
        """Return the next picture that can be decoded and its time as the file has it."""
        while True:
            done, raw = self._capture.read()
            if not done:
                return None
            at_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            if not self._as_packets:
                return raw, at_s
            try:
                return decode(raw.tobytes()), at_s
            except ValueError as error:
                self._fault = str(error)

    def _next_time_s(self, at_s: float) -> float:
        step_s = 1.0 / self._fps
        if not (math.isfinite(at_s) and at_s > self._last_s) or (
            at_s - self._last_s > max(_JUMP_S, 5 * step_s) and self._comes_back(at_s)
        ):
            at_s = self._last_s + step_s
        if not self._played:
            self._first_s = at_s
        self._last_s = at_s
        return at_s

    def _comes_back(self, at_s: float) -> bool:
        """Return whether a frame soon after has a time between the last one and `at_s`."""
        for place in range(_FRAMES_AHEAD):
            if place == len(self._waiting):
                taken = self._decoded()
                if taken is None:
                    return False
                self._waiting.append(taken)
            if self._last_s < self._waiting[place][1] < at_s:
                return True
        return False

    def _at_end(self) -> Frame | None:
        self._ended = True
        if not self._played:
            reason = f" ({self._fault})" if self._fault else ""
            raise SourceError(f"{self._label}: no frame of the file can be decoded{reason}")
        if self._is_empty:
            raise SourceError(
                f"{self._label}: every byte of its {self._played} frames is 0, which no camera "
                f"gives: the file is empty, or OpenCV {cv2.__version__} cannot convert it"
            )
        if self._cut_short():
            promised = f" of {self._promised}" if self._promised > self._played else ""
            raise SourceError(
                f"{self._label}: the file ends early: {self._played}{promised} frames could be read"
            )
        if self._options.loop:
            self._offset_s += self._last_s + 1.0 / self._fps
            self._capture.release()
            self._open()
            return self.read()
        return None

    def _cut_short(self) -> bool:
        try:
            found = completeness_of(self._path)
        except OSError:
            return True
        if self._options.key_frames_only:
            return found.breaks_off  # the last key frame says nothing about the end
        if self._promised and self._played >= self._promised:
            return False
        spare_s = max(2.0, 0.01 * self._promised) / self._fps
        if found.ends_at_s is not None and found.ends_at_s > self._last_s - self._first_s + spare_s:
            return True
        if not found.counts_frames:
            return found.breaks_off
        reached = max(self._played, (self._last_s + 1.0 / self._fps) * self._fps)
        return reached < self._promised - spare_s * self._fps


def open_video(place: str, options: SourceOptions) -> VideoFile:
    """Return the source of a video file.

    Raises:
        SourceError: There is no such file, or it is not a video.
    """
    return VideoFile(local_path(place), options)
