"""The verbs of `edge-sim gallery` that change it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli.capture import resolved, sampling_options
from edge_sim.cli.options import Context, context_of, metadata_of, note_other_places, print_result
from edge_sim.cli.output import note, print_json, print_table, progress, say
from edge_sim.core.files import exists
from edge_sim.errors import DataError, GalleryError
from edge_sim.gallery.records import REGION, region_text
from edge_sim.runtime.review_queue import KeptFrame, ReviewFolder, ReviewItem, picture_of

if TYPE_CHECKING:
    from edge_sim.analysis.report.pages import CaptionedPicture, PictureRow
    from edge_sim.gallery.candidates import EnrolmentCandidate, Unreadable
    from edge_sim.gallery.enrolment import Batch, EnrolmentPlan, EnrolmentReport
    from edge_sim.gallery.enrolment_checks import Refusal
    from edge_sim.gallery.records import Revision
    from edge_sim.gallery.store import GalleryStore


EXIT_INTERRUPTED = 130
_WORTH_SAYING_S = 3.0


def add(args: argparse.Namespace) -> int:
    """Enrol pictures of one state."""
    if args.from_review:
        if args.roi or args.count or args.every:
            args.usage_error("kept frames are regions already: no --roi, --count or --every")
        return teach(args, args.places, args.state)
    if args.review_folder is not None or args.state_dir is not None:
        args.usage_error("--review-folder and --state-dir go with --from-review")
    from edge_sim.gallery.candidates import Sampling, candidates_in

    context = context_of(args)
    context.check_state(args.watch, args.state)
    candidates = candidates_in(args.places, Sampling(args.every, args.count))
    plan = plan_of(args, context, args.state)
    return enrol_and_print(args, context, [(plan, progress(candidates, None, "enrolling"))])


def import_folder(args: argparse.Namespace) -> int:
    """Enrol a folder, or a zip of one, with one folder per state."""
    from edge_sim.gallery.import_export import is_archive, pictures_of, states_in, unpacked

    context = context_of(args)
    with ExitStack() as stack:
        folder = args.folder
        if is_archive(folder):
            folder = stack.enter_context(unpacked(folder))
        batches: list[Batch] = []
        for state, folders in states_in(folder).items():
            context.check_state(args.watch, state)
            plan = plan_of(args, context, state, labelled=True)
            batches.append((plan, progress(pictures_of(folder, folders), None, state)))
        return enrol_and_print(args, context, batches)


def plan_of(
    args: argparse.Namespace, context: Context, state: str, *, labelled: bool = False
) -> EnrolmentPlan:
    """Return how the options of `picture_options` say to enrol."""
    from edge_sim.gallery.enrolment import EnrolmentPlan

    region = context.region(args.watch)
    # Without a configuration or --roi the pictures may show the region alone already.
    known = {} if context.config is None else {REGION: region_text(region.roi)}
    return EnrolmentPlan(
        watch=args.watch,
        state=state,
        region=region,
        metadata={**known, **metadata_of(args.meta)},
        force=args.force,
        labelled=labelled,
    )


def enrol_and_print(args: argparse.Namespace, context: Context, batches: list[Batch]) -> int:
    """Enrol, print the report, and return the exit code: 1 if every picture was rejected."""
    report = enrolled(args, context, batches)
    print_report(args, context, report)
    return 0 if report.accepted else 1


def enrolled(args: argparse.Namespace, context: Context, batches: list[Batch]) -> EnrolmentReport:
    """Enrol, or with --dry-run find out what would become of the pictures."""
    from edge_sim.gallery.enrolment import assess, enrol_batches
    from edge_sim.gallery.gallery import Gallery

    embedder = context.embedder()
    if not args.dry_run:
        is_new = not exists(context.gallery)
        with context.store(create=True) as store, ExitStack() as stack:
            if is_new:
                stack.callback(_remove_if_empty, store)
            return enrol_batches(store, embedder, batches)
    gallery = Gallery()
    if exists(context.gallery):
        with context.store(read_only=True) as store:
            gallery = store.gallery(batches[0][0].watch, model_id=embedder.model_id)
    return assess(gallery, embedder, batches)[1]


def _remove_if_empty(store: GalleryStore) -> None:
    """Leave no file behind that was made for pictures of which none came in."""
    if store.revision == 0:
        store.close()
        store.path.unlink()


def remove(args: argparse.Namespace) -> int:
    """Remove references; with --forget their pictures, too."""
    if args.forget:
        _change(args, lambda store: store.forget(args.reference_ids))
        return note_other_places(context_of(args))
    return _change(args, lambda store: store.remove(args.reference_ids))


def purge(args: argparse.Namespace) -> int:
    """Delete the pictures of the past."""
    _change(args, lambda store: store.purge())
    return note_other_places(context_of(args))


def relabel(args: argparse.Namespace) -> int:
    """Give references another state."""
    context = context_of(args)

    def edit(store: GalleryStore) -> Revision:
        for reference_id in args.reference_ids:
            context.check_state(store.record(reference_id).watch, args.state)
        return store.relabel(args.reference_ids, args.state)

    return _change(args, edit)


def move(args: argparse.Namespace) -> int:
    """Give references to another watch."""
    return _change(args, lambda store: store.move(args.reference_ids, args.watch))


def tag(args: argparse.Namespace) -> int:
    """Put tags on references, or take them off."""
    if not args.add and not args.drop:
        raise GalleryError("say which tag: --add TAG or --drop TAG")
    return _change(args, lambda store: store.tag(args.reference_ids, add=args.add, drop=args.drop))


def undo(args: argparse.Namespace) -> int:
    """Take the last change back."""
    return _change(args, lambda store: store.undo())


def rollback(args: argparse.Namespace) -> int:
    """Make the gallery what it was."""
    return _change(args, lambda store: store.rollback(args.revision))


def reembed_all(args: argparse.Namespace) -> int:
    """Compute references anew with another model."""
    from edge_sim.gallery.enrolment import reembed

    embedder = context_of(args).embedder()
    watching: Callable[..., Any] = partial(progress, label="reembed")
    return _change(
        args, lambda store: reembed(store, embedder, watch=args.watch, progress=watching)
    )


def export_folder(args: argparse.Namespace) -> int:
    """Write the pictures of a watch, a folder per state."""
    from edge_sim.gallery.import_export import export_states

    context = context_of(args)
    with context.store(read_only=True) as store:
        records = export_states(store, args.watch, args.folder)
    if args.json:
        count = len(records)
        print_result(context, watch=args.watch, folder=str(args.folder), references=count)
    else:
        say(f"{args.folder}: {len(records)} pictures of {args.watch}")
    return 0


def dedupe(args: argparse.Namespace) -> int:
    """Remove references that repeat an earlier one of their state."""
    from edge_sim.gallery.enrolment_checks import duplicates_in

    context = context_of(args)
    with context.store(read_only=args.dry_run) as store:
        watches = store.watches() if args.watch is None else (args.watch,)
        repeated = {
            name: verdict
            for watch in watches
            for name, verdict in duplicates_in(store.gallery(watch)).items()
        }
        revision = None
        if repeated and not args.dry_run:
            revision = store.remove(repeated).number
    if args.json:
        found = [
            {"reference_id": name, "like": verdict.like, "detail": verdict.detail}
            for name, verdict in repeated.items()
        ]
        print_result(context, revision=revision, dry_run=args.dry_run, repeated=found)
        return 0
    for name, verdict in repeated.items():
        say(f"{name}  repeats {verdict.like} ({verdict.detail})")
    if revision is not None:
        say(f"{context.gallery}: revision {revision}, {len(repeated)} removed")
    else:
        summary = f"would remove {len(repeated)}" if repeated else "no reference repeats another"
        say(f"{context.gallery}: {summary}")
    return 0


def _change(args: argparse.Namespace, edit: Callable[[GalleryStore], Revision | None]) -> int:
    context = context_of(args)
    with context.store() as store:
        revision = edit(store)
    if args.json:
        print_result(context, revision=revision)
    elif revision is None:
        say("nothing to do")
    else:
        counts = (
            f"{len(revision.appeared)} new, {len(revision.gone)} gone, "
            f"{len(revision.altered)} altered"
        )
        say(f"revision {revision.number}: {revision.verb} {revision.detail} ({counts})")
    return 0


def print_pictures(report: EnrolmentReport) -> None:
    """Print a line per picture, at once."""
    for item in report.accepted:
        remark = f", although {item.overruled.value}" if item.overruled else ""
        became = item.reference_id or "would add"
        say(f"{became}  {item.state}  {item.name} ({item.condition}{remark})")
    for rejected in report.rejected:
        joint = "of" if rejected.refusal.value == "duplicate" else "with"
        like = f" {joint} {rejected.like}" if rejected.like else ""
        reason = f"{rejected.refusal.value}{like} ({rejected.detail})"
        say(f"rejected  {rejected.state}  {rejected.name}: {reason}")


def print_report(
    args: argparse.Namespace,
    context: Context,
    report: EnrolmentReport,
    *,
    pictures: bool = True,
) -> None:
    """Print what became of every picture, and the counts."""
    if args.json:
        print_result(
            context,
            watch=args.watch,
            revision=report.revision,
            dry_run=args.dry_run,
            added=report.accepted,
            refused=report.rejected,
        )
        return
    if pictures:
        print_pictures(report)
    counts = f"{len(report.accepted)} added, {len(report.rejected)} rejected"
    if args.dry_run:
        counts = f"would be {counts}; nothing written"
    at = "" if report.revision is None else f"revision {report.revision}, "
    say(f"{context.gallery}: {at}{counts}")
    if any(item.refusal.value == "conflict" for item in report.rejected):
        note("a conflict is a picture that looks like another state; --force enrols it anyway")
    suspects = sum(1 for item in report.accepted if _is_conflict(item.overruled))
    if suspects and not args.force:
        note(
            f"{suspects} of them look like another state: look at these first "
            f"(`edge-sim gallery audit`), and `gallery relabel` or `gallery remove` the wrong ones"
        )


def _is_conflict(refusal: Refusal | None) -> bool:
    return refusal is not None and refusal.value == "conflict"


def backup(args: argparse.Namespace) -> int:
    """Write the gallery to one file."""
    from edge_sim.gallery.copies import back_up

    context = context_of(args)
    revision = back_up(context.gallery, args.file)
    if args.json:
        print_result(context, copy=str(args.file), revision=revision)
    else:
        say(f"{args.file}: copy of {context.gallery} at revision {revision}")
    return 0


def restore(args: argparse.Namespace) -> int:
    """Put a copy in the place of the gallery."""
    from edge_sim.gallery.copies import restore as restore_gallery

    context = context_of(args)
    restored = restore_gallery(context.gallery, args.file)
    kept = None if restored.kept is None else str(restored.kept)
    if args.json:
        print_result(context, copy=str(args.file), revision=restored.revision, kept=kept)
        return 0
    say(f"{context.gallery}: restored from {args.file} at revision {restored.revision}")
    if kept is not None:
        say(f"what was there before is kept as {kept}")
    return 0


def capture_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb, besides those of every picture."""
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="/dev/video0, rtsp://..., the name of a source of -c; that of the watch if left out",
    )
    parser.add_argument("--watch", required=True, metavar="NAME")
    parser.add_argument("--state", required=True, metavar="STATE", help="that the frames show")
    sampling_options(parser)


def capture(args: argparse.Namespace) -> int:
    """Enrol each frame that passes the gates as soon as it comes; what is there stays."""
    from edge_sim.gallery.candidates import Sampling, frames_of

    context = context_of(args)
    context.check_state(args.watch, args.state)
    plan = plan_of(args, context, args.state)
    uri, wanted = resolved(args.source or _source_of(context, args.watch), context.config)
    candidates = frames_of(uri, Sampling(args.every, args.count), wanted)
    if args.dry_run:
        watched = progress(candidates, args.count, "capture")
        return enrol_and_print(args, context, [(plan, watched)])
    from edge_sim.io.sources import is_live

    least_s = args.every if is_live(uri) else 0.0
    return _enrol_live(args, context, plan, candidates, least_s)


def _enrol_live(
    args: argparse.Namespace,
    context: Context,
    plan: EnrolmentPlan,
    candidates: Iterator[EnrolmentCandidate],
    least_s: float,
) -> int:
    """Enrol the candidates; `least_s` is the time that passes between two of them."""
    from edge_sim.gallery.enrolment import EnrolmentReport, enrol_each

    embedder = context.embedder()
    is_new = not exists(context.gallery)
    reports: list[EnrolmentReport] = []
    interrupted = False
    started_s = time.monotonic()
    with context.store(create=True) as store, ExitStack() as stack:
        if is_new:
            stack.callback(_remove_if_empty, store)
        try:
            for report in enrol_each(store, embedder, candidates, plan=plan):
                reports.append(report)
                if not args.json:
                    print_pictures(report)
                _print_time_left(args, len(reports), time.monotonic() - started_s, least_s)
        except KeyboardInterrupt:
            interrupted = True
            note("interrupted; what was added stays")
    whole = EnrolmentReport(
        tuple(item for report in reports for item in report.accepted),
        tuple(item for report in reports for item in report.rejected),
        max((report.revision or 0 for report in reports), default=0) or None,
    )
    print_report(args, context, whole, pictures=args.json)
    if interrupted:
        return EXIT_INTERRUPTED
    return 0 if whole.accepted else 1


def _print_time_left(args: argparse.Namespace, done: int, elapsed_s: float, least_s: float) -> None:
    """Print the time left, where that is more than a moment; `least_s` is that of one frame."""
    if args.count is None or done >= args.count:
        return
    per_frame_s = max(least_s, elapsed_s / done)
    left_s = (args.count - done) * per_frame_s
    if left_s >= _WORTH_SAYING_S:
        note(
            f"{done} of {args.count} frames, about {left_s:.0f} s left; Ctrl-C keeps what is there"
        )


def _source_of(context: Context, watch: str) -> str:
    """Return the name of the source that the configuration has for a watch."""
    if context.config is None:
        raise GalleryError("say which source, or give a configuration with -c that names it")
    return context.config.watches[watch].source or next(iter(context.config.sources))


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
