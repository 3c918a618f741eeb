"""Structural similarity of a probe with the references of a match, for whoever is to be told.

No decision goes by it: the regressions see structure in views of their own. So it is computed for
the looks that are told to somebody, not for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_sim.domain import GrayImage, Match, Probe
from edge_sim.gallery import Gallery
from edge_sim.similarity import ssim_between, ssim_planes

SSIM_STATES = 3
"""It is computed for the best reference of this many states."""

Structural = Callable[[GrayImage, GrayImage], float]
"""Structural similarity of two thumbnails, -1 to 1."""


def with_structure(
    match: Match, probe: Probe, gallery: Gallery, *, structural: Structural | None = None
) -> Match:
    """Return the match with the structural similarity of its most probable states.

    Args:
        match: Of the probe with the gallery.
        probe: That was matched.
        gallery: With the references of the match; one that is gone has no similarity.
        structural: Of two thumbnails; None for edge_sim's own, the probe prepared once.
    """
    like = structural_to(probe.thumbnail, structural)
    states = list(match.states)
    for rank, item in enumerate(states[:SSIM_STATES]):
        if item.reference_id in gallery:
            ssim = like(gallery[item.reference_id].thumbnail)
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
