"""Region that a reference was taken of, and whether a watch has moved off it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from edge_sim.core.types import Roi

REGION = "region"
"""Key in the metadata: `x1,y1,x2,y2` in fractions of the frame."""
LEAST_OVERLAP = 0.8
"""Part of both regions together that they share; below it they show something else."""
LEAST_SIDE_PX = 16
"""A region with a shorter side has fewer pixels than any embedder or thumbnail can use."""


class WithMetadata(Protocol):
    """A reference or its record."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Free `key: value` strings."""


def region_text(roi: Roi) -> str:
    """Return a region as it is kept."""
    return ",".join(f"{corner:g}" for corner in (roi.x1, roi.y1, roi.x2, roi.y2))


def region_of_text(text: str) -> Roi | None:
    """Return the region in a kept text; None if it is none."""
    try:
        x1, y1, x2, y2 = map(float, text.split(","))
        return Roi(x1, y1, x2, y2)
    except ValueError:
        return None


def overlap(one: Roi, other: Roi) -> float:
    """Return the area that two regions share, in parts of the area that they cover together."""
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (_area(one) + _area(other) - shared)


def moved_region(references: Iterable[WithMetadata], roi: Roi) -> str | None:
    """Return what to say if references were taken of another region than `roi`; else None."""
    known = [region_of_text(item.metadata.get(REGION, "")) for item in references]
    elsewhere = [found for found in known if found and overlap(found, roi) < LEAST_OVERLAP]
    if not elsewhere:
        return None
    return (
        f"{len(elsewhere)} of {len(known)} references were taken of another region "
        f"({region_text(elsewhere[-1])}, the watch looks at {region_text(roi)}): "
        f"set the roi back, or enrol pictures of the new region"
    )


def _area(roi: Roi) -> float:
    return (roi.x2 - roi.x1) * (roi.y2 - roi.y1)
