"""A machine panel with a signal lamp: off, or on."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from edge_sim.core.types import BgrImage
from edge_sim.io.sources.synthetic.drawing import (
    HEIGHT_PX,
    WIDTH_PX,
    Color,
    FloatField,
    Pose,
    blend,
    clouds,
    ellipse_mask,
    polygon_mask,
    shade,
    surface,
    to_u8,
    write,
)

_LAMP = (426, 188)
_RADIUS = 52


def draw_lamp(pose: Pose) -> BgrImage:
    """Return the panel; level 0 is off, 1 is on."""
    if pose.level <= 0:
        return _panel().copy()
    # Mains ripple and ageing: never quite as bright as the last time.
    power = pose.level * (1.0 - 0.02 * ((pose.variant * 3) % 5))
    lit = _panel().astype(np.float32)
    glass = _glow(_RADIUS * 0.8)[:, :, None] * power
    halo = _glow(_RADIUS * 3.2)[:, :, None] * power
    lit += glass * np.array((60, 170, 250), np.float32)
    lit += halo * np.array((14, 52, 76), np.float32)
    return to_u8(lit)


@lru_cache(maxsize=4)
def _glow(radius: float) -> FloatField:
    rows, columns = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX].astype(np.float32)
    distance = (columns - _LAMP[0]) ** 2 + (rows - _LAMP[1]) ** 2
    return np.asarray(np.exp(-distance / (2.0 * radius * radius)), np.float32)


@lru_cache(maxsize=1)
def _panel() -> BgrImage:
    canvas = surface(
        (142, 140, 132), clouds(2, 100, stretch=30) * 0.7 + clouds(120, 101) * 0.5, 12.0
    )
    face = surface((164, 160, 150), clouds(2, 102, stretch=40) * 0.7 + clouds(90, 103) * 0.4, 9.0)
    shade(canvas, polygon_mask([(46, 46), (612, 46), (612, 452), (46, 452)], soft_px=7), 0.55)
    blend(canvas, face, polygon_mask([(40, 36), (600, 36), (600, 440), (40, 440)]))
    cv2.rectangle(canvas, (40, 36), (600, 440), (96, 94, 88), 2, cv2.LINE_AA)
    for at in ((58, 54), (582, 54), (58, 422), (582, 422)):
        _draw_screw(canvas, at)
    _draw_gauge(canvas)
    _draw_plate(canvas)
    for x, color in ((150, (50, 130, 40)), (236, (44, 40, 170)), (322, (40, 40, 40))):
        _draw_button(canvas, (x, 356), color)
    _draw_lens(canvas)
    canvas.setflags(write=False)
    return canvas


def _draw_screw(canvas: BgrImage, at: tuple[int, int]) -> None:
    cv2.circle(canvas, at, 9, (92, 92, 90), -1, cv2.LINE_AA)
    cv2.circle(canvas, (at[0] - 1, at[1] - 1), 7, (180, 180, 176), -1, cv2.LINE_AA)
    cv2.line(canvas, (at[0] - 5, at[1] - 3), (at[0] + 4, at[1] + 3), (70, 70, 68), 2, cv2.LINE_AA)


def _draw_gauge(canvas: BgrImage) -> None:
    center = (206, 186)
    shade(canvas, ellipse_mask((212, 194), (94, 94), soft_px=6), 0.6)
    cv2.circle(canvas, center, 92, (58, 58, 56), -1, cv2.LINE_AA)
    cv2.circle(canvas, center, 82, (226, 230, 230), -1, cv2.LINE_AA)
    for step in range(11):
        angle = math.radians(135 + 27 * step)
        ends = [
            (round(center[0] + r * math.cos(angle)), round(center[1] + r * math.sin(angle)))
            for r in (62, 74)
        ]
        cv2.line(canvas, ends[0], ends[1], (40, 40, 40), 2 + (step % 5 == 0), cv2.LINE_AA)
    cv2.ellipse(canvas, center, (68, 68), 0, 0, 45, (50, 50, 200), 5, cv2.LINE_AA)
    cv2.line(canvas, (center[0] + 10, center[1] + 14), (164, 142), (30, 30, 190), 4, cv2.LINE_AA)
    cv2.circle(canvas, center, 8, (40, 40, 40), -1, cv2.LINE_AA)
    write(canvas, "BAR", (192, 226), unit_px=1.8, color=(50, 50, 50))


def _draw_plate(canvas: BgrImage) -> None:
    cv2.rectangle(canvas, (370, 66), (484, 98), (40, 36, 30), -1)
    write(canvas, "PUMP 2", (379, 74), unit_px=2.8, color=(232, 236, 236))
    cv2.rectangle(canvas, (404, 318), (560, 398), (196, 206, 210), -1)
    cv2.rectangle(canvas, (404, 318), (560, 398), (120, 120, 116), 1)
    for row, length in enumerate((120, 96, 132, 70)):
        y = 332 + 16 * row
        cv2.line(canvas, (416, y), (416 + length, y), (110, 110, 106), 3)


def _draw_button(canvas: BgrImage, at: tuple[int, int], color: Color) -> None:
    shade(canvas, ellipse_mask((at[0] + 4, at[1] + 6), (34, 34), soft_px=4), 0.55)
    cv2.circle(canvas, at, 32, (70, 70, 68), -1, cv2.LINE_AA)
    cv2.circle(canvas, at, 26, color, -1, cv2.LINE_AA)
    light = (color[0] + 40, color[1] + 40, color[2] + 40)
    cv2.ellipse(canvas, (at[0] - 6, at[1] - 8), (10, 6), -30, 0, 360, light, -1, cv2.LINE_AA)


def _draw_lens(canvas: BgrImage) -> None:
    x, y = _LAMP
    shade(canvas, ellipse_mask((x + 6, y + 8), (_RADIUS + 14, _RADIUS + 14), soft_px=6), 0.55)
    cv2.circle(canvas, _LAMP, _RADIUS + 13, (64, 64, 62), -1, cv2.LINE_AA)
    cv2.circle(canvas, _LAMP, _RADIUS + 8, (150, 150, 146), 3, cv2.LINE_AA)
    cv2.circle(canvas, _LAMP, _RADIUS, (26, 52, 86), -1, cv2.LINE_AA)
    for radius in range(12, _RADIUS, 10):
        cv2.circle(canvas, _LAMP, radius, (20, 42, 70), 2, cv2.LINE_AA)
    blend(canvas, (120, 140, 160), ellipse_mask((x - 18, y - 22), (14, 8), angle=-40, soft_px=3))
