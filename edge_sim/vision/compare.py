"""Comparison of two pictures by all measures of similarity."""

from __future__ import annotations

from dataclasses import dataclass

from edge_sim.core.images import thumbnail
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import BgrImage, check_picture
from edge_sim.core.vectors import (
    cosine_to_all,
    euclidean_to_all,
    manhattan_to_all,
    ssim_between,
    ssim_planes,
    structure_between,
)


@dataclass(frozen=True, slots=True)
class PictureComparison:
    """Measures of similarity of two pictures.

    Args:
        cosine: Cosine of the global embeddings, -1 to 1.
        euclidean: Euclidean distance of the global embeddings, 0 to 2.
        manhattan: Manhattan distance of the global embeddings, 0 and up.
        ssim: Structural similarity of the thumbnails, -1 to 1.
        structure: Structural similarity without its luminance term, -1 to 1; high for the same
            scene in other light.
    """

    cosine: float
    euclidean: float
    manhattan: float
    ssim: float
    structure: float


def compare(a: BgrImage, b: BgrImage, embedder: Embedder) -> PictureComparison:
    """Return the similarity of two (H, W, 3) uint8 BGR pictures; their sizes may differ.

    Raises:
        PictureError: One of them is no such picture.
        ModelError: The output of the model cannot be normalised.
    """
    check_picture(a)
    check_picture(b)
    vector = embedder.embed(a).vector
    row = embedder.embed(b).vector[None]
    planes_a, planes_b = ssim_planes(thumbnail(a)), ssim_planes(thumbnail(b))
    return PictureComparison(
        cosine=float(cosine_to_all(vector, row)[0]),
        euclidean=float(euclidean_to_all(vector, row)[0]),
        manhattan=float(manhattan_to_all(vector, row)[0]),
        ssim=ssim_between(planes_a, planes_b),
        structure=structure_between(planes_a, planes_b),
    )
