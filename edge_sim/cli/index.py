"""`edge-sim index`: an index of a folder of pictures, for `search` and `duplicates`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sim.cli import (
    index_import,
    index_labels,
    index_measure,
    index_ray,
    index_shards,
    index_text,
)
from edge_sim.cli.index_labels import pictures_below
from edge_sim.cli.index_ready import check_config, config_option, send_ready
from edge_sim.cli.options import absolute
from edge_sim.cli.output import (
    graph_progress,
    note,
    print_json,
    print_table,
    progress,
    say,
)
from edge_sim.cli.parser import UsageError
from edge_sim.core.files import is_dir, printable

if TYPE_CHECKING:
    from edge_sim.cli.index_text import TextFacts
    from edge_sim.core.protocols import Embedder
    from edge_sim.search.build import UpdateReport
    from edge_sim.search.rows import BuildProgress, IndexPlan, Info, VectorScale
    from edge_sim.search.shards import Shard
    from edge_sim.search.store import IndexStore


SHOWN_FAULTS = 20
SCHEMA = 1
LINES_S = 10.0
KINDS = ("auto", "exact", "exact-int8", "hnsw", "ivf-flat", "ivf-pq")
DEFAULT_MODEL = "default"
SCALES = ("global", "spatial", "both")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    parser = commands.add_parser(
        "index",
        help="index a folder of pictures for search and duplicates",
        description="An index is a folder that holds one vector per picture. It is brought up to "
        "date file by file, and a build that was stopped goes on where it was.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    build = verbs.add_parser(
        "build",
        help="index a folder, or bring its index up to date",
        description=build_index.__doc__,
    )
    build.add_argument("folder", metavar="DIR", help="pictures, subfolders included")
    build.add_argument("--out", type=Path, required=True, metavar="INDEX", help="the index folder")
    model_options(build)
    build.add_argument(
        "--scale",
        choices=SCALES,
        help="what is compared (default: global for a new index, else as before)",
    )
    build.add_argument(
        "--attributes",
        type=Path,
        metavar="FILE",
        help="CSV or JSON with a column `file` and one per attribute, for filters (default: "
        "attributes.csv or attributes.json in DIR)",
    )
    build.add_argument(
        "--every",
        metavar="SECONDS",
        help="a frame of a video every so many seconds; `key`: its key frames (default for a new "
        "index, else as before)",
    )
    build.add_argument(
        "--regions",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="keep 16 regions of each picture: a part of it finds it (default: as before)",
    )
    index_text.text_option(build)
    build.add_argument("--kind", choices=KINDS, default="auto", help="auto chooses by size")
    index_shards.shard_option(build)
    index_ray.ray_options(build)
    config_option(build)
    build.set_defaults(handler=build_index)
    for name, handler, text in (
        ("add", add, "bring an index up to date, or only some of its files"),
        ("rm", remove, "leave pictures out of an index; their files stay"),
    ):
        verb = verbs.add_parser(name, help=text, description=handler.__doc__)
        verb.add_argument("index", type=Path, metavar="INDEX")
        many = "*" if name == "add" else "+"
        verb.add_argument("paths", nargs=many, type=Path, metavar="PATH", help="file or folder")
        if name == "add":
            config_option(verb)
        verb.set_defaults(handler=handler)
    for name, handler, text in (
        ("info", info, "print what an index holds, and its kind of search with the reason"),
        ("verify", verify, "read the whole index and report damage"),
    ):
        verb = verbs.add_parser(name, help=text, description=handler.__doc__)
        verb.add_argument("index", type=Path, metavar="INDEX")
        verb.set_defaults(handler=handler)
    index_import.register(verbs)
    index_labels.register(verbs)
    index_measure.register(verbs)
    index_shards.register(verbs, KINDS)
    for verb in verbs.choices.values():
        verb.add_argument("--json", action="store_true", help="print the result as JSON")


def model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the model."""
    parser.add_argument(
        "--model",
        metavar="SPEC",
        help="a .tflite file, `default`, `thumbnail` (default: that of the index); another than "
        "before fills a second index, which takes the place of the first when it is complete",
    )


def build_index(args: argparse.Namespace) -> int:
    """Index the pictures in a folder; what is indexed already and did not change is kept."""
    from edge_sim.errors import SearchError
    from edge_sim.search.frames import checked_sampling
    from edge_sim.search.rows import IndexPlan
    from edge_sim.search.shards import read_manifest
    from edge_sim.search.store import IndexStore
    from edge_sim.vision.embedders import open_embedder

    if not args.folder:
        raise UsageError("DIR: the path is empty")
    index_ray.check_ray_options(args)
    check_config(args)
    folder = Path(args.folder)
    if args.ray is None and not is_dir(folder):
        raise SearchError(f"{folder}: no such folder")
    index_text.check_text_model(args.text_model)
    if args.text_model is not None and (args.shard or args.ray is not None):
        raise SearchError(
            f"--text-model goes with neither --shard nor --ray: once {args.out} is whole, run "
            f"`edge-sim index build` on it with --text-model"
        )
    present = _present_plan(args.out)
    part = None if present is None else read_manifest(args.out)
    if part is not None and args.text_model not in (None, index_text.NONE):
        raise SearchError(
            f"{args.out}: is shard {part.part}, whose vectors for words a merge does not take; "
            f"give --text-model to the merged index"
        )
    if args.model is None:
        args.model = DEFAULT_MODEL if present is None else present.model
    embedder = open_embedder(args.model)
    plan = IndexPlan(
        root=absolute(folder),
        model_id=embedder.model_id,
        model=stored_model(args.model),
        scale=_scale(args.scale, present),
        kind="exact" if args.shard and args.kind == "auto" else args.kind,
        regions=args.regions,
        frames="" if args.every is None else checked_sampling(args.every),
    )
    if args.ray is not None:
        return index_ray.build_on_ray(args, plan, _finish)
    if present is not None and present.model_id != plan.model_id and args.shard is None:
        if part is not None:
            raise SearchError(
                f"{args.out}: is shard {part.part}, made with the model {present.model_id}; for "
                f"another model give another --out, and --shard {part.part}"
            )
        return _replace(args, plan, embedder)
    with IndexStore.open(args.out, create=plan) as store:
        return _update(
            args,
            store,
            embedder,
            table=args.attributes,
            text_model=args.text_model,
            shard=args.shard,
        )


def _finish(args: argparse.Namespace, found: Info, report: UpdateReport, seconds: float) -> None:
    _print_report(args, found, report, seconds, None)
    send_ready(args, found, new=report.new, took_s=seconds)


def _scale(wanted: str | None, present: IndexPlan | None) -> VectorScale:
    from edge_sim.search.rows import VectorScale

    if wanted is not None:
        return VectorScale(wanted)
    return VectorScale.GLOBAL if present is None else present.scale


def _present_plan(place: Path) -> IndexPlan | None:
    """Return the settings of the index that is there; None if there is none."""
    from edge_sim.core.files import is_file
    from edge_sim.search import rows
    from edge_sim.search.index_database import NAME, open_database, translated
    from edge_sim.search.store import IndexStore

    if not is_file(place / NAME):
        return None
    with closing(open_database(place, create=True)) as connection, translated(place / NAME):
        if not rows.settings(connection).get("root"):
            return None  # of a process that was killed before it wrote them
    with IndexStore.open(place) as store:
        store.check_pictures()
        return store.plan


def _replace(args: argparse.Namespace, plan: IndexPlan, embedder: Embedder) -> int:
    """Fill a second index for another model, and put it in the place of the first at the end."""
    from edge_sim.core.files import is_file
    from edge_sim.search.store import IndexStore
    from edge_sim.search.successor import open_successor, take_place
    from edge_sim.search.text_column import NAME as TEXT
    from edge_sim.search.text_column import carry_text_column

    with IndexStore.open(args.out) as old:
        note(
            f"{args.out}: made with the model {old.plan.model_id}; an index for {plan.model_id} is "
            f"made beside it, and this one is searched until that is complete"
        )
        store = open_successor(old, plan)
        if not is_file(store.path / TEXT):
            carry_text_column(old.path, store.path)
    place = absolute(args.out)
    with store:
        return _update(
            args,
            store,
            embedder,
            table=args.attributes,
            text_model=args.text_model,
            finish=lambda: take_place(place),
            place=place,
        )


def add(args: argparse.Namespace) -> int:
    """Bring an index up to date with its folder, or only with the files and folders named."""
    from edge_sim.search.store import IndexStore
    from edge_sim.vision.embedders import open_embedder

    check_config(args)
    with IndexStore.open(args.index) as store:
        store.check_pictures()
        embedder = open_embedder(store.plan.model)
        starts = [absolute(path) for path in args.paths]
        return _update(args, store, embedder, starts)


def remove(args: argparse.Namespace) -> int:
    """Leave pictures out of searches, folders with all that is in them; no file is touched."""
    from edge_sim.search.store import IndexStore

    with IndexStore.open(args.index) as store:
        gone = pictures_below(store, args.paths)
        with store.exclusive():
            removed = store.leave_out(gone)
            store.prepare(checked=False)
    if args.json:
        print_json({"schema": SCHEMA, "index": str(args.index), "removed": removed})
    else:
        say(f"{args.index}: {removed} pictures left out; the files are untouched")
    return 0


def _texts_of(store: IndexStore) -> TextFacts | None:
    """Return the facts of the text column; a damaged one is noted, and the rest is shown."""
    from edge_sim.errors import SearchError

    try:
        return index_text.described(store)
    except SearchError as error:
        note(f"not searched in words: {error}")
        return None


def info(args: argparse.Namespace) -> int:
    """Print what an index holds, and its kind of search with the reason."""
    from edge_sim.search.regions import BOXES
    from edge_sim.search.shards import read_manifest
    from edge_sim.search.store import IndexStore
    from edge_sim.search.successor import successor_of

    with IndexStore.open(args.index) as store:
        found, unread = store.info(), store.unread()
        texts = _texts_of(store)
    successor = successor_of(found.path)
    if args.json:
        names = (
            "model_id", "scale", "dimension", "spatial_dimension", "pictures", "left_out", "kind"
        )  # fmt: skip
        facts = {
            name: getattr(found, name) for name in (*names, "reason", "ready", "tags", "regions")
        }
        print_json(
            {
                "schema": SCHEMA,
                "index": str(found.path),
                "root": printable(found.root),
                "model": printable(found.model),
                "unread": _plain(unread),
                "bytes_on_disk": found.bytes_on_disk,
                "update": None if found.update is None else _plain_update(found.update),
                "text": texts,
                "successor": None
                if successor is None
                else {
                    "index": str(successor.path),
                    "model_id": successor.model_id,
                    "pictures": successor.pictures,
                    "update": successor.update and _plain_update(successor.update),
                },
                **facts,
            }
        )
        return 0
    cells = f" + {found.spatial_dimension} for cells" if found.spatial_dimension else ""
    rows = [
        ("pictures of", printable(found.root)),
        ("model", found.model_id),
        ("vectors", f"{found.dimension}{cells}, scale {found.scale.value}"),
        ("search", f"{found.kind}: {found.reason}"),
        ("regions", f"{len(BOXES)} of each picture" if found.regions else "-"),
        ("on disk", f"{found.bytes_on_disk / 1e6:.1f} MB"),
        ("not read", str(found.unread)),
        ("left out", str(found.left_out)),
        ("tags", ", ".join(f"{name} {count}" for name, count in found.tags.items()) or "-"),
    ]
    if texts is not None:
        rows.append(("in words", str(texts)))
    if found.update is not None:
        rows.append(("update", str(found.update)))
    if (manifest := read_manifest(found.path)) is not None:
        state = "complete" if manifest.complete else "not finished; `edge-sim index build` goes on"
        rows.append(("shard", f"{manifest.part}, {state}"))
    if successor is not None:
        rows.append(("to be replaced by", str(successor)))
    print_table([f"{found.pictures} pictures", ""], rows)
    _show_unread(unread)
    return 0


def verify(args: argparse.Namespace) -> int:
    """Read the whole index and report damage; exit code 1 if anything is."""
    from edge_sim.search.store import IndexStore

    with IndexStore.open(args.index) as store:
        problems = (*store.problems(), *index_text.problems(store.path))
    if args.json:
        found = {"index": str(args.index), "sound": not problems, "problems": problems}
        print_json({"schema": SCHEMA, **found})
    else:
        for problem in problems:
            say(problem)
        if not problems:
            say(f"{args.index}: sound")
    return 1 if problems else 0


def stored_model(spec: str) -> str:
    """Return a model's name, or its path in a form that holds in any working folder."""
    from edge_sim.vision.embedders import KINDS as NAMED

    return spec if spec in NAMED else str(absolute(Path(spec)))


def watched(done: Iterator[Path], total: int, label: str) -> Iterable[Path]:
    """Yield the paths on and draw a bar, or print lines where there is no terminal."""
    return progress(done, total, label, every_s=LINES_S)


def _update(
    args: argparse.Namespace,
    store: IndexStore,
    embedder: Embedder,
    starts: Sequence[Path] = (),
    table: Path | None = None,
    text_model: str | None = None,
    finish: Callable[[], None] | None = None,
    place: Path | None = None,
    shard: Shard | None = None,
) -> int:
    """Update an index and print the outcome; `finish` then puts it in its `place`."""
    from edge_sim.errors import SearchError
    from edge_sim.search.build import update

    started_s = time.monotonic()
    text_encoder = index_text.planned(store, text_model)
    show = partial(watched, label="index")
    report = update(
        store,
        embedder,
        starts=starts,
        table=table,
        progress=show,
        graph_progress=graph_progress(every_s=LINES_S),
        shard=shard,
    )
    found = store.info()
    texts = index_text.fill(store, text_encoder) if found.pictures else None
    seconds = time.monotonic() - started_s
    if finish is not None and place is not None and found.pictures:
        store.close()
        finish()
        found = replace(found, path=place)
    _print_report(args, found, report, seconds, texts)
    if not found.pictures and report.shard is None:
        raise SearchError(f"{found.root}: no picture or video that can be read")
    send_ready(args, found, new=report.new, took_s=seconds)
    return 0


def _print_report(
    args: argparse.Namespace,
    found: Info,
    report: UpdateReport,
    seconds: float,
    texts: TextFacts | None,
) -> None:
    if args.json:
        names = (
            "new", "changed", "unchanged", "gone", "embedded", "left_out", "unmatched", "videos"
        )  # fmt: skip
        print_json(
            {
                "schema": SCHEMA,
                "index": str(found.path),
                "root": printable(found.root),
                "model_id": found.model_id,
                "pictures": found.pictures,
                "kind": found.kind,
                "reason": found.reason,
                "unread": _plain(report.unread),
                "seconds": round(seconds, 3),
                "shard": None if report.shard is None else str(report.shard),
                "text": texts,
                **{name: getattr(report, name) for name in names},
            }
        )
        return
    _show_unread(report.unread)
    if report.unmatched:
        some = ", ".join(printable(name) for name in report.unmatched[:3])
        more = ", ..." if len(report.unmatched) > 3 else ""
        note(f"attributes: {len(report.unmatched)} names are no picture here: {some}{more}")
    left_out = f", {report.left_out} left out" if report.left_out else ""
    again = f"{report.read_again} read again for regions, " if report.read_again else ""
    counts_text = (
        f"{report.new} new, {report.changed} changed, {again}{report.gone} gone, "
        f"{len(report.unread)} not read{left_out}"
    )
    if not found.pictures and report.shard is None:
        return  # the error that follows says so
    part = f", shard {report.shard}" if report.shard else ""
    say(
        f"{found.path}: ready{part}, {found.pictures} pictures ({counts_text}) in {seconds:.1f} s; "
        f"search is {found.kind}"
    )
    if texts is not None:
        say(f"{found.path}: in words by {texts}")


def _plain_update(state: BuildProgress) -> dict[str, int | bool | str]:
    return {
        "done": state.done,
        "total": state.total,
        "running": state.is_running,
        "stage": state.stage,
    }


def _plain(unread: Sequence[Any]) -> list[dict[str, str]]:
    return [{"path": printable(item.path), "reason": printable(item.reason)} for item in unread]


def _show_unread(unread: Sequence[Any]) -> None:
    for item in unread[:SHOWN_FAULTS]:
        note(f"not read: {printable(item.path)}: {printable(item.reason)}")
    if len(unread) > SHOWN_FAULTS:
        note(f"and {len(unread) - SHOWN_FAULTS} more; `edge-sim index info --json` lists them")
