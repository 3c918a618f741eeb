"""Looks: what near-duplicates are told by, small and grey."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import BgrImage, GrayImage
from edge_sim.imaging import measure, squash
from edge_sim.index_store.records import LOOK_PX


def look_of(pixels: BgrImage) -> NDArray[np.uint8]:
    """Return the (48, 48) uint8 look of a picture, as an index keeps it."""
    return look_of_thumbnail(measure(pixels)[0])


def look_of_thumbnail(thumbnail: GrayImage) -> NDArray[np.uint8]:
    """Return the look of a picture from its (96, 96) thumbnail."""
    return squash(thumbnail, LOOK_PX)
