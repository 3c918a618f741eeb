"""Map of a collection: every picture as a point in the plane, and groups of similar pictures.

The plane is spanned by the two directions in which the vectors vary most (principal components:
Pearson, On lines and planes of closest fit to systems of points in space, 1901), or keeps the
neighbours of each picture near it (t-SNE: van der Maaten and Hinton, Visualizing data using t-SNE,
JMLR 9, 2008, with the approximation of Barnes and Hut). Groups are those of k-means (Lloyd, Least
squares quantization in PCM, 1982), as OpenCV computes them, or of HDBSCAN (Campello, Moulavi and
Sander, Density-based clustering based on hierarchical density estimates, PAKDD 2013). t-SNE and
HDBSCAN are those of scikit-learn (extra `map`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.ranking import Rows
from edge_sim.core.types import FloatMatrix
from edge_sim.errors import SearchError

PCA, TSNE = "pca", "tsne"
LAYOUTS = (PCA, TSNE)
KMEANS, HDBSCAN = "kmeans", "hdbscan"
GROUPINGS = (KMEANS, HDBSCAN)
MAX_GROUPS = 200
SMALLEST_GROUP = 10
EXAMPLES = 5
_CHUNK_ROWS = 4096
_REDUCED = 32
"""Principal components that are compared: more take longer and change little."""
_SEED = 1
_PERPLEXITY, _ROUNDS, _ANGLE = 30.0, 500, 0.8
"""Number of neighbours kept near, rounds of descent, and coarseness of the tree of Barnes and Hut.
Of 10,000 photos 0.44 of the ten nearest stay among them; a finer tree keeps no more in twice the
time, and 350 rounds 0.38."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureMap:
    """Points and groups of N pictures.

    Args:
        points: (N, 2) float32, each axis scaled to 0 to 1.
        groups: (N) intp, the number of the group of each picture; the largest group is 0, and -1
            is that of pictures in no group.
        distances: (N) float32, distance of each vector to the mean of its group, or of the nearest
            group; 0 where there is no group.
        typical: Per group, the rows nearest to its mean, nearest first.
        odd: Per group, the rows farthest from it, farthest first.
        ungrouped: Rows in no group, farthest from every group first.
    """

    points: FloatMatrix
    groups: NDArray[np.intp]
    distances: NDArray[np.float32]
    typical: tuple[tuple[int, ...], ...]
    odd: tuple[tuple[int, ...], ...]
    ungrouped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MapPlan:
    """Choices for a map.

    Args:
        layout: `pca`, or `tsne` (extra `map`).
        grouping: `kmeans`, or `hdbscan` (extra `map`). Groups are found among the points of t-SNE,
            or among the principal components.
        groups: Number of groups of k-means, at most 200; None takes about the root of N / 2.
        smallest: Least number of pictures of a group of HDBSCAN, 2 or more.
        examples: Greatest number of typical and of odd pictures per group, 1 or more.

    Raises:
        SearchError: A name that there is not, a number out of range, or one that its grouping does
            not take.
    """

    layout: str = PCA
    grouping: str = KMEANS
    groups: int | None = None
    smallest: int | None = None
    examples: int = EXAMPLES

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise SearchError(f"no layout {self.layout!r}; there are {', '.join(LAYOUTS)}")
        if self.grouping not in GROUPINGS:
            raise SearchError(f"no grouping {self.grouping!r}; there are {', '.join(GROUPINGS)}")
        if self.groups is not None and self.grouping != KMEANS:
            raise SearchError("hdbscan finds the number of groups itself; give the smallest size")
        if self.groups is not None and not 1 <= self.groups <= MAX_GROUPS:
            raise SearchError(f"the number of groups lies in 1 to {MAX_GROUPS}, got {self.groups}")
        if self.smallest is not None and self.grouping != HDBSCAN:
            raise SearchError("k-means has no smallest group; give the number of groups")
        if self.smallest is not None and self.smallest < 2:
            raise SearchError(f"the smallest group has 2 pictures or more, got {self.smallest}")
        if self.examples < 1:
            raise SearchError(f"the number of examples is 1 or more, got {self.examples}")


def picture_map(rows: Rows, plan: MapPlan | None = None) -> PictureMap:
    """Return the map of (N, D) rows; equal rows give an equal map.

    Args:
        rows: Vectors in memory or mapped from a file.
        plan: Choices; None takes the defaults.

    Raises:
        SearchError: There is no row, or scikit-learn is needed and not installed.
    """
    plan = plan or MapPlan()
    count = len(rows)
    if not count:
        raise SearchError("there is no picture to draw a map of")
    learn = _scikit_learn(plan)
    reduced = _principal(rows)
    points = reduced[:, :2]
    compared = reduced
    if learn is not None and plan.layout == TSNE and count > 2:
        points = compared = _neighbour_plane(reduced, learn)
    if learn is not None and plan.grouping == HDBSCAN:
        labels = _dense_groups(compared, plan.smallest or SMALLEST_GROUP, learn)
    else:
        wanted = plan.groups or max(1, round((count / 2) ** 0.5))
        labels = _k_means(compared, min(wanted, MAX_GROUPS, count))
    return _described(_scaled(points), reduced, _by_size(labels), plan.examples)


@dataclass(frozen=True, slots=True)
class _ScikitLearn:
    """Modules of scikit-learn, and the limit of its threads."""

    manifold: Any
    cluster: Any
    limits: Any


def _scikit_learn(plan: MapPlan) -> _ScikitLearn | None:
    """Return what the plan needs of scikit-learn; None if nothing."""
    if plan.layout == PCA and plan.grouping == KMEANS:
        return None
    try:
        from sklearn import cluster, manifold
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise SearchError(
            "t-SNE and HDBSCAN need scikit-learn: pip install 'edge_sim[map]', or take the "
            "layout pca with groups by kmeans"
        ) from error
    return _ScikitLearn(manifold, cluster, threadpool_limits)


def _by_size(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return labels renamed so that the largest group is 0; negative ones stay."""
    sizes = np.bincount(labels[labels >= 0])
    order = np.argsort(-sizes, kind="stable")
    renamed = np.empty(len(order), np.intp)
    renamed[order] = np.arange(len(order))
    found = labels.copy()
    found[labels >= 0] = renamed[labels[labels >= 0]]
    return found


def _described(
    points: FloatMatrix, reduced: FloatMatrix, groups: NDArray[np.intp], examples: int
) -> PictureMap:
    distances = np.zeros(len(groups), np.float32)
    typical, odd, means = [], [], []
    for group in range(int(groups.max(initial=-1)) + 1):
        members = np.flatnonzero(groups == group)
        if not len(members):
            continue  # k-means can leave a group empty where rows are equal; it is the last
        means.append(reduced[members].mean(axis=0, dtype=np.float64))
        distances[members] = np.linalg.norm(reduced[members] - means[-1], axis=1)
        order = members[np.argsort(distances[members], kind="stable")]
        typical.append(tuple(order[:examples].tolist()))
        odd.append(tuple(order[::-1][:examples].tolist()))
    rest = np.flatnonzero(groups < 0)
    if means and len(rest):
        apart = [np.linalg.norm(reduced[rest] - mean, axis=1) for mean in means]
        distances[rest] = np.min(apart, axis=0)
    alone = rest[np.argsort(-distances[rest], kind="stable")]
    return PictureMap(points, groups, distances, tuple(typical), tuple(odd), tuple(alone.tolist()))


def _neighbour_plane(reduced: FloatMatrix, learn: _ScikitLearn) -> FloatMatrix:
    """Return (N, 2) float32 points by t-SNE, N > 2, from those of the principal components."""
    # Small at the start, as t-SNE wants it; equal rows give no direction to start in.
    spread = float(reduced[:, 0].std()) or 1.0
    made = learn.manifold.TSNE(
        2,
        perplexity=min(_PERPLEXITY, (len(reduced) - 1) / 3),
        max_iter=_ROUNDS,
        angle=_ANGLE,
        init=(reduced[:, :2] * (1e-4 / spread)).astype(np.float32),
        random_state=_SEED,
    )
    # Its threads wait for each other in every round: beside other work two of them took six times
    # as long as one, and alone they save a third.
    with learn.limits(1):
        return np.asarray(made.fit_transform(reduced), np.float32)


def _dense_groups(rows: FloatMatrix, smallest: int, learn: _ScikitLearn) -> NDArray[np.intp]:
    """Return the groups of HDBSCAN; -1 for rows in none."""
    if len(rows) < smallest:
        return np.full(len(rows), -1, np.intp)
    with learn.limits(1):
        found = learn.cluster.HDBSCAN(min_cluster_size=smallest, copy=True).fit(rows)
    return np.maximum(np.asarray(found.labels_, np.intp), -1)


def _principal(rows: Rows) -> FloatMatrix:
    """Return (N, up to 32) float32, the rows along the directions in which they vary most."""
    count, width = rows.shape
    mean = np.zeros(width)
    for start in range(0, count, _CHUNK_ROWS):
        mean += np.asarray(rows[start : start + _CHUNK_ROWS], np.float64).sum(axis=0)
    mean /= count
    scatter = np.zeros((width, width))
    for start in range(0, count, _CHUNK_ROWS):
        part = np.asarray(rows[start : start + _CHUNK_ROWS], np.float64) - mean
        scatter += part.T @ part
    _, directions = np.linalg.eigh(scatter)
    kept = directions[:, ::-1][:, : max(2, min(_REDUCED, width))]
    # The sign of a direction is arbitrary: the largest part of each is made positive.
    kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    found = np.empty((count, kept.shape[1]), np.float32)
    for start in range(0, count, _CHUNK_ROWS):
        part = np.asarray(rows[start : start + _CHUNK_ROWS], np.float64) - mean
        found[start : start + len(part)] = part @ kept
    if found.shape[1] == 1:
        found = np.pad(found, ((0, 0), (0, 1)))
    return found


def _k_means(rows: FloatMatrix, groups: int) -> NDArray[np.intp]:
    if groups == 1:
        return np.zeros(len(rows), np.intp)
    cv2.setRNGSeed(_SEED)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-4)
    _, labels, _ = cv2.kmeans(
        np.ascontiguousarray(rows), groups, None, criteria, 2, cv2.KMEANS_PP_CENTERS
    )  # type: ignore[call-overload]
    return np.asarray(labels.reshape(-1), np.intp)


def _scaled(points: FloatMatrix) -> FloatMatrix:
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    return np.asarray((points - low) / span, np.float32)
