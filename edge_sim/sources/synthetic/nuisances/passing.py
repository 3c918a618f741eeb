"""Things that come between the camera and the scene for a few frames."""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge_sim.domain import BgrImage
from edge_sim.sources.synthetic.nuisances.plan import Effect, NuisancePlan, spell_at
from edge_sim.sources.synthetic.texture import (
    HEIGHT_PX,
    WIDTH_PX,
    Color,
    blend,
    clouds,
    ellipse_mask,
    polygon_mask,
    shade,
    softened,
    surface,
    to_u8,
)

_SKIN: Color = (128, 160, 212)
_SKIN_SHADE: Color = (92, 120, 172)
_JACKETS: tuple[Color, ...] = ((120, 66, 40), (52, 60, 150), (70, 96, 60), (60, 58, 56))
_FINGERS = ((-34, -52), (-13, -68), (9, -66), (30, -52))


def hand(plan: NuisancePlan) -> Effect:
    """A hand on a sleeved arm reaches in from below, over the middle, and out again."""
    spells = plan.spells(every_s=18, low_s=0.8, high_s=1.6)
    aims = [(round(plan.between(250, 400)), round(plan.between(200, 260))) for _ in spells]
    sleeve = surface(_JACKETS[int(plan.rng.integers(0, 4))], clouds(4, 7), 12.0)

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        spell = spell_at(spells, index)
        if spell is None:
            return pixels
        aim = aims[spells.index(spell)]
        done = (index - spell[0] + 0.5) / (spell[1] - spell[0])
        below = round((1.0 - math.sin(math.pi * done)) * 330)
        _draw_arm(pixels, (aim[0], aim[1] + below), sleeve)
        return pixels

    return apply


def person(plan: NuisancePlan) -> Effect:
    """Somebody walks through the picture, close to the camera."""
    spells = plan.spells(every_s=25, low_s=1.6, high_s=3.0)
    leftward = [bool(plan.rng.integers(0, 2)) for _ in spells]
    coat = surface(_JACKETS[int(plan.rng.integers(0, 4))], clouds(5, 11), 14.0)

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        spell = spell_at(spells, index)
        if spell is None:
            return pixels
        done = (index - spell[0] + 0.5) / (spell[1] - spell[0])
        if leftward[spells.index(spell)]:
            done = 1.0 - done
        _draw_walker(pixels, round(-130 + done * (WIDTH_PX + 260)), index, coat)
        return pixels

    return apply


def covered(plan: NuisancePlan) -> Effect:
    """A palm lies on the lens: dark, reddish, nearly flat; its edge shows as it comes and goes."""
    spells = plan.spells(every_s=45, low_s=2.5, high_s=5.0)
    rows, columns = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX].astype(np.float32)
    glow = 0.6 + 0.5 * columns / WIDTH_PX + 0.3 * rows / HEIGHT_PX
    palm = to_u8(glow[:, :, None] * np.array((8, 9, 22), np.float32))
    half = polygon_mask([(-60, 0), (420, 0), (300, HEIGHT_PX), (-60, HEIGHT_PX)])
    edge = softened(half, 40)

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        spell = spell_at(spells, index)
        if spell is None:
            return pixels
        if index in (spell[0], spell[1] - 1):
            blend(pixels, palm, edge)
            return pixels
        return np.asarray(cv2.addWeighted(pixels, 0.01, palm, 1.0, 0.0), np.uint8)

    return apply


def _draw_arm(canvas: BgrImage, palm: tuple[int, int], sleeve: BgrImage) -> None:
    x, y = palm
    arm = [(x - 34, y + 20), (x + 34, y + 20), (x + 92, HEIGHT_PX + 400), (x - 20, HEIGHT_PX + 400)]
    shade(canvas, polygon_mask([(px + 26, py + 12) for px, py in arm], soft_px=8), 0.6)
    blend(canvas, _SKIN_SHADE, polygon_mask(arm))
    blend(canvas, _SKIN, polygon_mask([(px - 6, py) for px, py in arm]), 0.8)
    cuff = [(x - 46, y + 150), (x + 66, y + 146), (x + 130, y + 900), (x - 60, y + 900)]
    blend(canvas, sleeve, polygon_mask(cuff))
    blend(canvas, _SKIN_SHADE, ellipse_mask((x + 2, y + 3), (50, 52)))
    fingers = [*_FINGERS, (-64, 6)]
    for dx, dy in fingers:
        start = (x + dx * 2 // 3, y + dy // 3)
        cv2.line(canvas, start, (x + dx * 5 // 4, y + dy * 3 // 2), _SKIN_SHADE, 25, cv2.LINE_AA)
        cv2.line(canvas, start, (x + dx * 5 // 4 - 1, y + dy * 3 // 2), _SKIN, 20, cv2.LINE_AA)
    blend(canvas, _SKIN, ellipse_mask((x - 2, y), (45, 47)))
    for dx in (-22, -2, 18):
        cv2.line(canvas, (x + dx, y - 34), (x + dx - 1, y - 12), _SKIN_SHADE, 2, cv2.LINE_AA)


def _draw_walker(canvas: BgrImage, x: int, index: int, coat: BgrImage) -> None:
    stride = 34 if index % 2 else -20
    for step, leg in ((stride, (70, 52, 44)), (-stride, (88, 66, 54))):
        foot = x + step
        blend(
            canvas,
            leg,
            polygon_mask([(x - 34, 330), (x + 34, 330), (foot + 30, 500), (foot - 26, 500)]),
        )
    body = [(x - 66, 130), (x + 66, 130), (x + 78, 366), (x - 78, 366)]
    shade(canvas, polygon_mask([(px + 22, py + 8) for px, py in body], soft_px=9), 0.6)
    blend(canvas, coat, polygon_mask(body))
    blend(canvas, coat, ellipse_mask((x, 132), (66, 34)))
    arm = [(x - 14, 150), (x + 22, 150), (x + 20 + stride, 330), (x - 10 + stride, 330)]
    shade(canvas, polygon_mask(arm), 0.72)
    blend(canvas, _SKIN_SHADE, ellipse_mask((x, 92), (18, 30)))
    blend(canvas, _SKIN, ellipse_mask((x, 60), (38, 48)))
    blend(canvas, (34, 44, 58), ellipse_mask((x - 4, 38), (42, 32)))
