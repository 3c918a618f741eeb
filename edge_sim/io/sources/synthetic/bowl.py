"""A pet bowl on a tiled floor: empty, or full of kibble."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import BgrImage
from edge_sim.io.sources.synthetic.drawing import (
    HEIGHT_PX,
    WIDTH_PX,
    Pose,
    blend,
    clouds,
    ellipse_mask,
    polygon_mask,
    rough,
    shade,
    surface,
)

_CENTER = (330, 285)
_OUTER = (158, 118)
_INNER = (122, 86)
_KIBBLES = 240
_BROWNS = ((46, 84, 142), (38, 70, 122), (58, 98, 160), (32, 60, 104), (50, 92, 128))


def draw_bowl(pose: Pose) -> BgrImage:
    """Return the bowl; level 0 is empty, 1 is full."""
    canvas = _empty().copy()
    if pose.level > 0:
        _draw_food(canvas, pose.level, pose.variant)
    if pose.passage is not None:
        reach = math.sin(math.pi * pose.passage)
        if pose.rising:
            _draw_scoop(canvas, reach)
        else:
            _draw_cat(canvas, reach)
    return canvas


@lru_cache(maxsize=1)
def _empty() -> BgrImage:
    canvas = _floor()
    mat = polygon_mask([(92, 190), (568, 190), (600, 436), (60, 436)])
    shade(canvas, ellipse_mask((330, 330), (290, 140), soft_px=14), 0.86)
    blend(canvas, surface((104, 96, 52), clouds(3, 21) * 0.6 + clouds(40, 22) * 0.4, 16.0), mat)
    for y in range(206, 430, 16):
        cv2.line(canvas, (100, y), (560, y), (92, 84, 44), 1, cv2.LINE_AA)
    _draw_dish(canvas)
    canvas.setflags(write=False)
    return canvas


def _floor() -> BgrImage:
    canvas = surface((150, 172, 190), rough(1), 15.0)
    tones = np.random.default_rng(5).integers(-12, 13, (6, 8))
    for row in range(-1, 5):
        for column in range(-1, 7):
            corner = (column * 118 + 30 + 8 * row, 96 + row * 104)
            tile = np.s_[max(corner[1], 0) : corner[1] + 104, max(corner[0], 0) : corner[0] + 118]
            shifted = canvas[tile].astype(np.int16) + tones[row, column]
            canvas[tile] = np.clip(shifted, 0, 255).astype(np.uint8)
            end = (corner[0] + 118, corner[1] + 104)
            cv2.rectangle(canvas, corner, end, (104, 116, 124), 3, cv2.LINE_AA)
    canvas[:84] = surface((70, 104, 150), clouds(3, 8, stretch=1) * 0.3 + clouds(90, 9), 16.0)[:84]
    for y in (14, 33, 47, 66):
        cv2.line(canvas, (0, y), (WIDTH_PX, y + 3), (58, 88, 130), 1, cv2.LINE_AA)
    canvas[84:96] = (44, 62, 84)
    shade(canvas, polygon_mask([(0, 92), (640, 92), (640, 112), (0, 112)], soft_px=8), 0.6)
    return canvas


def _draw_dish(canvas: BgrImage) -> None:
    x, y = _CENTER
    shade(canvas, ellipse_mask((x + 12, y + 26), (166, 112), soft_px=11), 0.45)
    blend(canvas, (150, 92, 48), ellipse_mask((x, y + 16), _OUTER))
    blend(canvas, (206, 150, 92), ellipse_mask(_CENTER, _OUTER))
    blend(canvas, (232, 192, 146), ellipse_mask((x - 1, y - 3), (150, 110)))
    blend(canvas, (172, 112, 62), ellipse_mask((x, y), (_INNER[0] + 5, _INNER[1] + 5)))
    glaze = surface((214, 208, 196), clouds(4, 31) * 0.4 + clouds(50, 32) * 0.6, 6.0)
    blend(canvas, glaze, ellipse_mask(_CENTER, _INNER))
    shade(canvas, ellipse_mask((x - 34, y - 34), (84, 46), angle=-18, soft_px=16), 0.74)
    blend(canvas, (250, 250, 250), ellipse_mask((x + 52, y + 40), (36, 14), angle=-24, soft_px=6))
    for dx, dy, radius in ((0, 8, 15), (-22, -8, 7), (-8, -18, 7), (10, -18, 7), (24, -7, 7)):
        blend(canvas, (176, 132, 96), ellipse_mask((x + dx, y + dy), (radius, radius * 4 // 5)))
    for turn in range(0, 360, 30):
        angle = math.radians(turn)
        spot = (round(x + 138 * math.cos(angle)), round(y + 99 * math.sin(angle)))
        blend(canvas, (150, 84, 40), ellipse_mask(spot, (6, 5)))


def _draw_food(canvas: BgrImage, level: float, variant: int) -> None:
    rng = np.random.default_rng(1000 + variant)
    heap = canvas.copy()
    x, y = _CENTER
    shade(heap, ellipse_mask((x, y + 6), (116, 78), soft_px=4), 1.0 - 0.5 * level)
    draws = rng.integers(0, 1 << 16, (_KIBBLES, 5))
    # Filled from the middle outwards, the way poured food spreads; far ones drawn first.
    radii = np.sqrt(np.arange(_KIBBLES) / _KIBBLES)
    count = max(1, round(level * _KIBBLES))
    angles = draws[:, 0] * (2.0 * math.pi / (1 << 16))
    spots = [
        (
            round(x + 104 * radii[i] * math.cos(angles[i])),
            round(y + 2 + 70 * radii[i] * math.sin(angles[i]) - 16 * (1.0 - radii[i]) * level),
            i,
        )
        for i in range(count)
    ]
    for left, top, i in sorted(spots, key=lambda spot: (spot[1], spot[2])):
        _draw_kibble(heap, (left, top), draws[i])
    blend(canvas, heap, ellipse_mask(_CENTER, (round(_INNER[0] * 0.98), round(_INNER[1] * 0.98))))


def _draw_kibble(canvas: BgrImage, at: tuple[int, int], draw: NDArray[np.int64]) -> None:
    axes = (9 + int(draw[1]) % 4, 7 + int(draw[2]) % 3)
    turn = int(draw[3]) % 180
    brown = _BROWNS[int(draw[4]) % len(_BROWNS)]
    cv2.ellipse(canvas, (at[0] + 1, at[1] + 3), axes, turn, 0, 360, (16, 30, 54), -1, cv2.LINE_AA)
    cv2.ellipse(canvas, at, axes, turn, 0, 360, brown, -1, cv2.LINE_AA)
    light = (brown[0] + 34, brown[1] + 40, brown[2] + 44)
    cv2.ellipse(canvas, (at[0] - 2, at[1] - 2), (4, 2), turn, 0, 360, light, -1, cv2.LINE_AA)


def _draw_scoop(canvas: BgrImage, reach: float) -> None:
    tip = round(WIDTH_PX + 60 - 300 * reach)
    arm = polygon_mask([(tip + 60, 96), (WIDTH_PX, 40), (WIDTH_PX, 128), (tip + 66, 150)])
    shade(canvas, polygon_mask([(tip, 190), (WIDTH_PX, 130), (WIDTH_PX, 210)], soft_px=9), 0.7)
    blend(canvas, (120, 150, 206), arm)
    blend(canvas, (112, 142, 198), ellipse_mask((tip + 62, 122), (40, 34)))
    blend(
        canvas,
        (70, 40, 168),
        polygon_mask([(tip - 40, 96), (tip + 40, 92), (tip + 34, 168), (tip - 20, 172)]),
    )
    blend(canvas, (42, 76, 128), ellipse_mask((tip - 30, 134), (14, 38), angle=8))


def _draw_cat(canvas: BgrImage, reach: float) -> None:
    y = round(HEIGHT_PX + 150 - 220 * reach)
    fur = surface((64, 92, 128), clouds(3, 71, stretch=4) * 0.7 + clouds(26, 72) * 0.5, 30.0)
    shade(canvas, ellipse_mask((330, y + 16), (116, 110), soft_px=10), 0.6)
    blend(canvas, fur, ellipse_mask((330, y + 130), (150, 130)))
    blend(canvas, fur, ellipse_mask((330, y), (96, 88)))
    for side in (-1, 1):
        ear = [(330 + side * 34, y + 40), (330 + side * 96, y + 16), (330 + side * 86, y + 96)]
        blend(canvas, (52, 74, 104), polygon_mask(ear))
        blend(
            canvas,
            (110, 120, 176),
            ellipse_mask((330 + side * 76, y + 48), (10, 18), angle=side * 20),
        )
    for dx in (-40, 0, 40):
        cv2.line(
            canvas, (330 + dx, y - 60), (330 + dx * 2 // 3, y + 20), (34, 52, 78), 7, cv2.LINE_AA
        )
