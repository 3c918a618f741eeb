"""Verbs of `edge-sim gallery` that enrol pictures: add, import, capture."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from edge_sim.cli.capture import resolved, sampling_options
from edge_sim.cli.options import Context, context_of, metadata_of, print_result
from edge_sim.cli.output import note, progress, say
from edge_sim.core.files import exists
from edge_sim.errors import GalleryError
from edge_sim.gallery.records import REGION, region_text

if TYPE_CHECKING:
    from edge_sim.gallery.candidates import EnrolmentCandidate
    from edge_sim.gallery.enrolment import Batch, EnrolmentPlan, EnrolmentReport
    from edge_sim.gallery.enrolment_checks import Refusal
    from edge_sim.gallery.store import GalleryStore


EXIT_INTERRUPTED = 130
_WORTH_SAYING_S = 3.0


def add(args: argparse.Namespace) -> int:
    """Enrol pictures of one state."""
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
    elif any(item.refusal.value != "unreadable" for item in report.rejected):
        note("--force enrols rejected pictures anyway, if they can be read")
    if report.revision is not None:
        _note_one_moment(context, args.watch)
    suspects = sum(1 for item in report.accepted if _is_conflict(item.overruled))
    if suspects and not args.force:
        note(
            f"{suspects} of them look like another state: look at these first "
            f"(`edge-sim gallery audit`), and `gallery relabel` or `gallery remove` the wrong ones"
        )


def _note_one_moment(context: Context, watch: str) -> None:
    """Say that the references are of one moment, which shows nothing of what is usual."""
    from edge_sim.decision.thresholds import one_moment_text, states_of_one_moment

    with context.store(read_only=True) as store:
        alike = states_of_one_moment(store.gallery(watch))
    if alike:
        note(one_moment_text(alike))


def _is_conflict(refusal: Refusal | None) -> bool:
    return refusal is not None and refusal.value == "conflict"


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
    return context.config.source_of(watch)
