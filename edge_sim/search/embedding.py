"""One picture as an index keeps it."""

from __future__ import annotations

from collections.abc import Mapping

from edge_sim.core.images import measure
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import BgrImage, GrayImage, Quality
from edge_sim.search.bars import embedding_of, without_bars
from edge_sim.search.colours import colour_cells
from edge_sim.search.regions import region_vectors
from edge_sim.search.rows import EmbeddedFile, IndexPlan, Known, one_vector, shrunk_thumbnail


def embedded_picture(
    known: Known,
    sha256: bytes,
    pixels: BgrImage,
    embedder: Embedder,
    plan: IndexPlan,
    *,
    shape: tuple[int, int],
    measured: tuple[GrayImage, Quality] | None = None,
    exif: Mapping[str, str] | None = None,
) -> EmbeddedFile:
    """Return a picture with everything that an index keeps of it.

    Args:
        known: Entry of its path.
        sha256: SHA-256 of its file.
        pixels: The picture, perhaps reduced.
        embedder: Model of the index.
        plan: Settings of the index.
        shape: (width, height) of the whole picture, pixels.
        measured: Result of `images.measure`; None measures it here.
        exif: Time and camera, see `core.exif`.

    Raises:
        ModelError: The model cannot embed it.
    """
    embedding = embedding_of(pixels, embedder, cut_bars=plan.cuts_bars)
    small, quality = measure(pixels) if measured is None else measured
    regions = None
    if plan.regions:
        shown = without_bars(pixels) if plan.cuts_bars else pixels
        regions = region_vectors(shown, embedder)
    return EmbeddedFile(
        known=known,
        sha256=sha256,
        shape=shape,
        sharpness=quality.sharpness,
        contrast=quality.contrast,
        thumbnail=shrunk_thumbnail(small),
        vector=one_vector(embedding, plan.scale),
        dimension=embedding.vector.size,
        colours=colour_cells(pixels),
        exif=exif or {},
        regions=regions,
    )
