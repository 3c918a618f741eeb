"""What can be searched: a gallery, a gallery file, an index, as one kind of value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_sim.domain import FloatMatrix, GrayImage, Reference
from edge_sim.errors import SearchError, SourceError
from edge_sim.gallery import Gallery
from edge_sim.gallery_store import GalleryStore
from edge_sim.imaging import thumbnail
from edge_sim.index_store import IndexStore, VectorScale, one_vector
from edge_sim.ranking import Rows
from edge_sim.sources.pictures import read_picture

TAG = "tag"


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """Pictures that can be searched.

    Args:
        names: (N) what they are called: ids or paths.
        vectors: (N, D + S) float32 rows, see `index_store.one_vector`.
        dimension: D.
        model_id: None only if there is no picture.
        facts: Returns what is known of a row: (key, value) pairs, tags as `tag`.
        thumbnail: Returns the (96, 96) thumbnail of a row, None if it cannot be had.
        kind: Of index, a key of `indexes.KINDS`.
        graph: File of the graph of global vectors, for the kind `hnsw`.
    """

    names: Sequence[str]
    vectors: Rows
    dimension: int
    model_id: str | None
    facts: Callable[[int], Iterable[tuple[str, str]]]
    thumbnail: Callable[[int], GrayImage | None]
    kind: str = "exact"
    graph: Path | None = None


def collection_of_gallery(gallery: Gallery, *, watch: str = "") -> Collection:
    """Return the references of one watch as a collection."""
    return _of_references([(watch, item, ()) for item in gallery.references])


def collection_of_store(store: GalleryStore, *, watch: str | None = None) -> Collection:
    """Return the references in a gallery file, of one watch or of all.

    Raises:
        SearchError: The watches were made with different models.
        GalleryError: The file is damaged.
    """
    tags = {record.reference_id: record.tags for record in store.records(watch=watch)}
    found = [
        (name, item, tags.get(item.reference_id, ()))
        for name in store.watches()
        if watch in (None, name)
        for item in store.gallery(name).references
    ]
    models = sorted({item.embedding.model_id for _, item, _ in found})
    if len(models) > 1:
        raise SearchError(
            f"{store.path}: the watches use the models {', '.join(models)}; name one with --watch"
        )
    return _of_references(found)


def collection_of_index(store: IndexStore) -> Collection:
    """Return the pictures of an index.

    Raises:
        SearchError: The index is damaged.
    """
    table = store.table()
    plan = store.plan
    entries = table.entries

    def facts(row: int) -> Iterable[tuple[str, str]]:
        yield from entries[row].attributes.items()
        yield from ((TAG, tag) for tag in entries[row].tags)

    def small(row: int) -> GrayImage | None:
        try:
            return thumbnail(read_picture(plan.root / entries[row].path))
        except SourceError:
            return None

    return Collection(
        names=[str(entry.path) for entry in entries],
        vectors=table.vectors,
        dimension=table.dimension,
        model_id=plan.model_id,
        facts=facts,
        thumbnail=small,
        kind=table.kind,
        graph=table.graph,
    )


def _of_references(found: Sequence[tuple[str, Reference, tuple[str, ...]]]) -> Collection:
    embeddings = [item.embedding for _, item, _ in found]
    both = bool(found) and all(item.spatial is not None for item in embeddings)
    scale = VectorScale.BOTH if both else VectorScale.GLOBAL
    vectors: FloatMatrix = np.zeros((0, 0), np.float32)
    if embeddings:
        vectors = np.stack([one_vector(item, scale) for item in embeddings])

    def facts(row: int) -> Iterable[tuple[str, str]]:
        watch, item, tags = found[row]
        yield from item.metadata.items()
        yield from (("watch", watch), ("state", item.state), ("condition", item.condition))
        yield from ((TAG, tag) for tag in tags)

    return Collection(
        names=[item.reference_id for _, item, _ in found],
        vectors=vectors,
        dimension=embeddings[0].vector.size if embeddings else 0,
        model_id=embeddings[0].model_id if embeddings else None,
        facts=facts,
        thumbnail=lambda row: found[row][1].thumbnail,
    )
