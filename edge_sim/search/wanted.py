"""What is asked of a search, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_sim.domain import Embedding, GrayImage
from edge_sim.errors import SearchError
from edge_sim.index_store import VectorScale
from edge_sim.ranking import Metric

SSIM, FUSED = "ssim", "fused"
METRICS = (Metric.COSINE.value, Metric.EUCLIDEAN.value, Metric.MANHATTAN.value, SSIM, FUSED)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A picture to look for: its embedding, and its (96, 96) grey thumbnail."""

    embedding: Embedding
    thumbnail: GrayImage


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a search.

    Args:
        top_k: At most so many hits.
        metric: One of `METRICS`.
        least: The least similar first.
        where: Only pictures that have all these (key, value) pairs.
        min_score: Only hits with at least this score; not for distances.
        scale: What of a picture is compared.

    Raises:
        SearchError: Numbers or names out of range, or options that contradict each other.
    """

    top_k: int = 100
    metric: str = "cosine"
    least: bool = False
    where: tuple[tuple[str, str], ...] = ()
    min_score: float | None = None
    scale: VectorScale = VectorScale.GLOBAL

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise SearchError(f"ask for at least 1 picture, got {self.top_k}")
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
    """One picture that was found.

    Args:
        rank: From 1.
        row: In the collection.
        name: Id or path.
        score: In the metric asked for.
        cosine: In the scale asked for, -1 to 1.
        ssim: Structural similarity of the thumbnails; None where it was not asked for.
        facts: What is known of the picture; several values of a key are joined by a space.
    """

    rank: int
    row: int
    name: str
    score: float
    cosine: float
    ssim: float | None
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search gives.

    Args:
        hits: The best first.
        pictures: In the collection.
        eligible: Of them, that pass the filter.
        kind: Of the index that answered.
        unseen: Pictures that could not be opened for their structural similarity.
    """

    hits: tuple[Hit, ...]
    pictures: int
    eligible: int
    kind: str
    unseen: int = 0
