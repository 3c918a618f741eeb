"""A drawing as pixels, with OpenCV alone; always on a light surface."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.report.drawing import (
    Drawing,
    Image,
    Item,
    Point,
    Polyline,
    Rect,
    Text,
    bgr_of,
)
from edge_sim.core.images import as_bgr
from edge_sim.core.types import BgrImage

_SHIFT = 4  # OpenCV draws at 1/16 pixel
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAP_HEIGHT = 0.72  # of the text size; what sans-serif capitals take
_HERSHEY_CAP_PX = 21.0  # height of a capital of the font at scale 1
_MAX_OVERSAMPLE_PX = 4096
_PLAIN = str.maketrans({"→": "->", "·": "-", "…": "...", "×": "x", "≥": ">=", "-": "-"})


def render(drawing: Drawing, scale: float = 1.0) -> BgrImage:
    """Return (H, W, 3) uint8 BGR pixels, `scale` times the size of the drawing."""
    height, width = round(drawing.height * scale), round(drawing.width * scale)
    canvas = np.empty((max(1, height), max(1, width), 3), np.uint8)
    canvas[:] = bgr_of("page")
    for item in drawing.items:
        _paint(canvas, item, scale)
    return canvas


def dashes(points: Sequence[Point], on: float, off: float) -> Iterator[tuple[Point, Point]]:
    """Yield the pieces of a dashed line through `points`; the pattern runs on across corners."""
    travelled = 0.0
    period = on + off
    for (x1, y1), (x2, y2) in pairwise(points):
        length = float(np.hypot(x2 - x1, y2 - y1))
        done = 0.0
        while done < length:
            phase = (travelled + done) % period
            left = on - phase if phase < on else period - phase
            step = min(max(left, 1e-3), length - done)
            if phase < on:
                start, end = done / length, (done + step) / length
                yield (
                    (x1 + (x2 - x1) * start, y1 + (y2 - y1) * start),
                    (x1 + (x2 - x1) * end, y1 + (y2 - y1) * end),
                )
            done += step
        travelled += length


def _paint(canvas: BgrImage, item: Item, scale: float) -> None:
    if isinstance(item, Rect):
        _paint_rect(canvas, item, scale)
    elif isinstance(item, Polyline):
        _paint_polyline(canvas, item, scale)
    elif isinstance(item, Text):
        _paint_text(canvas, item, scale)
    else:
        _paint_image(canvas, item, scale)


def _paint_rect(canvas: BgrImage, item: Rect, scale: float) -> None:
    left, top, right, bottom = _corners(item, scale, canvas)
    if right <= left or bottom <= top:
        return
    area = canvas[top:bottom, left:right]
    mask = np.full(area.shape[:2], item.opacity, np.float32)
    if item.hatched:
        mask *= _stripes(left, top, area.shape, scale)
    if item.radius:
        mask *= _rounded(area.shape, item.radius * scale)
    _blend(area, mask, bgr_of(item.fill))


def _paint_polyline(canvas: BgrImage, item: Polyline, scale: float) -> None:
    points = [(x * scale, y * scale) for x, y in item.points]
    if len(points) < 2:
        return
    if item.closed:
        _paint_area(canvas, points, item)
        return
    # A faint line is drawn in a paler colour: most lines cross nothing but the panel.
    colour = _paler(item.colour, item.opacity)
    width = max(1, round(item.width * scale))
    if item.dash is None:
        cv2.polylines(canvas, [_fixed(points)], False, colour, width, cv2.LINE_AA, _SHIFT)
        return
    on, off = item.dash
    for piece in dashes(points, on * scale, off * scale):
        cv2.polylines(canvas, [_fixed(piece)], False, colour, width, cv2.LINE_AA, _SHIFT)


def _paint_area(canvas: BgrImage, points: Sequence[Point], item: Polyline) -> None:
    corners = np.array(points)
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    area = canvas[low[1] : high[1], low[0] : high[0]]
    if area.size == 0:
        return
    mask = np.zeros(area.shape[:2], np.uint8)
    cv2.fillPoly(mask, [_fixed((corners - low).tolist())], 255, cv2.LINE_AA, _SHIFT)
    _blend(area, mask.astype(np.float32) * (item.opacity / 255.0), bgr_of(item.colour))


def _paint_text(canvas: BgrImage, item: Text, scale: float) -> None:
    text = plain(item.text)
    size_px = item.size * scale
    # Drawn at twice the size and averaged down: the stroke font has no hinting of its own.
    font_scale = 2.0 * size_px * _CAP_HEIGHT / _HERSHEY_CAP_PX
    stroke = _stroke(size_px, item.bold)
    (width, height), base = cv2.getTextSize(text, _FONT, font_scale, stroke)
    if not text or width > 2 * _MAX_OVERSAMPLE_PX:
        return
    pad = 2 * (stroke + 2)
    tile = np.zeros((_even(height + base + 2 * pad), _even(width + 2 * pad)), np.uint8)
    cv2.putText(tile, text, (pad, pad + height), _FONT, font_scale, 255, stroke, cv2.LINE_AA)
    half = (tile.shape[1] // 2, tile.shape[0] // 2)
    small = cv2.resize(tile, half, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    shift = {"start": 0.0, "middle": width / 4, "end": width / 2}[item.anchor]
    left = round(item.x * scale - shift - pad / 2)
    top = round(item.y * scale - (pad + height) / 2)
    _stamp(canvas, small, (left, top), bgr_of(item.colour))


def _stroke(size_px: float, bold: bool) -> int:
    # OpenCV 5 draws an outline font, for which 1 means regular and 2 means bold; before it, the
    # thickness is that of a pen.
    if hasattr(cv2, "FontFace"):
        return 2 if bold else 1
    return max(1, round(size_px * (0.26 if bold else 0.15)))


def plain(text: str) -> str:
    """Return `text` in the characters that OpenCV's stroke fonts have."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in bare)


def _paint_image(canvas: BgrImage, item: Image, scale: float) -> None:
    left, top, right, bottom = _corners(item, scale, canvas)
    if right <= left or bottom <= top:
        return
    size = (right - left, bottom - top)
    canvas[top:bottom, left:right] = cv2.resize(
        as_bgr(item.pixels), size, interpolation=cv2.INTER_AREA
    )


def _stamp(
    canvas: BgrImage, mask: NDArray[np.float32], at: tuple[int, int], bgr: tuple[int, int, int]
) -> None:
    left, top = at
    x1, y1 = max(0, left), max(0, top)
    x2 = min(canvas.shape[1], left + mask.shape[1])
    y2 = min(canvas.shape[0], top + mask.shape[0])
    if x2 > x1 and y2 > y1:
        _blend(canvas[y1:y2, x1:x2], mask[y1 - top : y2 - top, x1 - left : x2 - left], bgr)


def _blend(area: BgrImage, mask: NDArray[np.float32], bgr: tuple[int, int, int]) -> None:
    weight = mask[:, :, None]
    mixed = area * (1.0 - weight) + np.array(bgr, np.float32) * weight
    area[:] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _stripes(left: int, top: int, shape: tuple[int, ...], scale: float) -> NDArray[np.float32]:
    period, on = 10.0 * scale, 3.1 * scale
    diagonal = np.arange(left, left + shape[1])[None, :] + np.arange(top, top + shape[0])[:, None]
    distance = np.abs(diagonal % period - period / 2)
    return _cover(on / 2 - distance + 0.5)


def _rounded(shape: tuple[int, ...], radius: float) -> NDArray[np.float32]:
    height, width = shape[:2]
    dx = np.maximum(radius - np.minimum(np.arange(width), np.arange(width)[::-1]) - 0.5, 0.0)
    dy = np.maximum(radius - np.minimum(np.arange(height), np.arange(height)[::-1]) - 0.5, 0.0)
    distance = np.hypot(dx[None, :], dy[:, None])
    return _cover(radius - distance + 0.5)


def _cover(depth: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return how much of each pixel is painted, from how far inside the shape it lies."""
    cover: NDArray[np.float32] = np.clip(depth, 0.0, 1.0).astype(np.float32, copy=False)
    return cover


def _corners(item: Rect | Image, scale: float, canvas: BgrImage) -> tuple[int, int, int, int]:
    left, right = round(item.x * scale), round((item.x + item.width) * scale)
    top, bottom = round(item.y * scale), round((item.y + item.height) * scale)
    # Something thin must not vanish between two pixels.
    right = max(right, left + (item.width > 0))
    bottom = max(bottom, top + (item.height > 0))
    return max(0, left), max(0, top), min(canvas.shape[1], right), min(canvas.shape[0], bottom)


def _paler(colour: str, opacity: float) -> tuple[int, int, int]:
    blue, green, red = (
        round(front * opacity + back * (1.0 - opacity))
        for front, back in zip(bgr_of(colour), bgr_of("panel"), strict=True)
    )
    return blue, green, red


def _fixed(points: Sequence[Point]) -> NDArray[np.int32]:
    return np.round(np.array(points) * (1 << _SHIFT)).astype(np.int32)


def _even(size: int) -> int:
    return size + size % 2
