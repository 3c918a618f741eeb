"""A sliding gate between brick pillars: closed, or open with the house behind in view."""

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
    surface,
)

_LEFT, _RIGHT = 150, 490
_TOP, _BOTTOM = 176, 372
_STUB_PX = 14


def draw_gate(pose: Pose) -> BgrImage:
    """Return the gate; level 0 is closed, 1 is open."""
    canvas = _yard().copy()
    # It never stops at quite the same place.
    slack = (pose.variant * 7) % 6
    travel = _RIGHT - _LEFT - _STUB_PX
    offset = min(round(pose.level * travel) + slack, travel + slack)
    panel = _panel()
    visible = panel.shape[1] - offset
    ground = [(_LEFT + offset, 366), (_RIGHT, 366), (_RIGHT, 392), (_LEFT + offset, 392)]
    shade(canvas, polygon_mask(ground, soft_px=5), 0.55)
    region = canvas[_TOP:_BOTTOM, _LEFT + offset : _RIGHT]
    solid = panel[:, :visible]
    gap = (solid == 0).all(axis=2, keepdims=True)
    canvas[_TOP:_BOTTOM, _LEFT + offset : _RIGHT] = np.where(gap, region, solid)
    cv2.line(canvas, (60, 374), (WIDTH_PX - 60, 374), (70, 74, 78), 4, cv2.LINE_AA)
    wall, mask = _walls()
    blend(canvas, wall, mask)
    return canvas


@lru_cache(maxsize=1)
def _yard() -> BgrImage:
    canvas = surface((210, 186, 150), clouds(90, 40) * 0.8 + clouds(24, 41) * 0.3, 22.0)
    canvas[150:] = surface((52, 112, 84), rough(43) + 0.5 * clouds(4, 44), 22.0)[150:]
    hedge = surface((38, 84, 52), clouds(6, 45) + 0.6 * clouds(3, 46), 26.0)
    for x, radius in ((30, 70), (118, 58), (520, 66), (600, 80), (210, 40), (446, 44)):
        blend(canvas, hedge, ellipse_mask((x, 166), (radius, radius * 3 // 4)))
    _draw_house(canvas)
    gravel = surface((132, 140, 146), rough(47) + 0.6 * clouds(3, 48), 22.0)
    blend(canvas, gravel, polygon_mask([(270, 232), (372, 232), (600, 480), (40, 480)]))
    canvas.setflags(write=False)
    return canvas


def _draw_house(canvas: BgrImage) -> None:
    front = surface((176, 200, 214), rough(50), 8.0)
    blend(canvas, front, polygon_mask([(232, 118), (408, 118), (408, 240), (232, 240)]))
    roof = surface((56, 66, 132), clouds(3, 51, stretch=1) * 0.5 + clouds(20, 52) * 0.4, 18.0)
    blend(canvas, roof, polygon_mask([(214, 122), (320, 50), (426, 122)]))
    for x in (254, 352):
        cv2.rectangle(canvas, (x, 142), (x + 36, 186), (120, 92, 64), -1)
        cv2.rectangle(canvas, (x, 142), (x + 36, 186), (240, 244, 246), 3, cv2.LINE_AA)
        cv2.line(canvas, (x + 18, 142), (x + 18, 186), (240, 244, 246), 2, cv2.LINE_AA)
    cv2.rectangle(canvas, (304, 170), (338, 240), (44, 60, 40), -1)
    cv2.circle(canvas, (331, 208), 3, (120, 210, 230), -1, cv2.LINE_AA)


@lru_cache(maxsize=1)
def _panel() -> BgrImage:
    """The gate itself; black where one sees through."""
    height, width = _BOTTOM - _TOP, _RIGHT - _LEFT
    wood = surface((58, 92, 138), clouds(3, 60, stretch=12) * 0.6 + clouds(30, 61) * 0.3, 24.0)
    wood = np.maximum(wood, 1)
    panel = np.zeros((height, width, 3), np.uint8)
    for number, left in enumerate(range(8, width - 20, 26)):
        plank = wood[:height, left : left + 20].astype(np.int16) + (number * 37 % 23 - 11)
        panel[10:-6, left : left + 20] = np.clip(plank, 1, 255)[10:-6]
    iron: Color = (38, 42, 40)
    for top in (2, height // 2 - 6, height - 18):
        cv2.rectangle(panel, (0, top), (width - 1, top + 12), iron, -1)
    for left in (0, width - 10):
        cv2.rectangle(panel, (left, 0), (left + 9, height - 1), iron, -1)
    cv2.rectangle(panel, (14, height // 2 - 22), (34, height // 2 + 18), (170, 176, 180), -1)
    cv2.line(panel, (8, height - 20), (width - 8, 14), iron, 8, cv2.LINE_8)
    panel.setflags(write=False)
    return panel


@lru_cache(maxsize=1)
def _walls() -> tuple[BgrImage, GrayImage]:
    paint = surface((74, 92, 158), rough(65) + 0.4 * clouds(20, 66), 18.0)
    for row, y in enumerate(range(120, HEIGHT_PX, 18)):
        cv2.line(paint, (0, y), (WIDTH_PX, y), (150, 160, 166), 2)
        for x in range(-20 + 20 * (row % 2), WIDTH_PX, 40):
            cv2.line(paint, (x, y), (x, y + 18), (150, 160, 166), 2)
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    for left, right in ((0, _LEFT - 34), (_RIGHT + 34, WIDTH_PX)):
        cv2.rectangle(mask, (left, 196), (right, 388), 255, -1)
    for left in (_LEFT - 38, _RIGHT - 4):
        cv2.rectangle(mask, (left, 150), (left + 42, 398), 255, -1)
        cv2.rectangle(mask, (left - 6, 136), (left + 48, 150), 255, -1)
        paint[136:150, left - 6 : left + 49] = (176, 182, 186)
        paint[150:156, left : left + 43] = (50, 60, 96)
        paint[150:399, left + 32 : left + 43] = (
            paint[150:399, left + 32 : left + 43] * 0.7
        ).astype(np.uint8)
    return paint, mask
