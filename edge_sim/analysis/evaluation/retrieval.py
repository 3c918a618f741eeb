"""Evaluation of retrieval: every picture is a query for the others of its class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from time import perf_counter

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.analysis.evaluation.datasets import LabelledPicture
from edge_sim.analysis.evaluation.metrics import average_precision, interpolated_precision
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import FloatMatrix
from edge_sim.core.vectors import normalised
from edge_sim.errors import DataError

RANKS = (1, 5, 10, 100)
PRECISION_AT = (5, 10)
RECALL_LEVELS = np.linspace(0.0, 1.0, 11)


class WrongAnswer(msgspec.Struct, frozen=True):
    """Picture whose nearest other is of another class.

    Args:
        file: The picture.
        label: Its class.
        nearest: The nearest other.
        nearest_label: The class of that.
    """

    file: str
    label: str
    nearest: str
    nearest_label: str


class RankRates(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of a collection of queries, cut off at some ranks; means over them.

    Args:
        name: Name of the collection.
        pictures: Number of queries.
        classes: Number of classes.
        hit_rate_at_1: Part of the queries with a picture of the class first; likewise the others:
            among the first five, ten, hundred.
        recall_at_1: Part of the other pictures of the class that is first; likewise the others. At
            most k over their number.
        precision_at_5: Part of the class among the first five; likewise the other.
        wrong: Pictures whose nearest other is of another class.
    """

    name: str
    pictures: int
    classes: int
    hit_rate_at_1: float
    hit_rate_at_5: float
    hit_rate_at_10: float
    hit_rate_at_100: float
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    recall_at_100: float
    precision_at_5: float
    precision_at_10: float
    wrong: tuple[WrongAnswer, ...] = ()


class RetrievalResult(RankRates, frozen=True, kw_only=True):
    """Figures of one collection; means over the pictures whose class has others.

    Args:
        mean_average_precision: Mean over whole rankings.
        precision_at_recall: Mean interpolated precision at recalls of 0, 0.1 .. 1 (the 11 points of
            Salton and McGill, Introduction to Modern Information Retrieval, 1983).
        latency_ms: Median time of one query, embedding not included.
        queries_per_s: Rate of queries one after the other.
        embed_ms: Median time of one embedding; None if it was not measured.
    """

    mean_average_precision: float
    precision_at_recall: tuple[float, ...]
    latency_ms: float
    queries_per_s: float
    embed_ms: float | None = None


class RankTally:
    """Sums of the figures of ranked answers, cut off at some ranks."""

    def __init__(self) -> None:
        self.queries = 0
        self._hits, self._recall = np.zeros(len(RANKS)), np.zeros(len(RANKS))
        self._precision = np.zeros(len(PRECISION_AT))

    def add(self, relevant: NDArray[np.bool_], others: int) -> None:
        """Add an answer.

        Args:
            relevant: Whether each picture of the answer is of the class, the nearest first.
            others: Number of pictures that are.
        """
        found = np.array([int(relevant[:number].sum()) for number in RANKS])
        self.queries += 1
        self._hits += found > 0
        self._recall += found / others
        self._precision += [float(relevant[:number].mean()) for number in PRECISION_AT]

    def figures(self) -> dict[str, float]:
        """Return the means by the names of the fields of a result."""
        return {
            name.format(rank): float(value / self.queries)
            for name, ranks, values in (
                ("hit_rate_at_{}", RANKS, self._hits),
                ("recall_at_{}", RANKS, self._recall),
                ("precision_at_{}", PRECISION_AT, self._precision),
            )
            for rank, value in zip(ranks, values, strict=True)
        }


def retrieve(
    name: str,
    pictures: Iterable[LabelledPicture],
    embedder: Embedder,
    *,
    centred: bool = True,
) -> RetrievalResult:
    """Return the figures of labelled pictures, embedded one after the other.

    Args:
        name: Name of the collection.
        pictures: Pictures, as of `pictures_of`.
        embedder: Embedder to measure.
        centred: Whether the mean of the collection is subtracted before the cosine.

    Raises:
        DataError: Fewer than two pictures, no class with two, or a single class.
    """
    classes, files, vectors, times_s = [], [], [], []
    for item in pictures:
        started_s = perf_counter()
        vectors.append(embedder.embed(item.pixels).vector)
        times_s.append(perf_counter() - started_s)
        classes.append(item.label)
        files.append(item.name)
    if not vectors:
        raise DataError(f"{name}: there is no picture")
    result = evaluate_retrieval(name, np.stack(vectors), classes, centred=centred, files=files)
    return msgspec.structs.replace(result, embed_ms=1000.0 * float(np.median(times_s)))


def evaluate_retrieval(
    name: str,
    vectors: FloatMatrix,
    classes: Sequence[str],
    *,
    centred: bool = True,
    files: Sequence[str] | None = None,
) -> RetrievalResult:
    """Return the figures of (N, D) vectors with their classes.

    Args:
        name: Name of the collection.
        vectors: Embeddings.
        classes: Classes of the rows.
        centred: Whether the mean of the collection is subtracted before the cosine.
        files: Names of the rows, to list wrong answers; None lists none.

    Raises:
        DataError: Fewer than two pictures, no class with two, or a single class.
    """
    labels = np.asarray(classes)
    queries = checked_queries(name, classes)
    rows = normalised(vectors - vectors.mean(axis=0) if centred else vectors)
    tally, curve, average = RankTally(), np.zeros(len(RECALL_LEVELS)), 0.0
    times, wrong = [], []
    for row in queries:
        started = perf_counter()
        scores = rows @ rows[row]
        scores[row] = -np.inf
        order = np.argsort(-scores, kind="stable")[:-1]
        times.append(perf_counter() - started)
        relevant = labels[order] == labels[row]
        tally.add(relevant, int(relevant.sum()))
        curve += interpolated_precision(relevant, RECALL_LEVELS)
        average += average_precision(relevant)
        if files is not None and not relevant[0]:
            near = int(order[0])
            wrong.append(WrongAnswer(files[row], classes[row], files[near], classes[near]))
    number = len(queries)
    return RetrievalResult(
        name=name,
        pictures=number,
        classes=len(set(classes)),
        **tally.figures(),
        mean_average_precision=average / number,
        precision_at_recall=tuple(float(value) for value in curve / number),
        latency_ms=1000.0 * float(np.median(times)),
        queries_per_s=number / sum(times),
        wrong=tuple(wrong),
    )


def checked_queries(name: str, classes: Sequence[str]) -> list[int]:
    """Return the rows whose class has others.

    Raises:
        DataError: There is none, or a single class.
    """
    counts = Counter(classes)
    queries = [row for row, label in enumerate(classes) if counts[label] > 1]
    if not queries:
        raise DataError(f"{name}: no class has two pictures")
    if len(counts) < 2:
        raise DataError(f"{name}: all pictures are of the class {classes[0]!r}; needs two classes")
    return queries
