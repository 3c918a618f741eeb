"""Pure functions on pixels: decode, convert, crop, shrink, measure, and edges free of light."""

from __future__ import annotations

import importlib
import io
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.picture_header import (
    MAX_PIXELS,
    PictureHeader,
    check_header,
    check_size,
    fault_of,
    read_header,
)
from edge_sim.core.types import THUMBNAIL_PX, BgrImage, FloatPlane, GrayImage, Quality, Roi

EDGES_PX = 24
_HALF_SIZE = THUMBNAIL_PX // 2, THUMBNAIL_PX // 2
_NOISE_LEVELS = np.float32(6.0)


def edges_of(thumbnail: GrayImage) -> FloatPlane:
    """Return the edges of a (96, 96) thumbnail: (24, 24) float32, see `local_contrast`."""
    edges = local_contrast(half_of(thumbnail))
    return _plane(cv2.resize(edges, (EDGES_PX, EDGES_PX), interpolation=cv2.INTER_AREA))


def half_of(thumbnail: GrayImage) -> FloatPlane:
    """Return a (96, 96) thumbnail at half its size: (48, 48) float32 grey levels."""
    small = cv2.resize(thumbnail.astype(np.float32), _HALF_SIZE, interpolation=cv2.INTER_AREA)
    return _plane(small)


def local_contrast(plane: FloatPlane, sigma_px: float = 2.0) -> FloatPlane:
    """Return each pixel less the mean and over the deviation of its neighbourhood.

    Six grey levels are added to the deviation, which keeps sensor noise on flat walls from becoming
    texture. But for that, it is the same in any light.

    Args:
        plane: (H, W) float32 grey levels; at full size it costs four times as much as at half.
        sigma_px: Deviation of the Gaussian weights of the neighbourhood, pixels.
    """
    window = _window(sigma_px)
    mean = _plane(cv2.sepFilter2D(plane, -1, window, window))
    deviation = _plane(cv2.sepFilter2D(plane * plane, -1, window, window))
    deviation -= mean * mean
    np.maximum(deviation, 0.0, out=deviation)
    np.sqrt(deviation, out=deviation)
    deviation += _NOISE_LEVELS
    edges = np.subtract(plane, mean, out=mean)
    edges /= deviation
    return edges


@lru_cache(maxsize=8)
def _window(sigma_px: float) -> FloatPlane:
    return _plane(cv2.getGaussianKernel(2 * round(4 * sigma_px) + 1, sigma_px, cv2.CV_32F))


def _plane(values: object) -> FloatPlane:
    return np.asarray(values, np.float32)


DARK_LEVEL = 8
BRIGHT_LEVEL = 247
_NEUTRAL = np.full((THUMBNAIL_PX, THUMBNAIL_PX, 3), 128, np.uint8)
COARSE_ROWS = 96  # as many as the thumbnail has
LEAST_COARSE_PX = 24
"""Least side of a coarse image, unless its region is smaller."""
_LINEAR_AREA = 16.0
_LINEAR_SIDE = 8.0
"""Pixels per pixel of the target, and per side, below which linear shrinking is good enough: half
the time for 640x480, and no decision is worse but in very strong noise (DESIGN.md, decision 10)."""
_STRIP_BYTES = 1 << 19  # half of the second cache of a core, or less
_LEAST_PART = 8
_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_WHITE = 255  # the grey level behind transparent pixels, as on a white page
_SLATE_SHARE = 0.75
_SLATE_LEVELS = 12  # largest distance from the colour of a slate; text on it lies farther
_SLATE_DEVIATION = 3.0
_SLATE_DOMINANCE = 0.6
"""Least difference of the strongest channel to each other, in parts of it; clear skies and
displays lie below."""
_SLATE_LUMINANCE = 90  # of the strongest channel
_SLATE_CHROMA = 30.0
_BRIGHTEST_FLOAT = 2.0
_SPACE = re.compile(rb"\s")
_TEXT_PART = 1 << 20
_HEIC_MODULE = "pillow_heif"


def as_bgr(pixels: NDArray[Any]) -> BgrImage:
    """Return any usual picture as (H, W, 3) uint8 BGR: grey, BGRA, 16-bit or float in 0..1.

    The levels of a 16-bit picture range to 65535: one of 10 or 12 bits must be scaled before.

    Raises:
        ValueError: Not a picture, empty, not finite, or above `MAX_PIXELS`.
    """
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise ValueError(f"a picture needs shape (H, W) or (H, W, 1|3|4), got {pixels.shape}")
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise ValueError(f"the picture has {pixels.shape} pixels, more than {MAX_PIXELS}")
    pixels = _as_uint8(pixels)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 3:
        return pixels
    if channels == 1:
        return _u8(cv2.cvtColor(pixels.reshape(pixels.shape[:2]), cv2.COLOR_GRAY2BGR))
    if channels == 4:
        return _u8(cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR))
    raise ValueError(f"a picture needs 1, 3 or 4 channels, got {channels}")


def crop(pixels: BgrImage, roi: Roi) -> BgrImage:
    """Return a view of the region, at least 1x1 pixel; nothing is copied."""
    height, width = pixels.shape[:2]
    top, bottom = span_of(roi.y1, roi.y2, height)
    left, right = span_of(roi.x1, roi.x2, width)
    return pixels[top:bottom, left:right]


def squash(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Return the picture at side_px x side_px, proportions not kept; see `squash_into`."""
    return squash_into(pixels, np.empty((side_px, side_px, *pixels.shape[2:]), np.uint8))


def squash_into(pixels: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill `target`, (h, w) or (h, w, 3) uint8, with the picture and return it.

    Squashing, not letterboxing: a fixed region always has the same proportions, so nothing is
    gained by borders. Linear, which reads four pixels for each of the target; where sixteen or
    more become one, area averages halve the picture first, so that no detail is lost.
    """
    height, width = target.shape[:2]
    while _is_far(pixels, height, width):
        rows = 2 if pixels.shape[0] >= 2 * height else 1
        columns = 2 if pixels.shape[1] >= 2 * width else 1
        pixels = _halved_once(pixels, rows, columns)
    if pixels.nbytes > _STRIP_BYTES:
        _bring_near(pixels)
    cv2.resize(pixels, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
    return target


def halved(pixels: NDArray[np.uint8], height_px: int, width_px: int) -> NDArray[np.uint8]:
    """Return the picture halved until a further step would fall below this height or width.

    Means of 2x2 pixels are vectorised in OpenCV, area averaging by other ratios is not: it takes
    about ten times as long.
    """
    while True:
        tall, wide = pixels.shape[0] / height_px, pixels.shape[1] / width_px
        # One side alone is halved only where the other is small enough: OpenCV is slow at it.
        rows = 2 if tall >= 2 and (wide >= 2 or tall >= 4) else 1
        columns = 2 if wide >= 2 and (tall >= 2 or wide >= 4) else 1
        if rows == columns == 1:
            return pixels
        pixels = _halved_once(pixels, rows, columns)


def _is_far(pixels: NDArray[np.uint8], height_px: int, width_px: int) -> bool:
    """Return whether linear shrinking would read too few of the pixels."""
    tall, wide = pixels.shape[0] / height_px, pixels.shape[1] / width_px
    return _is_far_ratio(tall, wide)


def _is_far_ratio(tall: float, wide: float) -> bool:
    return tall * wide >= _LINEAR_AREA or max(tall, wide) >= _LINEAR_SIDE


def _halved_once(pixels: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Return the means of `rows` x `columns` pixels; a remainder at the end is cut off."""
    size = pixels.shape[1] // columns, pixels.shape[0] // rows
    even = pixels[: rows * size[1], : columns * size[0]]
    if rows == columns == 2 and even.nbytes > _STRIP_BYTES // 2:
        return _halved_by_strips(even)
    return _u8(cv2.resize(even, size, interpolation=cv2.INTER_AREA))


def _halved_by_strips(even: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a large picture, of even height and width, halved.

    Each strip is brought into the cache and halved there: two thirds of the time for 640x480.
    """
    height, width = even.shape[:2]
    half = np.empty((height // 2, width // 2, *even.shape[2:]), np.uint8)
    rows = max(_STRIP_BYTES * height // even.nbytes // 2 * 2, 2)
    for top in range(0, height, rows):
        strip = even[top : top + rows]
        _bring_near(strip)
        target = half[top // 2 : (top + len(strip)) // 2]
        cv2.resize(strip, (width // 2, len(target)), dst=target, interpolation=cv2.INTER_AREA)
    return half


def _bring_near(pixels: NDArray[np.uint8]) -> None:
    """Read pixels once, into the cache.

    OpenCV's shrinking waits for memory, a plain reading of the same bytes hardly does.
    """
    cv2.norm(pixels, cv2.NORM_INF)


def gray(pixels: BgrImage) -> GrayImage:
    """Return the luma of a BGR picture, BT.601."""
    return _u8(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))


def thumbnail(pixels: BgrImage) -> GrayImage:
    """Return the (96, 96) grey thumbnail of a region."""
    return gray(squash(pixels, THUMBNAIL_PX))


def measure(pixels: BgrImage) -> tuple[GrayImage, Quality]:
    """Return the thumbnail of a region and its quality readings.

    All readings are taken on the squashed region: they cost the same at any resolution.
    """
    small = squash(pixels, THUMBNAIL_PX)
    luma = gray(small)
    mean, deviation = cv2.meanStdDev(luma)
    quality = Quality(
        luma=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        sharpness=sharpness_of(luma),
        chroma=_chroma(small),
        clipped_dark=1.0 - _share_above(luma, DARK_LEVEL),
        clipped_bright=_share_above(luma, BRIGHT_LEVEL - 1),
    )
    return luma, quality


def may_be_slate(quality: Quality) -> bool:
    """Return whether a region is colourful enough for `is_slate`."""
    return quality.chroma >= _SLATE_CHROMA


def is_slate(pixels: BgrImage) -> bool:
    """Return whether a picture is a slate: nearly all of it in one saturated blue or green.

    Video recorders show a blue slate, often with a text, where a camera gives no signal; decoders
    show a green one where the bytes of a picture are zero.

    Args:
        pixels: (H, W, 3) uint8 BGR of the region, small; grey 128 where a mask hides it.
    """
    flat = pixels.reshape(-1, 3)
    counted = flat[(flat != 128).any(axis=1)].astype(np.int16)
    if not len(counted):
        return False
    middle = len(counted) // 2
    colour = np.partition(counted, middle, axis=0)[middle]
    second, brightest = (int(level) for level in np.sort(colour)[1:])
    is_pure = brightest - second >= _SLATE_DOMINANCE * brightest
    is_red = colour.argmax() == 2  # as a finger on the lens is
    if brightest < _SLATE_LUMINANCE or not is_pure or is_red:
        return False
    distance = np.abs(counted - colour)
    near = distance.max(axis=1) <= _SLATE_LEVELS
    squares = np.square(distance[near], dtype=np.float32)
    return bool(near.mean() >= _SLATE_SHARE and squares.mean() <= _SLATE_DEVIATION**2)


def sharpness_of(thumbnail: GrayImage) -> float:
    """Return the variance of the Laplacian of a thumbnail, grey levels squared."""
    edges = cv2.Laplacian(thumbnail, cv2.CV_16S)
    # Mean square less squared mean: both are whole numbers, so that nothing is lost.
    square = cv2.norm(edges, cv2.NORM_L2SQR) / edges.size
    return max(square - (cv2.sumElems(edges)[0] / edges.size) ** 2, 0.0)


def coarse_image(pixels: BgrImage) -> GrayImage:
    """Return a coarse image of a region, (h, w) uint8, for comparison with that of another frame.

    Some hundred rows, taken evenly, are read as one row of bytes each and halved to 24 rows and
    more, so that a value is the mean of bytes of two colours. A 640x480 frame takes a tenth of the
    time of its thumbnail, most of which is reading.
    """
    rows = pixels[:: max(pixels.shape[0] // COARSE_ROWS, 1)]
    coarse = rows.reshape(rows.shape[0], -1)
    while min(coarse.shape) >= 2 * LEAST_COARSE_PX:
        size = coarse.shape[1] // 2, coarse.shape[0] // 2
        even = coarse[: 2 * size[1], : 2 * size[0]]
        coarse = _u8(cv2.resize(even, size, interpolation=cv2.INTER_AREA))
    return coarse


def encode_jpeg(pixels: BgrImage, quality: int = 92) -> bytes:
    """Return the picture as JPEG bytes."""
    done, buffer = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"OpenCV cannot encode a picture of shape {pixels.shape} as JPEG")
    return buffer.tobytes()


def decode(data: bytes) -> BgrImage:
    """Return the picture in an encoded file, orientation applied, transparency on white.

    Kind and size are read from the header first: nothing above `MAX_PIXELS` is decoded, and no
    kind of which OpenCV would decode a part only.

    Raises:
        ValueError: No picture that can be decoded completely, or one that is too large.
    """
    header = read_header(data)
    if header is not None and header.kind == "HEIC":
        return _decoded_heic(data)
    header = check_header(data)
    if header.kind == "PNM" and header.maxval > 1:
        return as_bgr(_decoded_pnm(data, header))
    if header.has_alpha:
        return _on_white(_decoded(data, cv2.IMREAD_UNCHANGED))
    return as_bgr(_decoded(data, cv2.IMREAD_COLOR))


@dataclass(frozen=True, slots=True, eq=False)
class ReducedPicture:
    """Picture that may have been decoded at a half, a quarter or an eighth of its size.

    Args:
        pixels: (h, w, 3) uint8 BGR, upright.
        width: Width at full size, pixels; upright.
        height: Height at full size, pixels; upright.
    """

    pixels: BgrImage
    width: int
    height: int


def reduction_for(width: int, height: int, side_px: int) -> int:
    """Return the part, 1/1 to 1/8, at which a region may be decoded to be squashed to `side_px`.

    Both sides stay as long as `side_px`, and only those means of 2x2 pixels are left to the
    decoder that `squash_into` would compute, so that the small picture is the same but for
    rounding.
    """
    part = 1
    while part < _LEAST_PART:
        wide, tall = width // part / side_px, height // part / side_px
        if not _is_far_ratio(tall, wide) or min(tall, wide) < 2.0:
            break
        part *= 2
    return part


def decode_reduced(data: bytes, side_px: int) -> ReducedPicture:
    """Return a picture as `decode` does, a JPEG no larger than squashing it to `side_px` needs.

    Raises:
        ValueError: As `decode`.
    """
    header = read_header(data)
    size = None if header is None or header.kind != "JPEG" else header.size
    return decode_at(data, 1 if size is None else reduction_for(*size, side_px))


def decode_at(data: bytes, part: int) -> ReducedPicture:
    """Return a picture as `decode` does, a JPEG at a part of its size: 1, 2, 4 or 8.

    Raises:
        ValueError: As `decode`.
    """
    header = read_header(data) if part > 1 else None
    if header is not None and header.kind == "JPEG" and header.size is not None:
        width, height = check_header(data).size or header.size
        # A remainder at the end is cut off, as in `squash_into`; turned, it may lie at the start.
        while (width % part or height % part) and b"Exif\0" in data:
            part //= 2
        if part > 1:
            pixels = as_bgr(_decoded(data, _REDUCED[part]))
            if pixels.shape[:2] != (-(-height // part), -(-width // part)):
                width, height = height, width
            return ReducedPicture(pixels[: height // part, : width // part], width, height)
    pixels = decode(data)
    return ReducedPicture(pixels, pixels.shape[1], pixels.shape[0])


def decode_mask(data: bytes) -> GrayImage:
    """Return the grey levels of a mask file, light where pixels count.

    On transparency, the paint is the mask: if only light was painted, what is transparent does not
    count; otherwise it counts.

    Raises:
        ValueError: No picture that can be decoded, or one that is transparent all over.
    """
    header = read_header(data)
    if header is None or not header.has_alpha or header.kind == "HEIC":
        return gray(decode(data))
    check_header(data)
    pixels = _as_uint8(_decoded(data, cv2.IMREAD_UNCHANGED))
    levels = gray(as_bgr(pixels))
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        return levels
    is_painted = pixels[:, :, 3] >= 128
    if not is_painted.any():
        raise ValueError("nothing is painted: all of it is transparent")
    is_light = bool((levels[is_painted] >= 128).all())
    levels[~is_painted] = 0 if is_light else 255
    return levels


def _decoded(data: bytes, flags: int) -> NDArray[Any]:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"{fault_of(data)} ({error.err})") from error
    if pixels is None:
        raise ValueError(fault_of(data))
    return pixels


def _decoded_pnm(data: bytes, header: PictureHeader) -> NDArray[Any]:
    """Return a PGM or PPM picture; OpenCV takes every maxval for 255 or 65535."""
    assert header.size is not None
    kind, (width, height) = data[:2], header.size
    shape = (height, width) if kind in (b"P2", b"P5") else (height, width, 3)
    count = int(np.prod(shape))
    if kind in (b"P5", b"P6"):
        number = np.dtype(">u2" if header.maxval > 255 else "u1")
        if len(data) - header.data_at < count * number.itemsize:
            raise ValueError(_ends_early(data, header, header.data_at + count * number.itemsize))
        values = np.frombuffer(data, number, count, header.data_at)
    else:
        values = _numbers(data, header, count)
    scale = np.arange(header.maxval + 1, dtype=np.float64) * (255.0 / header.maxval)
    levels = np.rint(scale).astype(np.uint8)
    pixels = levels[np.minimum(values, header.maxval)].reshape(shape)
    return pixels if len(shape) == 2 else pixels[:, :, ::-1].copy()


def _ends_early(data: bytes, header: PictureHeader, least: int) -> str:
    width, height = header.size or (0, 0)
    return (
        f"the file ends early, after {len(data)} bytes of at least {least}: "
        f"a {header.kind} of {width} x {height} pixels"
    )


def _numbers(data: bytes, header: PictureHeader, count: int) -> NDArray[np.uint32]:
    """Return `count` numbers of a text, part by part: a list of all of them would be huge."""
    values, found, at = np.empty(count, np.uint32), 0, header.data_at
    while found < count and at < len(data):
        space = _SPACE.search(data, at + _TEXT_PART)
        end = space.start() if space else len(data)
        part = data[at:end].split()[: count - found]
        try:
            values[found : found + len(part)] = [int(word) for word in part]
        except (ValueError, OverflowError) as error:
            raise ValueError("not a picture that OpenCV can decode (no number)") from error
        found, at = found + len(part), end
    if found < count:
        raise ValueError(_ends_early(data, header, len(data) + 2 * (count - found)))
    return values


def _on_white(pixels: NDArray[Any]) -> BgrImage:
    """Return a picture with its transparent pixels on white; their hidden colours are dropped."""
    pixels = _as_uint8(pixels)
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        return as_bgr(pixels)
    alpha = pixels[:, :, 3]
    if alpha.min() == 255:
        return as_bgr(pixels)
    share = cv2.merge([alpha, alpha, alpha])
    opaque = cv2.multiply(as_bgr(pixels), share, scale=1 / 255)
    background = cv2.multiply(255 - share, np.full_like(share, _WHITE), scale=1 / 255)
    return _u8(cv2.add(opaque, background))


def _decoded_heic(data: bytes) -> BgrImage:
    """Return an HEIC picture with all of its tiles, decoded by the optional package pillow-heif."""
    try:
        module = importlib.import_module(_HEIC_MODULE)
    except ImportError:
        raise ValueError(
            "HEIC pictures need the package pillow-heif (pip install 'edge_sim[heic]'); "
            "or convert it to JPEG or PNG"
        ) from None
    try:
        picture = module.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
        check_size(*picture.size)
        return _on_white(_bgr_of(np.asarray(picture)))
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"not a picture that OpenCV can decode ({error})") from error


def _bgr_of(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return RGB or RGBA pixels as BGR or BGRA."""
    if pixels.ndim != 3:
        return pixels
    code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    return np.asarray(cv2.cvtColor(pixels, code))


def _as_uint8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        return _u8(pixels >> 8)
    if np.issubdtype(pixels.dtype, np.floating):
        if not np.isfinite(pixels).all():
            raise ValueError("the picture holds NaN or infinity")
        if pixels.max() > _BRIGHTEST_FLOAT:
            raise ValueError(
                f"a float picture needs levels of 0 to 1, got up to {pixels.max():g}; "
                f"divide it by its level of white, such as 255"
            )
        return _u8(np.clip(pixels, 0.0, 1.0) * 255.0 + 0.5)
    raise ValueError(f"a picture needs dtype uint8, uint16 or float, got {pixels.dtype}")


def span_of(low: float, high: float, size: int) -> tuple[int, int]:
    """Return the first pixel and the end of a side of a region, in fractions of `size`."""
    first = min(round(low * size), size - 1)
    return first, max(round(high * size), first + 1)


def _share_above(luma: GrayImage, level: int) -> float:
    above = cv2.threshold(luma, level, 1, cv2.THRESH_BINARY)[1]
    return cv2.countNonZero(above) / luma.size


def _chroma(pixels: BgrImage) -> float:
    _, cr, cb, _ = cv2.mean(cv2.absdiff(cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb), _NEUTRAL))
    return float(cr + cb)


def _u8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Narrow OpenCV's loose return type; no copy for uint8."""
    narrowed: NDArray[np.uint8] = pixels.astype(np.uint8, copy=False)
    return narrowed
