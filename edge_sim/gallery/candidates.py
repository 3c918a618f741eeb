"""Where the pictures to enrol come from: files, folders, videos, cameras."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from edge_sim.core.files import entries, expanded, is_dir, is_file, printable
from edge_sim.core.protocols import FrameSource
from edge_sim.core.types import BgrImage, Frame
from edge_sim.errors import SourceError
from edge_sim.io.sources import open_source
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.pictures import natural_key, read_picture
from edge_sim.io.sources.uri import PICTURE_SUFFIXES, is_picture, masked


@dataclass(frozen=True, slots=True)
class ReferenceOrigin:
    """What was known of a reference before it was exported."""

    metadata: Mapping[str, str]
    enrolled_at: datetime
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class EnrolmentCandidate:
    """A whole frame that may become a reference.

    Args:
        name: Where it comes from, safe to show.
        pixels: (H, W, 3) uint8 BGR.
        unix_time_s: When it was taken, seconds since 1970 UTC; None if nobody knows.
        origin: Of a reference that comes back from an export: its picture is the region already.
    """

    name: str
    pixels: BgrImage
    unix_time_s: float | None = None
    origin: ReferenceOrigin | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that should have been a picture."""

    name: str
    fault: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames of a video or camera are taken.

    Args:
        every_s: At least this long after the one before, in seconds of frame time; 0 takes all.
        count: At most so many; None takes all that come.
    """

    every_s: float = 0.0
    count: int | None = None


Found: TypeAlias = EnrolmentCandidate | Unreadable


def candidates_in(
    places: Iterable[str], sampling: Sampling | None = None, options: SourceOptions | None = None
) -> Iterator[Found]:
    """Yield the pictures in `places`, in their order, each read when it is asked for.

    Args:
        places: Picture files, folders of pictures (those in it, not below it), and anything that
            `open_source` opens: videos, cameras, drawn scenes.
        sampling: Of videos and cameras; pictures in files are all taken.
        options: Of videos and cameras.

    Raises:
        SourceError: There is no such place, a folder holds no picture, or a camera is lost.
        ConfigError: A uri that cannot be.
    """
    for place in places:
        path = Path(expanded(place))
        if is_dir(path):
            yield from map(read_candidate, pictures_in(path))
        elif is_file(path) and is_picture(path):
            yield read_candidate(path)
        else:
            yield from frames_of(place, sampling or Sampling(), options)


def frames_of(
    uri: str, sampling: Sampling, options: SourceOptions | None = None
) -> Iterator[EnrolmentCandidate]:
    """Yield frames of one source as candidates, each read when it is asked for.

    Args:
        uri: Anything that `open_source` opens; a folder of pictures is one, frame by frame.
        sampling: Which frames.
        options: Of the source.

    Raises:
        SourceError: It is not there, or is lost.
        ConfigError: A uri that cannot be.
    """
    with closing(open_source(uri, options or SourceOptions())) as source:
        for frame in sampled(source, sampling):
            name = printable(f"{masked(uri)}#{frame.index}")
            yield EnrolmentCandidate(name, frame.pixels, frame.unix_time_s or None)


def pictures_in(folder: Path) -> list[Path]:
    """Return the picture files in a folder, in natural order; hidden ones do not count.

    Raises:
        SourceError: There is none.
        AccessError: The folder cannot be read.
    """
    inside = entries(folder)
    found = [
        item
        for item in inside
        # `._a.jpg` is what macOS keeps beside `a.jpg` on other disks.
        if item.suffix.lower() in PICTURE_SUFFIXES
        and not item.name.startswith(".")
        and is_file(item)
    ]
    if not found:
        raise SourceError(f"{printable(str(folder))}: no pictures among {len(inside)} entries")
    return sorted(found, key=natural_key)


def sampled(source: FrameSource, sampling: Sampling) -> Iterator[Frame]:
    """Yield the frames of a source that the sampling asks for.

    Raises:
        SourceError: The source is lost.
    """
    taken = 0
    due_s = float("-inf")
    while sampling.count is None or taken < sampling.count:
        frame = source.read()
        if frame is None:
            return
        if frame.captured_at_s >= due_s:
            taken += 1
            # Half a millisecond of slack: frame times are rounded by containers.
            due_s = frame.captured_at_s + sampling.every_s - 5e-4
            yield frame


def read_candidate(path: Path, origin: ReferenceOrigin | None = None) -> Found:
    """Return the picture in a file, or why it is none."""
    name = printable(str(path))
    try:
        return EnrolmentCandidate(name, read_picture(path), origin=origin)
    except SourceError as error:
        return Unreadable(name, printable(str(error).removeprefix(f"{name}: ")))
