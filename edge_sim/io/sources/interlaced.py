"""Interlaced video, which OpenCV from 4.12 on fails to convert without an error.

Its pictures are then black, or stale memory, one like the other. So files and streams are checked,
and decoded otherwise: with the package PyAV, or, files only, by the program ffmpeg.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.files import plain_name
from edge_sim.core.picture_header import check_size
from edge_sim.errors import SourceError
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.planar import PlanarStream

_FIRST_WRONG = (4, 12)
_CHECKED_FRAMES = 24
_EMPTY_S = 10.0
_SCANNED_BYTES = 4 << 20  # at each end of the file
_BLACK_SHARE = 0.99
# Profile, constraints and level stand in the configuration record and again in the parameter set.
_AVC_RECORD = re.compile(rb"\x01(...)[\xfc-\xff][\xe1-\xff]..([\x27\x47\x67]\1.{4,60})", re.DOTALL)
_AVC_STREAM = re.compile(rb"\0\0\x01([\x27\x47\x67].{4,60})", re.DOTALL)
_MPEG_SEQUENCE = re.compile(rb"\0\0\x01\xb5([\x10-\x1f].)", re.DOTALL)
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_PYAV = "av"
_PROGRAM = "ffmpeg"
_FRAME_LINE = re.compile(rb"pts_time:\s*(?P<time>[-\d.naN]+).*?\bs:(?P<width>\d+)x(?P<height>\d+)")
_FILTERS = "yadif=deint=interlaced"


class InterlacedError(ValueError):
    """Interlaced pictures that OpenCV does not convert."""


class DeinterlacedVideo:
    """Frames of a file made progressive; read like `cv2.VideoCapture`.

    Args:
        frames: Yields time in seconds, NaN if unknown, and (H, W, 3) uint8 BGR.
        properties: Readings of the file, as OpenCV numbers them.
    """

    def __init__(
        self, frames: Iterator[tuple[float, NDArray[np.uint8]]], properties: dict[int, float]
    ) -> None:
        self._frames = frames
        self._properties = properties

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        """Return True: a file that cannot be opened raises an error."""
        return True

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        """Return whether there is a frame, and the frame."""
        at_s, pixels = next(self._frames, (math.nan, None))
        self._properties[cv2.CAP_PROP_POS_MSEC] = at_s * 1000.0
        return pixels is not None, pixels

    def get(self, prop: int) -> float:
        """Return a reading."""
        return self._properties.get(prop, 0.0)

    def release(self) -> None:
        """End decoding."""
        close = getattr(self._frames, "close", None)
        if close is not None:
            close()


def deinterlaced(path: Path, name: str) -> DeinterlacedVideo | None:
    """Return the frames of a file that OpenCV cannot convert; None where it can.

    Args:
        path: The file.
        name: Name of the file in messages.

    Raises:
        SourceError: OpenCV cannot convert it, and nothing else here can.
    """
    if deinterlaced_by_opencv():
        return None
    is_interlaced = may_be_interlaced(path)
    with plain_name(path) as plain:
        opened = cv2.VideoCapture(plain, cv2.CAP_FFMPEG)
    try:
        distinct, count, black = _first_frames(opened, all_of_them=is_interlaced)
        properties = {
            prop: opened.get(prop) for prop in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT)
        }
    finally:
        opened.release()
    if not (is_interlaced or black or (count > 1 and not distinct)):
        return None
    frames = _frames_of(path, name)
    if frames is not None:
        return DeinterlacedVideo(frames, properties)
    if is_interlaced and (black or distinct < count - 1):
        raise SourceError(
            f"{name}: interlaced video, which OpenCV {cv2.__version__} decodes as black or stale "
            f"pictures; install PyAV (pip install 'edge_sim[video]') or the program ffmpeg"
        )
    return None


def may_be_interlaced(path: Path) -> bool:
    """Return whether the headers of a file allow fields in its H.264 or MPEG-2 video.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_SCANNED_BYTES)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _SCANNED_BYTES, len(data)))
        data += file.read()
    return holds_fields(data)


def holds_fields(headers: bytes) -> bool:
    """Return whether H.264 or MPEG-2 headers allow fields.

    Args:
        headers: Parts of a file, or the extra data of the codec of a stream.
    """
    sets = [match[2] for match in _AVC_RECORD.finditer(headers)]
    if not sets and not headers.startswith(b"RIFF"):
        sets = [match[1] for match in _AVC_STREAM.finditer(headers)]
    if any(_has_fields(found) for found in sets):
        return True
    if b"\0\0\x01\xb3" not in headers:
        return False
    # The bit before the last four of the second byte: progressive_sequence.
    return any(not match[1][1] & 0x08 for match in _MPEG_SEQUENCE.finditer(headers))


def check_fields(capture: cv2.VideoCapture, limit_s: float) -> None:
    """Read the first frames of a stream that allows fields, which OpenCV may fail to convert.

    Args:
        capture: Open stream.
        limit_s: Longest time for reading, seconds.

    Raises:
        InterlacedError: They are black, or all the same.
    """
    distinct, count, black = _first_frames(capture, all_of_them=False, limit_s=limit_s)
    if black or (count > 1 and not distinct):
        raise InterlacedError(
            f"interlaced video, which OpenCV {cv2.__version__} decodes as black or stale pictures; "
            f"set the camera to progressive video, or install PyAV (pip install 'edge_sim[video]')"
        )


class DeinterlacedStream(PlanarStream):
    """A live stream that PyAV reads and makes progressive."""

    silence_hint = ""

    def _decoded(self, options: SourceOptions) -> Iterator[Any]:  # noqa: ARG002 - all are needed
        return (pixels for _, pixels in _decoded(self._module, self._container))

    def retrieve(self) -> NDArray[Any] | None:
        """Return the picture of the last `grab`."""
        pixels: NDArray[Any] | None = self._frame
        return pixels

    def release(self) -> None:
        """Close the filters, then the connection that feeds them."""
        self._frames.close()  # type: ignore[attr-defined]
        super().release()


def has_pyav() -> bool:
    """Return whether PyAV can be imported."""
    try:
        importlib.import_module(_PYAV)
    except ImportError:
        return False
    return True


class EmptyStreamCheck:
    """Detector of a live stream that is empty from its start: every byte is 0.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_s: float | None = None
        self._is_empty = True

    def add(self, pixels: NDArray[Any]) -> None:
        """Check the next picture.

        Raises:
            ValueError: No picture had another value for too long.
        """
        if not self._is_empty:
            return
        now_s = self._clock()
        self._started_s = now_s if self._started_s is None else self._started_s
        self._is_empty = not pixels.any()
        if self._is_empty and now_s - self._started_s >= _EMPTY_S:
            raise ValueError(
                f"every byte of its pictures is 0 for {_EMPTY_S:g} s, which no camera gives: "
                f"the stream is empty, or OpenCV {cv2.__version__} cannot convert it"
            )


def deinterlaced_by_opencv() -> bool:
    """Return whether this OpenCV is older than the fault."""
    match = re.match(r"(\d+)\.(\d+)", cv2.__version__)
    return match is not None and (int(match[1]), int(match[2])) < _FIRST_WRONG


def _first_frames(
    capture: cv2.VideoCapture, *, all_of_them: bool, limit_s: float = math.inf
) -> tuple[int, int, bool]:
    """Return how many of the first frames differ from the one before, how many there are, and
    whether all of them are black but for some stray bytes."""
    before: NDArray[Any] | None = None
    distinct = count = 0
    is_black = True
    until_s = time.monotonic() + limit_s
    for _ in range(_CHECKED_FRAMES):
        done, pixels = capture.read()
        if not done or pixels is None:
            break
        count += 1
        lit = int(np.count_nonzero(pixels))
        is_black = is_black and lit <= (1 - _BLACK_SHARE) * pixels.size
        if before is not None and not np.array_equal(before, pixels):
            distinct += 1
        before = pixels
        if (distinct and not is_black and not all_of_them) or time.monotonic() > until_s:
            break
    return distinct, count, is_black and count > 0


def _frames_of(path: Path, name: str) -> Iterator[tuple[float, NDArray[np.uint8]]] | None:
    try:
        return _by_pyav(importlib.import_module(_PYAV), path, name)
    except ImportError:
        program = shutil.which(_PROGRAM)
        return None if program is None else _by_program(program, path, name)


def _by_pyav(module: Any, path: Path, name: str) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    try:
        with path.open("rb") as file, module.open(file) as container:
            yield from _decoded(module, container)
    except (module.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"{name}: cannot be decoded: {error}") from error


def _decoded(module: Any, container: Any) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Yield time and progressive picture of each frame of the first video stream.

    Raises:
        ValueError: It has none, or pictures that are too large.
    """
    if not container.streams.video:
        raise ValueError("it has no video")
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    start_s = float((stream.start_time or 0) * stream.time_base)
    graph: Any = None
    layout: tuple[int, int, str] | None = None
    for frame in container.decode(stream):
        check_size(frame.width, frame.height)
        if layout != (frame.width, frame.height, frame.format.name):
            if graph is not None:
                graph.push(None)
                yield from _pulled(module, graph, start_s)
            layout = (frame.width, frame.height, frame.format.name)
            graph = _graph(module, layout, stream.time_base)
        graph.push(frame)
        yield from _pulled(module, graph, start_s)
    if graph is not None:
        graph.push(None)
        yield from _pulled(module, graph, start_s)


def _graph(module: Any, layout: tuple[int, int, str], time_base: Any) -> Any:
    """Return a filter for frames of one (width, height, format)."""
    width, height, pixels = layout
    graph = module.filter.Graph()
    chain = [
        graph.add_buffer(width=width, height=height, format=pixels, time_base=time_base),
        graph.add("yadif", "deint=interlaced"),
        graph.add("format", "pix_fmts=bgr24"),
        graph.add("buffersink"),
    ]
    for first, second in pairwise(chain):
        first.link_to(second)
    graph.configure()
    return graph


def _pulled(module: Any, graph: Any, start_s: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    while True:
        try:
            frame = graph.pull()
        except (module.BlockingIOError, module.EOFError):
            return
        at_s = math.nan if frame.time is None else frame.time - start_s
        yield at_s, np.ascontiguousarray(frame.to_ndarray(format="bgr24"))


def _by_program(program: str, path: Path, name: str) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    filters = f"{_FILTERS},format=bgr24,showinfo"
    command = [program, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "info"]
    command += ["-protocol_whitelist", "file", "-i", f"file:{path.absolute()}", "-map", "0:v:0"]
    command += ["-vf", filters, "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    # A file for the log, not a pipe, which would have to be emptied while frames are read.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL
        )
        lines = _lines(log)
        try:
            assert process.stdout is not None
            first = process.stdout.peek(1)  # type: ignore[attr-defined]
            while first:
                at_s, width, height = next(lines)
                check_size(width, height)
                data = process.stdout.read(3 * width * height)
                if len(data) < 3 * width * height:
                    break
                yield at_s, np.frombuffer(data, np.uint8).reshape(height, width, 3).copy()
                first = process.stdout.peek(1)  # type: ignore[attr-defined]
            if process.wait():
                raise SourceError(f"{name}: ffmpeg cannot decode it: {_last_line(log)}")
        except (StopIteration, ValueError) as error:
            raise SourceError(f"{name}: ffmpeg cannot decode it: {error}") from error
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _lines(log: Any) -> Iterator[tuple[float, int, int]]:
    """Yield time, width and height of each frame from the growing log of ffmpeg.

    The line of a frame is written before the frame.
    """
    rest, at = b"", 0
    while True:
        part = os.pread(log.fileno(), 1 << 16, at)
        if not part:
            return
        at += len(part)
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            match = _FRAME_LINE.search(line)
            if match:
                time = match["time"]
                at_s = math.nan if b"a" in time.lower() else float(time)
                yield at_s, int(match["width"]), int(match["height"])


def _last_line(log: Any) -> str:
    size = os.fstat(log.fileno()).st_size
    text = os.pread(log.fileno(), 4096, max(size - 4096, 0)).decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _has_fields(parameter_set: bytes) -> bool:
    """Return the opposite of frame_mbs_only_flag of an H.264 sequence parameter set (7.3.2.1)."""
    try:
        return _Bits(parameter_set.replace(b"\0\0\x03", b"\0\0")).fields()
    except IndexError:
        return False


class _Bits:
    """Reader of the bits of a sequence parameter set."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 8

    def fields(self) -> bool:
        """Return whether frames may be coded as fields."""
        profile = self._number(8)
        self._number(16)
        self._golomb()
        if profile in _HIGH_PROFILES:
            self._skip_high()
        self._golomb()
        kind = self._golomb()
        if kind == 0:
            self._golomb()
        elif kind == 1:
            self._number(1)
            self._golomb()
            self._golomb()
            for _ in range(min(self._golomb(), 255)):
                self._golomb()
        self._golomb()
        self._number(1)
        self._golomb()
        self._golomb()
        return not self._number(1)

    def _skip_high(self) -> None:
        formats = self._golomb()
        if formats == 3:
            self._number(1)
        self._golomb()
        self._golomb()
        self._number(1)
        if not self._number(1):
            return
        for place in range(12 if formats == 3 else 8):
            if self._number(1):
                self._skip_scaling(16 if place < 6 else 64)

    def _skip_scaling(self, size: int) -> None:
        last = following = 8
        for _ in range(size):
            if following:
                code = self._golomb()
                delta = (code + 1) // 2 if code & 1 else -(code // 2)
                following = (last + delta) % 256
            last = following or last

    def _number(self, bits: int) -> int:
        value = 0
        for _ in range(bits):
            value = value << 1 | (self._data[self._at // 8] >> (7 - self._at % 8) & 1)
            self._at += 1
        return value

    def _golomb(self) -> int:
        zeros = 0
        while not self._number(1):
            zeros += 1
            if zeros > 31:
                raise IndexError("no Exp-Golomb code")
        return (1 << zeros) - 1 + self._number(zeros)
