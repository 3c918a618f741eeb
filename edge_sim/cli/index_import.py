"""`edge-sim index import`: an index of vectors of one's own."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge_sim.cli.index_ready import check_config, config_option, send_ready
from edge_sim.cli.options import absolute
from edge_sim.cli.output import graph_progress, print_json, progress, say
from edge_sim.core.files import printable

SCHEMA = 1
KINDS = ("auto", "exact", "exact-int8", "hnsw", "ivf-flat", "ivf-pq")
LINES_S = 10.0


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to those of `edge-sim index`."""
    verb = verbs.add_parser(
        "import",
        help="make an index of your own vectors, or bring it up to date",
        description=import_index.__doc__,
    )
    verb.add_argument(
        "vectors", type=Path, metavar="VECTORS.npy", help="(N, D) numbers, one row each"
    )
    verb.add_argument(
        "ids",
        type=Path,
        metavar="IDS.csv",
        help="a column `id` in the order of the rows; `tags` and other columns, if wanted",
    )
    verb.add_argument("--out", type=Path, required=True, metavar="INDEX", help="the index folder")
    verb.add_argument(
        "--model-id",
        required=True,
        metavar="NAME",
        help="the model that made the vectors: only vectors of one model are compared",
    )
    verb.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="folder in which ids are pictures, for pages (default: the folder of IDS.csv)",
    )
    verb.add_argument("--kind", choices=KINDS, default="auto", help="auto chooses by size")
    verb.add_argument(
        "--add", action="store_true", help="keep ids that are not in IDS.csv; else they are removed"
    )
    config_option(verb)
    verb.set_defaults(handler=import_index)


def import_index(args: argparse.Namespace) -> int:
    """Make an index hold your own vectors: the rows of a .npy file under the ids in a table. Rows
    that did not change cost nothing when it is run again."""
    from edge_sim.core.files import is_dir
    from edge_sim.errors import SearchError
    from edge_sim.search.imported import (
        check_together,
        checked_model_id,
        import_vectors,
        open_vectors,
        read_ids,
    )
    from edge_sim.search.rows import IMPORTED, IndexPlan
    from edge_sim.search.store import IndexStore

    check_config(args)
    root = args.ids.parent if args.root is None else args.root
    model_id = checked_model_id(args.model_id)
    rows, named = open_vectors(args.vectors), read_ids(args.ids)
    check_together(rows, named, args.ids)
    if not is_dir(root):
        raise SearchError(f"{root}: no such folder")
    plan = IndexPlan(
        root=absolute(root), model_id=model_id, model=IMPORTED, kind=args.kind, cuts_bars=False
    )
    started_s = time.monotonic()
    with IndexStore.open(args.out, create=plan) as store:
        report = import_vectors(
            store,
            rows,
            named,
            keeps_others=args.add,
            progress=_watched,
            graph_progress=graph_progress(every_s=LINES_S),
        )
        found = store.info()
    seconds = time.monotonic() - started_s
    names = ("new", "changed", "unchanged", "gone", "left_out")
    send_ready(args, found, new=report.new, took_s=seconds)
    counts = {name: getattr(report, name) for name in names}
    if args.json:
        facts = {"rows": found.pictures, "dimension": found.dimension, "kind": found.kind}
        print_json(
            {
                "schema": SCHEMA,
                "index": str(found.path),
                "root": printable(found.root),
                "model_id": found.model_id,
                **facts,
                "reason": found.reason,
                "seconds": round(seconds, 3),
                **counts,
            }
        )
        return 0
    words = ", ".join(
        f"{number} {name.replace('_', ' ')}" for name, number in counts.items() if number
    )
    say(
        f"{found.path}: ready, {found.pictures} rows of {found.dimension} ({words}) in "
        f"{seconds:.1f} s; search is {found.kind}"
    )
    return 0


def _watched(done: Iterator[int], total: int) -> Iterable[int]:
    return progress(done, total, "import", every_s=LINES_S)
