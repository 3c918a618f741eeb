"""Completeness of a video file, by the structure of its container.

The number of frames that a header names is often an estimate, or counts frames that an editor has
cut away, or lasts as long as the sound. A file that breaks off shows in its structure: a part that
is announced longer than what is there.

Layouts: ISO base media files (ISO 14496-12, chapters 4 and 8), Matroska (RFC 8794 and 9559), and
AVI (RIFF).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BOXES = 100_000  # more parts of a file are not read
_HEAD_BYTES = 64 << 20  # of a movie header, in memory
_SEGMENT = 0x18538067
_EBML = b"\x1aE\xdf\xa3"


@dataclass(frozen=True, slots=True)
class Completeness:
    """Facts about the end of a video file, from its structure.

    Args:
        breaks_off: A part of the file is announced longer than what is there.
        counts_frames: The number of frames in the header is exact.
        ends_at_s: Least time from the first frame to the last, in seconds; None if not known.
    """

    breaks_off: bool = False
    counts_frames: bool = False
    ends_at_s: float | None = None


def completeness_of(path: Path) -> Completeness:
    """Return the facts about the end of a video file; none for unknown kinds.

    Raises:
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        try:
            if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
                return _of_iso(file, size)
            if start.startswith(_EBML):
                return Completeness(_matroska_breaks_off(file, size))
            if start.startswith(b"RIFF") and start[8:12] == b"AVI ":
                return Completeness(_riff_breaks_off(file, size), counts_frames=True)
        except (struct.error, IndexError, OverflowError):
            return Completeness(breaks_off=True)
    return Completeness()


def _of_iso(file: BinaryIO, size: int) -> Completeness:
    breaks_off, ends_at_s = False, None
    for kind, at, end in _boxes(file, 0, size):
        breaks_off = breaks_off or end > size
        if kind == b"moov" and end <= size and end - at <= _HEAD_BYTES:
            file.seek(at)
            ends_at_s = _video_length(file.read(end - at))
    return Completeness(breaks_off, ends_at_s=ends_at_s)


def _boxes(file: BinaryIO, at: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first and last byte of the boxes of a file, also of one that breaks off."""
    for _ in range(_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind = struct.unpack_from(">I4s", head)
        first = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", head, 8)
            first = at + 16
        end = size if length == 0 else at + length
        if end < first:
            return  # bytes that are no box: what a recorder leaves behind the last one
        yield kind, first, end
        at = end


def _parts(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        first = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            first = at + 16
        last = end if length == 0 else at + length
        if last < first or last > end:
            return
        yield kind, first, last
        at = last


def _find(data: bytes, at: int, end: int, *names: bytes) -> tuple[int, int] | None:
    for name in names:
        found = next(((a, b) for kind, a, b in _parts(data, at, end) if kind == name), None)
        if found is None:
            return None
        at, end = found
    return at, end


def _video_length(moov: bytes) -> float | None:
    """Return the least time from the first picture to the last; None without a table of them."""
    scale_at = _find(moov, 0, len(moov), b"mvhd")
    if scale_at is None:
        return None
    movie_scale = _scale(moov, scale_at[0])
    for kind, at, end in _parts(moov, 0, len(moov)):
        if kind != b"trak":
            continue
        handler = _find(moov, at, end, b"mdia", b"hdlr")
        if handler is None or moov[handler[0] + 8 : handler[0] + 12] != b"vide":
            continue
        media = _find(moov, at, end, b"mdia", b"mdhd")
        table = _find(moov, at, end, b"mdia", b"minf", b"stbl", b"stts")
        if media is None or table is None:
            return None
        total, longest = _sample_times(moov, *table)
        media_scale = _scale(moov, media[0])
        if not (total and media_scale and movie_scale):
            return None
        shown_s = _edited_s(moov, _find(moov, at, end, b"edts", b"elst"), movie_scale)
        length_s = total / media_scale if shown_s is None else min(shown_s, total / media_scale)
        return max(length_s - longest / media_scale, 0.0)
    return None


def _scale(data: bytes, at: int) -> int:
    """Return the units per second that a header box counts in."""
    return int(struct.unpack_from(">I", data, at + (20 if data[at] == 1 else 12))[0])


def _sample_times(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the length of all samples together and the longest of one, in units."""
    total = longest = 0
    (count,) = struct.unpack_from(">I", data, at + 4)
    for row in range(at + 8, min(at + 8 + 8 * count, end - 7), 8):
        number, delta = struct.unpack_from(">II", data, row)
        total += number * delta
        longest = max(longest, delta)
    return total, longest


def _edited_s(data: bytes, box: tuple[int, int] | None, scale: int) -> float | None:
    """Return the seconds of the file that are shown; None for all of them, or unknown."""
    if box is None:
        return None
    at, end = box
    version = data[at]
    (count,) = struct.unpack_from(">I", data, at + 4)
    row = 20 if version == 1 else 12
    total = 0
    for place in range(at + 8, min(at + 8 + row * count, end - row + 1), row):
        length, begins = struct.unpack_from(">Qq" if version == 1 else ">Ii", data, place)
        if begins >= 0:
            total += length
    return total / scale if total else None


def _matroska_breaks_off(file: BinaryIO, size: int) -> bool:
    at = 0
    for _ in range(_BOXES):
        if at >= size:
            return at > size
        file.seek(at)
        head = file.read(12)
        name, after = _ebml_number(head, 0, keep_mark=True)
        length, first = _ebml_number(head, after, keep_mark=False)
        is_unknown = length == (1 << (7 * (first - after))) - 1
        if name == _SEGMENT:
            if not is_unknown and at + first + length > size:
                return True
            at += first
        elif is_unknown:
            return False  # written live: its end is where it ends
        else:
            at += first + length
    return False


def _ebml_number(data: bytes, at: int, *, keep_mark: bool) -> tuple[int, int]:
    """Return a number of variable length and the place after it."""
    lead = data[at]
    if not lead:
        raise IndexError("no EBML number")
    length = 9 - lead.bit_length()
    if at + length > len(data):
        raise IndexError("EBML number breaks off")
    value = int.from_bytes(data[at : at + length], "big")
    return (value if keep_mark else value & ((1 << (7 * length)) - 1)), at + length


def _riff_breaks_off(file: BinaryIO, size: int) -> bool:
    at = 0
    for _ in range(_BOXES):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF":
            return False
        (length,) = struct.unpack_from("<I", head, 4)
        if not length:
            return False  # a recorder that was cut off before it wrote its sizes
        at += 8 + length + (length & 1)
        if at > size + 1:
            return True
    return False
