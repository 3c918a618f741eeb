"""Pictures in a folder, in natural order of their names or in the order of a table of times."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from edge_sim.domain import BgrImage, Frame
from edge_sim.errors import ConfigError, SourceError
from edge_sim.files import exists, expanded, is_dir, is_file, printable
from edge_sim.imaging import decode
from edge_sim.sources.capture import upright
from edge_sim.sources.options import SourceOptions
from edge_sim.sources.times import read_times
from edge_sim.sources.uri import (
    PICTURE_SUFFIXES,
    is_glob,
    label,
    local_path,
    number,
    split_settings,
)
from edge_sim.tables import name_key

logger = logging.getLogger(__name__)

ASSUMED_FPS = 1.0
MAX_FILE_BYTES = 512 * 1024 * 1024
"""More than 64 megapixels need in any usual format; larger files are not even read."""
_SETTINGS = ("column", "fps", "times")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file and its time, seconds; since 1970 UTC if `dated`."""

    path: Path
    at_s: float
    dated: bool = False


class PictureFolder:
    """Plays picture files in the given order; those that cannot be read are skipped and counted.

    Args:
        pictures: In playing order; times do not decrease.
        options: `name`, `rotate`, `loop`, `start_unix_s`.
        pause_s: Seconds between the last and the first picture when looping.
    """

    def __init__(
        self, pictures: Sequence[Picture], options: SourceOptions, *, pause_s: float = 1.0
    ) -> None:
        self._pictures = tuple(pictures)
        self._options = options
        self._name = options.name or "pictures"
        self._pause_s = pause_s
        self._next = 0
        self._offset_s = 0.0
        self._index = 0
        self._skipped: dict[Path, str] = {}
        self._closed = False

    @property
    def name(self) -> str:
        """Safe to log."""
        return self._name

    @property
    def skipped(self) -> int:
        """Files met so far that could not be read."""
        return len(self._skipped)

    def read(self) -> Frame | None:
        """Return the next picture; None after the last one.

        Raises:
            SourceError: The source was closed, or not one of the pictures can be read.
        """
        if self._closed:
            raise SourceError(f"{self._name}: read after close")
        while True:
            if self._next >= len(self._pictures) and not self._rewind():
                return None
            picture = self._pictures[self._next]
            self._next += 1
            pixels = self._load(picture.path)
            if pixels is not None:
                return self._frame(picture, pixels)

    def close(self) -> None:
        """Stop playing. Safe to call twice."""
        self._closed = True

    def _rewind(self) -> bool:
        if not self._index:
            first = next(iter(self._skipped.values()), str(self._pictures[0].path))
            raise SourceError(
                f"{self._name}: none of {len(self._pictures)} pictures can be read, "
                f"the first is {first}"
            )
        if not self._options.loop:
            return False
        span_s = self._pictures[-1].at_s - self._pictures[0].at_s
        self._offset_s += span_s + self._pause_s
        self._next = 0
        return True

    def _frame(self, picture: Picture, pixels: BgrImage) -> Frame:
        since_s = picture.at_s - self._pictures[0].at_s + self._offset_s
        start_s = self._pictures[0].at_s if picture.dated else self._options.start_unix_s
        frame = Frame(pixels, since_s, start_s + since_s, self._index, self._name)
        self._index += 1
        return frame

    def _load(self, path: Path) -> BgrImage | None:
        try:
            return upright(read_picture(path), self._options.rotate)
        except SourceError as error:
            if path not in self._skipped:
                logger.warning("%s: skipped %s", self._name, error)
            self._skipped[path] = str(error)
            return None


def read_picture(path: str | PathLike[str]) -> BgrImage:
    """Return the picture in a file, its size checked before it is decoded.

    Raises:
        SourceError: The file cannot be read, is no picture, or is too large.
    """
    if not isinstance(path, str | PathLike):
        raise SourceError(f"read_picture takes the path of a file, got {type(path).__name__}")
    path = Path(path)
    try:
        return _decoded(path)
    except ValueError as error:
        raise SourceError(f"{printable(path)}: {error}") from error
    except OSError as error:
        raise SourceError(f"{printable(path)}: {error.strerror or error}") from error


def _decoded(path: Path) -> BgrImage:
    bytes_in_file = path.stat().st_size
    if bytes_in_file > MAX_FILE_BYTES:
        raise ValueError(f"{bytes_in_file} bytes are more than {MAX_FILE_BYTES}")
    data = path.read_bytes()
    return decode(data)


def open_pictures(place: str, options: SourceOptions) -> PictureFolder:
    """Return the source of a folder, a glob or one picture.

    Settings after `?`: `times`, a CSV table (looked for in the folder first), whose order and
    pictures are then played; `column`, where the times stand in it; `fps`, without a table.

    Raises:
        ConfigError: An unknown setting.
        SourceError: There is no picture, or the table of times does not fit.
    """
    name = label(options.name, place)
    text, settings = split_settings(local_path(place))
    unknown = settings.keys() - set(_SETTINGS)
    if unknown:
        raise ConfigError(
            f"{name}: no setting named {min(unknown)!r}; there are {', '.join(_SETTINGS)}"
        )
    paths = _find(text, name, nested="times" in settings)
    fps = number(settings, "fps", options.fps or ASSUMED_FPS, what=name)
    if "times" in settings:
        base = _base(text)
        table = base / settings["times"]
        table = table if exists(table) else Path(expanded(settings["times"]))
        pictures = _timed(paths, base, table, settings.get("column"), name=name)
    else:
        pictures = [Picture(path, index / fps) for index, path in enumerate(paths)]
    return PictureFolder(pictures, options, pause_s=1.0 / fps)


def natural_key(path: Path) -> tuple[tuple[int, str], ...]:
    """Return a sort key under which `frame9` comes before `frame10`."""
    parts = re.split(r"(\d+)", str(path))
    # The text itself decides between 01 and 1, so that the order never depends on the disk.
    keys = [(int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in parts]
    return (*keys, (0, str(path)))


def _find(text: str, name: str, *, nested: bool) -> list[Path]:
    path = Path(text)
    if is_glob(text):
        found = [Path(match) for match in glob.glob(text, recursive=True)]  # noqa: PTH207
    elif is_dir(path):
        found = list(path.rglob("*") if nested else path.iterdir())
    elif is_file(path):
        return [path]
    else:
        raise SourceError(f"{name}: no such file or folder")
    pictures = [p for p in found if p.suffix.lower() in PICTURE_SUFFIXES and is_file(p)]
    if not pictures:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise SourceError(f"{name}: no pictures ({kinds}) among {len(found)} entries")
    return sorted(pictures, key=natural_key)


def _base(text: str) -> Path:
    """Return the folder that the names in a table start from."""
    path = Path(text)
    if is_dir(path):
        return path
    fixed = []
    for part in path.parent.parts:
        if any(letter in part for letter in "*?["):
            break
        fixed.append(part)
    return Path(*fixed)


def _timed(
    paths: list[Path], base: Path, table: Path, column: str | None, *, name: str
) -> list[Picture]:
    times = read_times(table, column)
    known = {name_key(path.relative_to(base).as_posix()): path for path in paths}
    keys = {frame: name_key(frame) for frame in times}
    pictures = [
        # Seconds counted from the start of a recording are small numbers; dates are not.
        Picture(known[keys[frame]], at_s, dated=at_s >= 1e8)
        for frame, at_s in times.items()
        if keys[frame] in known
    ]
    if not pictures:
        raise SourceError(f"{name}: {table} names none of the {len(paths)} pictures")
    absent = [frame for frame in times if keys[frame] not in known]
    if absent:
        logger.warning("%s: %d rows of %s name no picture: %s", name, len(absent), table, absent[0])
    extra = known.keys() - set(keys.values())
    if extra:
        logger.warning("%s: %d pictures are not in %s: %s", name, len(extra), table, min(extra))
    return sorted(pictures, key=lambda picture: picture.at_s)
