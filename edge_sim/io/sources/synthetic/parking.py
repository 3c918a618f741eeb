"""Three parking slots seen from above; the middle one is watched: free, or taken by a car."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from edge_sim.core.types import BgrImage, GrayImage
from edge_sim.io.sources.synthetic.drawing import (
    HEIGHT_PX,
    WIDTH_PX,
    Color,
    Pose,
    blend,
    clouds,
    ellipse_mask,
    polygon_mask,
    rough,
    shade,
    softened,
    surface,
    write,
)

_PAINTS: tuple[Color, ...] = ((52, 48, 176), (150, 92, 40), (214, 216, 214), (60, 66, 64))
_SLOT = (322, 236)
_NEIGHBOUR = (122, 232)


def draw_parking(pose: Pose) -> BgrImage:
    """Return the slots; level 0 is free, 1 is taken."""
    canvas = _lot().copy()
    if pose.level > 0:
        paint = _PAINTS[pose.variant % len(_PAINTS)]
        dx = (pose.variant * 5) % 11 - 5
        dy = (pose.variant * 3) % 9 - 4
        away = round((1.0 - pose.level) * 380)
        _draw_car(canvas, (_SLOT[0] + dx, _SLOT[1] + dy + away), paint)
    return canvas


@lru_cache(maxsize=1)
def _lot() -> BgrImage:
    canvas = surface((98, 98, 96), rough(80) + 0.5 * clouds(2, 83), 17.0)
    shade(canvas, ellipse_mask((330, 300), (40, 24), angle=20, soft_px=8), 0.66)
    shade(canvas, ellipse_mask((508, 250), (30, 44), angle=-10, soft_px=9), 0.76)
    canvas[:70] = surface((50, 116, 92), rough(85) + 0.6 * clouds(3, 86), 22.0)[:70]
    canvas[70:88] = surface((168, 172, 174), rough(87), 12.0)[70:88]
    shade(canvas, polygon_mask([(0, 86), (640, 86), (640, 96), (0, 96)], soft_px=3), 0.6)
    line = surface((214, 220, 222), clouds(3, 88) + clouds(12, 89), 16.0)
    for x in (22, 222, 422, 622):
        tilt = (x - 322) // 22
        lane = [(x - 4, 90), (x + 4, 90), (x + 5 + tilt, 384), (x - 5 + tilt, 384)]
        blend(canvas, line, polygon_mask(lane), 0.9)
    crack = [(452, 470), (470, 420), (462, 380), (486, 330), (480, 290), (500, 262)]
    cv2.polylines(canvas, [np.array(crack, np.int32)], False, (62, 62, 60), 2, cv2.LINE_AA)
    write(canvas, "2", (308, 392), unit_px=7.0, color=(206, 212, 214))
    shade(canvas, polygon_mask([(0, 452), (640, 440), (640, 480), (0, 480)], soft_px=8), 0.82)
    _draw_car(canvas, _NEIGHBOUR, (150, 156, 150))
    canvas.setflags(write=False)
    return canvas


def _draw_car(canvas: BgrImage, center: tuple[int, int], paint: Color) -> None:
    x, y = center
    if y - 130 > HEIGHT_PX:
        return
    dark: Color = (max(paint[0] - 40, 0), max(paint[1] - 40, 0), max(paint[2] - 40, 0))
    shade(canvas, _body((x + 12, y + 10), 72, 132, soft_px=7), 0.4)
    for side in (-1, 1):
        for dy in (-76, 74):
            blend(canvas, (22, 22, 22), _body((x + side * 60, y + dy), 9, 24))
    blend(canvas, dark, _body((x, y), 66, 128))
    blend(canvas, paint, _body((x - 2, y - 3), 60, 122))
    gloss = surface((255, 255, 255), clouds(40, 90), 0.0)
    blend(canvas, gloss, _body((x - 30, y - 4), 8, 108, soft_px=6), 0.35)
    blend(
        canvas,
        (46, 38, 30),
        polygon_mask([(x - 46, y - 62), (x + 46, y - 62), (x + 40, y - 30), (x - 40, y - 30)]),
    )
    blend(
        canvas,
        (52, 44, 36),
        polygon_mask([(x - 40, y + 62), (x + 40, y + 62), (x + 46, y + 86), (x - 46, y + 86)]),
    )
    for side in (-1, 1):
        glass = [
            (x + side * 52, y - 50),
            (x + side * 44, y - 26),
            (x + side * 44, y + 58),
            (x + side * 52, y + 74),
        ]
        blend(canvas, (50, 42, 34), polygon_mask(glass))
        blend(canvas, (220, 240, 246), ellipse_mask((x + side * 44, y - 116), (13, 7)))
        blend(canvas, (40, 36, 190), ellipse_mask((x + side * 46, y + 120), (12, 5)))
    blend(
        canvas,
        (170, 160, 146),
        polygon_mask([(x - 38, y - 58), (x - 14, y - 58), (x - 30, y - 34), (x - 36, y - 34)]),
        0.6,
    )


def _body(
    center: tuple[int, int], half_width: int, half_length: int, *, soft_px: int = 0
) -> GrayImage:
    x, y = center
    corner = min(half_width, half_length) // 2
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    box = (
        (-half_width, -half_length + corner, half_width, half_length - corner),
        (-half_width + corner, -half_length, half_width - corner, half_length),
    )
    for left, top, right, bottom in box:
        cv2.rectangle(mask, (x + left, y + top), (x + right, y + bottom), 255, -1)
    for dx in (-half_width + corner, half_width - corner):
        for dy in (-half_length + corner, half_length - corner):
            cv2.circle(mask, (x + dx, y + dy), corner, 255, -1, cv2.LINE_AA)
    return softened(mask, soft_px)
