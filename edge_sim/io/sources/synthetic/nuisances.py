"""Nuisances: disturbances of a camera without a change of state, alone or several together.

Light that changes (slowly, at a switch, by a shadow, by exposure, at night), sensor noise, knocks,
and things that pass between the camera and the scene. Each has its own random numbers.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import BgrImage
from edge_sim.io.sources.synthetic.drawing import (
    HEIGHT_PX,
    WIDTH_PX,
    Color,
    FloatField,
    blend,
    clouds,
    ellipse_mask,
    polygon_mask,
    shade,
    softened,
    surface,
    to_u8,
)

Effect = Callable[[BgrImage, int], BgrImage]
"""Returns the picture at that frame index with the nuisance on it; may change its argument."""

QUIET_S = 3.0
"""No passing nuisance begins earlier: a watch may settle first."""


@dataclass(frozen=True, slots=True)
class NuisancePlan:
    """The clip that a nuisance is planned for.

    Args:
        rng: Seeded for this nuisance alone, so that adding another one changes nothing here.
        frames: Length of the clip.
        fps: Frames per second of scene time.
    """

    rng: np.random.Generator
    frames: int
    fps: float

    def between(self, low: float, high: float) -> float:
        """Return a number in [low, high), the same on every machine."""
        return low + (high - low) * int(self.rng.integers(0, 1 << 20)) / (1 << 20)

    def spells(self, *, every_s: float, low_s: float, high_s: float) -> tuple[tuple[int, int], ...]:
        """Return (first, end) frames of spells of `low_s` to `high_s`, one in each `every_s`.

        There is at least one, however short the clip.
        """
        quiet = min(round(QUIET_S * self.fps), self.frames // 4)
        block = max(2, min(round(every_s * self.fps), self.frames - quiet))
        found = []
        for start in range(quiet, max(self.frames - block // 2, quiet + 1), block):
            length = max(2, round(self.between(low_s, high_s) * self.fps))
            room = max(1, min(block, self.frames - start) - length)
            first = start + int(self.rng.integers(0, room))
            found.append((first, min(first + length, self.frames)))
        return tuple(found)


def spell_at(spells: tuple[tuple[int, int], ...], index: int) -> tuple[int, int] | None:
    """Return the spell that holds frame `index`, or None."""
    for first, end in spells:
        if first <= index < end:
            return first, end
    return None


_NOISE_LEVELS = 6.0
"""Standard deviation of the sensor noise, grey levels: a webcam indoors in the evening."""
_SPARE_PX = 64
_NOTICEABLE_PX = 20.0
"""Nothing is drawn beyond the edge; what is mirrored there is blurred where it would be seen."""


def noise(plan: NuisancePlan) -> Effect:
    """Every pixel of every channel is off by a random few grey levels, anew in each frame."""
    # Drawing a million numbers per frame would cost more than all the rest: two fields are cut
    # at a random place and turned over at random.
    shape = (2, HEIGHT_PX + _SPARE_PX, WIDTH_PX + _SPARE_PX, 3)
    total = sum(plan.rng.integers(0, 256, shape, dtype=np.uint8).astype(np.int16) for _ in range(4))
    # Four uniform bytes: mean 510, standard deviation 147.8, and near enough to a bell.
    fields = np.asarray((total - 510) * _NOISE_LEVELS / 147.8).round().astype(np.int16)
    key = int(plan.rng.integers(0, 1 << 30))

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        draws = np.random.default_rng([key, index]).integers(0, _SPARE_PX, 4)
        top, left = int(draws[0]), int(draws[1])
        grain = fields[int(draws[2]) % 2, top : top + HEIGHT_PX, left : left + WIDTH_PX]
        turned = grain[:: 1 - 2 * (int(draws[3]) % 2), :: 1 - int(draws[3]) // 2 % 2 * 2]
        return np.asarray(np.clip(pixels + turned, 0, 255), np.uint8)

    return apply


def bump(plan: NuisancePlan) -> Effect:
    """The camera is knocked: by 4 to 8 pixels and slightly turned, and stays so."""
    return _knock(plan, shift_px=(4.0, 8.0), turn_deg=(0.2, 0.6))


def bump_large(plan: NuisancePlan) -> Effect:
    """The camera is turned well away, and stays so."""
    return _knock(plan, shift_px=(110.0, 170.0), turn_deg=(4.0, 9.0))


def struck_at(plan: NuisancePlan) -> int:
    """Return the frame of the knock: what both knocks draw from their plan first."""
    return round(plan.between(0.4, 0.6) * plan.frames)


def _knock(
    plan: NuisancePlan, *, shift_px: tuple[float, float], turn_deg: tuple[float, float]
) -> Effect:
    struck = struck_at(plan)
    length, toward = plan.between(*shift_px), plan.between(0.0, math.tau)
    turn = plan.between(*turn_deg) * (1 - 2 * int(plan.rng.integers(0, 2)))
    matrix = cv2.getRotationMatrix2D((WIDTH_PX / 2, HEIGHT_PX / 2), turn, 1.0)
    matrix[0, 2] += length * math.cos(toward)
    matrix[1, 2] += length * math.sin(toward)

    whole = np.full((HEIGHT_PX, WIDTH_PX), 255, np.uint8)
    seen = cv2.warpAffine(whole, matrix, (WIDTH_PX, HEIGHT_PX))[:, :, None] == 255

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        if index < struck:
            return pixels
        moved = cv2.warpAffine(
            pixels, matrix, (WIDTH_PX, HEIGHT_PX), borderMode=cv2.BORDER_REFLECT_101
        )
        if length > _NOTICEABLE_PX:
            moved = np.where(seen, moved, cv2.blur(moved, (61, 61)))
        if index == struck:
            moved = cv2.blur(moved, (1 + 2 * round(length / 8), 5))
        return np.asarray(moved, np.uint8)

    return apply


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
    # In sixteenths of a grey level: one product and one table instead of exponentials.
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
    """A person walks through the picture, close to the camera."""
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


NUISANCES: Mapping[str, Callable[[NuisancePlan], Effect]] = {
    "hand": hand,
    "person": person,
    "shadow": shadow,
    "light_drift": light_drift,
    "light_on": light_on,
    "ir": ir_night,
    "bump": bump,
    "bump_large": bump_large,
    "covered": covered,
    "exposure": exposure,
    "noise": noise,
}
"""In the order in which they act: the scene, its light, the view, the lens, the sensor."""


def compose(names: Iterable[str], *, seed: int, frames: int, fps: float) -> Effect:
    """Return the effect of several nuisances together; the order of `names` does not matter.

    Each draws from its own generator: one more nuisance leaves the others as they were.

    Raises:
        KeyError: There is no such nuisance.
    """
    wanted = frozenset(names)
    missing = wanted - NUISANCES.keys()
    if missing:
        raise KeyError(min(missing))
    effects = [
        make(_plan(name, seed=seed, frames=frames, fps=fps))
        for name, make in NUISANCES.items()
        if name in wanted
    ]

    def apply(pixels: BgrImage, index: int) -> BgrImage:
        for effect in effects:
            pixels = effect(pixels, index)
        return pixels

    return apply


def view_lost_at(names: Iterable[str], *, seed: int, frames: int, fps: float) -> int | None:
    """Return the frame from which on the camera is turned away for good; None if it never is.

    Arguments as those of `compose`.
    """
    if bump_large.__name__ not in names:
        return None
    return struck_at(_plan(bump_large.__name__, seed=seed, frames=frames, fps=fps))


def _plan(name: str, *, seed: int, frames: int, fps: float) -> NuisancePlan:
    return NuisancePlan(np.random.default_rng([seed, zlib.crc32(name.encode())]), frames, fps)
