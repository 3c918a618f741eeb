"""`edge-sim gallery audit` and `prune`: how good a gallery is, and the few that are worth most."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from edge_sim.cli.gallery_context import Context, context_of, only_watch, print_result
from edge_sim.cli.output import note, print_table

if TYPE_CHECKING:
    from edge_sim.audit import Audit, PairFinding, Suspect
    from edge_sim.gallery import Gallery
    from edge_sim.gallery_store import GalleryStore
    from edge_sim.report.album import CaptionedPicture, PictureRow


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
    from edge_sim.audit import keepers

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
        print(f"{context.gallery}: nothing to remove")
        return
    names = " ".join(gone)
    if revision is None:
        print(f"would remove {names}")
    else:
        print(f"{context.gallery}: revision {revision}, removed {names}")
    before, after = audits
    print(f"before: {before.references} references. {_sure(before)}")
    print(f"after:  {after.references} references. {_sure(after)}")
    if revision is not None:
        note("`edge-sim gallery undo` brings them back")


def _audit(gallery: Gallery, watch: str) -> Audit:
    from edge_sim.audit import audit
    from edge_sim.scoring import GalleryScorer

    return audit(gallery, GalleryScorer(gallery).leave_one_out(), watch=watch)


def _print(item: Audit) -> None:
    print(f"{item.watch}: {item.references} references at revision {item.revision}. {_sure(item)}")
    conditions = list(dict.fromkeys(cell.condition for cell in item.cells))
    states = list(dict.fromkeys(cell.state for cell in item.cells))
    looks = {(cell.state, cell.condition): cell for cell in item.cells}
    rows = [
        [
            state,
            *(
                _cell(looks[state, name].references, looks[state, name].looks)
                for name in conditions
            ),
        ]
        for state in states
    ]
    print_table(["references (looks)", *conditions], rows)
    if item.pairs:
        print_table(
            ["told apart", "light", "right", "lead", "of"], [_pair_row(pair) for pair in item.pairs]
        )
    for one in item.contradictions:
        print(
            f"{one.same_as} and {one.id} show the same picture, as {one.other_state} and as "
            f"{one.state}: one of them is wrong"
        )
    for suspect in item.suspects:
        print(
            f"{suspect.id} may be mislabelled: {suspect.state}, but looks like "
            f"{suspect.looks_like}{_odds(suspect)}, as {suspect.nearest}"
        )
    for twin in item.redundant:
        print(f"{twin.id} shows what {twin.covered_by} shows (distance {twin.distance:.3f})")
    print(item.next_picture)


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


def _cell(references: int, looks: int) -> str:
    return str(references) if references == looks else f"{references} ({looks})"


def _sure(item: Audit) -> str:
    if item.sure is None:
        return "Nobody can say yet how sure it will be."
    share = item.sure
    return (
        f"Right on {100 * share.value:.1f} % of pictures like these "
        f"(95 % sure of {100 * share.low:.0f} to {100 * share.high:.0f} %)."
    )


def _check_report(args: argparse.Namespace) -> None:
    from edge_sim.errors import DataError

    if args.report is not None and args.report.suffix.lower() != ".html":
        raise DataError(f"{args.report}: the report is written as .html")


def _write(
    args: argparse.Namespace, title: str, facts: Iterable[str], sections: list[PictureRow]
) -> None:
    from edge_sim.report import write_page
    from edge_sim.report.album import album

    write_page(args.report, album(title, facts, sections))
    note(f"{args.report}: written")


def _sections(store: GalleryStore, item: Audit) -> Iterator[PictureRow]:
    from edge_sim.report.album import PictureRow

    lines = {twin.id: f"shows what {twin.covered_by} shows" for twin in item.redundant}
    for suspect in item.suspects:
        lines[suspect.id] = f"looks like {suspect.looks_like}{_odds(suspect)}"
    if item.suspects:
        cards = [
            card
            for suspect in item.suspects
            for card in _cards(store, (suspect.id, suspect.nearest), lines, {suspect.id})
        ]
        words = "each beside the nearest reference of the state that it looks like"
        yield PictureRow(f"{item.watch}: labels to look at", words, cards)
    if item.redundant:
        cards = [
            card
            for twin in item.redundant
            for card in _cards(store, (twin.id, twin.covered_by), lines, set())
        ]
        words = "each beside the reference whose look it repeats"
        yield PictureRow(f"{item.watch}: redundant", words, cards)
    records = store.records(watch=item.watch)
    doubted = {suspect.id for suspect in item.suspects}
    for cell in item.cells:
        ids = [
            record.reference_id
            for record in records
            if (record.state, record.condition) == (cell.state, cell.condition)
        ]
        words = f"{cell.references} references, {cell.looks} looks"
        words += "" if cell.enough else "; five looks make the level of a state known"
        heading = f"{item.watch}: {cell.state}, {cell.condition}"
        yield PictureRow(heading, words, _cards(store, ids, lines, doubted))


def _section(store: GalleryStore, heading: str, ids: tuple[str, ...]) -> PictureRow:
    from edge_sim.report.album import PictureRow

    return PictureRow(heading, f"{len(ids)} references", _cards(store, ids, {}, set()))


def _cards(
    store: GalleryStore, ids: Iterable[str], lines: dict[str, str], marked: set[str]
) -> list[CaptionedPicture]:
    from edge_sim.imaging import decode
    from edge_sim.report.album import CaptionedPicture

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
        cards.append(CaptionedPicture(pixels, text, marked=name in marked))
    return cards
