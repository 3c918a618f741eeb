"""Light that changes: slowly, at a switch, by a shadow, by the camera's own exposure, at night."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import BgrImage
from edge_sim.sources.synthetic.nuisances.plan import Effect, NuisancePlan, spell_at
from edge_sim.sources.synthetic.texture import (
    HEIGHT_PX,
    WIDTH_PX,
    FloatField,
    polygon_mask,
    softened,
    to_u8,
)

_IR_WEIGHTS = np.array([[0.1, 0.4, 0.5]], np.float32)
"""Share of blue, green and red: silicon without its filter sees mostly red and beyond."""

_KNEE = 215.0
_SHOULDER = 60.0


def light_drift(plan: NuisancePlan) -> Effect:
    """Brightness wanders by up to 28 % over minutes, warmer when brighter."""
    slow_s, fast_s = plan.between(40, 90), plan.between(15, 30)
    slow_at, fast_at = plan.between(0, math.tau), plan.between(0, math.tau)

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        at_s = index / plan.fps
        sway = 0.6 * math.sin(math.tau * at_s / slow_s + slow_at)
        sway += 0.4 * math.sin(math.tau * at_s / fast_s + fast_at)
        gain = 1.0 + 0.28 * sway
        return _gained(pixels, (gain * (1.0 - 0.08 * sway), gain, gain * (1.0 + 0.08 * sway)))

    return apply


def light_on(plan: NuisancePlan) -> Effect:
    """A lamp at one side is switched on from one frame to the next, and off again later."""
    spells = plan.spells(every_s=60, low_s=14, high_s=26)
    corner = (plan.between(-40, 120) + (WIDTH_PX - 80) * int(plan.rng.integers(0, 2)), -30.0)
    warm = np.array((0.75, 1.0, 1.15), np.float32)
    spot = _spot(corner, 300.0)[:, :, None]
    # In sixteenths of a grey level, looked up: one product and one table instead of exponentials.
    field = np.asarray(16.0 * (1.0 + (0.15 + 0.65 * spot) * warm), np.float32)
    table = _developed(np.arange(int(255 * float(field.max())) + 2, dtype=np.float32) / 16.0)

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        if spell_at(spells, index) is None:
            return pixels
        return np.asarray(table[cv2.multiply(pixels, field, dtype=cv2.CV_16U)], np.uint8)

    return apply


def shadow(plan: NuisancePlan) -> Effect:
    """The soft edge of a slanting shadow moves across, half as bright and a little bluer."""
    spells = plan.spells(every_s=25, low_s=7, high_s=15)
    lean = round(plan.between(-140, 140))
    half = round(plan.between(90, 170))
    middle = WIDTH_PX // 2
    band = [
        (middle - half + lean, 0),
        (middle + half + lean, 0),
        (middle + half - lean, HEIGHT_PX),
        (middle - half - lean, HEIGHT_PX),
    ]
    mask = softened(polygon_mask(band), 9)
    depth = np.array((0.42, 0.50, 0.54), np.float32)
    gains = 1.0 - depth * (np.arange(256, dtype=np.float32)[None, :, None] / 255.0)

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        spell = spell_at(spells, index)
        if spell is None:
            return pixels
        done = (index - spell[0] + 1) / (spell[1] - spell[0] + 1)
        shift = np.array([[1, 0, round((2.0 * done - 1.0) * (WIDTH_PX * 1.05))], [0, 1, 0]])
        moved = cv2.warpAffine(mask, shift.astype(np.float32), (WIDTH_PX, HEIGHT_PX))
        gain = cv2.LUT(cv2.cvtColor(moved, cv2.COLOR_GRAY2BGR), gains)
        return np.asarray(cv2.multiply(pixels, gain, dtype=cv2.CV_8U), np.uint8)

    return apply


def exposure(plan: NuisancePlan) -> Effect:
    """The camera's exposure jumps and swings back: too bright, too dark, in smaller steps."""
    spells = plan.spells(every_s=20, low_s=6, high_s=7)
    swing_s, settle_s = plan.between(1.4, 2.2), plan.between(1.2, 1.9)

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        spell = spell_at(spells, index)
        if spell is None:
            return pixels
        since_s = (index - spell[0]) / plan.fps
        swing = math.exp(-since_s / settle_s) * math.cos(math.tau * since_s / swing_s)
        gain = 2.0 ** (0.9 * swing)
        return _gained(pixels, (gain, gain, gain))

    return apply


def ir_night(plan: NuisancePlan) -> Effect:
    """Dusk falls for six seconds, the camera switches to grey infrared, and back at dawn."""
    nightfall = round(plan.between(0.35, 0.45) * plan.frames)
    daybreak = round(plan.between(0.72, 0.82) * plan.frames)
    ramp = max(1, round(6.0 * plan.fps))

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        if nightfall <= index < daybreak:
            return infrared(pixels)
        away = nightfall - index if index < nightfall else index - daybreak + 1
        dusk = max(0.0, 1.0 - away / ramp)
        if dusk == 0.0:
            return pixels
        gain = 1.0 - 0.72 * dusk
        return _gained(pixels, (gain * (1.0 + 0.25 * dusk), gain, gain * (1.0 - 0.1 * dusk)))

    return apply


def infrared(pixels: BgrImage) -> BgrImage:
    """Return the picture as a night camera with its own infrared lamp sees it: grey, vignetted."""
    grey = np.asarray(cv2.transform(pixels.astype(np.float32), _IR_WEIGHTS), np.float32)
    beam = 0.42 + 0.78 * _spot((WIDTH_PX * 0.5, HEIGHT_PX * 0.56), 235.0)
    seen = np.asarray(grey * beam + 6.0, np.float32)
    return np.asarray(cv2.cvtColor(to_u8(seen), cv2.COLOR_GRAY2BGR), np.uint8)


def _gained(pixels: BgrImage, gains: tuple[float, float, float]) -> BgrImage:
    levels = np.arange(256, dtype=np.float32)[None, :, None]
    table = _developed(np.asarray(levels * np.array(gains, np.float32)))
    return np.asarray(cv2.LUT(pixels, table), np.uint8)


def _developed(levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return grey levels of which the brightest are bent, not cut, as cameras do."""
    above = np.maximum(levels - _KNEE, 0.0)
    bent = np.minimum(levels, _KNEE) + (255.0 - _KNEE) * (1.0 - np.exp(-above / _SHOULDER))
    return to_u8(np.asarray(bent, np.float32))


def _spot(center: tuple[float, float], radius_px: float) -> FloatField:
    rows, columns = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX].astype(np.float32)
    distance = (columns - center[0]) ** 2 + (rows - center[1]) ** 2
    return np.asarray(np.exp(-distance / (2.0 * radius_px * radius_px)), np.float32)
