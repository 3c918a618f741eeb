"""What happens to the camera itself: noise of its sensor, a knock."""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge_sim.domain import BgrImage
from edge_sim.sources.synthetic.nuisances.plan import Effect, NuisancePlan
from edge_sim.sources.synthetic.texture import HEIGHT_PX, WIDTH_PX

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
    """The camera is knocked: 4 to 8 pixels aside and slightly turned, and stays so."""
    return _knock(plan, shift_px=(4.0, 8.0), turn_deg=(0.2, 0.6))


def bump_large(plan: NuisancePlan) -> Effect:
    """The camera is turned well away from where it looked, and stays so."""
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
