"""Kind and size of a picture, read from the start of its file before anything is decoded.

A file of a few kilobytes can unpack to gigabytes, so the size is checked first. Kinds that are
recognised but not read get a reason: a decoder that takes the first picture in such a file would
give a preview, or one tile.

Layouts: PNG (W3C, section 11), JPEG (ITU T.81, B.2.2), WebP (RFC 9649), BMP, TIFF 6.0 and BigTIFF,
PNM (netpbm), ISO base media files (ISO 14496-12, 4.3).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

MAX_PIXELS = 64_000_000
"""Larger pictures are rejected: 64 megapixels is more than any camera edge_sim is meant for."""

_PNM = re.compile(
    rb"(?P<kind>P[1-6])(?:\s|#[^\n]*\n)+(?P<width>\d{1,9})(?:\s|#[^\n]*\n)+(?P<height>\d{1,9})"
    rb"(?:(?:\s|#[^\n]*\n)+(?P<maxval>\d{1,5}))?\s"
)
_PNM_HEAD = 4096
_START_BYTES = 512
# Start-of-frame markers; C4, C8 and CC between them mean something else.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG_CHUNKS = 64  # before the pixels
_TIFF_ENTRIES = 512
_TIFF_CODES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _TILE_WIDTH, _TILE_HEIGHT = 254, 256, 257, 258, 322, 323
_PHOTOMETRIC, _SAMPLES, _EXTRA_SAMPLES, _DNG_VERSION = 262, 277, 338, 50706
_BRANDS = {
    b"heic": "HEIC", b"heix": "HEIC", b"heim": "HEIC", b"heis": "HEIC", b"hevc": "HEIC",
    b"hevx": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF",
}  # fmt: skip
_VIDEO_BRANDS = re.compile(rb"iso.|mp4.|M4V.|qt  |avc1|3g..|dash|f4v |MSNV|mmp4")
_OTHER_STARTS = (
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"P7\n", "PAM"),
    (b"PF\n", "PFM"),
    (b"Pf\n", "PFM"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"IIU\0", "camera raw"),
    (b"\0\0\1\0", "ICO"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%!PS-Adobe", "EPS"),
    (b"\x01\xda", "SGI"),
    (b"\x0a\x05\x01", "PCX"),
)
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml|<!--|<!DOCTYPE svg|<svg)")
_KINDS_BY_NAME = {".tga": "TGA", ".vda": "TGA", ".icb": "TGA", ".wbmp": "WBMP", ".pcd": "PhotoCD"}
"""Kinds that have no mark of their own in their first bytes."""
_LONGEST_BMP_HEADER = 1024  # of known ones, 124
_OTHER_CONTENTS = (
    (b"PK\3\4", "a zip archive"),
    (b"PK\5\6", "a zip archive"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "packed by gzip"),
    (b"SQLite format 3\0", "a database"),
    (b"\x7fELF", "a program"),
    (b"version https://git-lfs", "a pointer of Git LFS, whose content was not fetched"),
)
_VIDEO_STARTS = (
    b"\x1aE\xdf\xa3",
    b"FLV\x01",
    b"\0\0\x01\xba",
    b"\0\0\x01\xb3",
    b"OggS",
    b"\x30&\xb2u",
)
_TEXT_BYTES = bytes(range(32, 127)) + b"\t\r\n\f"
_STREAMS_OF_JPEG = frozenset({".mjpeg", ".mjpg"})
READ_KINDS = frozenset({"PNG", "JPEG", "WebP", "BMP", "TIFF", "PNM"})
"""Kinds that OpenCV decodes completely and that have their size in the header."""


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """Kind, size and layout of a picture file.

    Args:
        kind: One of `READ_KINDS`, or the name of another kind of picture.
        size: (width, height) in pixels; None where the header does not give it.
        has_alpha: True if pixels may be transparent.
        weight: Memory per pixel relative to a picture of 8 bits per channel.
        maxval: PNM only: the value of white.
        data_at: PNM only: offset of the first pixel.
        reduced: TIFF only: the first picture is a preview or raw data of a sensor.
    """

    kind: str
    size: tuple[int, int] | None = None
    has_alpha: bool = False
    weight: int = 1
    maxval: int = 0
    data_at: int = 0
    reduced: bool = False


def read_header(data: bytes) -> PictureHeader | None:
    """Return kind and size of a picture; None if the bytes are no picture of a known kind."""
    for start, kind in _OTHER_STARTS:
        if data.startswith(start):
            return PictureHeader(kind)
    if data[4:8] == b"ftyp":
        return _iso(data)
    if _SVG.match(data[:_START_BYTES]) and b"<svg" in data[:_START_BYTES]:
        return PictureHeader("SVG")
    for start, name, reader in (
        (b"\x89PNG\r\n\x1a\n", "PNG", _png),
        (b"\xff\xd8\xff", "JPEG", _jpeg),
        (b"RIFF", "WebP", _webp),
        (b"BM", "BMP", _bmp),
        (b"II*\0", "TIFF", _tiff),
        (b"MM\0*", "TIFF", _tiff),
        (b"II+\0", "TIFF", _big_tiff),
        (b"MM\0+", "TIFF", _big_tiff),
        (b"P", "PNM", _pnm),
    ):
        if data.startswith(start):
            try:
                return reader(data)
            except (struct.error, IndexError):
                return PictureHeader(name)
    return None


def holds_picture(start: bytes, suffix: str, *, by_name: bool) -> bool:
    """Return whether a file holds one picture rather than a video, by its content.

    Args:
        start: Its first bytes, some hundred.
        suffix: Suffix of its name; distinguishes a single JPEG from a stream of them.
        by_name: Answer where the content is neither a picture nor a video of a known kind.
    """
    header = read_header(start)
    if header is not None:
        return header.kind != "JPEG" or suffix.lower() not in _STREAMS_OF_JPEG
    return by_name and not _holds_video(start)


def _holds_video(start: bytes) -> bool:
    return (
        start.startswith(_VIDEO_STARTS)
        or start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")
        or (start.startswith(b"RIFF") and start[8:12] == b"AVI ")
        or (len(start) > 376 and start[0] == start[188] == start[376] == 0x47)
    )


def kind_by_name(suffix: str) -> str | None:
    """Return the kind of pictures without a mark in their content, by the suffix of the name."""
    return _KINDS_BY_NAME.get(suffix.lower())


def fault_of(data: bytes) -> str:
    """Return why a file is no picture that can be decoded, in words; sizes are in bytes.

    Args:
        data: Content that is no picture, or that a decoder has rejected.
    """
    if not data:
        return "the file is empty"
    header = read_header(data)
    if header is None:
        return f"not a picture that OpenCV can decode ({content_of(data)})"
    size = "" if header.size is None else f" of {header.size[0]} x {header.size[1]} pixels"
    least = _least_bytes(data, header)
    if least is not None and len(data) < least:
        more = f" of at least {least}" if least - len(data) > 1 else ""
        return f"the file ends early, after {len(data)} bytes{more}: a {header.kind}{size}"
    return f"not a picture that OpenCV can decode (damaged {header.kind}{size or ' header'})"


def content_of(data: bytes) -> str:
    """Return what a file holds that is no picture, by its first bytes."""
    start = data[:_START_BYTES]
    if not start:
        return "it is empty"
    if start.startswith((b"ID3", b"fLaC")) or (start[:4] == b"RIFF" and start[8:12] == b"WAVE"):
        return "sound"
    for mark, content in _OTHER_CONTENTS:
        if start.startswith(mark):
            return content
    if _holds_video(start):
        return "a video"
    if not any(start):
        return "only zeros"
    if start.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        return "a web page"
    try:
        is_text = start[: _START_BYTES - 4].decode("utf-8").isprintable()
    except UnicodeDecodeError:
        is_text = False
    return "text" if is_text or not start.translate(None, _TEXT_BYTES) else "unknown content"


def _least_bytes(data: bytes, header: PictureHeader) -> int | None:
    """Return the least length of a picture file, as far as its structure says; None if unknown."""
    try:
        if header.kind == "PNG":
            return _png_end(data)
        if header.kind == "JPEG":
            return None if b"\xff\xd9" in data[-64:] else len(data) + 1
        if header.kind == "WebP":
            return 8 + int(struct.unpack_from("<I", data, 4)[0])
        if header.kind == "BMP":
            return _bmp_end(data)
        if header.kind == "TIFF":
            place = struct.unpack_from("<I" if data[:2] == b"II" else ">I", data, 4)[0]
            return int(place) + 2 if data[2:4] in (b"*\0", b"\0*") else None
        if header.size is None:
            return len(data) + 1
    except struct.error:
        return len(data) + 1
    return None


def _png_end(data: bytes) -> int:
    at = 8
    while at < len(data):
        if len(data) < at + 12:
            return at + 12
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IEND" or end > len(data):
            return end
        at = end
    return at + 12


def _bmp_end(data: bytes) -> int:
    (offset,) = struct.unpack_from("<I", data, 10)
    length, width, height = struct.unpack_from("<Iii", data, 14)
    bits, compression = struct.unpack_from("<HI", data, 28)
    if length < 40 or compression not in (0, 3):
        return int(offset) + 1
    return int(offset + (width * bits + 31) // 32 * 4 * abs(height))


def check_header(data: bytes) -> PictureHeader:
    """Return the header of a picture that may be decoded.

    Raises:
        ValueError: No picture, a kind that is not read, a size that is not known, or too large.
    """
    header = read_header(data)
    if header is None:
        raise ValueError(fault_of(data))
    if header.kind not in READ_KINDS:
        raise ValueError(f"{header.kind} pictures are not read; convert it to JPEG or PNG")
    if header.reduced:
        raise ValueError("a camera's raw file is not read; convert it to JPEG or PNG")
    if header.size is None:
        raise ValueError(fault_of(data))
    check_size(*header.size, weight=header.weight)
    return header


def check_size(width: int, height: int, *, weight: int = 1) -> None:
    """Raise ValueError for a picture that is empty, or larger than `MAX_PIXELS`.

    Args:
        width: Pixels.
        height: Pixels.
        weight: Memory per pixel relative to a picture of 8 bits per channel.
    """
    if width < 1 or height < 1:
        raise ValueError(f"not a picture that OpenCV can decode ({width} x {height} pixels)")
    if width * height * weight > MAX_PIXELS:
        limit = MAX_PIXELS // weight
        raise ValueError(f"{width} x {height} pixels are more than {limit}")


def _iso(data: bytes) -> PictureHeader | None:
    """Return the header of an HEIF file; None for a video of the same family."""
    length = min(max(int.from_bytes(data[:4], "big"), 16), 256)
    major = data[8:12]
    if major in _BRANDS:
        return PictureHeader(_BRANDS[major])
    if _VIDEO_BRANDS.fullmatch(major):
        return None
    brands = (data[at : at + 4] for at in range(16, length, 4))
    kind = next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    return None if kind is None else PictureHeader(kind)


def _png(data: bytes) -> PictureHeader:
    width, height = struct.unpack_from(">II", data, 16)
    depth, colour = (*data[24:26], 8, 2)[:2]
    has_alpha = colour in (4, 6) or _png_has_transparency(data)
    # Without transparency OpenCV drops the low bytes row by row.
    weight = 2 if depth == 16 and has_alpha else 1
    return PictureHeader("PNG", (width, height), has_alpha, weight)


def _png_has_transparency(data: bytes) -> bool:
    """Return whether a chunk tRNS stands before the pixels."""
    at = 8
    for _ in range(_PNG_CHUNKS):
        name = data[at + 4 : at + 8]
        if len(name) < 4 or name in (b"IDAT", b"IEND"):
            return False
        if name == b"tRNS":
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def _jpeg(data: bytes) -> PictureHeader:
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return PictureHeader("JPEG", (width, height))
        alone = marker == 0x01 or 0xD0 <= marker <= 0xD8
        at += 2 if alone else 2 + struct.unpack_from(">H", data, at + 2)[0]
    return PictureHeader("JPEG")


def _webp(data: bytes) -> PictureHeader | None:
    if data[8:12] != b"WEBP":
        return None  # an AVI is a RIFF file, too
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        return PictureHeader("WebP", (width, height), bool(data[20] & 0x10))
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        size = 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
        return PictureHeader("WebP", size, bool(bits >> 28 & 1))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return PictureHeader("WebP", (width & 0x3FFF, height & 0x3FFF))
    return PictureHeader("WebP")


def _bmp(data: bytes) -> PictureHeader | None:
    (length,) = struct.unpack_from("<I", data, 14)
    if length == 12:  # of OS/2, with short numbers
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    if length > _LONGEST_BMP_HEADER:
        return None  # text, perhaps
    return PictureHeader("BMP", (abs(width), abs(height)))


def _tiff(data: bytes) -> PictureHeader:
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    is_raw = data[8:10] == b"CR"
    return _tiff_header(data, order, range(at + 2, at + 2 + 12 * count, 12), 8, is_raw=is_raw)


def _big_tiff(data: bytes) -> PictureHeader:
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "Q", data, 8)
    (count,) = struct.unpack_from(order + "Q", data, at)
    count = min(count, _TIFF_ENTRIES)
    return _tiff_header(data, order, range(at + 8, at + 8 + 20 * count, 20), 12, is_raw=False)


def _tiff_header(
    data: bytes, order: str, entries: range, value_at: int, *, is_raw: bool
) -> PictureHeader:
    """Return the header from the entries of a TIFF's first directory; the largest value counts."""
    found: dict[int, int] = {}
    for at in entries[:_TIFF_ENTRIES]:
        tag, kind = struct.unpack_from(order + "HH", data, at)
        found.setdefault(tag, 0)
        if kind in _TIFF_CODES:
            code = order + _TIFF_CODES[kind]
            value = struct.unpack_from(code, data, _place_of(data, order, at, value_at, code))[0]
            found[tag] = max(found[tag], value)
    is_reduced = is_raw or bool(found.get(_SUBFILE, 0) & 1) or _DNG_VERSION in found
    if not (found.get(_WIDTH) and found.get(_HEIGHT)):
        return PictureHeader("TIFF", reduced=is_reduced)
    # A tile is unpacked whole, also where it is larger than the picture.
    width = max(found[_WIDTH], found.get(_TILE_WIDTH, 0))
    height = max(found[_HEIGHT], found.get(_TILE_HEIGHT, 0))
    weight = max(1, found.get(_BITS, 8) // 8)
    colours = {2: 3, 5: 4, 6: 3, 8: 3}.get(found.get(_PHOTOMETRIC, 1), 1)
    has_alpha = _EXTRA_SAMPLES in found or found.get(_SAMPLES, 1) > colours
    return PictureHeader("TIFF", (width, height), has_alpha, weight, reduced=is_reduced)


def _place_of(data: bytes, order: str, at: int, value_at: int, code: str) -> int:
    """Return the offset of the first value of a TIFF entry: in the entry, or elsewhere if long."""
    word = "I" if value_at == 8 else "Q"
    (count,) = struct.unpack_from(order + word, data, at + 4)
    if count * struct.calcsize(code) <= struct.calcsize(order + word):
        return at + value_at
    (place,) = struct.unpack_from(order + word, data, at + value_at)
    return int(place)


def _pnm(data: bytes) -> PictureHeader | None:
    match = _PNM.match(data[:_PNM_HEAD])
    if match is None:
        return None
    is_bitmap = match["kind"] in (b"P1", b"P4")
    if not is_bitmap and match["maxval"] is None:
        return PictureHeader("PNM")
    maxval = 1 if is_bitmap else int(match["maxval"])
    size = int(match["width"]), int(match["height"])
    weight = 2 if maxval > 255 else 1
    return PictureHeader("PNM", size, weight=weight, maxval=maxval, data_at=match.end())
