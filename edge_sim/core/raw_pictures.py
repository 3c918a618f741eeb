"""Pictures as a decoder or a camera gave them, converted only where somebody looks at them.

Converting a whole 1080p frame to BGR costs as much as decoding it, and a watch looks at a part of
it. A frame with such a picture converts, or decodes, the region of a watch alone; `Frame.pixels`
converts the whole picture when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import (
    COARSE_ROWS,
    LEAST_COARSE_PX,
    coarse_image,
    crop,
    decode_at,
    reduction_for,
    span_of,
)
from edge_sim.core.types import BgrImage, Frame, GrayImage, Roi


def _matrix_of(scale: float, blue: float, red: float) -> NDArray[np.float64]:
    """Return the matrix from (Y, Cb, Cr, 1) to (B, G, R) of ITU-R BT.601.

    Args:
        scale: Of the luma, which begins at 16 where it is above 1.
        blue: Of blue from Cb.
        red: Of red from Cr.
    """
    green = -0.114 / 0.587 * blue, -0.299 / 0.587 * red
    rows = np.array([[scale, blue, 0.0], [scale, *green], [scale, 0.0, red]])
    black = np.array([16.0 if scale > 1.0 else 0.0, 128.0, 128.0])
    return np.hstack([rows, -rows @ black[:, None]])


_FROM_VIDEO_RANGE = _matrix_of(255 / 219, 1.772 * 255 / 224, 1.402 * 255 / 224)
_FROM_FULL_RANGE = _matrix_of(1.0, 1.772, 1.402)
_FROM_PAIRS = _FROM_VIDEO_RANGE[:, [0, 1, 0, 2, 3]] * [0.5, 1.0, 0.5, 1.0, 1.0]
_LEAST_PART = 8
_SHRINKING = {1: (), 2: (2,), 4: (2, 2), 8: (2, 4)}
"""Steps of shrinking by a factor. Halving is the fastest, but rounds up an eighth of a level each
time: three times in a row would open a gate."""
_SAMPLE_ROWS = 48
_BLACK_LUMA = np.uint8(16)
"""Level of black where levels do not use the full range."""


class RawPicture(Protocol):
    """Picture that is converted on demand; whoever made it has found it to be sound."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""

    def pixels(self) -> BgrImage:
        """Return the whole picture, (H, W, 3) uint8 BGR."""

    def region(self, roi: Roi, side_px: int) -> BgrImage:
        """Return a region, (h, w, 3) uint8 BGR: at full size, or at one that is enough to squash
        it to `side_px`."""

    def coarse(self, roi: Roi) -> GrayImage:
        """Return a coarse image of a region for the change gate, see `images.coarse_image`."""

    def sample(self) -> NDArray[np.uint8]:
        """Return something small that is equal for equal pictures, and dark for black ones."""


class RawFrame(Frame):
    """Frame whose picture is converted when it is looked at.

    Args:
        pixels: The picture; an array makes it a frame like any other.
        captured_at_s: As of `Frame`, like the others.
        unix_time_s: Seconds since 1970 UTC.
        index: 0-based number.
        source: Name of the source.
    """

    __slots__ = ("_converted", "picture")

    def __init__(
        self,
        pixels: RawPicture | BgrImage,
        captured_at_s: float,
        unix_time_s: float,
        index: int,
        source: str,
    ) -> None:
        is_raw = not isinstance(pixels, np.ndarray)
        for name, value in (
            ("picture", pixels if is_raw else None),
            ("_converted", None if is_raw else pixels),
            ("captured_at_s", captured_at_s),
            ("unix_time_s", unix_time_s),
            ("index", index),
            ("source", source),
        ):
            object.__setattr__(self, name, value)

    picture: RawPicture | None
    """None where the frame was made of an array."""
    _converted: BgrImage | None

    @property
    def pixels(self) -> BgrImage:
        """Whole picture, (H, W, 3) uint8 BGR; converted the first time."""
        if self._converted is None:
            assert self.picture is not None
            object.__setattr__(self, "_converted", self.picture.pixels())
        assert self._converted is not None
        return self._converted

    def numbered(self, index: int) -> RawFrame:
        """Return the frame with another number."""
        content = self._converted if self.picture is None else self.picture
        assert content is not None
        return RawFrame(content, self.captured_at_s, self.unix_time_s, index, self.source)


def region_of(frame: Frame, roi: Roi, side_px: int) -> BgrImage:
    """Return a region of a frame, large enough to squash it to `side_px`; see `RawPicture.region`.

    The whole picture is not converted for it.
    """
    picture = frame.picture if isinstance(frame, RawFrame) else None
    return crop(frame.pixels, roi) if picture is None else picture.region(roi, side_px)


class LazyRegion:
    """Region of a frame, converted when its pixels are looked at.

    Args:
        frame: The frame.
        roi: Region of it.
        side_px: Side that the region is squashed to.
    """

    __slots__ = ("_frame", "_pixels", "_roi", "_side_px")

    def __init__(self, frame: Frame, roi: Roi, side_px: int) -> None:
        self._frame = frame
        self._roi = roi
        self._side_px = side_px
        self._pixels: BgrImage | None = None

    @property
    def pixels(self) -> BgrImage:
        """Pixels of the region, as `region_of` gives them."""
        if self._pixels is None:
            self._pixels = region_of(self._frame, self._roi, self._side_px)
        return self._pixels

    def coarse(self) -> GrayImage:
        """Return the coarse image of the region, see `images.coarse_image`."""
        frame = self._frame
        picture = frame.picture if isinstance(frame, RawFrame) else None
        return coarse_image(self.pixels) if picture is None else picture.coarse(self._roi)


def size_of(frame: Frame) -> tuple[int, int]:
    """Return width and height of a frame, pixels, without converting it."""
    picture = frame.picture if isinstance(frame, RawFrame) else None
    if picture is not None:
        return picture.size
    return frame.pixels.shape[1], frame.pixels.shape[0]


def sample_of(frame: Frame) -> NDArray[np.uint8]:
    """Return some rows of a frame, or what a raw picture has instead; see `RawPicture.sample`."""
    picture = frame.picture if isinstance(frame, RawFrame) else None
    return _some_rows(frame.pixels) if picture is None else picture.sample()


def _some_rows(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # Whole rows: copying scattered pixels takes ten times as long.
    return pixels[:: max(pixels.shape[0] // _SAMPLE_ROWS, 1)]


def _from_black(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.maximum(luma, _BLACK_LUMA) - _BLACK_LUMA


def reduction_of(size: tuple[int, int], roi: Roi, side_px: int) -> int:
    """Return the part, 1 to 8, at which a picture may be decoded for a region of it.

    Args:
        size: Width and height of the picture, pixels.
        roi: Region.
        side_px: Side that the region is squashed to.
    """
    left, right = span_of(roi.x1, roi.x2, size[0])
    top, bottom = span_of(roi.y1, roi.y2, size[1])
    return reduction_for(right - left, bottom - top, side_px)


def gate_part_of(size: tuple[int, int], roi: Roi) -> int:
    """Return the part, 1 to 8, of a picture that is enough for the coarse image of a region.

    Halving ends at less than 48 rows in any case: a smaller picture of 24 and more has the same
    coarse image but for rounding.

    Args:
        size: Width and height of the picture, pixels.
        roi: Region.
    """
    left, right = span_of(roi.x1, roi.x2, size[0])
    top, bottom = span_of(roi.y1, roi.y2, size[1])
    part = 1
    least = min(right - left, bottom - top)
    while part < _LEAST_PART and least // (2 * part) >= LEAST_COARSE_PX:
        part *= 2
    return part


class JpegPicture:
    """JPEG bytes, decoded at a part of their size until somebody needs more of them.

    Args:
        data: The file.
        part: Divisor of both sides, 1, 2, 4 or 8, at which it is decoded now.

    Raises:
        ValueError: As `images.decode`.
    """

    def __init__(self, data: bytes, part: int = 1) -> None:
        self._data = data
        self._known: dict[int, BgrImage] = {}
        first = decode_at(data, part)
        self.size = first.width, first.height
        """Width and height, pixels."""
        self._first = round(first.width / first.pixels.shape[1])
        self._known[self._first] = first.pixels

    def pixels(self) -> BgrImage:
        """Return the whole picture at full size."""
        return self._at(1)

    def region(self, roi: Roi, side_px: int) -> BgrImage:
        """Return a region of what was decoded; it is decoded again where that is too small."""
        return crop(self._at(reduction_of(self.size, roi, side_px)), roi)

    def coarse(self, roi: Roi) -> GrayImage:
        """Return the coarse image of a region, the same whatever was decoded but for rounding."""
        wanted = max(gate_part_of(self.size, roi), self._first)
        # Cropped along the pixels of the part that is wanted, so that the shape is always the same.
        left, right = span_of(roi.x1, roi.x2, self.size[0] // wanted)
        top, bottom = span_of(roi.y1, roi.y2, self.size[1] // wanted)
        scale = wanted // self._first
        pixels = self._known[self._first]
        pixels = pixels[top * scale : bottom * scale, left * scale : right * scale]
        for step in _SHRINKING[scale]:
            scale //= step
            size = (right - left) * scale, (bottom - top) * scale
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        return coarse_image(pixels)

    def sample(self) -> NDArray[np.uint8]:
        """Return some rows of what was decoded."""
        return _some_rows(self._known[self._first])

    def _at(self, part: int) -> BgrImage:
        """Return the picture at this part of its size, or at a larger one that is known."""
        found = max((known for known in self._known if known <= part), default=None)
        if found is None:
            found = part
            self._known[part] = decode_at(self._data, part).pixels
        return self._known[found]


@dataclass(frozen=True, slots=True, eq=False)
class PlanarPicture:
    """YUV planes with half the rows and columns of colour (4:2:0), ITU-R BT.601.

    Args:
        luma: (H, W) uint8; views of a decoder's memory are fine, as long as it keeps them.
        blue: (ceil(H / 2), ceil(W / 2)) uint8, Cb.
        red: As `blue`, Cr.
        full_range: Whether levels go from 0 to 255 instead of 16 to 235.
    """

    luma: GrayImage
    blue: GrayImage
    red: GrayImage
    full_range: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.luma.shape[1], self.luma.shape[0]

    def pixels(self) -> BgrImage:
        """Return the whole picture."""
        return self._converted(0, self.luma.shape[0], 0, self.luma.shape[1])

    def region(self, roi: Roi, side_px: int) -> BgrImage:
        """Return a region, at half its size where that is enough to squash it."""
        left, right = span_of(roi.x1, roi.x2, self.luma.shape[1])
        top, bottom = span_of(roi.y1, roi.y2, self.luma.shape[0])
        if reduction_for(right - left, bottom - top, side_px) > 1:
            return self._halved(top, bottom, left, right)
        return self._converted(top, bottom, left, right)

    def coarse(self, roi: Roi) -> GrayImage:
        """Return the coarse image of a region, (h, 3 w) uint8: blue, green and red in turn."""
        left, right = span_of(roi.x1, roi.x2, self.luma.shape[1])
        top, bottom = span_of(roi.y1, roi.y2, self.luma.shape[0])
        down, across = slice(top // 2, (bottom + 1) // 2), slice(left // 2, (right + 1) // 2)
        luma = coarse_image(self.luma[top:bottom, left:right])
        size = luma.shape[1], luma.shape[0]
        blue, red = (
            cv2.resize(coarse_image(plane[down, across]), size, interpolation=cv2.INTER_AREA)
            for plane in (self.blue, self.red)
        )
        levels = cv2.transform(cv2.merge([luma, blue, red]), self._matrix)
        return np.asarray(levels, np.uint8).reshape(luma.shape[0], -1)

    def sample(self) -> NDArray[np.uint8]:
        """Return some rows of the luma; levels from 16 are moved to 0."""
        luma = _some_rows(self.luma)
        return luma if self.full_range else _from_black(luma)

    @property
    def _matrix(self) -> NDArray[np.float64]:
        return _FROM_FULL_RANGE if self.full_range else _FROM_VIDEO_RANGE

    def _halved(self, top: int, bottom: int, left: int, right: int) -> BgrImage:
        # One sample of colour for each mean of 2 x 2 of luma: as if halved after converting.
        top, left = top // 2, left // 2
        bottom, right = max(bottom // 2, top + 1), max(right // 2, left + 1)
        luma = cv2.resize(
            self.luma[2 * top : 2 * bottom, 2 * left : 2 * right],
            (right - left, bottom - top),
            interpolation=cv2.INTER_AREA,
        )
        planes = [luma, self.blue[top:bottom, left:right], self.red[top:bottom, left:right]]
        return np.asarray(cv2.transform(cv2.merge(planes), self._matrix), np.uint8)

    def _converted(self, top: int, bottom: int, left: int, right: int) -> BgrImage:
        # Colour samples belong to 2 x 2 pixels: begin at an even one, and cut off what is too much.
        first_row, first_column = top // 2, left // 2
        rows, columns = (bottom + 1) // 2 - first_row, (right + 1) // 2 - first_column
        luma = self.luma[2 * first_row : bottom, 2 * first_column : right]
        if luma.shape != (2 * rows, 2 * columns):
            height, width = 2 * rows - luma.shape[0], 2 * columns - luma.shape[1]
            luma = np.asarray(
                cv2.copyMakeBorder(luma, 0, height, 0, width, cv2.BORDER_REPLICATE), np.uint8
            )
        colour = np.empty((rows, columns, 2), np.uint8)
        across = slice(first_column, first_column + columns)
        down = slice(first_row, first_row + rows)
        cv2.merge([self.blue[down, across], self.red[down, across]], dst=colour)
        if self.full_range:
            large = cv2.resize(colour, (2 * columns, 2 * rows), interpolation=cv2.INTER_NEAREST)
            blue, red = cv2.split(large)
            bgr = cv2.cvtColor(cv2.merge([luma, red, blue]), cv2.COLOR_YCrCb2BGR)
        else:
            bgr = cv2.cvtColorTwoPlane(luma, colour, cv2.COLOR_YUV2BGR_NV12)
        pixels: BgrImage = np.asarray(bgr, np.uint8)
        return pixels[top - 2 * first_row :, left - 2 * first_column :][
            : bottom - top, : right - left
        ]


@dataclass(frozen=True, slots=True, eq=False)
class PackedPicture:
    """YUYV of a camera: luma in turn with half the columns of colour (4:2:2), ITU-R BT.601.

    Args:
        data: (H, W, 2) uint8, contiguous, of even width: luma, and Cb and Cr in turn.
    """

    data: NDArray[np.uint8]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.data.shape[1], self.data.shape[0]

    def pixels(self) -> BgrImage:
        """Return the whole picture."""
        return np.asarray(cv2.cvtColor(self.data, cv2.COLOR_YUV2BGR_YUYV), np.uint8)

    def region(self, roi: Roi, side_px: int) -> BgrImage:
        """Return a region, at half its size where that is enough to squash it."""
        left, right = span_of(roi.x1, roi.x2, self.data.shape[1])
        top, bottom = span_of(roi.y1, roi.y2, self.data.shape[0])
        if reduction_for(right - left, bottom - top, side_px) > 1:
            return self._halved(top, bottom, left, right)
        first, end = left // 2 * 2, (right + 1) // 2 * 2  # two pixels share their colour
        pixels = cv2.cvtColor(self.data[top:bottom, first:end], cv2.COLOR_YUV2BGR_YUYV)
        return np.asarray(pixels, np.uint8)[:, left - first : right - first]

    def coarse(self, roi: Roi) -> GrayImage:
        """Return the coarse image of a region, (h, 3 w) uint8: blue, green and red in turn."""
        left, right = span_of(roi.x1, roi.x2, self.data.shape[1])
        top, bottom = span_of(roi.y1, roi.y2, self.data.shape[0])
        step = max((bottom - top) // COARSE_ROWS, 1)
        pairs = self._pairs[top:bottom:step, left // 2 : (right + 1) // 2]
        while min(pairs.shape[0], 3 * pairs.shape[1]) >= 2 * LEAST_COARSE_PX:
            size = pairs.shape[1] // 2, pairs.shape[0] // 2
            even = pairs[: 2 * size[1], : 2 * size[0]]
            pairs = np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.uint8)
        levels = cv2.transform(pairs, _FROM_PAIRS)
        return np.asarray(levels, np.uint8).reshape(levels.shape[0], -1)

    def sample(self) -> NDArray[np.uint8]:
        """Return some rows of the luma; levels from 16 are moved to 0."""
        return _from_black(_some_rows(self.data)[:, :, 0])

    @property
    def _pairs(self) -> NDArray[np.uint8]:
        """Pixels two by two: (H, W / 2, 4), luma, Cb, luma, Cr."""
        height, width = self.data.shape[:2]
        return self.data.reshape(height, width // 2, 4)

    def _halved(self, top: int, bottom: int, left: int, right: int) -> BgrImage:
        # One sample of colour for each mean of 2 x 2 of luma, from every other row.
        top, left = top // 2, left // 2
        bottom, right = max(bottom // 2, top + 1), max(right // 2, left + 1)
        luma = cv2.extractChannel(self.data[2 * top : 2 * bottom, 2 * left : 2 * right], 0)
        luma = cv2.resize(luma, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        pairs = self._pairs[2 * top : 2 * bottom : 2, left:right]
        planes = [luma, cv2.extractChannel(pairs, 1), cv2.extractChannel(pairs, 3)]
        return np.asarray(cv2.transform(cv2.merge(planes), _FROM_VIDEO_RANGE), np.uint8)
