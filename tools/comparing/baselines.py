"""Baseline scorers to compare with.

`nearest-cosine` and a fixed threshold of 0.9 is the usual recipe for image similarity; `ssim` and
`thumbnail` need no model at all; `softmax-head` trains a classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from comparing.softmax_head import SoftmaxHead
from edge_sim.core.images import squash
from edge_sim.core.protocols import Scorer
from edge_sim.core.types import Match, Probe, Reference, Score, StateScore
from edge_sim.core.vectors import normalised, ssim_between, ssim_planes
from edge_sim.decision.scorer import GalleryScorer, check_model
from edge_sim.gallery.gallery import Gallery

Rows = NDArray[np.float32]
THUMBNAIL_COSINE_PX = 32
_SHARPNESS = 20.0  # turns differences of similarity into probabilities; not calibrated


class NearestScorer:
    """Scorer by the most similar reference.

    Args:
        gallery: The references.
        likeness: (probe or reference) -> (N,) similarities with the references, -1 to 1.
    """

    def __init__(
        self, gallery: Gallery, likeness: Callable[[Probe | Reference], NDArray[np.float32]]
    ) -> None:
        self._gallery = gallery
        self._likeness = likeness

    def best_match(self, probe: Probe, condition: str | None = None) -> Match | None:  # noqa: ARG002
        """Return the states of the gallery for `probe`, the most similar first."""
        if not len(self._gallery):
            return None
        check_model(probe, self._gallery.model_id)
        return self._match(self._likeness(probe))

    def leave_one_out(self) -> tuple[Match | None, ...]:
        """Return, per reference, its match against all the others."""
        matches: list[Match | None] = []
        for row, reference in enumerate(self._gallery.references):
            scores = self._likeness(reference).copy()
            scores[row] = -np.inf
            matches.append(None if len(scores) < 2 else self._match(scores))
        return tuple(matches)

    def _match(self, scores: NDArray[np.float32]) -> Match:
        gallery = self._gallery
        best = {}
        for state, name in enumerate(gallery.states):
            rows = np.flatnonzero(gallery.state_rows == state)
            row = rows[np.argmax(scores[rows])]
            if np.isfinite(scores[row]):
                best[name] = (int(row), float(scores[row]))
        top = max(value for _, value in best.values())
        raised = {name: np.exp(_SHARPNESS * (value - top)) for name, (_, value) in best.items()}
        total = sum(raised.values())
        states = [
            StateScore(
                name,
                gallery.references[row].reference_id,
                Score(value, None, min(max(value, 0.0), 1.0)),
                float(raised[name] / total),
            )
            for name, (row, value) in best.items()
        ]
        return Match(tuple(sorted(states, key=lambda item: -item.probability)))


def nearest_cosine(gallery: Gallery) -> Scorer:
    """Return the cosine of the global embeddings, nearest reference."""
    return NearestScorer(gallery, lambda item: gallery.matrix @ item.embedding.vector)


def ssim_alone(gallery: Gallery) -> Scorer:
    """Return structural similarity of the thumbnails, nearest reference."""
    planes = [ssim_planes(item.thumbnail) for item in gallery.references]

    def likeness(item: Probe | Reference) -> Rows:
        own = ssim_planes(item.thumbnail)
        return np.array([ssim_between(own, other) for other in planes], np.float32)

    return NearestScorer(gallery, likeness)


def thumbnail_cosine(gallery: Gallery) -> Scorer:
    """Return the cosine of 32 px grey thumbnails, nearest reference."""
    references = gallery.references
    rows = np.stack([_grey(item) for item in references]) if references else np.zeros((0, 0))
    return NearestScorer(gallery, lambda item: np.asarray(rows @ _grey(item), np.float32))


def _grey(item: Probe | Reference) -> Rows:
    return normalised(squash(item.thumbnail, THUMBNAIL_COSINE_PX).reshape(-1))


SCORERS: Mapping[str, Callable[[Gallery], Scorer]] = {
    "gallery": GalleryScorer,
    "nearest-cosine": nearest_cosine,
    "ssim": ssim_alone,
    "thumbnail": thumbnail_cosine,
    "softmax-head": SoftmaxHead,
}
"""Name on the command line -> scorer of a gallery."""
