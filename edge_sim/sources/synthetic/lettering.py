"""The few letters that the scenes need, as strokes.

OpenCV's own letters look different from one major version to the next; these do not.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from edge_sim.domain import BgrImage
from edge_sim.sources.synthetic.texture import Color

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
