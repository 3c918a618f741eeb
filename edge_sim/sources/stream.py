"""Network cameras and streams, through OpenCV's FFmpeg."""

from __future__ import annotations

from typing import Any

import cv2
from numpy.typing import NDArray

from edge_sim.errors import SourceError
from edge_sim.protocols import FrameSource
from edge_sim.sources.live import open_live
from edge_sim.sources.options import SourceOptions
from edge_sim.sources.refusal import why_not
from edge_sim.sources.uri import label

_INNER = 0.8
"""FFmpeg's own time-outs end earlier than ours: a clean end leaves no hanging thread."""

_ASKING = 0.05
"""Share of the time for opening in which to connect, and in which to answer, when asked why not."""


def open_stream(uri: str, options: SourceOptions) -> FrameSource:
    """Return the open source of an RTSP or HTTP(S) stream.

    Raises:
        SourceError: The stream cannot be opened in time.
    """
    name = label(options.name, uri)
    return open_live(lambda: OpenCvStream(uri, name, options), options)


class OpenCvStream:
    """An open stream.

    Raises:
        SourceError: It cannot be opened in time.
    """

    def __init__(self, uri: str, name: str, options: SourceOptions) -> None:
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(options.open_timeout_s * _INNER * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            round(options.read_timeout_s * _INNER * 1000),
            cv2.CAP_PROP_N_THREADS,
            1,  # of decoding: by default FFmpeg starts one per core, for every camera
        ]
        self._capture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            self._capture.release()
            reason = why_not(uri, options.open_timeout_s * _ASKING)
            raise SourceError(f"{name}: the stream does not open: {reason}")

    def read(self) -> NDArray[Any] | None:
        """Return the next picture; None at the end or after FFmpeg's time-out."""
        done, pixels = self._capture.read()
        return pixels if done else None

    def release(self) -> None:
        """Close the connection."""
        self._capture.release()
