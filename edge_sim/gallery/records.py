"""Records of the gallery file, and the region that a reference was taken of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from edge_sim.core.types import THUMBNAIL_PX, Embedding, GrayImage, Roi


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """A picture on its way into the gallery.

    Args:
        state: What it shows.
        embedding: Of `crop` as decoded again.
        thumbnail: (96, 96) uint8 grey, of the same pixels.
        crop: The region as an encoded picture; `reembed` starts from it.
        condition: Light regime, as in `day`.
        enrolled_at: Aware, UTC.
        metadata: Free `key: value` strings.
        tags: Marks, for filters and exports.

    Raises:
        ValueError: A thumbnail of another shape, no crop, or a time without a zone.
    """

    state: str
    embedding: Embedding
    thumbnail: GrayImage
    crop: bytes
    condition: str
    enrolled_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        side = THUMBNAIL_PX
        if self.thumbnail.shape != (side, side) or self.thumbnail.dtype != "uint8":
            raise ValueError(
                f"thumbnail must be uint8 ({side}, {side}), "
                f"got {self.thumbnail.dtype} {self.thumbnail.shape}"
            )
        if not self.crop:
            raise ValueError("an enrolled picture needs its crop, got no bytes")
        if self.enrolled_at.tzinfo is None:
            raise ValueError("enrolled_at must carry a time zone")


@dataclass(frozen=True, slots=True, eq=False)
class Reworked:
    """What another model makes of a picture that is in the gallery already."""

    reference_id: str
    embedding: Embedding
    thumbnail: GrayImage


@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """A reference without its arrays: what lists and differences show.

    Args:
        reference_id: Unique in the file; never given twice, not even after `undo`.
        watch: That it belongs to.
        state: What it shows.
        condition: Light regime at enrolment.
        model_id: That its embedding was made with.
        enrolled_at: Aware, UTC.
        metadata: Free `key: value` strings.
        tags: Sorted marks, for filters and exports.
        since: Revision that made it what it is.
    """

    reference_id: str
    watch: str
    state: str
    condition: str
    model_id: str
    enrolled_at: datetime
    metadata: Mapping[str, str]
    tags: tuple[str, ...]
    since: int


@dataclass(frozen=True, slots=True)
class Revision:
    """One change of the gallery file.

    Args:
        number: Counted from 1 without gaps; 0 is the empty gallery.
        at: Aware, UTC.
        verb: As in `add`, `remove`, `undo`.
        detail: For people.
        appeared: Ids of references that were not there before.
        gone: Ids of references that are not there any more.
        altered: Ids of references that stay, with another state, watch, tags or embedding.
    """

    number: int
    at: datetime
    verb: str
    detail: str
    appeared: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alteration:
    """One reference before and after."""

    before: ReferenceRecord
    after: ReferenceRecord


@dataclass(frozen=True, slots=True)
class Difference:
    """From one revision to another."""

    appeared: tuple[ReferenceRecord, ...]
    gone: tuple[ReferenceRecord, ...]
    altered: tuple[Alteration, ...]


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
