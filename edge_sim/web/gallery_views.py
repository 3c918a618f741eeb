"""Gallery of a watch as the page shows it: references, what the audit says of each, revisions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from edge_sim.analysis.audit import Audit
from edge_sim.core.types import Roi
from edge_sim.errors import GalleryError
from edge_sim.gallery.records import (
    LEAST_OVERLAP,
    REGION,
    ReferenceRecord,
    Revision,
    moved_region,
    overlap,
    region_of_text,
)
from edge_sim.gallery.store import GalleryStore
from edge_sim.web.watch_edits import CornerAndSize, region_of_roi

MAX_IDS = 1000
Counts = dict[str, dict[str, int]]
"""Number of references of each state in each light."""

ERROR, WARNING, NOTE = "error", "warning", "note"


def counts_of(records: Iterable[ReferenceRecord]) -> Counts:
    """Return the counts of the references of one watch."""
    counts: Counts = {}
    for record in records:
        lights = counts.setdefault(record.state, {})
        lights[record.condition] = lights.get(record.condition, 0) + 1
    return counts


class GalleryFinding(msgspec.Struct, frozen=True):
    """Finding about one reference: `contradiction`, `suspect`, `redundant` or `region_moved`.

    `other` is the reference that it concerns besides, `other_state` the state of that one.
    """

    kind: str
    severity: str
    text: str
    other: str | None = None
    other_state: str | None = None


class ReferenceView(msgspec.Struct, frozen=True):
    """Reference as the page shows it; `region` is x, y, width and height of the frame."""

    id: str
    state: str
    light: str
    added_at: str
    taken_at: str | None
    origin: str | None
    tags: tuple[str, ...]
    model: str
    region: CornerAndSize | None
    region_moved: bool
    findings: tuple[GalleryFinding, ...]


class GalleryView(msgspec.Struct, frozen=True):
    """Gallery of one watch; `findings` concern all of it."""

    watch: str
    revision: int
    region: CornerAndSize
    states: tuple[str, ...]
    references: tuple[ReferenceView, ...]
    findings: tuple[GalleryFinding, ...]


class GalleryChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change of references; `state` goes with `move`, `tag` with `tag` and `untag`."""

    op: Literal["move", "remove", "tag", "untag"]
    ids: tuple[str, ...]
    state: str | None = None
    tag: str | None = None


class RevisionView(msgspec.Struct, frozen=True):
    """One change of the gallery file, which all watches share."""

    number: int
    at: str
    verb: str
    detail: str
    appeared: int
    gone: int
    altered: int


def gallery_view(
    watch: str,
    roi: Roi,
    states: Sequence[str],
    records: Sequence[ReferenceRecord],
    found: Audit,
) -> GalleryView:
    """Return the gallery of a watch.

    Args:
        watch: Name of the watch.
        roi: Region of the watch now.
        states: States of the watch in the configuration.
        records: References of the watch.
        found: Audit of them.
    """
    about = _findings(found)
    references = tuple(_reference(record, roi, about) for record in records)
    moved = moved_region(records, roi)
    names = dict.fromkeys((*states, *(record.state for record in records)))
    return GalleryView(
        watch,
        found.revision,
        region_of_roi(roi),
        tuple(names),
        references,
        () if moved is None else (GalleryFinding("region_moved", WARNING, moved),),
    )


def change_gallery(
    store: GalleryStore, watch: str, states: Sequence[str], change: GalleryChange
) -> int:
    """Change references of a watch; return the new revision.

    Args:
        store: Open gallery file.
        watch: Name of the watch, which all references belong to.
        states: States that they may be moved to; empty for any.
        change: Change.

    Raises:
        GalleryError: A reference is not there or of another watch, or the change makes no sense.
    """
    if not change.ids or len(change.ids) > MAX_IDS:
        raise GalleryError(f"name 1 to {MAX_IDS} references")
    own = {record.reference_id for record in store.records(watch=watch)}
    for name in change.ids:
        if name not in own:
            raise GalleryError(f"watch {watch} has no reference {name[:40]!r}")
    if change.op == "move":
        if not change.state or (states and change.state not in states):
            raise GalleryError(f"watch {watch} has no state {change.state!r}")
        return store.relabel(change.ids, change.state).number
    if change.op == "remove":
        return store.remove(change.ids).number
    if not change.tag:
        raise GalleryError("name the tag")
    tags = (change.tag,)
    if change.op == "tag":
        return store.tag(change.ids, add=tags).number
    return store.tag(change.ids, drop=tags).number


def revision_views(revisions: Sequence[Revision]) -> tuple[RevisionView, ...]:
    """Return changes of a gallery as the page shows them."""
    return tuple(
        RevisionView(
            item.number,
            item.at.isoformat(),
            item.verb,
            item.detail,
            len(item.appeared),
            len(item.gone),
            len(item.altered),
        )
        for item in revisions
    )


def _reference(
    record: ReferenceRecord, roi: Roi, about: Mapping[str, Sequence[GalleryFinding]]
) -> ReferenceView:
    region = region_of_text(record.metadata.get(REGION, ""))
    is_moved = region is not None and overlap(region, roi) < LEAST_OVERLAP
    findings = list(about.get(record.reference_id, ()))
    if is_moved:
        text = (
            "it shows another region than the watch has now: take it again, or set the region back"
        )
        findings.append(GalleryFinding("region_moved", WARNING, text))
    return ReferenceView(
        record.reference_id,
        record.state,
        record.condition,
        record.enrolled_at.isoformat(),
        record.metadata.get("taken_at"),
        record.metadata.get("from"),
        record.tags,
        record.model_id,
        None if region is None else region_of_roi(region),
        is_moved,
        tuple(findings),
    )


def _findings(found: Audit) -> Mapping[str, Sequence[GalleryFinding]]:
    about: defaultdict[str, list[GalleryFinding]] = defaultdict(list)
    for name, finding in _each(found):
        about[name].append(finding)
    return about


def _each(found: Audit) -> Iterator[tuple[str, GalleryFinding]]:
    for pair in found.contradictions:
        text = "shows the same picture as {}, which is {!r}: one of the two is wrong"
        yield (
            pair.id,
            GalleryFinding(
                "contradiction",
                ERROR,
                text.format(pair.same_as, pair.other_state),
                pair.same_as,
                pair.other_state,
            ),
        )
        yield (
            pair.same_as,
            GalleryFinding(
                "contradiction", ERROR, text.format(pair.id, pair.state), pair.id, pair.state
            ),
        )
    for suspect in found.suspects:
        text = f"looks like {suspect.similar_to!r} (nearest {suspect.nearest}): is its state right?"
        yield (
            suspect.id,
            GalleryFinding("suspect", WARNING, text, suspect.nearest, suspect.similar_to),
        )
    for item in found.redundant:
        text = f"shows nothing that {item.covered_by} does not show; it may be removed"
        yield item.id, GalleryFinding("redundant", NOTE, text, item.covered_by)
