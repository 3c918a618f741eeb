"""`edge-sim index build --shard` and `edge-sim index merge`: an index made in parts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.options import absolute
from edge_sim.cli.output import note, print_json, say

if TYPE_CHECKING:
    from edge_sim.search.shards import Shard

SCHEMA = 1


def register(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], kinds: tuple[str, ...]
) -> None:
    """Add the verb `merge` to those of `edge-sim index`."""
    merged = verbs.add_parser(
        "merge", help="make one index of shards, or append some", description=merge_shards.__doc__
    )
    merged.add_argument("out", type=Path, metavar="OUT", help="the index folder")
    merged.add_argument("shards", nargs="+", type=Path, metavar="SHARD", help="folder of a shard")
    merged.add_argument("--kind", choices=kinds, default="auto", help="auto chooses by size")
    merged.add_argument(
        "--root", type=Path, metavar="DIR", help="the pictures, where shards have other paths"
    )
    merged.add_argument("--partial", action="store_true", help="some shards may be missing")
    merged.set_defaults(handler=merge_shards)


def shard_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a part of the folder."""
    parser.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="index only the I-th of N parts, for `index merge`; a folder of its own for each",
    )


def shard(text: str) -> Shard:
    """Return the shard that an option names; for argparse."""
    from edge_sim.search.shards import Shard

    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def merge_shards(args: argparse.Namespace) -> int:
    """Merge the shards of a folder into one index; each one whole, or not at all.

    A merge that was stopped is run again. Shards may be appended later, with --partial before, and
    one that was brought up to date is merged again in place of itself.
    """
    from edge_sim.errors import SearchError
    from edge_sim.search.merging import merge

    def show(part: Shard) -> None:
        if not args.json:
            note(f"merged shard {part}")

    report = merge(
        args.out,
        [absolute(path) for path in args.shards],
        kind=args.kind,
        root=None if args.root is None else absolute(args.root),
        partial=args.partial,
        progress=show,
    )
    if args.json:
        print_json(
            {
                "schema": SCHEMA,
                "index": str(args.out),
                "of": report.of,
                "merged": [part.number for part in report.merged],
                "missing": report.missing,
                "pictures": report.pictures,
                "new": report.new,
                "gone": report.gone,
            }
        )
    if not report.pictures:
        raise SearchError(f"{args.out}: no picture in any shard; is the folder the right one?")
    if not args.json:
        missing = f"; {len(report.missing)} of {report.of} shards missing" if report.missing else ""
        say(
            f"{args.out}: {report.pictures} pictures of {len(report.merged)} shards "
            f"({report.new} new, {report.gone} gone){missing}"
        )
    return 0
