"""Embedder without a model: the region as a tiny picture.

It needs no runtime, so it works where none can be installed, and is the baseline for trained
models. A shifted picture has a different embedding.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge_sim.core.images import squash
from edge_sim.core.types import BgrImage, Embedding, check_picture

SIDE_PX = 16
CELLS = 4
"""Side of the spatial grid: 4 x 4 cells of 4 x 4 pixels."""
FLOOR = 0.1
"""Constant last component. It gives a flat picture a direction, and reduces the weight of contrast
below it (a grey-level deviation of about 1.6 on the thumbnail)."""

_CELL_PX = SIDE_PX // CELLS


class ThumbnailEmbedder:
    """Embedder by the grey 16x16 thumbnail less its mean, 4x4 colour differences and a floor."""

    @property
    def model_id(self) -> str:
        """Fixed identity: there is no file."""
        return "thumbnail@builtin/p2"

    @property
    def dimension(self) -> int:
        """Length of the vector: 16*16 grey + 2*4*4 colour + 1 floor."""
        return SIDE_PX * SIDE_PX + 2 * CELLS * CELLS + 1

    @property
    def input_px(self) -> int:
        """Side of the thumbnail."""
        return SIDE_PX

    def embed(self, pixels: BgrImage) -> Embedding:
        """Return the embedding of (H, W, 3) uint8 BGR pixels of any size from 1x1 up.

        `spatial` is (4, 4, 18) float32: per cell its 16 grey pixels less the mean of the whole
        region, then Cb and Cr less neutral; all in fractions of 255.

        Raises:
            PictureError: Not (H, W, 3) uint8.
        """
        check_picture(pixels)
        small = cv2.cvtColor(squash(pixels, SIDE_PX), cv2.COLOR_BGR2YCrCb).astype(np.float32)
        luma = (small[:, :, 0] - small[:, :, 0].mean()) / 255.0
        blocks = small[:, :, 1:].reshape(CELLS, _CELL_PX, CELLS, _CELL_PX, 2)
        chroma = (blocks.mean(axis=(1, 3)) - 128.0) / 255.0
        floor = np.array([FLOOR], np.float32)
        # One colour cell stands for 16 pixels: its weight in a squared distance is 16, so 4 here.
        vector = np.concatenate([luma.ravel(), _CELL_PX * chroma.ravel(), floor]).astype(np.float32)
        cells = luma.reshape(CELLS, _CELL_PX, CELLS, _CELL_PX).transpose(0, 2, 1, 3)
        spatial = np.concatenate([cells.reshape(CELLS, CELLS, -1), chroma], axis=2)
        return Embedding(
            vector=vector / np.float32(np.linalg.norm(vector)),
            spatial=spatial.astype(np.float32),
            model_id=self.model_id,
        )
