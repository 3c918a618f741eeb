"""Evaluation of retrieval: every picture is a query for the others of its class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter

import msgspec
import numpy as np

from edge_sim.analysis.evaluation.metrics import average_precision, interpolated_precision
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import BgrImage, FloatMatrix
from edge_sim.core.vectors import normalised
from edge_sim.errors import DataError

RANKS = (1, 5, 10, 100)
PRECISION_AT = (5, 10)
RECALL_LEVELS = np.linspace(0.0, 1.0, 11)


class RetrievalResult(msgspec.Struct, frozen=True):
    """Figures of one collection; means over the pictures whose class has others.

    Args:
        name: Name of the collection.
        pictures: Number of queries.
        classes: Number of classes.
        hit_rate_at_1: Part of the queries with a picture of the class first; likewise the others:
            among the first five, ten, hundred.
        recall_at_1: Part of the other pictures of the class that is first; likewise the others. At
            most k over their number.
        precision_at_5: Part of the class among the first five; likewise the other.
        mean_average_precision: Mean over whole rankings.
        precision_at_recall: Mean interpolated precision at recalls of 0, 0.1 .. 1 (the 11 points of
            Salton and McGill, Introduction to Modern Information Retrieval, 1983).
        latency_ms: Median time of one query, embedding not included.
        queries_per_s: Rate of queries one after the other.
        embed_ms: Median time of one embedding; None if it was not measured.
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
    mean_average_precision: float
    precision_at_recall: tuple[float, ...]
    latency_ms: float
    queries_per_s: float
    embed_ms: float | None = None


def retrieve(
    name: str,
    pictures: Iterable[tuple[str, BgrImage]],
    embedder: Embedder,
    *,
    centred: bool = True,
) -> RetrievalResult:
    """Return the figures of labelled pictures, embedded one after the other.

    Args:
        name: Name of the collection.
        pictures: (class, pixels), as of `read_tar`.
        embedder: Embedder to measure.
        centred: Whether the mean of the collection is subtracted before the cosine.

    Raises:
        DataError: Fewer than two pictures, no class with two, or a single class.
    """
    classes, vectors, times_s = [], [], []
    for label, pixels in pictures:
        started_s = perf_counter()
        vectors.append(embedder.embed(pixels).vector)
        times_s.append(perf_counter() - started_s)
        classes.append(label)
    if not vectors:
        raise DataError(f"{name}: there is no picture")
    result = evaluate_retrieval(name, np.stack(vectors), classes, centred=centred)
    return msgspec.structs.replace(result, embed_ms=1000.0 * float(np.median(times_s)))


def evaluate_retrieval(
    name: str, vectors: FloatMatrix, classes: Sequence[str], *, centred: bool = True
) -> RetrievalResult:
    """Return the figures of (N, D) vectors with their classes.

    Args:
        name: Name of the collection.
        vectors: Embeddings.
        classes: Classes of the rows.
        centred: Whether the mean of the collection is subtracted before the cosine.

    Raises:
        DataError: Fewer than two pictures, no class with two, or a single class.
    """
    labels = np.asarray(classes)
    queries = [row for row in range(len(labels)) if int((labels == labels[row]).sum()) > 1]
    if not queries:
        raise DataError(f"{name}: no class has two pictures")
    if len(set(classes)) < 2:
        raise DataError(f"{name}: all pictures are of the class {classes[0]!r}; needs two classes")
    rows = normalised(vectors - vectors.mean(axis=0) if centred else vectors)
    hits, recall = np.zeros(len(RANKS)), np.zeros(len(RANKS))
    precision = np.zeros(len(PRECISION_AT))
    curve = np.zeros(len(RECALL_LEVELS))
    average = 0.0
    times = []
    for row in queries:
        started = perf_counter()
        scores = rows @ rows[row]
        scores[row] = -np.inf
        order = np.argsort(-scores, kind="stable")[:-1]
        times.append(perf_counter() - started)
        relevant = labels[order] == labels[row]
        found = np.array([int(relevant[:number].sum()) for number in RANKS])
        hits += found > 0
        recall += found / int(relevant.sum())
        precision += [float(relevant[:number].mean()) for number in PRECISION_AT]
        curve += interpolated_precision(relevant, RECALL_LEVELS)
        average += average_precision(relevant)
    number = len(queries)
    hits, recall = hits / number, recall / number
    return RetrievalResult(
        name=name,
        pictures=number,
        classes=len(set(classes)),
        hit_rate_at_1=float(hits[0]),
        hit_rate_at_5=float(hits[1]),
        hit_rate_at_10=float(hits[2]),
        hit_rate_at_100=float(hits[3]),
        recall_at_1=float(recall[0]),
        recall_at_5=float(recall[1]),
        recall_at_10=float(recall[2]),
        recall_at_100=float(recall[3]),
        precision_at_5=float(precision[0] / number),
        precision_at_10=float(precision[1] / number),
        mean_average_precision=average / number,
        precision_at_recall=tuple(float(value) for value in curve / number),
        latency_ms=1000.0 * float(np.median(times)),
        queries_per_s=number / sum(times),
    )
