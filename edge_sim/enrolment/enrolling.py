"""The enrolment itself: candidates in, one revision and a report out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TypeAlias

from edge_sim.domain import FULL_FRAME, Probe, Reference
from edge_sim.enrolment.candidates import EnrolmentCandidate, Found, Unreadable
from edge_sim.enrolment.crops import as_stored, encoded_crop
from edge_sim.enrolment.gates import GateKeeper, Gates, Refusal, Rejection
from edge_sim.errors import GalleryError
from edge_sim.events import utc_text
from edge_sim.gallery import Gallery, checked_name
from edge_sim.gallery_store import Enrolled, GalleryStore
from edge_sim.pipeline import Region, make_probe
from edge_sim.protocols import Embedder
from edge_sim.reference_region import REGION, region_text
from edge_sim.scene import condition_of


@dataclass(frozen=True, slots=True, eq=False)
class EnrolmentPlan:
    """What is enrolled, and how strictly.

    Args:
        watch: That the references are for.
        state: That the pictures show.
        region: Of the frame that counts; the pictures are whole frames.
        metadata: Kept with every reference, beside `from` and `taken_at`.
        gates: When a picture is refused.
        force: Enrol what the gates would refuse; unreadable files stay out.
        labelled: Somebody has sorted the pictures by state: a conflict is reported and enrolled.

    Raises:
        GalleryError: A name that cannot be.
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


Batch: TypeAlias = tuple[EnrolmentPlan, Iterable[Found]]
"""Pictures of one state, with their plan."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A picture that became a reference.

    Args:
        name: Of the picture.
        state: That it was enrolled as.
        condition: Its light regime.
        overruled: What `force` overruled; None if nothing.
        reference_id: None in a dry run.
    """

    name: str
    state: str
    condition: str
    overruled: Refusal | None = None
    reference_id: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A picture that was refused: why, on what ground, and the reference that it is too like.

    `like` is the name of a picture where that one came in the same batch.
    """

    name: str
    state: str
    refusal: Refusal
    detail: str
    like: str | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentReport:
    """What became of every picture, in their order. `revision` is None if nothing was written."""

    accepted: tuple[Accepted, ...]
    rejected: tuple[Rejected, ...]
    revision: int | None


def enrol(
    store: GalleryStore,
    embedder: Embedder,
    candidates: Iterable[Found],
    *,
    plan: EnrolmentPlan,
    now: Callable[[], float] = time.time,
) -> EnrolmentReport:
    """Add the pictures that pass the gates to the gallery, as one revision.

    Args:
        candidates: From `candidates_in`, or frames of your own as `EnrolmentCandidate`.
        now: Seconds since 1970 UTC, for the time of enrolment.

    Raises:
        GalleryError: The watch has references of another model, or the file cannot be written.
        SourceError: The pictures cannot be had.
    """
    return enrol_batches(store, embedder, [(plan, candidates)], now=now)


def enrol_batches(
    store: GalleryStore,
    embedder: Embedder,
    batches: Sequence[Batch],
    *,
    now: Callable[[], float] = time.time,
) -> EnrolmentReport:
    """Add pictures of several states of one watch, as one revision; else as `enrol`.

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
    candidates: Iterable[Found],
    *,
    plan: EnrolmentPlan,
    now: Callable[[], float] = time.time,
) -> Iterator[EnrolmentReport]:
    """Add each picture that passes the gates as soon as it comes, and yield what became of it.

    Each is a revision of its own, so that whoever stops half-way keeps what came before.

    Raises:
        GalleryError: The watch has references of another model, or the file cannot be written.
        SourceError: The pictures cannot be had.
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
    """Return what `enrol_batches` would add, and its report; nothing is written.

    Raises:
        SourceError: The pictures cannot be had.
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
    """Judges one picture after the other; each that is accepted counts for those after it."""

    def __init__(self, gallery: Gallery, embedder: Embedder, at: datetime) -> None:
        self.enrolled: list[Enrolled] = []
        self._gatekeeper = GateKeeper(gallery.references)
        self._embedder = embedder
        self._at = at
        self._accepted: list[Accepted] = []
        self._rejected: list[Rejected] = []

    def start(self, plan: EnrolmentPlan) -> None:
        """Judge by this plan from now on."""
        self._plan = plan

    def judge(self, candidate: EnrolmentCandidate) -> None:
        """Accept or reject one picture."""
        plan = self._plan
        item, probe = _enrolled(self._embedder, candidate, plan, self._at)
        verdict = self._gatekeeper.verdict(probe, plan.state, item.condition, plan.gates)
        suspect = plan.labelled and verdict is not None and verdict.refusal is Refusal.CONFLICT
        if verdict is not None and not (plan.force or suspect):
            self.reject(candidate.name, verdict)
            return
        self._gatekeeper.admit(_in_memory(item, candidate.name))
        self.enrolled.append(item)
        overruled = None if verdict is None else verdict.refusal
        self._accepted.append(Accepted(candidate.name, plan.state, item.condition, overruled))

    def reject(self, name: str, verdict: Rejection) -> None:
        """Note a refusal."""
        state = self._plan.state
        self._rejected.append(Rejected(name, state, verdict.refusal, verdict.detail, verdict.like))

    def taken(self) -> tuple[tuple[Accepted, ...], tuple[Rejected, ...]]:
        """Return what was judged since the last call."""
        found = tuple(self._accepted), tuple(self._rejected)
        self._accepted.clear()
        self._rejected.clear()
        return found

    def report(self) -> EnrolmentReport:
        """Return what became of every picture."""
        return EnrolmentReport(tuple(self._accepted), tuple(self._rejected), None)


def _enrolled(
    embedder: Embedder, candidate: EnrolmentCandidate, plan: EnrolmentPlan, at: datetime
) -> tuple[Enrolled, Probe]:
    origin = candidate.origin
    # What comes back from an export was cropped when it was enrolled.
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
