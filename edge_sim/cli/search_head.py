"""Which learned likeness a search goes by."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.output import note

if TYPE_CHECKING:
    from edge_sim.gallery_store import GalleryStore
    from edge_sim.head import Head


def head_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say by which likeness to search."""
    parser.add_argument(
        "--head",
        type=Path,
        metavar="GALLERY",
        help="search an index by what `model adapt` has learned in this gallery",
    )
    parser.add_argument(
        "--plain", action="store_true", help="by the model alone, not by what was learned"
    )


def check_head(args: argparse.Namespace) -> None:
    """Raise `SearchError` where the options of a head contradict others."""
    from edge_sim.errors import SearchError

    if args.head is not None and args.index is None:
        raise SearchError("--head goes with --index; a gallery is searched by its own head")
    if args.head is not None and (args.plain or args.scale != "global"):
        raise SearchError("--head goes without --plain and --scale: it is a likeness of its own")
    if args.index is not None and args.watch is not None and args.head is None:
        raise SearchError("--watch goes with --gallery or --head; an index has no watches")


def head_of_store(args: argparse.Namespace, store: GalleryStore) -> Head | None:
    """Return the head of the watch that is searched; None if it has none that holds.

    A search over several watches has none: each of them was learned for one.
    """
    from edge_sim.gallery_store import kept_head

    watches = store.watches() if args.watch is None else (args.watch,)
    if args.plain or args.scale != "global" or len(watches) != 1:
        return None
    kept = kept_head(store, watches[0], store.gallery(watches[0]))
    if kept is None:
        return None
    if kept.outdated is not None:
        note(
            f"not by the learned likeness of {watches[0]}: {kept.outdated}; "
            f"`edge-sim model adapt` learns it again"
        )
        return None
    return kept.head


def head_for_index(args: argparse.Namespace) -> Head | None:
    """Return the head that --head names; None without it.

    Raises:
        GalleryError: The gallery has none, or it does not hold any more.
    """
    if args.head is None:
        return None
    from edge_sim.cli.gallery_context import only_watch
    from edge_sim.errors import GalleryError
    from edge_sim.gallery_store import GalleryStore, kept_head

    with GalleryStore.open(args.head, read_only=True) as store:
        watch = only_watch(store, args.watch)
        kept = kept_head(store, watch, store.gallery(watch))
    reason = "it has none" if kept is None else kept.outdated
    if kept is None or reason is not None:
        raise GalleryError(
            f"{args.head}: no learned likeness of watch {watch!r} to search by ({reason}); "
            f"`edge-sim model adapt {watch}` learns one"
        )
    return kept.head
