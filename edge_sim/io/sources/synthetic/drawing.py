"""Drawing of the scenes: rough surfaces, soft edges, light, letters, and poses.

Pure functions of their arguments.

Random numbers come as raw integers of a seeded PCG64 and pictures stay uint8 where they can, so
that the same seed gives the same bytes on every machine, as far as OpenCV's drawing does.

Letters are drawn as strokes: OpenCV's own change from one major version to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import BgrImage, GrayImage

WIDTH_PX = 640
HEIGHT_PX = 480

Color = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""
FloatField = NDArray[np.float32]
"""(H, W) float32."""


def clouds(cell_px: int, seed: int, *, stretch: int = 1) -> FloatField:
    """Return a smooth random (480, 640) field in about -1..1 whose bumps are `cell_px` wide.

    `stretch` makes them that many times taller.
    """
    rows = HEIGHT_PX // (cell_px * stretch) + 3
    columns = WIDTH_PX // cell_px + 3
    coarse = np.random.default_rng(seed).integers(0, 256, (rows, columns)).astype(np.float32)
    size = (columns * cell_px, rows * cell_px * stretch)
    field = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(field[:HEIGHT_PX, :WIDTH_PX] / 127.5 - 1.0, np.float32)


def rough(seed: int) -> FloatField:
    """Return fine and coarse grain together, about -1..1: plaster, asphalt, ceramic."""
    return np.asarray(
        0.5 * clouds(2, seed) + 0.3 * clouds(7, seed + 1) + 0.35 * clouds(60, seed + 2), np.float32
    )


def surface(color: Color, field: FloatField, strength: float) -> BgrImage:
    """Return a (480, 640, 3) surface of `color`, lighter and darker by `strength` grey levels."""
    tinted = np.asarray(color, np.float32) + strength * field[:, :, None]
    return to_u8(tinted)


def to_u8(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return float grey levels rounded and cut to 0..255."""
    # One pass: OpenCV rounds halves to even and cuts, as numpy would in three.
    cut = cv2.addWeighted(values, 1.0, values, 0.0, 0.0, dtype=cv2.CV_8U)
    return np.asarray(cut, np.uint8).reshape(values.shape)


def polygon_mask(points: Sequence[tuple[int, int]], *, soft_px: int = 0) -> GrayImage:
    """Return a (480, 640) mask, 255 inside the polygon; `soft_px` blurs its edge."""
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    cv2.fillPoly(mask, [np.array(points, np.int32)], 255, cv2.LINE_AA)
    return softened(mask, soft_px)


def ellipse_mask(
    center: tuple[int, int], axes: tuple[int, int], *, angle: float = 0.0, soft_px: int = 0
) -> GrayImage:
    """Return a (480, 640) mask, 255 inside the ellipse; `soft_px` blurs its edge."""
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    cv2.ellipse(mask, center, axes, angle, 0, 360, 255, -1, cv2.LINE_AA)
    return softened(mask, soft_px)


def softened(mask: GrayImage, soft_px: int) -> GrayImage:
    """Return the mask with its edge blurred over about `soft_px` pixels."""
    if soft_px <= 0:
        return mask
    side = 2 * soft_px + 1
    return np.asarray(cv2.blur(cv2.blur(mask, (side, side)), (side, side)), np.uint8)


def blend(canvas: BgrImage, paint: BgrImage | Color, mask: GrayImage, amount: float = 1.0) -> None:
    """Lay `paint` over `canvas` in place where `mask` is 255; `amount` thins it, 0 to 1."""
    left, top, width, height = cv2.boundingRect(mask)
    if width == 0 or height == 0:
        return
    part = (slice(top, top + height), slice(left, left + width))
    alpha = mask[part].astype(np.float32)[:, :, None] * (amount / 255.0)
    below = canvas[part].astype(np.float32)
    above = np.asarray(paint if isinstance(paint, tuple) else paint[part], np.float32)
    canvas[part] = to_u8(below + (above - below) * alpha)


def shade(canvas: BgrImage, mask: GrayImage, factor: float) -> None:
    """Multiply `canvas` in place by `factor` where `mask` is 255."""
    left, top, width, height = cv2.boundingRect(mask)
    if width == 0 or height == 0:
        return
    part = (slice(top, top + height), slice(left, left + width))
    gain = 1.0 + (factor - 1.0) * mask[part].astype(np.float32)[:, :, None] / 255.0
    canvas[part] = to_u8(canvas[part].astype(np.float32) * gain)


_ADVANCE = 6
_STROKES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "2": ((0, 1), (1, 0), (3, 0), (4, 1), (4, 2), (0, 6), (4, 6)),
    "A": ((0, 6), (2, 0), (4, 6), (3, 4), (1, 4)),
    "B": ((0, 3), (3, 3), (4, 4), (4, 5), (3, 6), (0, 6), (0, 0), (3, 0), (4, 1), (4, 2), (3, 3)),
    "M": ((0, 6), (0, 0), (2, 3), (4, 0), (4, 6)),
    "P": ((0, 6), (0, 0), (3, 0), (4, 1), (4, 2), (3, 3), (0, 3)),
    "R": ((0, 6), (0, 0), (3, 0), (4, 1), (4, 2), (3, 3), (0, 3), (2, 3), (4, 6)),
    "U": ((0, 0), (0, 5), (1, 6), (3, 6), (4, 5), (4, 0)),
}
"""One line per letter on a grid of 4 x 6, downwards."""


def write(
    canvas: BgrImage, text: str, corner: tuple[int, int], *, unit_px: float, color: Color
) -> None:
    """Write capitals in place; `corner` is the upper left, a letter 4 x 6 units large."""
    thickness = max(1, round(unit_px * 0.9))
    for place, letter in enumerate(text):
        if letter == " ":
            continue
        points = [
            (round(corner[0] + (x + place * _ADVANCE) * unit_px), round(corner[1] + y * unit_px))
            for x, y in _STROKES[letter]
        ]
        line = [np.array(points, np.int32)]
        cv2.polylines(canvas, line, isClosed=False, color=color, thickness=thickness)


@dataclass(frozen=True, slots=True)
class Pose:
    """Position of the moving part of a scene, and its variant.

    Args:
        level: 0 is the scene's first state, 1 the second, between them it moves.
        variant: Number of one of many like pictures of a state: another heap, another car.
        passage: 0 to 1 through a transition, for its cause (a hand, a cat); None at rest.
        rising: True where the transition goes from the first state to the second.
    """

    level: float
    variant: int = 0
    passage: float | None = None
    rising: bool = True
