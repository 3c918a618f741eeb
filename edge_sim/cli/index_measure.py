"""`edge-sim index measure|plan`: what kinds of index find, how quickly, and in how much memory."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.options import positive
from edge_sim.cli.output import note, print_json, print_table, progress

if TYPE_CHECKING:
    from edge_sim.search.measure import KindMeasure

SCHEMA = 1
KINDS = ("exact", "exact-int8", "hnsw", "ivf-flat", "ivf-pq")
HEADER = ["kind", "setting", "recall@{}", "p50 ms", "p95 ms", "memory MB", "build CPU s"]


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to those of `edge-sim index`."""
    measured = verbs.add_parser(
        "measure",
        help="measure recall, time and memory of this and other kinds of index",
        description=measure_index.__doc__,
    )
    measured.add_argument("index", type=Path, metavar="INDEX")
    measured.add_argument(
        "--queries", type=positive, default=200, metavar="N", help="pictures searched by (200)"
    )
    measured.set_defaults(handler=measure_index)
    planned = verbs.add_parser(
        "plan",
        help="forecast time and memory of an index before it is built",
        description=plan_index.__doc__,
    )
    planned.add_argument("--rows", type=positive, required=True, metavar="N", help="pictures")
    planned.add_argument(
        "--dim", type=positive, default=256, metavar="D", help="numbers per vector (256)"
    )
    planned.set_defaults(handler=plan_index)
    for verb in (measured, planned):
        verb.add_argument("--top-k", type=positive, default=10, metavar="K", help="hits (10)")
        verb.add_argument(
            "--kind", nargs="+", choices=KINDS, metavar="KIND", help="default: all installed"
        )


def measure_index(args: argparse.Namespace) -> int:
    """Search an index by its own pictures, and compare with an exact search.

    Other kinds, and other widths of a graph, are made for the measurement and not kept.
    """
    from edge_sim.search.measure import available_kinds, measure
    from edge_sim.search.store import IndexStore

    with IndexStore.open(args.index) as store:
        table = store.table()
    kinds = args.kind or _own_first(table.kind, available_kinds())
    found = measure(
        table.vectors[:, : table.dimension],
        kinds,
        k=args.top_k,
        queries=args.queries,
        graph=(table.kind, table.graph),
    )
    _show(args, found, own=table.kind)
    return 0


def plan_index(args: argparse.Namespace) -> int:
    """Forecast memory, time to build and time of a search from a short trial on this machine.

    The trial takes up to a minute: synthetic rows in groups, 10,000 at most. The decoding of
    pictures is not in it.
    """
    from edge_sim.search.measure import CALIBRATION_ROWS, available_kinds, forecast

    trial = forecast(args.rows, args.dim, args.kind or available_kinds(), k=args.top_k)
    found = list(progress(trial, None, "kinds"))
    if not args.json:
        some = min(args.rows, CALIBRATION_ROWS)
        note(f"forecast for {args.rows} x {args.dim} from {some} synthetic rows on this machine;")
        note("recall is that of the trial, and other work on this machine makes times longer")
    _show(args, found)
    return 0


def _own_first(own: str, kinds: Iterable[str]) -> list[str]:
    return sorted(kinds, key=lambda kind: kind != own)


def _show(args: argparse.Namespace, found: Iterable[KindMeasure], own: str = "") -> None:
    measures = list(found)
    if args.json:
        names = ("kind", "setting", "recall", "p50_ms", "p95_ms", "memory_bytes", "build_cpu_s")
        plain = [{name: getattr(item, name) for name in names} for item in measures]
        print_json({"schema": SCHEMA, "k": args.top_k, "kinds": plain})
        return
    rows = [
        (
            f"{item.kind} *" if item.kind == own and not item.setting else item.kind,
            item.setting or "default",
            f"{item.recall:.3f}",
            f"{item.p50_ms:.2f}",
            f"{item.p95_ms:.2f}",
            f"{item.memory_bytes / 1e6:.1f}",
            "-" if item.build_cpu_s is None else f"{item.build_cpu_s:.1f}",
        )
        for item in measures
    ]
    print_table([name.format(args.top_k) for name in HEADER], rows)
    if own:
        note("* this index")
