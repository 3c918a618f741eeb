"""What `edge-sim gallery` prints with `--json`. `SCHEMA` goes up when a field changes or goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from edge_sim.enrolment import EnrolmentReport
    from edge_sim.gallery_store import KeptCalibration, ReferenceRecord, Revision

SCHEMA = 1


class ReferenceView(msgspec.Struct, frozen=True):
    """One reference."""

    id: str
    watch: str
    state: str
    condition: str
    model: str
    enrolled_at: str
    metadata: Mapping[str, str]
    tags: tuple[str, ...]
    since_revision: int


class ReferenceList(msgspec.Struct, frozen=True):
    """What `list` prints."""

    gallery: str
    revision: int
    references: tuple[ReferenceView, ...]
    schema: int = SCHEMA


class OneReference(msgspec.Struct, frozen=True):
    """What `show` prints."""

    gallery: str
    reference: ReferenceView
    width_px: int
    height_px: int
    schema: int = SCHEMA


class RevisionView(msgspec.Struct, frozen=True):
    """One change of the gallery."""

    number: int
    at: str
    verb: str
    detail: str
    appeared: tuple[str, ...]
    gone: tuple[str, ...]
    altered: tuple[str, ...]


class Log(msgspec.Struct, frozen=True):
    """What `log` prints."""

    gallery: str
    revisions: tuple[RevisionView, ...]
    schema: int = SCHEMA


class AlterationView(msgspec.Struct, frozen=True):
    """One reference before and after."""

    before: ReferenceView
    after: ReferenceView


class DifferenceView(msgspec.Struct, frozen=True):
    """What `diff` prints."""

    gallery: str
    before: int
    after: int
    appeared: tuple[ReferenceView, ...]
    gone: tuple[ReferenceView, ...]
    altered: tuple[AlterationView, ...]
    schema: int = SCHEMA


class StateCount(msgspec.Struct, frozen=True):
    """How many references a state has."""

    watch: str
    state: str
    references: int
    by_condition: Mapping[str, int]


class Stats(msgspec.Struct, frozen=True):
    """What `stats` prints."""

    gallery: str
    revision: int
    bytes_on_disk: int
    models: Mapping[str, int]
    states: tuple[StateCount, ...]
    calibrations: tuple[KeptCalibration, ...]
    schema: int = SCHEMA


class GalleryVerification(msgspec.Struct, frozen=True):
    """What `verify` prints."""

    gallery: str
    revision: int
    sound: bool
    problems: tuple[str, ...]
    schema: int = SCHEMA


class AddedPicture(msgspec.Struct, frozen=True):
    """A picture that became a reference; `id` is null in a dry run."""

    name: str
    state: str
    id: str | None
    condition: str
    overruled: str | None


class RefusedPicture(msgspec.Struct, frozen=True):
    """A picture that was refused."""

    name: str
    state: str
    reason: str
    detail: str
    like: str | None


class Enrolment(msgspec.Struct, frozen=True):
    """What `add`, `import` and `capture` print; `revision` is null if nothing was written."""

    gallery: str
    watch: str
    revision: int | None
    dry_run: bool
    added: tuple[AddedPicture, ...]
    refused: tuple[RefusedPicture, ...]
    schema: int = SCHEMA


class Changed(msgspec.Struct, frozen=True):
    """What the other verbs print; `revision` is null if there was nothing to do."""

    gallery: str
    revision: RevisionView | None
    schema: int = SCHEMA


class Repeated(msgspec.Struct, frozen=True):
    """A reference that repeats another one of its state."""

    id: str
    like: str
    detail: str


class Deduped(msgspec.Struct, frozen=True):
    """What `dedupe` prints; `revision` is null if nothing was removed."""

    gallery: str
    revision: int | None
    dry_run: bool
    repeated: tuple[Repeated, ...]
    schema: int = SCHEMA


class Exported(msgspec.Struct, frozen=True):
    """What `export` prints."""

    gallery: str
    watch: str
    folder: str
    references: int
    schema: int = SCHEMA


def reference_view(record: ReferenceRecord) -> ReferenceView:
    """Return a record as it is printed in JSON."""
    return ReferenceView(
        id=record.reference_id,
        watch=record.watch,
        state=record.state,
        condition=record.condition,
        model=record.model_id,
        enrolled_at=record.enrolled_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        metadata=record.metadata,
        tags=record.tags,
        since_revision=record.since,
    )


def revision_view(revision: Revision) -> RevisionView:
    """Return a revision as it is printed in JSON."""
    return RevisionView(
        number=revision.number,
        at=revision.at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        verb=revision.verb,
        detail=revision.detail,
        appeared=revision.appeared,
        gone=revision.gone,
        altered=revision.altered,
    )


def enrolment_view(
    report: EnrolmentReport, *, gallery: str, watch: str, dry_run: bool
) -> Enrolment:
    """Return a report as it is printed in JSON."""
    return Enrolment(
        gallery=gallery,
        watch=watch,
        revision=report.revision,
        dry_run=dry_run,
        added=tuple(
            AddedPicture(
                item.name,
                item.state,
                item.reference_id,
                item.condition,
                item.overruled.value if item.overruled else None,
            )
            for item in report.accepted
        ),
        refused=tuple(
            RefusedPicture(item.name, item.state, item.refusal.value, item.detail, item.like)
            for item in report.rejected
        ),
    )
