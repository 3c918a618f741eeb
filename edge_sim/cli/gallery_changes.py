"""The verbs of `edge-sim gallery` that change it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_sim.cli.gallery_context import Context, context_of, metadata_of, print_result
from edge_sim.cli.output import note, progress
from edge_sim.errors import GalleryError
from edge_sim.files import exists

if TYPE_CHECKING:
    from edge_sim.enrolment import Batch, EnrolmentPlan, EnrolmentReport
    from edge_sim.gallery_store import GalleryStore, Revision


def add(args: argparse.Namespace) -> int:
    """Enrol pictures of one state."""
    if args.from_review:
        from edge_sim.cli.gallery_review import teach

        if args.roi or args.count or args.every:
            args.usage_error("kept frames are regions already: no --roi, --count or --every")
        return teach(args, args.places, args.state)
    if args.review_folder is not None or args.state_dir is not None:
        args.usage_error("--review-folder and --state-dir go with --from-review")
    from edge_sim.enrolment import Sampling, candidates_in

    context = context_of(args)
    context.check_state(args.watch, args.state)
    candidates = candidates_in(args.places, Sampling(args.every, args.count))
    plan = plan_of(args, context, args.state)
    return enrol_and_print(args, context, [(plan, progress(candidates, None, "enrolling"))])


def import_folder(args: argparse.Namespace) -> int:
    """Enrol a folder, or a zip of one, with one folder per state."""
    from edge_sim.enrolment import is_archive, pictures_of, states_in, unpacked

    context = context_of(args)
    with ExitStack() as stack:
        folder = args.folder
        if is_archive(folder):
            folder = stack.enter_context(unpacked(folder))
        batches: list[Batch] = []
        for state, folders in states_in(folder).items():
            context.check_state(args.watch, state)
            plan = plan_of(args, context, state)
            batches.append((plan, progress(pictures_of(folder, folders), None, state)))
        return enrol_and_print(args, context, batches)


def plan_of(args: argparse.Namespace, context: Context, state: str) -> EnrolmentPlan:
    """Return how the options of `picture_options` say to enrol."""
    from edge_sim.enrolment import EnrolmentPlan

    return EnrolmentPlan(
        watch=args.watch,
        state=state,
        region=context.region(args.watch),
        metadata=metadata_of(args.meta),
        force=args.force,
    )


def enrol_and_print(args: argparse.Namespace, context: Context, batches: list[Batch]) -> int:
    """Enrol, print the report, and return the exit code: 1 if every picture was refused."""
    report = enrolled(args, context, batches)
    print_report(args, context, report)
    return 0 if report.accepted else 1


def enrolled(args: argparse.Namespace, context: Context, batches: list[Batch]) -> EnrolmentReport:
    """Enrol, or with --dry-run find out what would become of the pictures."""
    from edge_sim.enrolment import assess, enrol_batches
    from edge_sim.gallery import Gallery

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
        return _change(args, lambda store: store.forget(args.reference_ids))
    return _change(args, lambda store: store.remove(args.reference_ids))


def purge(args: argparse.Namespace) -> int:
    """Delete the pictures of the past."""
    return _change(args, lambda store: store.purge())


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
    from edge_sim.enrolment import reembed

    embedder = context_of(args).embedder()
    watching: Callable[..., Any] = partial(progress, label="reembed")
    return _change(
        args, lambda store: reembed(store, embedder, watch=args.watch, watching=watching)
    )


def export_folder(args: argparse.Namespace) -> int:
    """Write the pictures of a watch, a folder per state."""
    from edge_sim.enrolment import export_states

    context = context_of(args)
    with context.store(read_only=True) as store:
        records = export_states(store, args.watch, args.folder)
    if args.json:
        count = len(records)
        print_result(context, watch=args.watch, folder=str(args.folder), references=count)
    else:
        print(f"{args.folder}: {len(records)} pictures of {args.watch}")
    return 0


def dedupe(args: argparse.Namespace) -> int:
    """Remove references that repeat an earlier one of their state."""
    from edge_sim.enrolment import duplicates_in

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
        print(f"{name}  repeats {verdict.like} ({verdict.detail})")
    if revision is not None:
        print(f"{context.gallery}: revision {revision}, {len(repeated)} removed")
    else:
        wish = f"would remove {len(repeated)}" if repeated else "no reference repeats another"
        print(f"{context.gallery}: {wish}")
    return 0


def _change(args: argparse.Namespace, edit: Callable[[GalleryStore], Revision | None]) -> int:
    context = context_of(args)
    with context.store() as store:
        revision = edit(store)
    if args.json:
        print_result(context, revision=revision)
    elif revision is None:
        print("nothing to do")
    else:
        counts = (
            f"{len(revision.appeared)} new, {len(revision.gone)} gone, "
            f"{len(revision.altered)} altered"
        )
        print(f"revision {revision.number}: {revision.verb} {revision.detail} ({counts})")
    return 0


def print_report(args: argparse.Namespace, context: Context, report: EnrolmentReport) -> None:
    """Print what became of every picture."""
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
    for item in report.accepted:
        remark = f", although {item.overruled.value}" if item.overruled else ""
        became = item.reference_id or "would add"
        print(f"{became}  {item.state}  {item.name} ({item.condition}{remark})")
    for refused in report.rejected:
        like = f" with {refused.like}" if refused.like else ""
        reason = f"{refused.refusal.value}{like} ({refused.detail})"
        print(f"refused  {refused.state}  {refused.name}: {reason}")
    counts = f"{len(report.accepted)} added, {len(report.rejected)} refused"
    if args.dry_run:
        counts = f"would be {counts}; nothing written"
    at = "" if report.revision is None else f"revision {report.revision}, "
    print(f"{context.gallery}: {at}{counts}")
    if any(item.refusal.value == "conflict" for item in report.rejected):
        note("a conflict is a picture that looks like another state; --force enrols it anyway")
