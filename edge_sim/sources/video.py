"""Video files, with the times that the file itself carries."""

from __future__ import annotations

import math
from pathlib import Path

import cv2

from edge_sim.domain import Frame
from edge_sim.errors import SourceError
from edge_sim.sources.capture import VideoCapture, upright
from edge_sim.sources.options import SourceOptions
from edge_sim.sources.uri import label, local_path

ASSUMED_FPS = 25.0
MAX_FPS = 1000.0


class VideoFile:
    """The frames of a video file in order.

    Times are those of the container; where they stand still or run back, the frame rate goes on
    from the last good one. A file that ends before its header says is played as far as it
    decodes, and then reported.

    Args:
        path: The file.
        options: `name`, `rotate`, `fps`, `loop`, `start_unix_s`.
        video_capture: Given by tests.

    Raises:
        SourceError: There is no such file, or it is not a video.
    """

    def __init__(
        self, path: str, options: SourceOptions, *, video_capture: VideoCapture | None = None
    ) -> None:
        self._path = path
        self._make_capture = video_capture or cv2.VideoCapture
        self._options = options
        self._name = options.name or path
        self._label = label(options.name, path)
        self._index = 0
        self._offset_s = 0.0
        self._closed = False
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
        done, raw = self._capture.read()
        if not done:
            return self._at_end()
        try:
            pixels = upright(raw, self._options.rotate)
        except ValueError as error:
            raise SourceError(f"{self._label}: frame {self._index}: {error}") from error
        at_s = self._offset_s + self._next_time_s()
        frame = Frame(pixels, at_s, self._options.start_unix_s + at_s, self._index, self._name)
        self._index += 1
        self._played += 1
        return frame

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._closed = True
        self._capture.release()

    def _open(self) -> None:
        if not Path(self._path).is_file():
            what = "is a folder" if Path(self._path).is_dir() else "no such file"
            raise SourceError(f"{self._label}: {what}")
        self._capture = self._make_capture(self._path, cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise SourceError(
                f"{self._label}: not a video that FFmpeg can read, or cut off too early"
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        usable = math.isfinite(fps) and 0.0 < fps <= MAX_FPS
        self._fps = fps if usable else self._options.fps or ASSUMED_FPS
        promised = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._promised = int(promised) if math.isfinite(promised) and promised > 0 else 0
        self._played = 0
        self._last_s = -1.0 / self._fps
        self._ended = False

    def _next_time_s(self) -> float:
        at_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if not (math.isfinite(at_s) and at_s > self._last_s):
            at_s = self._last_s + 1.0 / self._fps
        self._last_s = at_s
        return at_s

    def _at_end(self) -> Frame | None:
        self._ended = True
        if not self._played:
            raise SourceError(f"{self._label}: no frame of the file can be decoded")
        if self._cut_short():
            raise SourceError(
                f"{self._label}: the file ends early: {self._played} of {self._promised} frames "
                f"could be read"
            )
        if self._options.loop:
            self._offset_s += self._last_s + 1.0 / self._fps
            self._capture.release()
            self._open()
            return self.read()
        return None

    def _cut_short(self) -> bool:
        # Some containers only estimate their frame count; then the time tells.
        spare = max(2.0, 0.01 * self._promised)
        reached = (self._last_s + 1.0 / self._fps) * self._fps
        return max(self._played, reached) < self._promised - spare


def open_video(place: str, options: SourceOptions) -> VideoFile:
    """Return the source of a video file.

    Raises:
        SourceError: There is no such file, or it is not a video.
    """
    return VideoFile(local_path(place), options)
