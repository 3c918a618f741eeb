"""Evaluation of an index as its users meet it: pictures are read, embedded and searched for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from edge_sim.analysis.evaluation.datasets import (
    LabelledPicture,
    LabelledSet,
    pictures_of,
    read_set,
)
from edge_sim.analysis.evaluation.retrieval import RANKS, RankRates, RankTally, WrongAnswer
from edge_sim.core.protocols import Embedder
from edge_sim.errors import DataError, SearchError
from edge_sim.search.queries import enough_px, query_of_pixels
from edge_sim.search.regions import reading_px
from edge_sim.search.searcher import Collection, Hit, Searcher, SearchFilter, collection_of_index
from edge_sim.search.store import IndexStore


class IndexRetrievalResult(RankRates, frozen=True, kw_only=True):
    """Figures of one collection, searched for through an index.

    The first hundred answers count; a picture does not find itself.

    Args:
        kind: Kind of the index.
        latency_p50_ms: Median time from the file to the answer: read, embedded, searched.
        latency_p95_ms: Time that 95 of 100 queries take at most.
        search_p50_ms: Median time of the search alone.
        search_p95_ms: Time that 95 of 100 searches take at most.
    """

    kind: str
    latency_p50_ms: float
    latency_p95_ms: float
    search_p50_ms: float
    search_p95_ms: float


class IndexRetrieval:
    """Searches of labelled pictures through an index.

    A picture of the index has the class that the queries give to its file, else that of the folder
    it lies in.

    Args:
        store: The index; keep it open.
        embedder: Model of the index.

    Raises:
        SearchError: It holds imported vectors, or is damaged.
    """

    def __init__(self, store: IndexStore, embedder: Embedder) -> None:
        if store.plan.is_imported:
            raise SearchError(f"{store.path}: holds imported vectors, no pictures to search by")
        self._root = store.plan.root
        self._cuts_bars = store.plan.cuts_bars
        self._embedder = embedder
        self._collection: Collection = collection_of_index(store)
        self._searcher = Searcher(self._collection)
        # A picture of the index finds itself first, which does not count.
        self._filter = SearchFilter(top_k=RANKS[-1] + 1)

    def measure(self, path: Path) -> IndexRetrievalResult:
        """Return the figures of the pictures of a labelled tar or folder, see `read_set`.

        Raises:
            DataError: It cannot be read, or the index has nothing of its classes.
            ModelError: The embedder is not that of the index.
        """
        labelled = read_set(path)
        labels = self._labels(labelled)
        counts = Counter(labels.values())
        tally, wrong, times, searches = RankTally(), [], [], []
        classes = set()
        for item, hits, seconds, searched in self._answers(labelled):
            own = self._inside(item.name)
            others = counts[item.label] - (labels.get(own) == item.label)
            if not others:
                continue
            found = [hit.name for hit in hits if hit.name != own][: RANKS[-1]]
            relevant = np.array([labels[name] == item.label for name in found])
            tally.add(relevant, others)
            classes.add(item.label)
            times.append(seconds)
            searches.append(searched)
            if not relevant[0]:
                wrong.append(WrongAnswer(item.name, item.label, found[0], labels[found[0]]))
        if not tally.queries:
            raise DataError(f"{path}: the index has no other picture of its classes")
        # The first also opens the index.
        spent = 1000.0 * np.array([times[1:] or times, searches[1:] or searches])
        p50, p95 = np.percentile(spent, (50, 95), axis=1)
        return IndexRetrievalResult(
            name=labelled.name,
            kind=self._collection.kind,
            pictures=tally.queries,
            classes=len(classes),
            **tally.figures(),
            latency_p50_ms=float(p50[0]),
            latency_p95_ms=float(p95[0]),
            search_p50_ms=float(p50[1]),
            search_p95_ms=float(p95[1]),
            wrong=tuple(wrong),
        )

    def _answers(
        self, labelled: LabelledSet
    ) -> Iterator[tuple[LabelledPicture, tuple[Hit, ...], float, float]]:
        """Yield each picture, its answer, and the seconds of all of it and of the search."""
        side_px = reading_px(
            enough_px(self._embedder), regions=self._collection.regions is not None
        )
        started_s = perf_counter()
        for item in pictures_of(labelled, side_px):
            query = query_of_pixels(item.pixels, self._embedder, cut_bars=self._cuts_bars)
            search_s = perf_counter()
            answer = self._searcher.search(query, self._filter)
            ended_s = perf_counter()
            yield item, answer.hits, ended_s - started_s, ended_s - search_s
            started_s = perf_counter()

    def _labels(self, labelled: LabelledSet) -> dict[str, str]:
        """Return the class of each picture of the index."""
        labels = {str(name): Path(name).parent.name for name in self._collection.names}
        clean = (frame for frame in labelled.frames if frame.is_clean)
        given = ((self._inside(str(frame.path)), frame.state) for frame in clean)
        return labels | {name: label for name, label in given if name in labels}

    def _inside(self, name: str) -> str:
        """Return the name that a file has in the index, if it is in it."""
        path = Path(name).absolute()
        return str(path.relative_to(self._root)) if path.is_relative_to(self._root) else name
