"""Records of the gallery file, and the region that a reference was taken of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from edge_sim.core.types import THUMBNAIL_PX, Embedding, GrayImage, Roi


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """Picture that is about to be added to the gallery.

    Args:
        state: State that it shows.
        embedding: Embedding of `crop` as decoded again.
        thumbnail: (96, 96) uint8 grey, of the same pixels.
        crop: Region as an encoded picture; `reembed` starts from it.
        condition: Light regime, as in `day`.
        enrolled_at: Aware, UTC.
        metadata: Free `key: value` strings.
        tags: Tags for filters and exports.

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
    """New embedding of a picture that is in the gallery already."""

    reference_id: str
    embedding: Embedding
    thumbnail: GrayImage


@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """Reference without its arrays, as lists and differences show it.

    Args:
        reference_id: Id, unique in the file; never given twice, not even after `undo`.
        watch: Watch that it belongs to.
        state: State that it shows.
        condition: Light regime at enrolment.
        model_id: Model of its embedding.
        enrolled_at: Aware, UTC.
        metadata: Free `key: value` strings.
        tags: Sorted tags for filters and exports.
        since: Revision of its last change.
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
    """Change of the gallery file.

    Args:
        number: Counted from 1 without gaps; 0 is the empty gallery.
        at: Aware, UTC.
        verb: Kind of change: `add`, `remove`, `undo` ...
        detail: Text for people.
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
    """State of one reference before and after."""

    before: ReferenceRecord
    after: ReferenceRecord


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference between two revisions."""

    appeared: tuple[ReferenceRecord, ...]
    gone: tuple[ReferenceRecord, ...]
    altered: tuple[Alteration, ...]


REGION = "region"
"""Key of the metadata, whose value is `x1,y1,x2,y2` in fractions of the frame."""
LEAST_OVERLAP = 0.8
"""Least overlap (intersection over union) of two regions that count as the same."""
LEAST_SIDE_PX = 16
"""Least side of a region, pixels: a smaller one has fewer than any embedder can use."""


class WithMetadata(Protocol):
    """Reference or record of one."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Free `key: value` strings."""


def region_text(roi: Roi) -> str:
    """Return the text that a region is stored as."""
    return ",".join(f"{corner:g}" for corner in (roi.x1, roi.y1, roi.x2, roi.y2))


def region_of_text(text: str) -> Roi | None:
    """Return the region of a stored text; None if it is invalid."""
    try:
        x1, y1, x2, y2 = map(float, text.split(","))
        return Roi(x1, y1, x2, y2)
    except ValueError:
        return None


def overlap(one: Roi, other: Roi) -> float:
    """Return the intersection of two regions over their union, 0 to 1."""
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (_area(one) + _area(other) - shared)


def moved_region(references: Iterable[WithMetadata], roi: Roi) -> str | None:
    """Return a warning if references were taken of another region than `roi`; else None."""
    known = [region_of_text(item.metadata.get(REGION, "")) for item in references]
    elsewhere = [found for found in known if found and overlap(found, roi) < LEAST_OVERLAP]
    if not elsewhere:
        return None
    return (
        f"{len(elsewhere)} of {len(known)} references were taken of another region "
        f"({region_text(elsewhere[-1])}, the watch has {region_text(roi)}): "
        f"set the roi back, or enrol pictures of the new region"
    )


def is_of_region(reference: WithMetadata, roi: Roi) -> bool:
    """Return whether a reference shows the region `roi`, as far as is known."""
    found = region_of_text(reference.metadata.get(REGION, ""))
    return found is None or overlap(found, roi) >= LEAST_OVERLAP


def _area(roi: Roi) -> float:
    return (roi.x2 - roi.x1) * (roi.y2 - roi.y1)
