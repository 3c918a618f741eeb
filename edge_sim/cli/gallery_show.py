"""The verbs of `edge-sim gallery` that only read, and `prune`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.options import (
    Context,
    check_known,
    combined_filter,
    context_of,
    only_watch,
    print_result,
)
from edge_sim.cli.output import note, print_table, say
from edge_sim.core.files import printable, write_private
from edge_sim.errors import GalleryError

if TYPE_CHECKING:
    from edge_sim.analysis.audit import Audit, PairFinding, Suspect
    from edge_sim.analysis.report.pages import CaptionedPicture, PictureRow
    from edge_sim.gallery.gallery import Gallery
    from edge_sim.gallery.records import ReferenceRecord
    from edge_sim.gallery.store import GalleryStore


def show_list(args: argparse.Namespace) -> int:
    """Print the references."""
    context = context_of(args)
    with context.store(read_only=True) as store:
        records = store.records(revision=args.revision)
        check_known(args.watch, (item.watch for item in records), "watch", context.gallery)
        every = [item for item in records if args.watch in (None, item.watch)]
        check_known(args.state, (item.state for item in every), "state", context.gallery)
        every = [item for item in every if args.state in (None, item.state)]
        for tag in args.tag:
            check_known(tag, (name for item in every for name in item.tags), "tag", context.gallery)
        revision = store.revision if args.revision is None else args.revision
    found = _filtered(args, every)
    if args.json:
        print_result(context, revision=revision, references=found)
        return 0
    print_table(
        ["id", "watch", "state", "condition", "enrolled", "from", "tags"],
        [
            (
                record.reference_id,
                record.watch,
                record.state,
                record.condition,
                f"{record.enrolled_at:%Y-%m-%d %H:%M}",
                _shortened(record.metadata.get("from", "")),
                " ".join(record.tags),
            )
            for record in found
        ],
    )
    return 0


def _filtered(
    args: argparse.Namespace, records: Sequence[ReferenceRecord]
) -> Sequence[ReferenceRecord]:
    """Return the references that pass --tag and --where."""
    from edge_sim.search.filters import AttributeTable

    where = combined_filter(args.where, tags=args.tag)
    if where is None or not records:
        return records
    table = AttributeTable((_facts(record) for record in records), keys=("tag",))
    mask = table.mask(where)
    for hint in table.hints(where):
        note(printable(hint))
    return [record for record, passed in zip(records, mask, strict=True) if passed]


def _facts(record: ReferenceRecord) -> Iterator[tuple[str, str]]:
    yield from record.metadata.items()
    yield from (("watch", record.watch), ("state", record.state), ("id", record.reference_id))
    yield from (("condition", record.condition), ("enrolled", record.enrolled_at.isoformat()))
    yield from (("tag", tag) for tag in record.tags)


def show_one(args: argparse.Namespace) -> int:
    """Print one reference, and write its picture."""
    from edge_sim.core.images import decode

    context = context_of(args)
    with context.store(read_only=True) as store:
        record = store.record(args.reference_id)
        crop = store.crop(args.reference_id)
    try:
        height, width = decode(crop).shape[:2]
    except ValueError as error:
        raise GalleryError(f"the picture of {args.reference_id} is damaged: {error}") from error
    if args.out is not None:
        _write_picture(args.out, crop)
    if args.json:
        print_result(context, reference=record, width_px=width, height_px=height)
        return 0
    rows = [
        ("watch", record.watch),
        ("state", record.state),
        ("condition", record.condition),
        ("picture", f"{width}x{height}"),
        ("model", record.model_id),
        ("enrolled", f"{record.enrolled_at:%Y-%m-%dT%H:%M:%SZ}"),
        ("since revision", record.since),
        ("tags", " ".join(record.tags) or "-"),
        *sorted(record.metadata.items()),
    ]
    print_table([record.reference_id, ""], rows)
    return 0


def show_stats(args: argparse.Namespace) -> int:
    """Print how many references there are."""
    from edge_sim.gallery.calibrations import kept_calibrations

    context = context_of(args)
    with context.store(read_only=True) as store:
        records = store.records()
        revision = store.revision
    calibrations = kept_calibrations(context.gallery)
    counts = Counter((item.watch, item.state) for item in records)
    states = [
        {
            "watch": watch,
            "state": state,
            "references": number,
            "by_condition": _by_condition(records, watch, state),
        }
        for (watch, state), number in sorted(counts.items())
    ]
    size = context.gallery.stat().st_size
    models = dict(sorted(Counter(item.model_id for item in records).items()))
    if args.json:
        print_result(
            context,
            revision=revision,
            bytes_on_disk=size,
            models=models,
            states=states,
            calibrations=calibrations,
        )
        return 0
    rows = [
        (watch, state, number, _spelled(_by_condition(records, watch, state)))
        for (watch, state), number in sorted(counts.items())
    ]
    print_table(["watch", "state", "references", "by light"], rows)
    say(
        f"{len(records)} references at revision {revision}, {size / 1e6:.1f} MB; "
        f"models: {_spelled(models) or 'none'}"
    )
    for kept in calibrations:
        levels = ", ".join(f"{item.name} {item.threshold:.4f}" for item in kept.thresholds)
        say(
            f"calibrated {kept.watch} by {kept.score} for {kept.aim} {kept.value:g}: {levels} "
            f"(revision {kept.revision}, {kept.at[:10]})"
        )
    return 0


def show_log(args: argparse.Namespace) -> int:
    """Print the changes."""
    context = context_of(args)
    with context.store(read_only=True) as store:
        revisions = store.log(limit=args.limit)
    if args.json:
        print_result(context, revisions=revisions)
        return 0
    rows = [
        (
            item.number,
            f"{item.at:%Y-%m-%d %H:%M:%S}",
            item.verb,
            f"+{len(item.appeared)} -{len(item.gone)} ~{len(item.altered)}",
            item.detail,
        )
        for item in revisions
    ]
    print_table(["revision", "at (UTC)", "verb", "references", "what"], rows)
    return 0


def show_diff(args: argparse.Namespace) -> int:
    """Print what changed between two revisions."""
    context = context_of(args)
    with context.store(read_only=True) as store:
        after = store.revision if args.after is None else args.after
        found = store.diff(args.before, after)
    if args.json:
        print_result(
            context,
            before=args.before,
            after=after,
            appeared=found.appeared,
            gone=found.gone,
            altered=found.altered,
        )
        return 0
    for sign, records in (("+", found.appeared), ("-", found.gone)):
        for record in records:
            say(f"{sign} {record.reference_id}  {record.watch}  {record.state}")
    for item in found.altered:
        say(f"~ {item.after.reference_id}  {_changes(item.before, item.after)}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Print what is damaged; exit code 1 if anything is."""
    context = context_of(args)
    with context.store(read_only=True) as store:
        problems = store.check()
        revision = store.revision
    if args.json:
        print_result(context, revision=revision, sound=not problems, problems=problems)
    else:
        for problem in problems:
            say(problem)
        if not problems:
            say(f"{context.gallery}: sound, at revision {revision}")
    return 1 if problems else 0


def _by_condition(
    records: tuple[ReferenceRecord, ...], watch: str, state: str
) -> Mapping[str, int]:
    chosen = (item.condition for item in records if (item.watch, item.state) == (watch, state))
    return dict(sorted(Counter(chosen).items()))


def _spelled(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def _shortened(text: str, width: int = 40) -> str:
    return text if len(text) <= width else f"...{text[-(width - 3) :]}"


def _changes(before: ReferenceRecord, after: ReferenceRecord) -> str:
    names = ("watch", "state", "condition", "model_id", "tags", "metadata")
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in names]
    return ", ".join(f"{name}: {old} -> {new}" for name, old, new in pairs if old != new)


def _write_picture(path: Path, crop: bytes) -> None:
    if path.suffix.lower() != ".png":
        raise GalleryError(f"{path}: pictures of a gallery are PNG; give a name that ends in .png")
    try:
        write_private(path, crop)
    except OSError as error:
        raise GalleryError(f"{path}: cannot write ({error.strerror})") from error


def show_audit(args: argparse.Namespace) -> int:
    """Print the findings on each watch; exit code 0 whatever they are."""
    from edge_sim.errors import GalleryError

    _check_report(args)
    context = context_of(args)
    with context.store(read_only=True) as store:
        watches = store.watches() if args.watch is None else (only_watch(store, args.watch),)
        if not watches:
            raise GalleryError(
                f"{context.gallery}: no references; `edge-sim gallery add` adds some"
            )
        galleries = {watch: store.gallery(watch) for watch in watches}
        found = tuple(_audit(gallery, watch) for watch, gallery in galleries.items())
        if args.report is not None:
            sections = [part for item in found for part in _sections(store, item)]
            facts = [f"{item.watch}: {_sure(item)} {item.next_picture}" for item in found]
            _write(args, "Gallery audit", facts, sections)
    if args.json:
        print_result(context, watches=found)
        return 0
    for place, item in enumerate(found):
        if place:
            print()
        _print(item)
    return 0


def prune(args: argparse.Namespace) -> int:
    """Keep the most useful references of a watch, as one revision."""
    from edge_sim.analysis.pruning import keepers

    _check_report(args)
    context = context_of(args)
    with context.store(read_only=args.dry_run) as store:
        watch = only_watch(store, args.watch)
        gallery = store.gallery(watch)
        before = _audit(gallery, watch)
        kept = keepers(gallery, args.keep, before.suspects)
        staying = set(kept)
        gone = tuple(
            item.reference_id for item in gallery.references if item.reference_id not in staying
        )
        after = _audit(gallery.removing(*gone), watch) if gone else before
        if args.report is not None:
            sections = [
                _section(store, "Kept", kept),
                _section(store, "Removed", gone),
            ]
            _write(args, f"Pruning {watch}", [f"{len(kept)} kept, {len(gone)} removed"], sections)
        revision = store.remove(gone).number if gone and not args.dry_run else None
    if args.json:
        print_result(
            context,
            watch=watch,
            revision=revision,
            dry_run=args.dry_run,
            kept=kept,
            removed=gone,
            sure_before=before.sure,
            sure_after=after.sure,
        )
        return 0
    _print_pruned(context, revision, gone, (before, after))
    return 0


def _print_pruned(
    context: Context, revision: int | None, gone: tuple[str, ...], audits: tuple[Audit, Audit]
) -> None:
    if not gone:
        say(f"{context.gallery}: nothing to remove")
        return
    names = " ".join(gone)
    if revision is None:
        say(f"would remove {names}")
    else:
        say(f"{context.gallery}: revision {revision}, removed {names}")
    before, after = audits
    say(f"before: {before.references} references. {_sure(before)}")
    say(f"after:  {after.references} references. {_sure(after)}")
    if revision is not None:
        note("`edge-sim gallery undo` brings them back")


def _audit(gallery: Gallery, watch: str) -> Audit:
    from edge_sim.analysis.audit import audit
    from edge_sim.decision.scorer import GalleryScorer

    return audit(gallery, GalleryScorer(gallery).leave_one_out(), watch=watch)


def _print(item: Audit) -> None:
    say(f"{item.watch}: {item.references} references at revision {item.revision}. {_sure(item)}")
    conditions = list(dict.fromkeys(cell.condition for cell in item.cells))
    states = list(dict.fromkeys(cell.state for cell in item.cells))
    cells = {(cell.state, cell.condition): cell for cell in item.cells}
    rows = [
        [
            state,
            *(
                _cell(cells[state, name].references, cells[state, name].distinct)
                for name in conditions
            ),
        ]
        for state in states
    ]
    print_table(["references (distinct)", *conditions], rows)
    if item.pairs:
        print_table(
            ["states", "light", "right", "margin", "of"], [_pair_row(pair) for pair in item.pairs]
        )
    for one in item.contradictions:
        say(
            f"{one.same_as} and {one.id} show the same picture, as {one.other_state} and as "
            f"{one.state}: one of them is wrong"
        )
    for suspect in item.suspects:
        say(
            f"{suspect.id} may be mislabelled: {suspect.state}, but looks like "
            f"{suspect.similar_to}{_odds(suspect)}, as {suspect.nearest}"
        )
    for twin in item.redundant:
        say(f"{twin.id} shows what {twin.covered_by} shows (distance {twin.distance:.3f})")
    say(item.next_picture)


def _pair_row(pair: PairFinding) -> list[object]:
    right = "-"
    lead = "-"
    if pair.accuracy is not None:
        share = pair.accuracy
        right = f"{share.value:.3f} ({share.low:.3f} to {share.high:.3f})"
    if pair.gap is not None:
        lead = f"{pair.gap.median:+.2f} ({pair.gap.low:+.2f} to {pair.gap.high:+.2f})"
    number = pair.accuracy.number if pair.accuracy else 0
    return [f"{pair.first} / {pair.second}", pair.condition, right, lead, number]


def _odds(suspect: Suspect) -> str:
    return "" if suspect.probability is None else f" ({suspect.probability:.2f})"


def _cell(references: int, distinct: int) -> str:
    return str(references) if references == distinct else f"{references} ({distinct})"


def _sure(item: Audit) -> str:
    if item.sure is None:
        return "Its accuracy cannot be estimated yet."
    share = item.sure
    return (
        f"Right on {100 * share.value:.1f} % of pictures like these "
        f"(95 % sure of {100 * share.low:.0f} to {100 * share.high:.0f} %)."
    )


def _check_report(args: argparse.Namespace) -> None:
    from edge_sim.analysis.report import check_path

    if args.report is not None:
        check_path(args.report)


def _write(
    args: argparse.Namespace, title: str, facts: Iterable[str], sections: list[PictureRow]
) -> None:
    from edge_sim.analysis.report import write_page
    from edge_sim.analysis.report.pages import image_grid

    write_page(args.report, image_grid(title, facts, sections))
    note(f"{args.report}: written")


def _sections(store: GalleryStore, item: Audit) -> Iterator[PictureRow]:
    from edge_sim.analysis.report.pages import PictureRow

    lines = {twin.id: f"shows what {twin.covered_by} shows" for twin in item.redundant}
    for suspect in item.suspects:
        lines[suspect.id] = f"looks like {suspect.similar_to}{_odds(suspect)}"
    if item.suspects:
        cards = [
            card
            for suspect in item.suspects
            for card in _cards(store, (suspect.id, suspect.nearest), lines, {suspect.id})
        ]
        words = "each beside the nearest reference of the state that it looks like"
        yield PictureRow(f"{item.watch}: labels to check", words, cards)
    if item.redundant:
        cards = [
            card
            for twin in item.redundant
            for card in _cards(store, (twin.id, twin.covered_by), lines, set())
        ]
        words = "each beside the reference that it repeats"
        yield PictureRow(f"{item.watch}: redundant", words, cards)
    records = store.records(watch=item.watch)
    doubted = {suspect.id for suspect in item.suspects}
    for cell in item.cells:
        ids = [
            record.reference_id
            for record in records
            if (record.state, record.condition) == (cell.state, cell.condition)
        ]
        words = f"{cell.references} references, {cell.distinct} distinct"
        words += "" if cell.enough else "; five distinct references fix the level of a state"
        heading = f"{item.watch}: {cell.state}, {cell.condition}"
        yield PictureRow(heading, words, _cards(store, ids, lines, doubted))


def _section(store: GalleryStore, heading: str, ids: tuple[str, ...]) -> PictureRow:
    from edge_sim.analysis.report.pages import PictureRow

    return PictureRow(heading, f"{len(ids)} references", _cards(store, ids, {}, set()))


def _cards(
    store: GalleryStore, ids: Iterable[str], lines: dict[str, str], marked: set[str]
) -> list[CaptionedPicture]:
    from edge_sim.analysis.report.pages import CaptionedPicture
    from edge_sim.core.images import decode

    known = {record.reference_id: record for record in store.records()}
    cards = []
    for name in ids:
        record = known[name]
        try:
            pixels = decode(store.crop(name))
        except ValueError:
            pixels = None
        about = f"{record.state}, {record.condition}"
        text = (name, about, lines[name]) if name in lines else (name, about)
        cards.append(CaptionedPicture(pixels, text, "warn" if name in marked else None))
    return cards
