"""Frames of videos in an index: their names, which of them are taken, and reading one again.

`clip.mp4#t=12.5` is the first frame of a video at or after 12.5 s from its start, named as in W3C
Media Fragments URI 1.0 (https://www.w3.org/TR/media-frags/), section 4.2.1.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge_sim.core.files import is_file, printable
from edge_sim.core.types import BgrImage
from edge_sim.errors import ConfigError, SearchError, SourceError
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.pictures import read_picture, read_reduced
from edge_sim.io.sources.planar import picture_of
from edge_sim.io.sources.video import open_video

KEY_FRAMES = "key"
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mkv", ".avi", ".mov", ".webm", ".mpg", ".mpeg"})
LEAST_GAP_S = 1.0
"""Key frames nearer than this to the one before are not taken: some cameras make nothing else."""
WITHOUT_PYAV_S = 5.0
MAX_GAP_S = 86_400.0
_FRAME = re.compile(r"(?P<file>.+)#t=(?P<time>\d{1,7}(?:\.\d{1,6})?)", re.DOTALL)
_ROUNDING_S = 1e-6


def is_video(path: Path) -> bool:
    """Return True for a video by its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def leads_out(path: Path) -> bool:
    """Return whether a path of an index, an id of imported vectors, may lie outside its root."""
    return path.is_absolute() or ".." in path.parts


def checked_sampling(text: str) -> str:
    """Return which frames of a video are indexed: `key`, or the seconds between two of them.

    Raises:
        SearchError: It is neither.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if text != KEY_FRAMES and not 0.0 < seconds <= MAX_GAP_S:
        raise SearchError(
            f"--every {text!a}: wants seconds between frames of a video, above 0, or `{KEY_FRAMES}`"
        )
    return text if text == KEY_FRAMES else f"{seconds:g}"


def frame_path(video: Path, at_s: float) -> Path:
    """Return the name of a frame, its time rounded down to milliseconds."""
    text = f"{math.floor(1000.0 * at_s + 1e-3) / 1000.0:.3f}".rstrip("0").rstrip(".")
    return video.with_name(f"{video.name}#t={text}")


def split_frame(name: str) -> tuple[str, float] | None:
    """Return video and seconds of the name of a frame; None for other names."""
    found = _FRAME.fullmatch(name)
    return None if found is None else (found["file"], float(found["time"]))


def file_of(path: Path) -> Path:
    """Return the file that a picture of an index is in: for a frame, its video."""
    if "#t=" not in path.name:
        return path
    found = split_frame(path.name)
    return path if found is None else path.with_name(found[0])


def read_entry(path: Path, side_px: int | None = None) -> BgrImage:
    """Return a picture, or a frame of a video.

    Args:
        path: Path of the picture, or name of the frame.
        side_px: Size that is enough, in pixels; None reads the whole picture. Frames are whole.

    Raises:
        SourceError: It cannot be read, or the video has no such frame.
    """
    video = file_of(path)
    if video != path and not is_file(path):
        found = split_frame(path.name)
        return read_frame(video, 0.0 if found is None else found[1])
    return read_picture(path) if side_px is None else read_reduced(path, side_px)


def read_inside(root: Path, path: Path, side_px: int | None = None) -> BgrImage:
    """Return a picture of an index by its path in it, as `read_entry` reads it.

    Raises:
        SourceError: It cannot be read, or is an id of imported vectors that leads out of `root`.
    """
    if leads_out(path):
        raise SourceError(f"{printable(path)}: leads out of {printable(root)}")
    return read_entry(root / path, side_px)


def sampled_frames(path: Path, sampling: str) -> Iterator[tuple[float, BgrImage]]:
    """Yield the frames of a video that an index takes, with their seconds from its start.

    Args:
        path: The video.
        sampling: Result of `checked_sampling`. Key frames need PyAV; without it, it is a frame
            every 5 s.

    Raises:
        SourceError: It cannot be read, or breaks off; frames before that were yielded.
    """
    by_key = sampling == KEY_FRAMES and has_pyav()
    gap_s = LEAST_GAP_S if by_key else WITHOUT_PYAV_S
    if sampling != KEY_FRAMES:
        gap_s = float(sampling)
    source = open_video(str(path), _options(path, key_frames_only=by_key))
    start_s: float | None = None
    due_s = 0.0
    try:
        while (frame := source.read()) is not None:
            start_s = frame.captured_at_s if start_s is None else start_s
            at_s = frame.captured_at_s - start_s
            if at_s < due_s - _ROUNDING_S:
                continue
            # On a grid, so that late frames do not shift those after them.
            due_s = at_s + gap_s if by_key else gap_s * (math.floor(at_s / gap_s + 1e-9) + 1)
            yield at_s, frame.pixels
    finally:
        source.close()


def read_frame(path: Path, at_s: float) -> BgrImage:
    """Return the first frame of a video at or after `at_s` seconds from its start.

    Raises:
        SourceError: The video cannot be read, or ends before.
    """
    if has_pyav() and at_s > 0.0:
        found = _sought(path, at_s)
        if found is not None:
            return found
    source = open_video(str(path), _options(path))
    start_s = last_s = None
    try:
        while (frame := source.read()) is not None:
            start_s = frame.captured_at_s if start_s is None else start_s
            last_s = frame.captured_at_s - start_s
            if last_s >= at_s - _ROUNDING_S:
                return frame.pixels
    finally:
        source.close()
    length = "no frame" if last_s is None else f"{last_s:.1f} s"
    raise SourceError(f"{printable(path)}: has no frame at {at_s:g} s; it has {length}")


def has_pyav() -> bool:
    """Return whether PyAV is installed, which decodes key frames alone and goes to a time."""
    return importlib.util.find_spec("av") is not None


def _options(path: Path, *, key_frames_only: bool = False) -> SourceOptions:
    name = printable(path)
    try:
        if has_pyav():
            return SourceOptions(name=name, decoder="pyav", key_frames_only=key_frames_only)
    except ConfigError as error:
        raise SourceError(str(error)) from error
    return SourceOptions(name=name)


def _sought(path: Path, at_s: float) -> BgrImage | None:
    """Return the frame by going to the key frame before it; None where that does not work."""
    import av

    try:
        with path.open("rb") as file, av.open(file, "r") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            first = next(container.decode(stream))
            if first.time is None or stream.time_base is None:
                return None
            wanted_s = first.time + at_s
            container.seek(int(wanted_s / stream.time_base), stream=stream, backward=True)
            for count, frame in enumerate(container.decode(stream)):
                if frame.time is None or (not count and frame.time > wanted_s + _ROUNDING_S):
                    return None
                if frame.time >= wanted_s - _ROUNDING_S:
                    return _pixels_of(frame)
    except (OSError, ValueError, IndexError, StopIteration, av.FFmpegError):
        return None
    return None


def _pixels_of(frame: Any) -> BgrImage:
    found = picture_of(frame)
    return found if isinstance(found, np.ndarray) else found.pixels()
