"""Verbs of `edge-sim gallery` that change references, and copy or restore the file."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_sim.cli.options import (
    check_known,
    context_of,
    note_other_places,
    only_watch,
    print_result,
)
from edge_sim.cli.output import progress, say
from edge_sim.errors import GalleryError

if TYPE_CHECKING:
    from edge_sim.gallery.records import Revision
    from edge_sim.gallery.store import GalleryStore


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

    def edit(store: GalleryStore) -> Revision | None:
        check_known(args.watch, store.watches(), "watch", store.path)
        return reembed(store, embedder, watch=args.watch, progress=watching)

    return _change(args, edit)


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
        watches = store.watches() if args.watch is None else (only_watch(store, args.watch),)
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
