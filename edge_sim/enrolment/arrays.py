"""References from pictures in memory, through the checks of every enrolment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from os import PathLike
from typing import cast

from edge_sim.domain import FULL_FRAME, BgrImage, Frame, GrayImage, Reference, Roi, check_picture
from edge_sim.enrolment.candidates import EnrolmentCandidate
from edge_sim.enrolment.enrolling import EnrolmentPlan, EnrolmentReport, Rejected, assess, enrol
from edge_sim.errors import (
    ConfigError,
    EdgeSimError,
    GalleryError,
    ModelError,
    PictureRejectedError,
)
from edge_sim.gallery import Gallery
from edge_sim.gallery_store import Enrolled, GalleryStore
from edge_sim.imaging import gray
from edge_sim.mask import Mask
from edge_sim.protocols import Embedder
from edge_sim.sight import Region
from edge_sim.sources.pictures import read_picture

RoiLike = Roi | Sequence[float]
MaskLike = GrayImage | str | PathLike[str]


def enrol_pictures(
    store: GalleryStore,
    embedder: Embedder,
    pictures: Iterable[BgrImage | Frame],
    *,
    watch: str,
    state: str,
    roi: RoiLike = FULL_FRAME,
    mask: MaskLike | None = None,
    metadata: Mapping[str, str] | None = None,
    force: bool = False,
    now: Callable[[], float] = time.time,
) -> EnrolmentReport:
    """Add pictures of one state to a gallery file, as one revision.

    A picture that would make the gallery worse stays out, with the reason in `report.rejected`:
    dark, overexposed, covered, blurred, a duplicate, or nearer to another state.

    Args:
        store: Open gallery file.
        embedder: As the watch will use it.
        pictures: Whole frames, (H, W, 3) uint8 BGR.
        watch: Name of the watch.
        state: State that every picture shows.
        roi: Region of the watch, in fractions of the frame: x1, y1, x2, y2.
        mask: (h, w) uint8 over the region, black where nothing counts; or the path of one.
        metadata: Kept with every reference.
        force: Enrol what the checks would reject.
        now: Seconds since 1970 UTC, for the time of enrolment.

    Raises:
        PictureError: Not such a picture; nothing is written.
        GalleryError: A name that cannot be, references of another model, or a file that cannot be
            written.
        ConfigError: A region or mask that cannot be.
        ModelError: The embedder cannot embed a picture.
    """
    if not isinstance(store, GalleryStore):
        raise GalleryError(
            f"enrol_pictures takes an open gallery file, got {type(store).__name__}: "
            f"open it with edge_sim.GalleryStore.open(path)"
        )
    check_embedder(embedder)
    plan = EnrolmentPlan(watch, state, region_from(roi, mask), metadata or {}, force=force)
    return enrol(store, embedder, _candidates(pictures), plan=plan, now=now)


def make_reference(
    embedder: Embedder,
    pixels: BgrImage,
    state: str,
    *,
    gallery: Gallery | None = None,
    roi: RoiLike = FULL_FRAME,
    mask: MaskLike | None = None,
    force: bool = False,
    now: Callable[[], float] = time.time,
) -> Reference:
    """Return a reference for a gallery in memory: `gallery = gallery.adding(reference)`.

    Args:
        embedder: As the watch will use it.
        pixels: Whole frame, (H, W, 3) uint8 BGR.
        state: State that it shows.
        gallery: References so far: the picture is checked against them.
        roi: As in `enrol_pictures`.
        mask: As in `enrol_pictures`.
        force: Accept what the checks would reject.
        now: Seconds since 1970 UTC, for the time of enrolment.

    Raises:
        PictureRejectedError: The picture would make the gallery worse; `reason` says why.
        PictureError: Not such a picture.
        GalleryError: A state that cannot be.
        ConfigError: A region or mask that cannot be.
        ModelError: The embedder cannot embed it.
    """
    check_embedder(embedder)
    known = gallery or Gallery()
    plan = EnrolmentPlan("in-memory", state, region_from(roi, mask), force=force)
    enrolled, report = assess(known, embedder, [(plan, _candidates([pixels]))], now=now)
    if report.rejected:
        raise rejection_error(report.rejected[0])
    return _reference(enrolled[0], known)


def rejection_error(rejected: Rejected) -> PictureRejectedError:
    """Return the error that says why a picture stays out of the gallery."""
    like = f", like {rejected.like}" if rejected.like else ""
    return PictureRejectedError(
        f"picture of {rejected.state} rejected as {rejected.refusal.value}: "
        f"{rejected.detail}{like}; take another one",
        reason=rejected.refusal.value,
        like=rejected.like,
    )


def check_embedder(embedder: object) -> None:
    """Check that `embedder` is one, not the name of a model.

    Raises:
        ModelError: It is something else.
    """
    if not hasattr(embedder, "embed") or not hasattr(embedder, "model_id"):
        raise ModelError(
            f"needs an open embedder, got {str(embedder)[:80]!r}: open it with "
            f"edge_sim.open_embedder(spec)"
        )


def region_from(roi: RoiLike, mask: MaskLike | None) -> Region:
    """Return the region of a watch from plain values.

    Raises:
        ConfigError: They are no region or no mask.
    """
    try:
        x1, y1, x2, y2 = astuple(roi) if isinstance(roi, Roi) else map(float, roi)
        area = Roi(x1, y1, x2, y2)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"roi: needs x1, y1, x2, y2 in 0..1, got {roi!r} ({error})") from error
    try:
        if mask is None:
            return Region(area)
        plane = gray(read_picture(mask)) if isinstance(mask, str | PathLike) else mask
        return Region(area, Mask(plane))
    except (AttributeError, ValueError, EdgeSimError) as error:
        raise ConfigError(f"mask: {error}") from error


def _candidates(pictures: Iterable[BgrImage | Frame]) -> Iterator[EnrolmentCandidate]:
    if isinstance(pictures, str | PathLike | Frame) or getattr(pictures, "ndim", 4) != 4:
        pictures = [
            cast(BgrImage, pictures)
        ]  # one picture would be taken for its rows, a path for its letters
    for number, picture in enumerate(pictures, start=1):
        yield _candidate(picture, number)


def _candidate(picture: BgrImage | Frame, number: int) -> EnrolmentCandidate:
    if isinstance(picture, Frame):
        name = f"{picture.source}#{picture.index}"
        return EnrolmentCandidate(name, picture.pixels, picture.unix_time_s or None)
    check_picture(picture)
    return EnrolmentCandidate(f"picture {number}", picture)


def _reference(item: Enrolled, gallery: Gallery) -> Reference:
    number = len(gallery) + 1
    while f"{item.state}-{number}" in gallery:
        number += 1
    return Reference(
        reference_id=f"{item.state}-{number}",
        state=item.state,
        embedding=item.embedding,
        thumbnail=item.thumbnail,
        condition=item.condition,
        enrolled_at=item.enrolled_at,
        metadata=item.metadata,
    )
