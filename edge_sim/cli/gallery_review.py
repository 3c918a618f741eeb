"""`edge-sim gallery review`: the frames that the daemon kept, to be listed, taught or discarded."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli import gallery_enrol
from edge_sim.cli.gallery_enrol import enrolled, print_report
from edge_sim.cli.options import context_of, metadata_of
from edge_sim.cli.output import note, print_json, print_table
from edge_sim.errors import DataError
from edge_sim.runtime.review_queue import KeptFrame, ReviewFolder, ReviewItem, picture_of

if TYPE_CHECKING:
    from edge_sim.analysis.report.pages import CaptionedPicture, PictureRow
    from edge_sim.gallery.candidates import EnrolmentCandidate, Unreadable


ALL = "all"
_BEST_STATES = 3


def folder_option(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the folder."""
    parser.add_argument(
        "--review-folder", type=Path, metavar="DIR", help="of kept frames, if not as in -c"
    )
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="as given to the daemon")


def review_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb, besides those of every picture."""
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help="of kept frames, or `all`; all are listed if left out"
    )
    folder_option(parser)
    parser.add_argument("--watch", metavar="NAME", help="only frames of this one")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--teach", metavar="STATE", help="they show this state: enrol them")
    action.add_argument("--discard", action="store_true", help="delete them")
    parser.add_argument("--report", type=Path, metavar="OUT.html", help="a page with the pictures")
    parser.set_defaults(usage_error=parser.error)


def add(args: argparse.Namespace) -> int:
    """Enrol pictures of one state, or with --from-review frames that were kept."""
    if args.from_review:
        if args.roi or args.count or args.every:
            args.usage_error("kept frames are regions already: no --roi, --count or --every")
        return teach(args, args.places, args.state)
    if args.review_folder is not None or args.state_dir is not None:
        args.usage_error("--review-folder and --state-dir go with --from-review")
    return gallery_enrol.add(args)


def review(args: argparse.Namespace) -> int:
    """List the kept frames, or teach or discard those that are named."""
    if (args.teach or args.discard) and not args.ids:
        args.usage_error(f"say which frames: their ids, or `{ALL}`")
    if args.teach:
        return teach(args, args.ids, args.teach)
    if args.model or args.meta or args.force:
        args.usage_error("--model, --meta and --force go with --teach")
    folder = _folder(args)
    items = _chosen(folder, args.ids or [ALL], args.watch)
    if args.report is not None:
        _write_page(args.report, folder, items)
    if args.discard and not args.dry_run:
        folder.discard(items)
    _print_kept(args, folder, items)
    return 0


def teach(args: argparse.Namespace, ids: list[str], state: str) -> int:
    """Enrol kept frames as a state of their watch; those that were taken leave the folder."""
    from edge_sim.gallery.enrolment import EnrolmentPlan

    folder = _folder(args)
    items = _chosen(folder, ids, args.watch)
    if not items:
        raise DataError(f"{folder.root}: no kept frame to teach")
    watches = {_watch(item) for item in items}
    if len(watches) > 1:
        raise DataError(f"the frames are of {', '.join(sorted(watches))}; choose with --watch")
    args.watch = watches.pop()
    context = context_of(args)
    context.check_state(args.watch, state)
    # What was kept is the region already, masked.
    metadata = {"taught": "yes", **metadata_of(args.meta)}
    plan = EnrolmentPlan(args.watch, state, metadata=metadata, force=args.force)
    report = enrolled(args, context, [(plan, _candidates(items))])
    if report.revision is not None:
        taken = {item.name for item in report.accepted}
        folder.discard(tuple(item for item in items if _name(item) in taken))
    print_report(args, context, report)
    if report.rejected and not args.json:
        note("rejected frames stay where they are; --force enrols them, --discard deletes them")
    return 0 if report.accepted else 1


def _folder(args: argparse.Namespace) -> ReviewFolder:
    if args.review_folder is not None:
        return ReviewFolder(args.review_folder)
    if args.config is None:
        raise DataError("say where the frames are kept: --review-folder DIR, or -c FILE")
    from edge_sim.cli.daemon import configured

    config = configured(args.config, args.state_dir)
    if config.review.path is None:
        raise DataError(
            f"{args.config}: keeps no frames; set review.path, or give --review-folder DIR"
        )
    return ReviewFolder(config.path(config.review.path))


def _chosen(folder: ReviewFolder, ids: list[str], watch: str | None) -> tuple[ReviewItem, ...]:
    if ids == [ALL]:
        return folder.items(watch)
    items = tuple(folder.item(name) for name in dict.fromkeys(ids))
    for item in items:
        if watch not in (None, _watch(item)):
            raise DataError(f"frame {item.review_id} is of {_watch(item)}, not of {watch}")
    return items


def _candidates(items: Iterable[ReviewItem]) -> Iterator[EnrolmentCandidate | Unreadable]:
    from edge_sim.gallery.candidates import EnrolmentCandidate, Unreadable

    for item in items:
        taken_s = None if item.facts is None else item.facts.unix_time_s or None
        try:
            yield EnrolmentCandidate(_name(item), picture_of(item), taken_s)
        except DataError as error:
            yield Unreadable(_name(item), str(error))


def _name(item: ReviewItem) -> str:
    return f"review {item.review_id}"


def _watch(item: ReviewItem) -> str:
    return item.review_id.partition("/")[0]


def _print_kept(
    args: argparse.Namespace, folder: ReviewFolder, items: tuple[ReviewItem, ...]
) -> None:
    gone = args.discard and not args.dry_run
    if args.json:
        frames = [
            {
                "id": item.review_id,
                "picture": str(item.picture),
                "bytes": item.size_bytes,
                "facts": item.facts,
            }
            for item in items
        ]
        print_json({"schema": 1, "folder": str(folder.root), "frames": frames, "discarded": gone})
        return
    if items:
        print_table(["id", "state", "light", "probability (score)"], [_row(item) for item in items])
    size = sum(item.size_bytes for item in items)
    summary = "discarded" if gone else "would be discarded" if args.discard else "kept"
    note(f"{folder.root}: {len(items)} frames {summary}, {size / 1e6:.1f} MB")


def _row(item: ReviewItem) -> tuple[str, str, str, str]:
    facts = item.facts
    if facts is None:
        return (item.review_id, "?", "?", "its facts are damaged")
    said = facts.state if facts.reason is None else f"{facts.state}: {facts.reason}"
    scores = ", ".join(_scores(facts))
    return (item.review_id, said, facts.condition, scores or "no references")


def _scores(facts: KeptFrame) -> list[str]:
    return [
        f"{score.state} {score.probability:.2f} ({score.combined:.2f})"
        for score in facts.scores[:_BEST_STATES]
    ]


def _write_page(path: Path, folder: ReviewFolder, items: tuple[ReviewItem, ...]) -> None:
    from edge_sim.analysis.report import write_page
    from edge_sim.analysis.report.pages import PictureRow, image_grid

    if path.suffix.lower() != ".html":
        raise DataError(f"{path}: the report is written as .html")

    def sections() -> Iterator[PictureRow]:
        for watch in sorted({_watch(item) for item in items}):
            own = [item for item in items if _watch(item) == watch]
            yield PictureRow(watch, f"{len(own)} frames, the oldest first", map(_card, own))

    facts = [
        f"{len(items)} frames in {folder.root}",
        "edge-sim gallery review ID --teach STATE enrols one, --discard deletes it",
    ]
    write_page(path, image_grid("Frames to review", facts, sections()))


def _card(item: ReviewItem) -> CaptionedPicture:
    from edge_sim.analysis.report.pages import CaptionedPicture

    try:
        pixels = picture_of(item)
    except DataError:
        pixels = None
    facts = item.facts
    lines = () if facts is None else (_row(item)[1], facts.at, *_scores(facts))
    guess = "?" if facts is None else facts.guess or "no guess"
    return CaptionedPicture(pixels, (guess, *lines, item.review_id))
