"""Enrolment: pictures become references through the checks, as one revision with a report.

A reference is computed from the picture that is stored. PNG, not JPEG: it decodes to the same
pixels everywhere, so `reembed` and `verify` reproduce a reference to the last bit, and the picture
that was enrolled matches itself with a cosine of 1. JPEG decoders differ by a grey level from one
version and processor to the next.

    with GalleryStore.open("gallery.db", create=True) as store:
        plan = EnrolmentPlan("bowl", "food", region=Region(Roi(0.2, 0.3, 0.6, 0.8)))
        report = enrol(store, embedder, candidates_in(["food/"]), plan=plan)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import datetime, timezone
from os import PathLike
from typing import TypeAlias, cast

import cv2

from edge_sim.core.events import utc_text
from edge_sim.core.images import decode, halved
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import (
    FULL_FRAME,
    BgrImage,
    Frame,
    GrayImage,
    Probe,
    Reference,
    Roi,
    check_picture,
)
from edge_sim.errors import (
    ConfigError,
    EdgeSimError,
    GalleryError,
    ModelError,
    PictureRejectedError,
)
from edge_sim.gallery.candidates import CandidateResult, EnrolmentCandidate, Unreadable
from edge_sim.gallery.enrolment_checks import EnrolmentChecks, Gates, Refusal, Rejection
from edge_sim.gallery.gallery import Gallery, checked_name
from edge_sim.gallery.records import (
    REGION,
    Enrolled,
    ReferenceRecord,
    Revision,
    Reworked,
    region_text,
)
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.pictures import read_mask
from edge_sim.vision.light import condition_of
from edge_sim.vision.probe import Mask, Region, make_probe

LEAST_SIDE_PX = 256
"""Regions are halved as long as no side falls below this: a PNG of 12 megapixels has 20 MB, and no
embedder in use takes more than 224 pixels. The live path halves too, so that the reduced
region gives the same probe but for rounding."""


def as_stored(pixels: BgrImage) -> BgrImage:
    """Return a region as it is stored: itself, or halved until one side is below 512 px."""
    while min(pixels.shape[:2]) >= 2 * LEAST_SIDE_PX:
        pixels = halved(pixels, pixels.shape[0] // 2, pixels.shape[1] // 2)
    return pixels


def encoded_crop(stored: BgrImage) -> bytes:
    """Return pixels from `as_stored` as PNG bytes."""
    done, buffer = cv2.imencode(".png", stored)
    if not done:
        raise ValueError(f"OpenCV cannot encode a picture of shape {stored.shape} as PNG")
    return buffer.tobytes()


def reference_of(
    embedder: Embedder, pixels: BgrImage, reference_id: str, state: str, unix_time_s: float = 0.0
) -> Reference:
    """Return a reference that is in no gallery file, from the pixels of a region.

    Raises:
        ModelError: The embedder cannot embed them.
    """
    probe = make_probe(embedder, as_stored(pixels))
    return Reference(
        reference_id=reference_id,
        state=state,
        embedding=probe.embedding,
        thumbnail=probe.thumbnail,
        condition=condition_of(probe.quality),
        enrolled_at=datetime.fromtimestamp(unix_time_s, tz=timezone.utc),
    )


@dataclass(frozen=True, slots=True, eq=False)
class EnrolmentPlan:
    """Watch, state, region and checks of an enrolment.

    Args:
        watch: Name of the watch.
        state: State that every picture shows.
        region: Part of the frame that counts; the pictures are whole frames.
        metadata: Kept with every reference, beside `from` and `taken_at`.
        gates: Limits of the duplicate check.
        force: Enrol what the checks would reject; unreadable files stay out.
        labelled: The pictures were sorted by state by hand: a conflict is reported and enrolled.

    Raises:
        GalleryError: An invalid name.
    """

    watch: str
    state: str
    region: Region = field(default_factory=Region)
    metadata: Mapping[str, str] = field(default_factory=dict)
    gates: Gates = field(default_factory=Gates)
    force: bool = False
    labelled: bool = False

    def __post_init__(self) -> None:
        checked_name("watch", self.watch)
        checked_name("state", self.state)


Batch: TypeAlias = tuple[EnrolmentPlan, Iterable[CandidateResult]]
"""Pictures of one state, with their plan."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Picture that became a reference.

    Args:
        name: Name of the picture.
        state: State that it was enrolled as.
        condition: Light regime, as in `day`.
        overruled: Reason to reject it that `force` overruled; None if there was none.
        reference_id: Id of the reference; None in a dry run.
    """

    name: str
    state: str
    condition: str
    overruled: Refusal | None = None
    reference_id: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rejected picture with the reason, its measurements, and the reference that it resembles.

    `like` is the name of a picture where that one came in the same batch.
    """

    name: str
    state: str
    refusal: Refusal
    detail: str
    like: str | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentReport:
    """Outcome of every picture, in their order. `revision` is None if nothing was written."""

    accepted: tuple[Accepted, ...]
    rejected: tuple[Rejected, ...]
    revision: int | None


def enrol(
    store: GalleryStore,
    embedder: Embedder,
    candidates: Iterable[CandidateResult],
    *,
    plan: EnrolmentPlan,
    now: Callable[[], float] = time.time,
) -> EnrolmentReport:
    """Add the pictures that pass the checks to the gallery, as one revision.

    Args:
        candidates: Results of `candidates_in`, or own frames as `EnrolmentCandidate`.
        now: Clock for the time of enrolment, seconds since 1970 UTC.

    Raises:
        GalleryError: The watch has references of another model, or the file cannot be written.
        SourceError: The pictures cannot be read.
    """
    return enrol_batches(store, embedder, [(plan, candidates)], now=now)


def enrol_batches(
    store: GalleryStore,
    embedder: Embedder,
    batches: Sequence[Batch],
    *,
    now: Callable[[], float] = time.time,
) -> EnrolmentReport:
    """Add pictures of several states of one watch, as one revision; otherwise as `enrol`.

    Raises:
        GalleryError: As in `enrol`, or the batches are of several watches.
    """
    watches = {plan.watch for plan, _ in batches}
    if len(watches) != 1:
        raise GalleryError(f"one enrolment is for one watch, got {len(watches)}")
    watch = watches.pop()
    gallery = store.gallery(watch, model_id=embedder.model_id)
    enrolled, report = assess(gallery, embedder, batches, now=now)
    if not enrolled:
        return report
    revision = store.add(watch, enrolled)
    accepted = tuple(
        replace(item, reference_id=reference_id)
        for item, reference_id in zip(report.accepted, revision.appeared, strict=True)
    )
    return EnrolmentReport(accepted, report.rejected, revision.number)


def enrol_each(
    store: GalleryStore,
    embedder: Embedder,
    candidates: Iterable[CandidateResult],
    *,
    plan: EnrolmentPlan,
    now: Callable[[], float] = time.time,
) -> Iterator[EnrolmentReport]:
    """Add each picture that passes the checks as it arrives, and yield its outcome.

    Each is a revision of its own, so that an interrupt loses nothing that was accepted before.

    Raises:
        GalleryError: The watch has references of another model, or the file cannot be written.
        SourceError: The pictures cannot be read.
    """
    gallery = store.gallery(plan.watch, model_id=embedder.model_id)
    assessment = _Assessment(gallery, embedder, datetime.fromtimestamp(now(), tz=timezone.utc))
    assessment.start(plan)
    for found in candidates:
        if isinstance(found, Unreadable):
            assessment.reject(found.name, Rejection(Refusal.UNREADABLE, found.fault))
        else:
            assessment.judge(found)
        accepted, rejected = assessment.taken()
        if not assessment.enrolled:
            yield EnrolmentReport((), rejected, None)
            continue
        revision = store.add(plan.watch, [assessment.enrolled.pop()])
        done = tuple(replace(item, reference_id=revision.appeared[0]) for item in accepted)
        yield EnrolmentReport(done, (), revision.number)


def assess(
    gallery: Gallery,
    embedder: Embedder,
    batches: Sequence[Batch],
    *,
    now: Callable[[], float] = time.time,
) -> tuple[list[Enrolled], EnrolmentReport]:
    """Return the additions and the report of `enrol_batches`; nothing is written.

    Raises:
        SourceError: The pictures cannot be read.
    """
    at = datetime.fromtimestamp(now(), tz=timezone.utc)
    assessment = _Assessment(gallery, embedder, at)
    for plan, candidates in batches:
        assessment.start(plan)
        for found in candidates:
            if isinstance(found, Unreadable):
                assessment.reject(found.name, Rejection(Refusal.UNREADABLE, found.fault))
            else:
                assessment.judge(found)
    return assessment.enrolled, assessment.report()


class _Assessment:
    """Judge of one picture after the other; accepted ones count as references for the next."""

    def __init__(self, gallery: Gallery, embedder: Embedder, at: datetime) -> None:
        self.enrolled: list[Enrolled] = []
        self._checks = EnrolmentChecks(gallery.references)
        self._embedder = embedder
        self._at = at
        self._accepted: list[Accepted] = []
        self._rejected: list[Rejected] = []

    def start(self, plan: EnrolmentPlan) -> None:
        """Judge the following pictures by this plan."""
        self._plan = plan

    def judge(self, candidate: EnrolmentCandidate) -> None:
        """Accept or reject one picture."""
        plan = self._plan
        item, probe = _enrolled(self._embedder, candidate, plan, self._at)
        verdict = self._checks.verdict(probe, plan.state, item.condition, plan.gates)
        suspect = plan.labelled and verdict is not None and verdict.refusal is Refusal.CONFLICT
        if verdict is not None and not (plan.force or suspect):
            self.reject(candidate.name, verdict)
            return
        self._checks.admit(_in_memory(item, candidate.name))
        self.enrolled.append(item)
        overruled = None if verdict is None else verdict.refusal
        self._accepted.append(Accepted(candidate.name, plan.state, item.condition, overruled))

    def reject(self, name: str, verdict: Rejection) -> None:
        """Record a rejection."""
        state = self._plan.state
        self._rejected.append(Rejected(name, state, verdict.refusal, verdict.detail, verdict.like))

    def taken(self) -> tuple[tuple[Accepted, ...], tuple[Rejected, ...]]:
        """Return the outcomes since the last call."""
        found = tuple(self._accepted), tuple(self._rejected)
        self._accepted.clear()
        self._rejected.clear()
        return found

    def report(self) -> EnrolmentReport:
        """Return the outcome of every picture."""
        return EnrolmentReport(tuple(self._accepted), tuple(self._rejected), None)


def _enrolled(
    embedder: Embedder, candidate: EnrolmentCandidate, plan: EnrolmentPlan, at: datetime
) -> tuple[Enrolled, Probe]:
    origin = candidate.origin
    # An exported picture was cropped when it was enrolled.
    region = plan.region if origin is None else Region()
    stored = as_stored(region.pixels_of(candidate.pixels))
    probe = make_probe(embedder, stored)
    item = Enrolled(
        state=plan.state,
        embedding=probe.embedding,
        thumbnail=probe.thumbnail,
        crop=encoded_crop(stored),
        condition=condition_of(probe.quality),
        enrolled_at=at if origin is None else origin.enrolled_at,
        metadata={**_known(candidate, region), **plan.metadata},
        tags=() if origin is None else origin.tags,
    )
    return item, probe


def _known(candidate: EnrolmentCandidate, region: Region) -> Mapping[str, str]:
    if candidate.origin is not None:
        return candidate.origin.metadata
    known = {"from": candidate.name}
    if region.roi != FULL_FRAME:
        known[REGION] = region_text(region.roi)
    if candidate.unix_time_s is not None:
        known["taken_at"] = utc_text(candidate.unix_time_s)
    return known


def _in_memory(item: Enrolled, name: str) -> Reference:
    return Reference(
        reference_id=name,
        state=item.state,
        embedding=item.embedding,
        thumbnail=item.thumbnail,
        condition=item.condition,
        enrolled_at=item.enrolled_at,
    )


ProgressWrapper = Callable[[Iterable[ReferenceRecord], int], Iterator[ReferenceRecord]]
"""Wrapper of an iterable and its length that yields the same items and shows the progress."""


def reembed(
    store: GalleryStore,
    embedder: Embedder,
    *,
    watch: str | None = None,
    progress: ProgressWrapper | None = None,
) -> Revision | None:
    """Embed the references of other models again, as one revision; None if there are none.

    Args:
        watch: Name of the only watch to treat; None treats all.
        progress: Wrapper of the references and their number that shows the progress.

    Raises:
        GalleryError: A picture is damaged, or the file cannot be written; nothing is changed.
        ModelError: The embedder cannot embed a picture.
    """
    stale = [item for item in store.records(watch=watch) if item.model_id != embedder.model_id]
    if not stale:
        return None
    records = iter(stale) if progress is None else progress(stale, len(stale))
    return store.rework([_reworked(store, embedder, item.reference_id) for item in records])


def _reworked(store: GalleryStore, embedder: Embedder, reference_id: str) -> Reworked:
    try:
        pixels = decode(store.crop(reference_id))
    except ValueError as error:
        if isinstance(error, GalleryError):
            raise
        raise GalleryError(
            f"{store.path}: the picture of {reference_id} is damaged ({error}); remove it first"
        ) from error
    probe = make_probe(embedder, pixels)
    return Reworked(reference_id, probe.embedding, probe.thumbnail)


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

    Pictures that would make the gallery worse are left out, with the reason in `report.rejected`:
    dark, overexposed, covered, blurred, a duplicate, or nearer to another state.

    Args:
        store: Open gallery file.
        embedder: Embedder that the watch will use.
        pictures: Whole frames, (H, W, 3) uint8 BGR.
        watch: Name of the watch.
        state: State that every picture shows.
        roi: Region of the watch, in fractions of the frame: x1, y1, x2, y2.
        mask: (h, w) uint8 over the region, black where nothing counts; or the path of one.
        metadata: Kept with every reference.
        force: Enrol what the checks would reject.
        now: Clock for the time of enrolment, seconds since 1970 UTC.

    Raises:
        PictureError: Not such a picture; nothing is written.
        GalleryError: An invalid name, references of another model, or a file that cannot be
            written.
        ConfigError: An invalid region or mask.
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
        embedder: Embedder that the watch will use.
        pixels: Whole frame, (H, W, 3) uint8 BGR.
        state: State that it shows.
        gallery: References so far: the picture is checked against them.
        roi: Region of the watch, as in `enrol_pictures`.
        mask: Mask of the region, as in `enrol_pictures`.
        force: Accept what the checks would reject.
        now: Clock for the time of enrolment, seconds since 1970 UTC.

    Raises:
        PictureRejectedError: The picture would make the gallery worse; `reason` names the check.
        PictureError: Not such a picture.
        GalleryError: An invalid state.
        ConfigError: An invalid region or mask.
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
    """Return the error that states the reason of a rejection."""
    like = f", like {rejected.like}" if rejected.like else ""
    return PictureRejectedError(
        f"picture of {rejected.state} rejected as {rejected.refusal.value}: "
        f"{rejected.detail}{like}; take another one",
        reason=rejected.refusal.value,
        like=rejected.like,
    )


def check_embedder(embedder: object) -> None:
    """Check that `embedder` is an open embedder, not the name of a model.

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
        ConfigError: An invalid region or mask.
    """
    try:
        x1, y1, x2, y2 = astuple(roi) if isinstance(roi, Roi) else map(float, roi)
        area = Roi(x1, y1, x2, y2)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"roi: needs x1, y1, x2, y2 in 0..1, got {roi!r} ({error})") from error
    try:
        if mask is None:
            return Region(area)
        plane = read_mask(mask) if isinstance(mask, str | PathLike) else mask
        return Region(area, Mask.painted(plane))
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
