"""The enrolment itself: candidates in, one revision and a report out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from edge_sim.domain import Probe, Reference
from edge_sim.enrolment.candidates import Candidate, Found, Unreadable
from edge_sim.enrolment.crops import as_stored, encoded_crop
from edge_sim.enrolment.gates import GateKeeper, Gates, Refusal, Verdict
from edge_sim.events import utc_text
from edge_sim.gallery import Gallery, checked_name
from edge_sim.gallery_store import Enrolled, GalleryStore
from edge_sim.pipeline import Region, make_probe
from edge_sim.protocols import Embedder
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

    Raises:
        GalleryError: A name that cannot be.
    """

    watch: str
    state: str
    region: Region = field(default_factory=Region)
    metadata: Mapping[str, str] = field(default_factory=dict)
    gates: Gates = field(default_factory=Gates)
    force: bool = False

    def __post_init__(self) -> None:
        checked_name("watch", self.watch)
        checked_name("state", self.state)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A picture that became a reference.

    Args:
        name: Of the picture.
        reference_id: None in a dry run.
        condition: Its light regime.
        overruled: What `force` overruled; None if nothing.
    """

    name: str
    reference_id: str | None
    condition: str
    overruled: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A picture that was refused: why, on what ground, and the reference that it is too like.

    `like` is the name of a picture where that one came in the same batch.
    """

    name: str
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
        candidates: From `candidates_in`, or frames of your own as `Candidate`.
        now: Seconds since 1970 UTC, for the time of enrolment.

    Raises:
        GalleryError: The watch has references of another model, or the file cannot be written.
        SourceError: The pictures cannot be had.
    """
    gallery = store.gallery(plan.watch, model_id=embedder.model_id)
    enrolled, report = assess(gallery, embedder, candidates, plan=plan, now=now)
    if not enrolled:
        return report
    revision = store.add(plan.watch, enrolled)
    accepted = tuple(
        Accepted(item.name, reference_id, item.condition, item.overruled)
        for item, reference_id in zip(report.accepted, revision.appeared, strict=True)
    )
    return EnrolmentReport(accepted, report.rejected, revision.number)


def assess(
    gallery: Gallery,
    embedder: Embedder,
    candidates: Iterable[Found],
    *,
    plan: EnrolmentPlan,
    now: Callable[[], float] = time.time,
) -> tuple[list[Enrolled], EnrolmentReport]:
    """Return what `enrol` would add, and its report; nothing is written.

    Raises:
        SourceError: The pictures cannot be had.
    """
    gatekeeper = GateKeeper(gallery.references, plan.gates)
    enrolled: list[Enrolled] = []
    accepted: list[Accepted] = []
    rejected: list[Rejected] = []
    at = datetime.fromtimestamp(now(), tz=timezone.utc)
    for found in candidates:
        if isinstance(found, Unreadable):
            rejected.append(Rejected(found.name, Refusal.UNREADABLE, found.fault))
            continue
        item, probe = _enrolled(embedder, found, plan, at)
        verdict = gatekeeper.verdict(probe, item.state, item.condition)
        if verdict is not None and not plan.force:
            rejected.append(_rejected(found, verdict))
            continue
        gatekeeper.admit(_in_memory(item, found.name))
        enrolled.append(item)
        overruled = None if verdict is None else verdict.refusal
        accepted.append(Accepted(found.name, None, item.condition, overruled))
    return enrolled, EnrolmentReport(tuple(accepted), tuple(rejected), None)


def _enrolled(
    embedder: Embedder, candidate: Candidate, plan: EnrolmentPlan, at: datetime
) -> tuple[Enrolled, Probe]:
    stored = as_stored(plan.region.pixels_of(candidate.pixels))
    probe = make_probe(embedder, stored)
    origin = {"from": candidate.name}
    if candidate.unix_time_s is not None:
        origin["taken_at"] = utc_text(candidate.unix_time_s)
    item = Enrolled(
        state=plan.state,
        embedding=probe.embedding,
        thumbnail=probe.thumbnail,
        crop=encoded_crop(stored),
        condition=condition_of(probe.quality),
        enrolled_at=at,
        metadata={**origin, **plan.metadata},
    )
    return item, probe


def _rejected(candidate: Candidate, verdict: Verdict) -> Rejected:
    return Rejected(candidate.name, verdict.refusal, verdict.detail, verdict.like)


def _in_memory(item: Enrolled, name: str) -> Reference:
    return Reference(
        reference_id=name,
        state=item.state,
        embedding=item.embedding,
        thumbnail=item.thumbnail,
        condition=item.condition,
        enrolled_at=item.enrolled_at,
    )
