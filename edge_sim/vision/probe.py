"""Regions, masks, and the features of the regions of one frame, computed once and on demand.

Watches on one source share the frame; those with the same region share everything that is computed
from it, down to the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import (
    coarse_image,
    crop,
    edges_of,
    is_slate,
    may_be_slate,
    measure,
    squash,
)
from edge_sim.core.protocols import Embedder
from edge_sim.core.raw_pictures import LazyRegion
from edge_sim.core.types import (
    FULL_FRAME,
    THUMBNAIL_PX,
    BgrImage,
    Embedding,
    FloatPlane,
    Frame,
    GrayImage,
    Probe,
    Quality,
    Roi,
)

_HIDDEN = 128
_COUNTS_FROM = 128
_RED = np.array((0, 0, 170), np.uint8)


class Mask:
    """Mask that hides pixels of a region, whatever its size.

    Args:
        plane: (h, w) uint8 of any size, 128 and more where pixels count.

    Raises:
        ValueError: Not (h, w) uint8.
    """

    def __init__(self, plane: GrayImage) -> None:
        if plane.ndim != 2 or plane.dtype != np.uint8 or not plane.size:
            raise ValueError(f"a mask must be uint8 (h, w), got {plane.dtype} {plane.shape}")
        self._plane: GrayImage = np.where(plane >= _COUNTS_FROM, 255, 0).astype(np.uint8)
        # A watch needs two sizes, frame after frame: fitting is slower than hiding.
        self._fitted: dict[tuple[int, int], GrayImage] = {}

    @classmethod
    def painted(cls, plane: GrayImage) -> Mask:
        """Return the mask of a plane that somebody made, which may hold 0 and 1 alone.

        Raises:
            ValueError: Not (h, w) uint8, or no pixel counts.
        """
        mask = cls(plane * np.uint8(255) if plane.size and plane.max() == 1 else plane)
        if mask.hidden_share == 1.0:
            raise ValueError("it hides the whole region: paint white what counts")
        return mask

    @property
    def hidden_share(self) -> float:
        """Part of the region that does not count, 0 to 1."""
        return 1.0 - cv2.countNonZero(self._plane) / self._plane.size

    def shown(self, pixels: BgrImage) -> BgrImage:
        """Return a copy of (H, W, 3) uint8 BGR, red over the pixels that do not count."""
        is_hidden = self._fit(pixels.shape[0], pixels.shape[1]) == 0
        picture = pixels.copy()
        picture[is_hidden] = picture[is_hidden] // 3 + _RED
        return picture

    def hide(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a copy of (H, W, 3) or (H, W) uint8 with mid-grey where pixels do not count."""
        visible = np.full_like(pixels, _HIDDEN, order="C")
        cv2.copyTo(pixels, self._fit(pixels.shape[0], pixels.shape[1]), visible)
        return visible

    def _fit(self, height_px: int, width_px: int) -> GrayImage:
        fitted = self._fitted.get((height_px, width_px))
        if fitted is None:
            size = width_px, height_px
            fitted = np.asarray(cv2.resize(self._plane, size, interpolation=cv2.INTER_NEAREST))
            if len(self._fitted) >= 2:  # the source has changed its size
                self._fitted = {}
            self._fitted = {**self._fitted, (height_px, width_px): fitted}
        return fitted


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Region of a watch.

    Args:
        roi: Corners in fractions of the frame.
        mask: Mask of the region; None to count all of it.
    """

    roi: Roi = FULL_FRAME
    mask: Mask | None = None

    def pixels_of(self, frame: BgrImage) -> BgrImage:
        """Return the region's pixels: a view, or a copy where a mask applies."""
        pixels = crop(frame, self.roi)
        return pixels if self.mask is None else self.mask.hide(pixels)

    def moved(self, x: float, y: float) -> Region:
        """Return the region shifted by parts of its width and height, within the frame."""
        x1, x2 = _offset_side(self.roi.x1, self.roi.x2, x)
        y1, y2 = _offset_side(self.roi.y1, self.roi.y2, y)
        return Region(Roi(x1, y1, x2, y2), self.mask)

    def offset_from(self, home: Region) -> tuple[float, float]:
        """Return the shift of this region from `home`, in parts of its width and height."""
        roi, other = self.roi, home.roi
        x = (roi.x1 - other.x1) / (other.x2 - other.x1)
        return x, (roi.y1 - other.y1) / (other.y2 - other.y1)


def _offset_side(low: float, high: float, part: float) -> tuple[float, float]:
    step = min(max(part * (high - low), -low), 1.0 - high)
    return max(low + step, 0.0), min(high + step, 1.0)


class RegionFeatures:
    """Features of one region of one frame.

    Args:
        view: Region, or its pixels, (H, W, 3) uint8 BGR, before the mask.
        embedder: Embedder of the watch.
        mask: Mask of the region; None to count all of it.
    """

    __slots__ = (
        "_coarse_image",
        "_edges",
        "_embedder",
        "_embedding",
        "_is_slate",
        "_mask",
        "_readings",
        "_small",
        "_view",
    )

    def __init__(
        self, view: LazyRegion | BgrImage, embedder: Embedder, *, mask: Mask | None = None
    ) -> None:
        self._view = view
        self._embedder = embedder
        self._mask = mask
        self._coarse_image: GrayImage | None = None
        self._small: BgrImage | None = None
        self._readings: tuple[GrayImage, Quality] | None = None
        self._is_slate: bool | None = None
        self._edges: FloatPlane | None = None
        self._embedding: Embedding | None = None

    @property
    def coarse_image(self) -> GrayImage:
        """Coarse image for the change gate, see `images.coarse_image`."""
        if self._coarse_image is None:
            view = self._view
            seen = coarse_image(view) if isinstance(view, np.ndarray) else view.coarse()
            self._coarse_image = self._without_hidden(seen)
        return self._coarse_image

    @property
    def readings(self) -> tuple[GrayImage, Quality]:
        """Thumbnail and quality."""
        if self._readings is None:
            # Embedding and thumbnail start from the same small picture: the frame is read once.
            self._readings = measure(self._readable())
        return self._readings

    @property
    def is_slate(self) -> bool:
        """True if the region is a slate of one saturated colour."""
        if self._is_slate is None:
            quality = self.readings[1]
            # Few pictures are colourful enough for a second pass over the small picture.
            small = squash(self._readable(), THUMBNAIL_PX) if may_be_slate(quality) else None
            self._is_slate = small is not None and is_slate(small)
        return self._is_slate

    @property
    def edges(self) -> FloatPlane:
        """Edges of the thumbnail."""
        if self._edges is None:
            self._edges = edges_of(self.readings[0])
        return self._edges

    @property
    def embedding(self) -> Embedding:
        """Embedding of the region."""
        if self._embedding is None:
            self._embedding = self._embedder.embed(self.model_pixels)
        return self._embedding

    def probe(
        self,
        captured_at_s: float,
        unix_time_s: float,
        frame_index: int,
        *,
        repeated: bool | None = None,
    ) -> Probe:
        """Return the probe with these features; embeds the region unless that was done."""
        thumbnail, quality = self.readings
        return Probe(
            embedding=self.embedding,
            thumbnail=thumbnail,
            edges=self.edges,
            quality=quality,
            captured_at_s=captured_at_s,
            unix_time_s=unix_time_s,
            frame_index=frame_index,
            repeated=repeated,
            is_slate=self.is_slate,
        )

    @property
    def _pixels(self) -> BgrImage:
        return self._view if isinstance(self._view, np.ndarray) else self._view.pixels

    def _readable(self) -> BgrImage:
        shared = self._embedder.input_px >= THUMBNAIL_PX
        return self.model_pixels if shared else self._without_hidden(self._pixels)

    @property
    def model_pixels(self) -> BgrImage:
        """(S, S, 3) uint8 BGR that the model is given."""
        if self._small is None:
            self._small = squash(self._without_hidden(self._pixels), self._embedder.input_px)
        return self._small

    def _without_hidden(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return pixels if self._mask is None else self._mask.hide(pixels)


class FrameFeatures:
    """Features of the regions of one frame, computed once for each region."""

    __slots__ = ("_embedder", "_known", "frame")

    def __init__(self, frame: Frame, embedder: Embedder) -> None:
        self.frame = frame
        self._embedder = embedder
        self._known: dict[tuple[Roi, int], RegionFeatures] = {}

    def of(self, region: Region) -> RegionFeatures:
        """Return the features of a region."""
        key = region.roi, id(region.mask)
        features = self._known.get(key)
        if features is None:
            side_px = max(self._embedder.input_px, THUMBNAIL_PX)
            view = LazyRegion(self.frame, region.roi, side_px)
            features = self._known[key] = RegionFeatures(view, self._embedder, mask=region.mask)
        return features


def make_probe(
    embedder: Embedder,
    pixels: BgrImage,
    *,
    captured_at_s: float = 0.0,
    unix_time_s: float = 0.0,
    frame_index: int = 0,
) -> Probe:
    """Return the probe of the pixels of one region, already cropped and masked.

    Observation and enrolment share this code, so that their scores can be compared.
    """
    return RegionFeatures(pixels, embedder).probe(captured_at_s, unix_time_s, frame_index)
