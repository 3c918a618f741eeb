"""The verbs of `edge-sim gallery` that copy the whole file: `backup` and `restore`."""

from __future__ import annotations

import argparse

import msgspec

from edge_sim.cli.gallery_context import context_of
from edge_sim.cli.output import print_json


class BackedUp(msgspec.Struct, frozen=True):
    """JSON of `backup`."""

    gallery: str
    copy: str
    revision: int
    schema: int = 1


class RestoredView(msgspec.Struct, frozen=True):
    """JSON of `restore`; `kept` is null if there was no gallery before."""

    gallery: str
    copy: str
    revision: int
    kept: str | None
    schema: int = 1


def backup(args: argparse.Namespace) -> int:
    """Write the gallery to one file."""
    from edge_sim.gallery_store import back_up

    context = context_of(args)
    revision = back_up(context.gallery, args.file)
    if args.json:
        print_json(BackedUp(str(context.gallery), str(args.file), revision))
    else:
        print(f"{args.file}: copy of {context.gallery} at revision {revision}")
    return 0


def restore(args: argparse.Namespace) -> int:
    """Put a copy in the place of the gallery."""
    from edge_sim.gallery_store import restore as restore_gallery

    context = context_of(args)
    restored = restore_gallery(context.gallery, args.file)
    kept = None if restored.kept is None else str(restored.kept)
    if args.json:
        print_json(RestoredView(str(context.gallery), str(args.file), restored.revision, kept))
        return 0
    print(f"{context.gallery}: restored from {args.file} at revision {restored.revision}")
    if kept is not None:
        print(f"what was there before is kept as {kept}")
    return 0
