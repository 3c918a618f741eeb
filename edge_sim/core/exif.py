"""Time and camera of a JPEG picture, from its EXIF data.

Layout: CIPA DC-008 (Exif 2.32), sections 4.5 to 4.6: a TIFF structure in the segment APP1.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping

_MODEL, _EXIF_OFFSET, _TAKEN, _OFFSET = 0x0110, 0x8769, 0x9003, 0x9011
_ASCII, _LONG = 2, 4
_MOST_ENTRIES = 256
_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")
_ZONE = re.compile(r"[+-]\d\d:\d\d")


def exif_facts(data: bytes) -> Mapping[str, str]:
    """Return `taken` (local time as in 2026-05-03T12:30:00, with its offset from UTC where known)
    and `camera` of a JPEG file; what is missing or damaged is left out.

    Args:
        data: The file, or its first 64 KiB.
    """
    block = _block(data)
    if block is None:
        return {}
    try:
        return _facts(block)
    except (struct.error, IndexError, ValueError):
        return {}


def _block(data: bytes) -> bytes | None:
    """Return the TIFF structure of the EXIF segment; None if there is none."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return data[at + 10 : at + 2 + size]
        if marker == 0xDA or size < 2:
            return None
        at += 2 + size
    return None


def _facts(block: bytes) -> dict[str, str]:
    order = {b"II*\0": "<", b"MM\0*": ">"}[block[:4]] if block[:4] in (b"II*\0", b"MM\0*") else ""
    if not order:
        return {}
    (first,) = struct.unpack_from(f"{order}I", block, 4)
    main = dict(_entries(block, order, first))
    found = {}
    camera = _text(main.get(_MODEL))
    if camera:
        found["camera"] = camera
    inner = main.get(_EXIF_OFFSET)
    if isinstance(inner, int):
        exif = dict(_entries(block, order, inner))
        time = _TIME.fullmatch(_text(exif.get(_TAKEN)))
        zone = _ZONE.fullmatch(_text(exif.get(_OFFSET)))
        if time is not None and time[1] != "0000":
            found["taken"] = f"{time[1]}-{time[2]}-{time[3]}T{time[4]}{zone[0] if zone else ''}"
    return found


def _entries(block: bytes, order: str, at: int) -> Iterator[tuple[int, bytes | int]]:
    """Yield the texts and numbers of one directory, by their tags."""
    (count,) = struct.unpack_from(f"{order}H", block, at)
    for number in range(min(count, _MOST_ENTRIES)):
        place = at + 2 + 12 * number
        tag, kind, size = struct.unpack_from(f"{order}HHI", block, place)
        (value,) = struct.unpack_from(f"{order}I", block, place + 8)
        if kind == _LONG and size == 1:
            yield tag, value
        elif kind == _ASCII and size <= len(block):
            start = place + 8 if size <= 4 else value
            yield tag, block[start : start + size]


def _text(value: bytes | int | None) -> str:
    if not isinstance(value, bytes):
        return ""
    text = value.split(b"\0")[0].decode("utf-8", "replace").strip()
    return text if text.isprintable() else ""
