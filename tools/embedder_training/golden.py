"""The picture of the golden vectors; numpy alone, so that tests can make it too."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def golden_picture(side: int) -> Pixels:
    """Return a coloured picture made by a formula: red across, green down, blue in waves.

    A red disc and a blue square make it differ under a swap of channels or of axes.
    """
    down, across = np.mgrid[0:side, 0:side]
    picture = np.stack(
        [across * 255 // (side - 1), down * 255 // (side - 1), (across * 3 + down * 5) % 256],
        axis=-1,
    )
    disc = (across - side // 4) ** 2 + (down - side // 3) ** 2 < (side // 6) ** 2
    picture[disc] = (230, 20, 10)
    picture[side * 2 // 3 : side * 7 // 8, side // 2 : side * 3 // 4] = (10, 30, 220)
    return picture.astype(np.uint8)
