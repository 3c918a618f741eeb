"""Sources of pictures to enrol: files, folders, videos, cameras."""

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
from edge_sim.io.sources.uri import belongs_to_pictures, is_picture, masked


@dataclass(frozen=True, slots=True)
class ReferenceOrigin:
    """Facts of a reference before it was exported."""

    metadata: Mapping[str, str]
    enrolled_at: datetime
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class EnrolmentCandidate:
    """Whole frame that may become a reference.

    Args:
        name: Origin in words, safe to print.
        pixels: (H, W, 3) uint8 BGR.
        unix_time_s: Time of the exposure, seconds since 1970 UTC; None if unknown.
        origin: Facts of an exported reference, whose picture is the region already; else None.
    """

    name: str
    pixels: BgrImage
    unix_time_s: float | None = None
    origin: ReferenceOrigin | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """File that should have been a picture."""

    name: str
    fault: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling of the frames of a video or camera.

    Args:
        every_s: Least interval between two frames, seconds of frame time; 0 takes all.
        count: Greatest number of frames; None takes all.
    """

    every_s: float = 0.0
    count: int | None = None


CandidateResult: TypeAlias = EnrolmentCandidate | Unreadable


def candidates_in(
    places: Iterable[str], sampling: Sampling | None = None, options: SourceOptions | None = None
) -> Iterator[CandidateResult]:
    """Yield the pictures in `places`, in their order, each read lazily.

    Args:
        places: Picture files, folders of pictures (those in it, not below it), and anything that
            `open_source` opens: videos, cameras, drawn scenes.
        sampling: Sampling of videos and cameras; pictures in files are all taken.
        options: Options of videos and cameras.

    Raises:
        SourceError: There is no such place, a folder holds no picture, or a camera is lost.
        ConfigError: An invalid uri.
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
    """Yield frames of one source as candidates, each read lazily.

    Args:
        uri: Anything that `open_source` opens; a folder of pictures is one, frame by frame.
        sampling: Sampling of the frames.
        options: Options of the source.

    Raises:
        SourceError: The source is not there, or is lost.
        ConfigError: An invalid uri.
    """
    with closing(open_source(uri, options or SourceOptions())) as source:
        for frame in sampled(source, sampling):
            name = printable(f"{masked(uri)}#{frame.index}")
            yield EnrolmentCandidate(name, frame.pixels, frame.unix_time_s or None)


def pictures_in(folder: Path) -> list[Path]:
    """Return the picture files in a folder, in natural order; hidden ones are left out.

    Raises:
        SourceError: There is none.
        AccessError: The folder cannot be read.
    """
    inside = entries(folder)
    found = [item for item in inside if belongs_to_pictures(item)]
    if not found:
        raise SourceError(f"{printable(str(folder))}: no pictures among {len(inside)} entries")
    return sorted(found, key=natural_key)


def sampled(source: FrameSource, sampling: Sampling) -> Iterator[Frame]:
    """Yield the sampled frames of a source.

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


def read_candidate(path: Path, origin: ReferenceOrigin | None = None) -> CandidateResult:
    """Return the picture in a file, or why it is none."""
    name = printable(str(path))
    try:
        return EnrolmentCandidate(name, read_picture(path), origin=origin)
    except SourceError as error:
        return Unreadable(name, printable(str(error).removeprefix(f"{name}: ")))
