"""Structural similarity of a probe with the references of a match, for whoever is to be told.

No decision goes by it: the regressions see structure in views of their own. So it is computed for
the looks that are told to somebody, not for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_sim.domain import GrayImage, Match, Probe
from edge_sim.gallery import Recall
from edge_sim.similarity import ssim_between, ssim_planes

SSIM_STATES = 3
"""It is computed for the best reference of this many states."""

_SAME = 1e-4
"""Cosines of the same two vectors differ by less, whatever the order of the sums."""

Structural = Callable[[GrayImage, GrayImage], float]
"""Structural similarity of two thumbnails, -1 to 1."""


def with_structure(
    match: Match, probe: Probe, recall: Recall, *, structural: Structural | None = None
) -> Match:
    """Return the match with the structural similarity of its most probable states.

    Args:
        match: Of the probe with the gallery.
        probe: That was matched.
        recall: Finds the references of the match. One that is gone has no similarity, nor has
            one that is not what was matched: somebody may have put another file in its place.
        structural: Of two thumbnails; None for edge_sim's own, the probe prepared once.
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
