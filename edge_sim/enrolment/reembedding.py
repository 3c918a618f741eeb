"""References of one model become references of another, from the pictures that were kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from edge_sim.errors import GalleryError
from edge_sim.gallery_store import GalleryStore, ReferenceRecord, Revision, Reworked
from edge_sim.imaging import decode
from edge_sim.pipeline import make_probe
from edge_sim.protocols import Embedder

Wrapper = Callable[[Iterable[ReferenceRecord], int], Iterator[ReferenceRecord]]
"""Yields what it is given; for a progress bar."""


def reembed(
    store: GalleryStore,
    embedder: Embedder,
    *,
    watch: str | None = None,
    watching: Wrapper | None = None,
) -> Revision | None:
    """Compute the references of other models anew, as one revision; None if there are none.

    Args:
        watch: Only of this one.
        watching: Called with the references and their number; draws the progress.

    Raises:
        GalleryError: A picture is damaged, or the file cannot be written; nothing is changed.
        ModelError: The embedder cannot embed a picture.
    """
    stale = [item for item in store.records(watch=watch) if item.model_id != embedder.model_id]
    if not stale:
        return None
    records = iter(stale) if watching is None else watching(stale, len(stale))
    return store.rework([_reworked(store, embedder, item.reference_id) for item in records])


def _reworked(store: GalleryStore, embedder: Embedder, reference_id: str) -> Reworked:
    try:
        pixels = decode(store.crop(reference_id))
    except ValueError as error:
        if isinstance(error, GalleryError):
            raise
        raise GalleryError(
            f"{store.path}: the picture of {reference_id} is damaged ({error}); remove it first"
        ) from error
    probe = make_probe(embedder, pixels)
    return Reworked(reference_id, probe.embedding, probe.thumbnail)
