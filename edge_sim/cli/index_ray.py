"""`edge-sim index build --ray`: an index or Parquet files by the workers of a Ray cluster."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.options import absolute, positive
from edge_sim.cli.output import note, print_json, progress, say
from edge_sim.cli.parser import UsageError
from edge_sim.core.files import printable

if TYPE_CHECKING:
    from edge_sim.search.build import UpdateReport
    from edge_sim.search.cluster import EmbeddingOrder, RowSink
    from edge_sim.search.rows import IndexPlan, Info
    from edge_sim.search.storage import PictureStorage

    Printer = Callable[[argparse.Namespace, Info, UpdateReport, float], None]

SCHEMA = 1
LINES_S = 10.0


def ray_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that hand the work to a cluster."""
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="let a Ray cluster embed: `auto`, HOST:PORT, ray://HOST:PORT, or `local` for the "
        "cores of this machine; DIR may be a tar or a URL such as s3://bucket/folder",
    )
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="with --ray: one per core by default"
    )
    parser.add_argument(
        "--parquet", action="store_true", help="with --ray: INDEX becomes a folder of Parquet files"
    )


def check_ray_options(args: argparse.Namespace) -> None:
    """Raise `UsageError` if options of a cluster do not fit the others."""
    if args.ray is None:
        for name in ("workers", "parquet"):
            if getattr(args, name):
                raise UsageError(f"--{name} goes with --ray")
    elif args.shard is not None:
        raise UsageError("--shard goes without --ray, which divides the work itself")
    elif args.every is not None:
        raise UsageError("--every goes without --ray, which reads no videos")
    elif args.parquet and (args.attributes is not None or args.kind != "auto" or args.regions):
        raise UsageError("--attributes, --kind and --regions go without --parquet")


def build_on_ray(args: argparse.Namespace, plan: IndexPlan, print_report: Printer) -> int:
    """Index the pictures of a folder, a tar or an object store on a Ray cluster.

    Args:
        args: Parsed arguments.
        plan: Settings, whose root is replaced.
        print_report: Function that prints the end of a build.
    """
    from dataclasses import replace

    from edge_sim.errors import SearchError
    from edge_sim.search.storage import open_storage

    storage = open_storage(args.folder, skip=absolute(args.out))
    if next(storage.list(), None) is None:
        # Also where an index is there: a bucket that is empty all of a sudden is a mistake.
        raise SearchError(f"{printable(storage.root)}: no picture there")
    plan = replace(plan, root=storage.root)
    if args.parquet:
        return _into_parquet(args, storage, plan)
    return _into_index(args, storage, plan, print_report)


def _into_index(
    args: argparse.Namespace, storage: PictureStorage, plan: IndexPlan, print_report: Printer
) -> int:
    from edge_sim.core.files import is_dir
    from edge_sim.errors import SearchError
    from edge_sim.search.attributes import found_table, read_attributes
    from edge_sim.search.build import describe
    from edge_sim.search.cluster import EmbeddingOrder
    from edge_sim.search.row_sinks import IndexSink
    from edge_sim.search.shards import read_manifest
    from edge_sim.search.store import IndexStore

    table = args.attributes
    if table is None and is_dir(storage.root):
        table = found_table(storage.root)
    facts = None if table is None else read_attributes(table)
    if (manifest := read_manifest(args.out)) is not None:
        raise SearchError(f"{args.out}: is shard {manifest.part}; give another --out")
    started_s = time.monotonic()
    with IndexStore.open(args.out, create=plan) as store, store.exclusive():
        store.check_pictures()
        order = EmbeddingOrder(args.folder, store.plan)
        report = _run(args, storage, IndexSink(store), order)
        if facts is not None:
            describe(store, facts, report)
        found = store.info()
    print_report(args, found, report, time.monotonic() - started_s)
    if not found.pictures:
        raise SearchError(f"{printable(storage.root)}: no picture that can be read")
    return 0


def _into_parquet(args: argparse.Namespace, storage: PictureStorage, plan: IndexPlan) -> int:
    from edge_sim.errors import SearchError
    from edge_sim.search.cluster import EmbeddingOrder
    from edge_sim.search.locking import exclusive
    from edge_sim.search.row_sinks import PARQUET_LOCK, ParquetSink

    out: Path = args.out
    started_s = time.monotonic()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SearchError(f"{printable(out)}: {error.strerror or error}") from error
    with exclusive(out, PARQUET_LOCK):
        sink = ParquetSink(out, plan)
        report = _run(args, storage, sink, EmbeddingOrder(args.folder, plan))
    seconds = time.monotonic() - started_s
    if args.json:
        facts = {name: getattr(report, name) for name in ("new", "changed", "unchanged", "gone")}
        unread = [[printable(item.path), item.reason] for item in report.unread]
        print_json(
            {
                "schema": SCHEMA,
                "folder": str(out),
                "rows": sink.written,
                "seconds": round(seconds, 3),
                "unread": unread,
                **facts,
            }
        )
    else:
        say(
            f"{out}: {sink.written} rows ({report.new} new, {report.changed} changed, "
            f"{report.gone} gone, {len(report.unread)} not read) in {seconds:.1f} s"
        )
    return 0


def _run(
    args: argparse.Namespace, storage: PictureStorage, sink: RowSink, order: EmbeddingOrder
) -> UpdateReport:
    from edge_sim.search.cluster import build_on_workers
    from edge_sim.search.ray_pool import RayPool

    @contextmanager
    def workers() -> Iterator[RayPool]:
        # Ray prints the end of a node on stdout, which may hold JSON.
        with redirect_stdout(sys.stderr), RayPool(args.ray, order, args.workers) as pool:
            if not args.json:
                note(f"ray: {pool.wanted} worker{'s' * (pool.wanted > 1)}")
            yield pool
            if pool.lost and not args.json:
                lost = "1 worker was" if pool.lost == 1 else f"{pool.lost} workers were"
                note(f"ray: {lost} lost; their pictures went to others")

    show = partial(progress, label="index", every_s=LINES_S)
    return build_on_workers(storage, sink, workers, progress=show)
