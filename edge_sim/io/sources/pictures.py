"""Capture times of pictures, from a table in a CSV file.

Pictures in a folder, in natural order of their names or in the order of a table of times.
"""

from __future__ import annotations

import glob
import logging
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from os import PathLike
from pathlib import Path
from typing import TypeVar

from edge_sim.core.files import exists, expanded, is_dir, is_file, printable
from edge_sim.core.images import decode, decode_mask, decode_reduced
from edge_sim.core.picture_header import kind_by_name, read_header
from edge_sim.core.raw_pictures import JpegPicture, RawPicture
from edge_sim.core.tables import name_key, read_table
from edge_sim.core.types import BgrImage, Frame, GrayImage
from edge_sim.errors import ConfigError, DataError, SourceError
from edge_sim.io.sources.capture import frame_of
from edge_sim.io.sources.options import SourceOptions
from edge_sim.io.sources.uri import (
    belongs_to_pictures,
    is_glob,
    label,
    local_path,
    number,
    split_settings,
)

FRAME_COLUMNS = ("frame", "file", "filename", "path", "name", "image", "picture")
"""Tried in this order; the first column of the table if none is there."""

# 2023-06-19T06_17_09, 2023-06-13 03:11:46.5+02:00, 20250801-174609, 20151102_004355
_MOMENT = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[T _-]?(\d\d)[:_-]?(\d\d)(?:[:_-]?(\d\d)(?:[.,](\d{1,9}))?)?"
    r"\s*(Z|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
# As seconds these would be millions of years off: 12 or 14 digits are a date run together.
_DATE_DIGITS = (12, 14)
_UNITS = ((1e10, 1.0), (1e13, 1e3), (1e16, 1e6), (1e19, 1e9))
"""Upper ends of numbers of seconds, milliseconds, microseconds and nanoseconds since 1970 (the
year 2286), and how many of each make a second. A tenth of the upper end is the year 1973, so no
number can be meant in two units."""


def read_time(text: str) -> float:
    """Return seconds since 1970 UTC of a date and time, or the number itself.

    Dates without a zone are UTC. Read are `2023-06-19T06_17_09`, `2023-06-13 03:11:46`,
    `20250801-174609` and what lies between, and plain seconds. Numbers too large for seconds are
    taken as milliseconds, microseconds or nanoseconds, by their size.

    Raises:
        ValueError: The text is neither.
    """
    text = text.strip()
    digits_only = text.isascii() and text.isdecimal()
    if _NUMBER.fullmatch(text) and not (digits_only and len(text) in _DATE_DIGITS):
        return _seconds(text)
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time: {text!r}")
    year, month, day, hour, minute = (int(match[group]) for group in range(1, 6))
    fraction = float("0." + match[7]) if match[7] else 0.0
    zone = (match[8] or "Z").upper().replace("Z", "+0000").replace(":", "")
    moment = datetime.strptime(
        f"{year:04}{month:02}{day:02}{hour:02}{minute:02}{int(match[6] or 0):02}{zone}",
        "%Y%m%d%H%M%S%z",
    )
    return moment.astimezone(timezone.utc).timestamp() + fraction


def read_times(table: Path, column: str | None = None) -> dict[str, float]:
    """Return the time of each picture that a CSV table names, in the order of the table.

    Args:
        table: UTF-8, with a header. The pictures are in one of `FRAME_COLUMNS` or the first one.
        column: Holds the times; None takes the first whose name contains `time`.

    Raises:
        SourceError: The table cannot be read, has no such column, or holds what is no time.
    """
    name = printable(table)
    try:
        found = read_table(table)
    except DataError as error:
        reason = str(error).removeprefix(name)
        raise SourceError(f"{name}: the table of times cannot be read{reason}") from error
    header = list(found.header)
    frame_at = next((header.index(column) for column in FRAME_COLUMNS if column in header), 0)
    time_at = _time_column(header, column, name)
    times: dict[str, float] = {}
    line_of: dict[str, int] = {}
    for line, row in found.rows:
        if max(frame_at, time_at) >= len(row):
            raise SourceError(f"{name}, line {line}: too few columns")
        frame = row[frame_at].strip()
        if line_of.setdefault(frame, line) != line:
            raise SourceError(
                f"{name}, line {line}: {printable(frame)} is in line {line_of[frame]}"
            )
        try:
            times[frame] = read_time(row[time_at])
        except ValueError as error:
            raise SourceError(f"{name}, line {line}: {error}") from error
    return times


def _seconds(text: str) -> float:
    """Return a number as seconds since 1970; its size decides on the unit."""
    number = float(text)
    for limit, per_second in _UNITS:
        if abs(number) < limit and (per_second == 1.0 or number >= limit / 100):
            return number / per_second
    raise ValueError(f"not a time: {text!r} (seconds, ms, us or ns of the years 1973 to 2286)")


def _time_column(header: list[str], column: str | None, table: str) -> int:
    for at, name in enumerate(header):
        if name == column or (column is None and "time" in name.lower()):
            if header.count(name) > 1:
                raise SourceError(f"{table}: {header.count(name)} columns are called {name!r}")
            return at
    wanted = f"no column {column!r}" if column else "no column whose name contains 'time'"
    raise SourceError(f"{table}: {wanted}; there are {', '.join(header)} (choose with &column=)")


logger = logging.getLogger(__name__)

T = TypeVar("T")

ASSUMED_FPS = 1.0
MAX_FILE_BYTES = 512 * 1024 * 1024
"""More than 64 megapixels need in any usual format; larger files are not even read."""
_NAMED = 3  # skipped files that are named in the log
_FIRST_DATE_S = 1e8
"""Seconds counted from the start of a recording are smaller numbers, dates (of 1973 on) larger."""
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
        pictures: Pictures in playing order; times do not decrease.
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
        self.part = 1
        """Divisor of both sides at which JPEG pictures are decoded at first: 1, 2, 4 or 8."""
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
        if len(self._skipped) > _NAMED and not self._offset_s:
            logger.warning(
                "%s: %d of %d pictures were skipped: %s, and %d more",
                self._name,
                len(self._skipped),
                len(self._pictures),
                "; ".join(list(self._skipped.values())[:_NAMED]),
                len(self._skipped) - _NAMED,
            )
        if not self._options.loop:
            return False
        span_s = self._pictures[-1].at_s - self._pictures[0].at_s
        self._offset_s += span_s + self._pause_s
        self._next = 0
        return True

    def _frame(self, picture: Picture, pixels: BgrImage | RawPicture) -> Frame:
        since_s = picture.at_s - self._pictures[0].at_s + self._offset_s
        start_s = self._pictures[0].at_s if picture.dated else self._options.start_unix_s
        moment = since_s, start_s + since_s, self._index, self._name
        self._index += 1
        return frame_of(pixels, self._options.rotate, moment)

    def _load(self, path: Path) -> BgrImage | RawPicture | None:
        try:
            if self.part > 1:
                return _read(path, lambda data: JpegPicture(data, self.part))
            return read_picture(path)
        except SourceError as error:
            if path not in self._skipped:
                level = logging.WARNING if len(self._skipped) < _NAMED else logging.INFO
                logger.log(level, "%s: skipped %s", self._name, error)
            self._skipped[path] = str(error)
            return None


def read_picture(path: str | PathLike[str]) -> BgrImage:
    """Return the picture in a file, its size checked before it is decoded.

    Raises:
        SourceError: The file cannot be read, is no picture, or is too large.
    """
    if not isinstance(path, str | PathLike):
        raise SourceError(f"read_picture takes the path of a file, got {type(path).__name__}")
    return _read(Path(path), decode)


def read_reduced(path: Path, side_px: int) -> BgrImage:
    """Return the picture in a file at a size that is enough to squash it to `side_px`.

    Raises:
        SourceError: As `read_picture`.
    """
    return _read(path, lambda data: decode_reduced(data, side_px).pixels)


def read_mask(path: str | PathLike[str]) -> GrayImage:
    """Return the grey levels of a mask file, light where pixels count; see `decode_mask`.

    Raises:
        SourceError: The file cannot be read, is no picture, or is too large.
    """
    return _read(Path(path), decode_mask)


def _read(path: Path, decoder: Callable[[bytes], T]) -> T:
    try:
        return decoder(picture_bytes(path))
    except ValueError as error:
        raise SourceError(f"{printable(path)}: {error}") from error
    except OSError as error:
        raise SourceError(f"{printable(path)}: {error.strerror or error}") from error


def picture_bytes(path: Path) -> bytes:
    """Return the content of a picture file.

    Raises:
        ValueError: It is no regular file (opening a pipe would wait for ever), empty, too large, or
            of a kind that is not read and has no mark of its own.
        OSError: It cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    bytes_in_file = status.st_size
    if bytes_in_file == 0:
        raise ValueError("the file is empty")
    if bytes_in_file > MAX_FILE_BYTES:
        raise ValueError(f"{bytes_in_file} bytes are more than {MAX_FILE_BYTES}")
    data = path.read_bytes()
    kind = kind_by_name(path.suffix)
    if kind is not None and read_header(data) is None:
        raise ValueError(f"{kind} pictures are not read; convert it to JPEG or PNG")
    return data


def open_pictures(place: str, options: SourceOptions) -> PictureFolder:
    """Return the source of a folder, a glob or one picture.

    Settings after `?`: `times`, a CSV table (searched in the folder first), whose order and
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
        raise SourceError(f"{name}: no such file or folder; check the path")
    pictures = [path for path in found if belongs_to_pictures(path)]
    if not pictures:
        raise SourceError(f"{name}: no pictures among {len(found)} entries")
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
        Picture(known[keys[frame]], at_s, dated=at_s >= _FIRST_DATE_S)
        for frame, at_s in times.items()
        if keys[frame] in known
    ]
    for picture in pictures:
        if picture.dated != pictures[0].dated:
            raise SourceError(
                f"{table}: {printable(picture.path.name)} has a date and another picture seconds "
                f"from the start; give all of them one or the other"
                if picture.dated
                else f"{table}: {printable(picture.path.name)} has seconds from the start and "
                f"another picture a date; give all of them one or the other"
            )
    if not pictures:
        raise SourceError(f"{name}: {table} names none of the {len(paths)} pictures")
    absent = [frame for frame in times if keys[frame] not in known]
    if absent:
        first = printable(absent[0])
        logger.warning("%s: %d rows of %s name no picture: %s", name, len(absent), table, first)
    extra = known.keys() - set(keys.values())
    if extra:
        logger.warning("%s: %d pictures are not in %s: %s", name, len(extra), table, min(extra))
    return sorted(pictures, key=lambda picture: picture.at_s)
