"""Malformed and awkward files for every door that reads some, drawn by code when a test asks."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def pnm(
    kind: str,
    maxval: int,
    level: int,
    *,
    width: int = 6,
    height: int = 4,
    body: bytes | None = None,
) -> bytes:
    """Return a PGM or PPM of one grey level."""
    if body is None:
        count = width * height * (1 if kind in ("P2", "P5") else 3)
        values = np.full(count, level, np.uint32)
        if kind in ("P5", "P6"):
            body = values.astype(">u2" if maxval > 255 else "u1").tobytes()
        else:
            body = b" ".join(b"%d" % value for value in values)
    return f"{kind}\n# drawn\n{width} {height}\n{maxval}\n".encode() + body


def iso_file(*brands: bytes) -> bytes:
    """Return the first box of an ISO base media file: major brand and compatible brands."""
    body = brands[0] + bytes(4) + b"".join(brands)
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + bytes(64)


def png_header(width: int, height: int) -> bytes:
    """Return the start of a PNG."""
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = zlib.crc32(b"IHDR" + body).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + body + end


def jpeg_header(width: int, height: int) -> bytes:
    """Return the start of a JPEG, an embedded preview of 16 x 16 before its own size."""
    preview = b"\xff\xd8\xff\xc0\0\x11\x08\0\x10\0\x10" + bytes(12)
    start = b"\xff\xd8\xff\xe1" + struct.pack(">H", 2 + len(preview)) + preview
    return start + b"\xff\xc2\0\x11\x08" + struct.pack(">HH", height, width) + bytes(12)


def tiff_header(width: int, height: int, *, order: str = "<", more: tuple[int, ...] = ()) -> bytes:
    """Return a TIFF of one directory; `more` are sides of a tile."""
    tags = dict(zip((256, 257, 322, 323), (width, height, *more), strict=False))
    start = b"II*\0" if order == "<" else b"MM\0*"
    body = struct.pack(order + "H", len(tags))
    for tag, value in tags.items():
        body += struct.pack(order + "HHII", tag, 4, 1, value)
    return start + struct.pack(order + "I", 8) + body + bytes(4)


def big_tiff_header(width: int, height: int) -> bytes:
    """Return a BigTIFF of one directory."""
    body = struct.pack("<Q", 2)
    for tag, value in ((256, width), (257, height)):
        body += struct.pack("<HHQQ", tag, 16, 1, value)
    return b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) + body + bytes(8)


def bmp_header(width: int, height: int, *, length: int = 40) -> bytes:
    """Return the start of a BMP; a length of 12 is that of OS/2."""
    sides = struct.pack("<HH" if length == 12 else "<ii", width, height)
    return b"BM" + bytes(12) + struct.pack("<I", length) + sides + bytes(40)


def webp_header(width: int, height: int) -> bytes:
    """Return the start of an extended WebP."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + sides + bytes(20)


def bomb_headers() -> list[tuple[str, bytes]]:
    """Return small files of every kind that promise 256 megapixels or more."""
    side = 16_000
    return [
        ("png", png_header(side, side)),
        ("jpeg", jpeg_header(side, side)),
        ("webp", webp_header(side, side)),
        ("bmp", bmp_header(side, side)),
        ("bmp from the top", bmp_header(side, -side)),
        ("bmp of OS/2", bmp_header(side, side, length=12)),
        ("tiff", tiff_header(side, side)),
        ("tiff of Motorola", tiff_header(side, side, order=">")),
        ("tiff with a huge tile", tiff_header(10, 10, more=(side, side))),
        ("tiff without size", tiff_header(0, 0)),
        ("big tiff", big_tiff_header(side, side)),
        ("grey pnm", pnm("P5", 255, 0, width=side, height=side, body=b"")),
        ("text pnm", pnm("P2", 255, 0, width=side, height=side, body=b"0 ")),
        ("bitmap", f"P4\n{side} {side}\n".encode() + bytes(9)),
        ("pam", f"P7\nWIDTH {side}\nHEIGHT {side}\n".encode()),
        ("gif", b"GIF89a" + struct.pack("<HH", side, side) + bytes(20)),
        ("avif", iso_file(b"avif", b"mif1")),
        ("animated avif", iso_file(b"avis", b"msf1")),
        ("jpeg 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60)),
        ("jpeg 2000 stream", b"\xff\x4f\xff\x51" + bytes(60)),
        ("sun raster", b"\x59\xa6\x6a\x95" + struct.pack(">II", side, side) + bytes(40)),
        ("radiance", f"#?RADIANCE\n\n-Y {side} +X {side}\n".encode()),
    ]


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box of an ISO base media file."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def moov(samples: int, shown_ms: int | None = None) -> bytes:
    """Return the header of a film of `samples` pictures of 200 ms, `shown_ms` of which are shown.

    Sound of twice the length comes first.
    """

    def track(handler: bytes, count: int, *edits: bytes) -> bytes:
        media = box(
            b"mdia",
            box(b"mdhd", struct.pack(">5I", 0, 0, 0, 1000, count * 200)),
            box(b"hdlr", bytes(8), handler, bytes(13)),
            box(b"minf", box(b"stbl", box(b"stts", struct.pack(">4I", 0, 1, count, 200)))),
        )
        return box(b"trak", *edits, media)

    edits = []
    if shown_ms is not None:
        rows = struct.pack(">IIIiI", 0, 2, 500, -1, 65536) + struct.pack(">IiI", shown_ms, 0, 65536)
        edits.append(box(b"edts", box(b"elst", rows)))
    head = box(b"mvhd", struct.pack(">5I", 0, 0, 0, 1000, samples * 200))
    return box(b"moov", head, track(b"soun", samples * 2), track(b"vide", samples, *edits))
