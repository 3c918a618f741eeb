"""The search itself."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import GrayImage
from edge_sim.errors import ModelError, SearchError
from edge_sim.index_store import VectorScale, one_vector, part_of
from edge_sim.indexes import ExactIndex, open_index
from edge_sim.protocols import Index
from edge_sim.ranking import Metric, Neighbours
from edge_sim.search.collection import TAG, Collection
from edge_sim.search.wanted import FUSED, SSIM, Answer, Hit, Query, Wanted
from edge_sim.similarity import ssim_between, ssim_planes

SSIM_SHARE = 1.0 / 3.0
"""Of `fused`, which is `(1 - share) * cosine + share * ssim`: half the weight of the cosine, as in
the best of the plain fusions on ten sets of real states."""
ALL_PIXELS = 500
"""Up to so many pictures, structural similarity is computed of all; above, of the nearest by
cosine, this many or twice as many as are asked for."""


class Searcher:
    """Searches one collection; opens what it needs once.

    Args:
        collection: To search.
    """

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self._opened: dict[tuple[Metric, VectorScale], Index] = {}

    def search(self, query: Query, wanted: Wanted) -> Answer:
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
        among = _mask(own, wanted.where) if wanted.where else None
        eligible = total if among is None else int(among.sum())
        if not eligible:
            return Answer((), total, 0, own.kind)
        by_pixels = wanted.metric in (SSIM, FUSED)
        metric = Metric.COSINE if by_pixels else Metric(wanted.metric)
        index = self._index(metric, wanted.scale)
        vector = self._vector(query, wanted.scale)
        k = min(wanted.top_k, total)
        pool = max(ALL_PIXELS, 2 * k) if by_pixels else k
        found = index.search(vector, min(pool, total), among=among, least=wanted.least)
        cosines = self._cosines(vector, found.rows, wanted.scale)
        ssims: NDArray[np.float64] | None = None
        if by_pixels:
            ssims = _ssims(own, query.thumbnail, found.rows)
            found, cosines, ssims = _by_pixels(found, cosines, ssims, wanted)
        hits = _hits(own, found, cosines, ssims)
        if wanted.min_score is not None:
            hits = [hit for hit in hits if hit.score >= wanted.min_score]
        unseen = 0 if ssims is None else int(np.isnan(ssims).sum())
        return Answer(tuple(hits[: wanted.top_k]), total, eligible, index.kind, unseen)

    def _index(self, metric: Metric, scale: VectorScale) -> Index:
        if (metric, scale) not in self._opened:
            own = self.collection
            rows = part_of(own.vectors, own.dimension, scale)
            if metric is Metric.MANHATTAN or scale is not VectorScale.GLOBAL:
                # The graph knows angles of global vectors only.
                made: Index = ExactIndex(rows, metric=metric, unit=True)
            else:
                made = open_index(own.kind, rows, graph=own.graph, metric=metric)
            self._opened[metric, scale] = made
        return self._opened[metric, scale]

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
        return np.clip(part.astype(np.float64) @ vector.astype(np.float64), -1.0, 1.0)


def _mask(own: Collection, where: Iterable[tuple[str, str]]) -> NDArray[np.bool_]:
    wanted = frozenset(where)
    among = np.zeros(len(own.names), np.bool_)
    keys: set[str] = {TAG}
    for row in range(len(own.names)):
        present = set(own.facts(row))
        keys.update(key for key, _ in present)
        among[row] = wanted <= present
    strange = sorted({key for key, _ in wanted} - keys)
    if strange and len(among):
        raise SearchError(f"no picture has {strange[0]!r}; filter by {', '.join(sorted(keys))}")
    return among


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
    wanted: Wanted,
) -> tuple[Neighbours, NDArray[np.float64], NDArray[np.float64]]:
    """Return the pool in the order of the metric; pictures that cannot be opened go last."""
    scores = ssims
    if wanted.metric == FUSED:
        scores = (1.0 - SSIM_SHARE) * cosines + SSIM_SHARE * ssims
    # A stable sort: the pool comes in order of cosine, then of Manhattan distance. NaN sorts last.
    order = np.argsort(scores if wanted.least else -scores, kind="stable")
    again = Neighbours(found.rows[order], scores[order].astype(np.float32))
    return again, cosines[order], ssims[order]


def _hits(
    own: Collection,
    found: Neighbours,
    cosines: NDArray[np.float64],
    ssims: NDArray[np.float64] | None,
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
            )
        )
    return hits
