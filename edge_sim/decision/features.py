"""Evidence: the vectors in which a probe and a reference are compared.

Four views of one region, each a unit vector, so that their inner product is a cosine:

- `appearance`: the global embedding; what is seen.
- `layout`: the spatial cells of the embedding, each of unit length; what is seen where.
- `structure`: the thumbnail, each pixel less the mean and over the deviation of its
  neighbourhood; edges, whatever the light.
- `tone`: the coarse grey levels of the thumbnail; light and shade.

Structural similarity of a probe with the references of a match, for whoever is to be reported.

No decision goes by it: the regressions see structure in views of their own. So it is computed for
the observations that are reported to somebody, not for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from edge_sim.core.images import edges_of, half_of
from edge_sim.core.types import (
    FloatMatrix,
    FloatPlane,
    FloatVector,
    GrayImage,
    Match,
    Probe,
    Reference,
)
from edge_sim.core.vectors import ssim_between, ssim_planes
from edge_sim.gallery.gallery import ReferenceLoader

APPEARANCE = "appearance"
LAYOUT = "layout"
STRUCTURE = "structure"
TONE = "tone"

WEIGHTS: Mapping[str, float] = {APPEARANCE: 0.1, LAYOUT: 0.6, STRUCTURE: 0.1, TONE: 0.2}
"""Trust in each view before a gallery has been seen; among the best of a coarse grid for the mean
over ten data sets, with the default model and with a larger one. The optimum is flat: half or
double of any weight changes the mean accuracy by less than 0.003."""

TONE_PX = 12
_LEAST_LENGTH = np.float32(1e-12)  # a flat picture has no structure: zero stays zero


def features_of(item: Probe | Reference) -> dict[str, FloatVector]:
    """Return the views of a probe or reference: name -> unit vector.

    `layout` is missing where the model gives no cells.
    """
    edges = item.edges if isinstance(item, Probe) else edges_of(item.thumbnail)
    tone = cv2.resize(half_of(item.thumbnail), (TONE_PX, TONE_PX), interpolation=cv2.INTER_AREA)
    views = {
        APPEARANCE: item.embedding.vector,
        STRUCTURE: _unit(edges),
        TONE: _unit(np.asarray(tone, np.float32)),
    }
    cells = item.embedding.spatial
    if cells is not None:
        flat = cells.reshape(-1, cells.shape[-1])
        lengths = np.sqrt(np.einsum("cd,cd->c", flat, flat)) * np.float32(np.sqrt(len(flat)))
        views[LAYOUT] = (flat / np.maximum(lengths, _LEAST_LENGTH)[:, None]).reshape(-1)
    return views


def shared_features(items: Iterable[Probe | Reference]) -> tuple[str, ...]:
    """Return the names of the features that all items have."""
    has_cells = all(item.embedding.spatial is not None for item in items)
    return tuple(name for name in WEIGHTS if has_cells or name != LAYOUT)


def stacked_features(items: Sequence[Probe | Reference]) -> dict[str, FloatMatrix]:
    """Return the views of many: name -> (N, D) float32; only views that all of them have."""
    views = [features_of(item) for item in items]
    names = set.intersection(*(set(view) for view in views)) if views else set()
    return {name: np.stack([view[name] for view in views]) for name in WEIGHTS if name in names}


def _unit(plane: FloatPlane) -> FloatVector:
    flat = plane.reshape(-1)
    return np.asarray(flat / np.maximum(np.sqrt(flat @ flat), _LEAST_LENGTH), np.float32)


SSIM_STATES = 3
"""It is computed for the best reference of this many states."""

_SAME = 1e-4
"""Cosines of the same two vectors differ by less, whatever the order of the sums."""

Structural = Callable[[GrayImage, GrayImage], float]
"""Structural similarity of two thumbnails, -1 to 1."""


def with_structure(
    match: Match, probe: Probe, recall: ReferenceLoader, *, structural: Structural | None = None
) -> Match:
    """Return the match with the structural similarity of its most probable states.

    Args:
        match: Match of the probe with the gallery.
        probe: That was matched.
        recall: Finds the references of the match. One that is gone has no similarity, nor has
            one that is not what was matched: somebody may have put another file in its place.
        structural: Similarity of two thumbnails; None for edge_sim's own, the probe prepared once.
    """
    like = structural_to(probe.thumbnail, structural)
    states, vector = list(match.states), probe.embedding.vector
    known = recall(item.reference_id for item in states[:SSIM_STATES])
    for rank, item in enumerate(states[:SSIM_STATES]):
        reference = known.get(item.reference_id)
        if reference is None or reference.embedding.model_id != probe.embedding.model_id:
            continue
        if abs(float(vector @ reference.embedding.vector) - item.score.cosine) < _SAME:
            ssim = like(reference.thumbnail)
            states[rank] = replace(item, score=replace(item.score, ssim=ssim))
    return replace(match, states=tuple(states))


def structural_to(
    thumbnail: GrayImage, structural: Structural | None = None
) -> Callable[[GrayImage], float]:
    """Return the structural similarity with one thumbnail, as a function of the other."""
    if structural is not None:
        return lambda other: structural(thumbnail, other)
    planes = ssim_planes(thumbnail)
    return lambda other: ssim_between(planes, ssim_planes(other))
