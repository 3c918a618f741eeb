"""Search of a gallery, a gallery file or an index, by the model or by a learned head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.images import thumbnail
from edge_sim.core.protocols import Index
from edge_sim.core.ranking import Metric, Neighbours, RowMask, Rows
from edge_sim.core.types import THUMBNAIL_PX, Embedding, FloatMatrix, GrayImage, Reference
from edge_sim.core.vectors import ssim_between, ssim_planes
from edge_sim.errors import ModelError, SearchError, SourceError
from edge_sim.gallery.head import Head
from edge_sim.gallery.store import GalleryStore
from edge_sim.search.attributes import TAG
from edge_sim.search.filters import AttributeTable, Filter
from edge_sim.search.frames import read_inside
from edge_sim.search.indexes import open_index
from edge_sim.search.regions import BOXES, RegionRows, RegionSearch
from edge_sim.search.rows import VectorScale, one_vector, part_of
from edge_sim.search.store import IndexStore


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """Set of pictures that can be searched.

    Args:
        names: (N) ids or paths.
        vectors: (N, D + S) float32 rows, see `rows.one_vector`.
        dimension: D.
        model_id: Model of the vectors; None only if there is no picture.
        facts: Function that returns the (key, value) pairs of a row, tags as `tag`.
        thumbnail: Function that returns the (96, 96) thumbnail of a row, None if unreadable.
        kind: Kind of index, a key of `indexes.KINDS`.
        graph: File that the kind has beside the global vectors.
        attributes: Function that returns the facts by key; None makes them from `facts`.
        regions: Regions of the pictures; None where none are kept.
    """

    names: Sequence[str]
    vectors: Rows
    dimension: int
    model_id: str | None
    facts: Callable[[int], Iterable[tuple[str, str]]]
    thumbnail: Callable[[int], GrayImage | None]
    kind: str = "exact"
    graph: Path | None = None
    attributes: Callable[[], AttributeTable] | None = None
    regions: RegionRows | None = None


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
    return collection_of_references(found)


def collection_of_index(store: IndexStore) -> Collection:
    """Return the pictures of an index.

    Raises:
        SearchError: The index is damaged.
    """
    table = store.table()
    plan = store.plan
    entries = table.entries

    def facts(row: int) -> Iterable[tuple[str, str]]:
        return entries[row].facts()

    def small(row: int) -> GrayImage | None:
        try:
            return thumbnail(read_inside(plan.root, entries[row].path, THUMBNAIL_PX))
        except SourceError:
            return None

    return Collection(
        names=entries.names,
        vectors=table.vectors,
        dimension=table.dimension,
        model_id=plan.model_id,
        facts=facts,
        thumbnail=small,
        kind=table.kind,
        graph=table.graph,
        attributes=entries.attribute_table,
        regions=store.regions(entries.contents, table.dimension),
    )


def collection_of_references(found: Sequence[tuple[str, Reference, tuple[str, ...]]]) -> Collection:
    """Return references with their watches and tags as a collection."""
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


SSIM, FUSED = "ssim", "fused"
METRICS = (Metric.COSINE.value, Metric.EUCLIDEAN.value, Metric.MANHATTAN.value, SSIM, FUSED)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """Picture to search for: its embedding, and its (96, 96) grey thumbnail."""

    embedding: Embedding
    thumbnail: GrayImage


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Parameters of a search.

    Args:
        top_k: Greatest number of hits, 1 or more.
        metric: Metric of the ranking, one of `METRICS`.
        least: Whether the least similar come first.
        where: Filter by attributes; None lets every picture through.
        min_score: Least score of a hit, -1 to 1; not for distances.
        scale: Part of the embeddings that is compared.
        whole: Whether pictures are compared as wholes alone where their regions are kept, too.

    Raises:
        SearchError: Numbers or names out of range, or options that contradict each other.
    """

    top_k: int = 100
    metric: str = "cosine"
    least: bool = False
    where: Filter | None = None
    min_score: float | None = None
    scale: VectorScale = VectorScale.GLOBAL
    whole: bool = False

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise SearchError(f"top-k must be at least 1, got {self.top_k}")
        if self.metric not in METRICS:
            raise SearchError(f"no metric {self.metric!r}; there are {', '.join(METRICS)}")
        is_distance = self.metric in (Metric.EUCLIDEAN.value, Metric.MANHATTAN.value)
        if self.min_score is not None and is_distance:
            raise SearchError(
                f"a least score makes no sense for {self.metric}, which is a distance; "
                f"take cosine, ssim or fused"
            )
        if self.min_score is not None and not -1.0 <= self.min_score <= 1.0:
            raise SearchError(f"the least score lies in -1 to 1, got {self.min_score}")


@dataclass(frozen=True, slots=True)
class Hit:
    """Picture found by a search.

    Args:
        rank: Rank, from 1.
        row: Row in the collection.
        name: Id or path.
        score: Score in the metric of the search.
        cosine: Cosine in the scale of the search, -1 to 1.
        ssim: Structural similarity of the thumbnails; None where it was not computed.
        facts: Facts of the picture; several values of a key are joined by a space.
        region: Region that is more like the query than the whole, (x, y, width, height) in
            fractions of the picture without its bars; None if the whole is, or regions do not
            count.
    """

    rank: int
    row: int
    name: str
    score: float
    cosine: float
    ssim: float | None
    facts: Mapping[str, str]
    region: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of a search.

    Args:
        hits: Hits, the best first.
        pictures: Number of pictures in the collection.
        eligible: Number of them that pass the filter.
        kind: Kind of the index that answered.
        unseen: Number of pictures that could not be opened for their structural similarity.
        hints: Lines about values of the filter that no picture has.
    """

    hits: tuple[Hit, ...]
    pictures: int
    eligible: int
    kind: str
    unseen: int = 0
    hints: tuple[str, ...] = ()


_CHUNK_ROWS = 4096
"""Rows converted at a time: those of an index are mapped from disk and may exceed the memory."""


def adapted(collection: Collection, head: Head) -> Collection:
    """Return a collection whose vectors are those of the head; searched exactly, without a graph.

    Raises:
        ModelError: The pictures were embedded with another model.
        SearchError: The head needs cells, and the collection keeps none.
    """
    if collection.model_id not in (None, head.model_id):
        raise ModelError(
            f"the head was learned for the model {head.model_id}, the pictures were embedded with "
            f"{collection.model_id}; embed them anew, or run `edge-sim model adapt` again"
        )
    rows = np.empty((len(collection.names), head.dimension), np.float32)
    size = head.vector.centre.size
    needs = 0 if head.cells is None else head.cells.centre.size
    if len(rows) and collection.vectors.shape[1] < size + needs:
        raise SearchError(
            "the head needs the cells of the pictures; build the index with --scale both"
        )
    for start in range(0, len(rows), _CHUNK_ROWS):
        part = np.asarray(collection.vectors[start : start + _CHUNK_ROWS], np.float32)
        cells = part[:, size:] if needs else None
        rows[start : start + len(part)] = head.rows(part[:, :size], cells)
    return replace(
        collection,
        vectors=rows,
        dimension=head.dimension,
        kind="exact",
        graph=None,
        regions=None,
    )


def adapted_query(query: Query, head: Head) -> Query:
    """Return the query for a collection adapted to the head.

    Raises:
        ModelError: The query has another model, or no cells where the head needs them.
    """
    return replace(query, embedding=head.adapted(query.embedding))


SSIM_SHARE = 1.0 / 3.0
"""Share of ssim in `fused`, `(1 - share) * cosine + share * ssim`: the best plain fusion on ten
sets of real states."""
ALL_PIXELS = 500
"""Number of pictures up to which structural similarity is computed of all; above, of the nearest by
cosine: this many, or twice `top_k`."""


class Searcher:
    """Searcher of one collection, whose indexes are opened once.

    Args:
        collection: Pictures to search.
    """

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self._opened: dict[tuple[Metric, VectorScale], Index] = {}
        self._attributes: AttributeTable | None = None
        self._regions: RegionSearch | None = None

    @property
    def attributes(self) -> AttributeTable:
        """Attributes of the pictures, read when first needed."""
        if self._attributes is None:
            own = self.collection
            if own.attributes is not None:
                self._attributes = own.attributes()
            else:
                facts = (own.facts(row) for row in range(len(own.names)))
                self._attributes = AttributeTable(facts, keys=(TAG,))
        return self._attributes

    def search(self, query: Query, search_filter: SearchFilter) -> Answer:
        """Return the pictures most, or least, like the query.

        Raises:
            ModelError: The query was made with another model.
            SearchError: A filter by a key that no picture has, or a scale that is not kept.
        """
        own = self.collection
        total = len(own.names)
        if own.model_id not in (None, query.embedding.model_id):
            raise ModelError(
                f"the pictures were embedded with {own.model_id}, the query with "
                f"{query.embedding.model_id}; search with the same model"
            )
        where = search_filter.where
        among = None if where is None or not total else self.attributes.mask(where)
        hints = () if where is None or not total else tuple(self.attributes.hints(where))
        eligible = total if among is None else int(np.count_nonzero(among))
        if not eligible:
            return Answer((), total, 0, own.kind, hints=hints)
        by_pixels = search_filter.metric in (SSIM, FUSED)
        metric = Metric.COSINE if by_pixels else Metric(search_filter.metric)
        index = self._index(metric, search_filter.scale)
        vector = self._vector(query, search_filter.scale)
        k = min(search_filter.top_k, total)
        pool = max(ALL_PIXELS, 2 * k) if by_pixels else k
        found = index.search(vector, min(pool, total), among=among, least=search_filter.least)
        boxes: Mapping[int, int] = {}
        if metric is Metric.COSINE and not by_pixels:
            found, boxes = self._with_regions(vector, found, among, search_filter)
        cosines = self._cosines(vector, found.rows, search_filter.scale)
        ssims: NDArray[np.float64] | None = None
        if by_pixels:
            ssims = _ssims(own, query.thumbnail, found.rows)
            found, cosines, ssims = _by_pixels(found, cosines, ssims, search_filter)
        if boxes:
            cosines = found.scores.astype(np.float64)
        hits = _hits(own, found, cosines, ssims, boxes)
        if search_filter.min_score is not None:
            hits = [hit for hit in hits if hit.score >= search_filter.min_score]
        unseen = 0 if ssims is None else int(np.isnan(ssims).sum())
        shown = tuple(hits[: search_filter.top_k])
        return Answer(shown, total, eligible, index.kind, unseen, hints)

    def _index(self, metric: Metric, scale: VectorScale) -> Index:
        if (metric, scale) not in self._opened:
            own = self.collection
            rows = part_of(own.vectors, own.dimension, scale)
            if metric is Metric.MANHATTAN or scale is not VectorScale.GLOBAL:
                # The graph knows angles of global vectors only.
                made = open_index("exact", rows, metric=metric)
            else:
                made = open_index(own.kind, rows, graph=own.graph, metric=metric)
            self._opened[metric, scale] = made
        return self._opened[metric, scale]

    def _with_regions(
        self,
        vector: NDArray[np.float32],
        found: Neighbours,
        among: RowMask | None,
        wanted: SearchFilter,
    ) -> tuple[Neighbours, Mapping[int, int]]:
        """Return the answer with the better of whole and best region for each picture, and the
        number of that region by row."""
        own = self.collection
        is_global = wanted.scale is VectorScale.GLOBAL
        if own.regions is None or wanted.whole or wanted.least or not is_global:
            return found, {}
        if self._regions is None:
            self._regions = RegionSearch(own.regions)
        best = self._regions.search(vector, wanted.top_k, among)
        rows = np.union1d(found.rows, best.rows)
        scores = self._cosines(vector, rows, wanted.scale)
        at = np.searchsorted(rows, best.rows)
        is_better = best.cosines > scores[at]
        scores[at[is_better]] = best.cosines[is_better]
        better = best.rows[is_better].tolist(), best.boxes[is_better].tolist()
        boxes = dict(zip(*better, strict=True))
        order = np.lexsort((rows, -scores))[: wanted.top_k]
        return Neighbours(rows[order], scores[order].astype(np.float32)), boxes

    def _vector(self, query: Query, scale: VectorScale) -> NDArray[np.float32]:
        whole = one_vector(query.embedding, scale)
        if scale is VectorScale.GLOBAL:
            return whole
        return np.asarray(part_of(whole, query.embedding.vector.size, scale), np.float32)

    def _cosines(
        self, vector: NDArray[np.float32], rows: NDArray[np.intp], scale: VectorScale
    ) -> NDArray[np.float64]:
        own = self.collection
        part = part_of(np.asarray(own.vectors[rows], np.float32), own.dimension, scale)
        # Without BLAS, whose threads would wait for busy cores longer than this takes.
        wide = vector.astype(np.float64)
        products: NDArray[np.float64] = np.einsum("ij,j->i", part.astype(np.float64), wide)
        return np.asarray(np.clip(products, -1.0, 1.0), np.float64)


def _ssims(own: Collection, picture: GrayImage, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return (M,) structural similarities; NaN where a picture cannot be opened."""
    planes = ssim_planes(picture)
    values = np.full(len(rows), np.nan)
    for at, row in enumerate(rows):
        other = own.thumbnail(int(row))
        if other is not None:
            values[at] = ssim_between(planes, ssim_planes(other))
    return values


def _by_pixels(
    found: Neighbours,
    cosines: NDArray[np.float64],
    ssims: NDArray[np.float64],
    search_filter: SearchFilter,
) -> tuple[Neighbours, NDArray[np.float64], NDArray[np.float64]]:
    """Return the pool in the order of the metric; pictures that cannot be opened go last."""
    scores = ssims
    if search_filter.metric == FUSED:
        scores = (1.0 - SSIM_SHARE) * cosines + SSIM_SHARE * ssims
    # A stable sort: the pool comes in order of cosine, then of Manhattan distance. NaN sorts last.
    order = np.argsort(scores if search_filter.least else -scores, kind="stable")
    again = Neighbours(found.rows[order], scores[order].astype(np.float32))
    return again, cosines[order], ssims[order]


def _hits(
    own: Collection,
    found: Neighbours,
    cosines: NDArray[np.float64],
    ssims: NDArray[np.float64] | None,
    boxes: Mapping[int, int],
) -> list[Hit]:
    hits = []
    for at, row in enumerate(found.rows):
        if np.isnan(found.scores[at]):
            break
        facts: dict[str, str] = {}
        for key, value in own.facts(int(row)):
            facts[key] = f"{facts[key]} {value}" if key in facts else value
        hits.append(
            Hit(
                rank=at + 1,
                row=int(row),
                name=own.names[int(row)],
                score=float(found.scores[at]),
                cosine=float(cosines[at]),
                ssim=None if ssims is None else float(ssims[at]),
                facts=facts,
                region=BOXES[boxes[row]] if row in boxes else None,
            )
        )
    return hits
