"""`edge-sim duplicates`: groups of near-duplicates, and which picture of each to keep."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from edge_sim.cli.index import watched
from edge_sim.cli.options import absolute
from edge_sim.cli.output import note, print_json, progress, say
from edge_sim.core.files import exists, is_dir, is_file, printable, write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_sim.analysis.report.pages import CaptionedPicture, Mark, PictureRow
    from edge_sim.search.duplicates import Distinct, Group
    from edge_sim.search.entries import IndexEntry
    from edge_sim.search.store import IndexStore


SCHEMA = 1
MOST_GROUPS = 200
"""On the page; a browser shows no more pictures at once without trouble."""
MOST_CARDS = 40


class KeptPicture(msgspec.Struct, frozen=True):
    """A picture to keep, and the redundant ones with their likeness to it."""

    keep: str
    redundant: dict[str, float]


class Duplicates(msgspec.Struct, frozen=True):
    """Report of `duplicates`; `links` has the other names of a file -> the name it is listed by."""

    root: str
    threshold: float
    sequence: bool
    pictures: int
    redundant: int
    redundant_bytes: int
    groups: tuple[tuple[KeptPicture, ...], ...]
    links: dict[str, str]
    schema: int = SCHEMA


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "duplicates",
        help="group the near-duplicates of a folder or an index; deletes nothing",
        description="Group pictures that are the same picture resized, saved again, brightened, "
        "or trimmed at the edges. The best of each group by sharpness, then size, is "
        "kept; every other picture of the list has a near-duplicate that is kept. No file is "
        "ever deleted: --delete-list writes the list, you decide.",
    )
    parser.add_argument("place", type=Path, metavar="DIR|INDEX", help="folder or index")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="likeness; by default what `calibrate --score likeness` left in the index, else 0.82",
    )
    parser.add_argument(
        "--sequence",
        action="store_true",
        help="frames of a video or time-lapse: compare only neighbours in order of their names",
    )
    parser.add_argument(
        "--turned", action="store_true", help="also copies that were turned or mirrored"
    )
    parser.add_argument(
        "--grey", action="store_true", help="compare grey levels only: colours do not count"
    )
    parser.add_argument("--report", type=Path, metavar="OUT.html", help="a page with the groups")
    parser.add_argument(
        "--delete-list",
        type=Path,
        metavar="F.txt",
        help="write the paths of redundant pictures, one per line",
    )
    parser.add_argument(
        "--null", action="store_true", help="end paths of the list with NUL, for `xargs -0`"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=duplicates)


def duplicates(args: argparse.Namespace) -> int:
    """Find the groups, print them, write list and page; exit code 0 with or without groups."""
    from edge_sim.errors import DataError, SearchError
    from edge_sim.search.duplicates import distinct_files

    if args.report is not None and args.report.suffix.lower() != ".html":
        raise DataError(f"{args.report}: the report is written as .html")
    if args.turned and args.sequence:
        raise SearchError("--sequence compares neighbours as they are; give it without --turned")
    if args.null and args.delete_list is None:
        raise SearchError("--null says how --delete-list is written; give both or neither")
    with ExitStack() as stack:
        store = _open(args, stack)
        args.threshold = _threshold(args, store)
        root = store.plan.root
        everything, thumbnails = store.entries(), store.thumbnails()
        files = distinct_files(root, everything)
        entries = [everything[row] for row in files.rows]
        rows = list(files.rows)
        colours = None if args.grey else store.colours()[rows]
        groups = _groups(args, entries, thumbnails[rows], files, colours)
        if files.links:
            note(f"{len(files.links)} links to listed pictures are left alone")
        if args.delete_list is not None:
            _write_list(args, root, entries, groups)
        if args.report is not None:
            _write_report(args, root, entries, groups)
        links = {_name(everything, row): _name(everything, to) for row, to in files.links.items()}
        _print(args, root, entries, groups, links)
    return 0


def _threshold(args: argparse.Namespace, store: IndexStore) -> float:
    """Return the likeness of --threshold, of the index, or the default."""
    from edge_sim.search.duplicates import THRESHOLD

    if args.threshold is not None:
        return float(args.threshold)
    kept = store.calibration()
    if kept is None:
        return THRESHOLD
    value = kept.thresholds[0].threshold
    note(f"likeness {value:.4f} and above: {kept.origin}")
    return value


def _groups(
    args: argparse.Namespace,
    entries: Sequence[IndexEntry],
    thumbnails: NDArray[np.uint8],
    files: Distinct,
    colours: NDArray[np.uint8] | None,
) -> tuple[Group, ...]:
    from edge_sim.search.duplicates import duplicate_groups

    return duplicate_groups(
        entries,
        thumbnails,
        threshold=args.threshold,
        sequence=args.sequence,
        facts=files.facts,
        colours=colours,
        turned=args.turned,
        progress=partial(progress, label="compare"),
    )


def _open(args: argparse.Namespace, stack: ExitStack) -> IndexStore:
    """Return the index that is named, or a new one of the folder that goes when all is done."""
    from edge_sim.errors import SearchError
    from edge_sim.search.build import update
    from edge_sim.search.rows import IndexPlan
    from edge_sim.search.store import NAME, IndexStore
    from edge_sim.vision.embedders import open_embedder

    if is_file(args.place / NAME):
        found = stack.enter_context(IndexStore.open(args.place))
        if (state := found.update_state()) is not None:
            note(f"{args.place}: {state}")
        return found
    if not is_dir(args.place):
        raise SearchError(f"{args.place}: no such folder or index")
    # Near-duplicates are found by their thumbnails, so the quickest embedder serves.
    embedder = open_embedder("thumbnail")
    plan = IndexPlan(absolute(args.place), embedder.model_id, "thumbnail", kind="exact")
    folder = stack.enter_context(TemporaryDirectory(prefix="edge-sim-"))
    store = stack.enter_context(IndexStore.open(folder, create=plan))
    report = update(store, embedder, progress=partial(watched, label="read"), with_videos=False)
    for item in report.unread:
        note(f"not read: {printable(item.path)}: {printable(item.reason)}")
    return store


def _write_list(
    args: argparse.Namespace, root: Path, entries: Sequence[IndexEntry], groups: tuple[Group, ...]
) -> None:
    from edge_sim.errors import SearchError

    end = b"\0" if args.null else b"\n"
    paths = [os.fsencode(root / entries[row].path) for group in groups for row in group.redundant]
    if not args.null and any(b"\n" in path or b"\r" in path for path in paths):
        raise SearchError("a path holds a line break, so a list by lines would lie; add --null")
    content = b"".join(path + end for path in paths)
    try:
        if exists(args.delete_list) and not is_file(args.delete_list):
            args.delete_list.write_bytes(content)  # a pipe, or a folder, which is an error
        else:
            write_whole(args.delete_list, content)  # half a path could name another file
    except OSError as error:
        raise SearchError(f"{args.delete_list}: cannot write ({error.strerror})") from error


def _print(
    args: argparse.Namespace,
    root: Path,
    entries: Sequence[IndexEntry],
    groups: tuple[Group, ...],
    links: dict[str, str],
) -> None:
    gone = [row for group in groups for row in group.redundant]
    size = sum(entries[row].file_bytes for row in gone)
    if args.json:
        print_json(
            Duplicates(
                root=printable(root),
                threshold=args.threshold,
                sequence=args.sequence,
                pictures=len(entries),
                redundant=len(gone),
                redundant_bytes=size,
                groups=tuple(_group_view(entries, group) for group in groups),
                links=links,
            )
        )
        return
    for number, group in enumerate(groups, 1):
        for item in group.kept:
            say(f"{number}  keep       {_name(entries, item.row)}")
            for row, score in item.redundant:
                say(f"{number}  redundant  {_name(entries, row)}  {score:.3f}")
    note(
        f"{len(entries)} pictures, {len(groups)} groups, {len(gone)} need not stay "
        f"({size / 1e6:.1f} MB); nothing was deleted"
    )


def _group_view(entries: Sequence[IndexEntry], group: Group) -> tuple[KeptPicture, ...]:
    return tuple(
        KeptPicture(
            _name(entries, item.row),
            {_name(entries, row): round(score, 4) for row, score in item.redundant},
        )
        for item in group.kept
    )


def _name(entries: Sequence[IndexEntry], row: int) -> str:
    return printable(entries[row].path)


def _write_report(
    args: argparse.Namespace, root: Path, entries: Sequence[IndexEntry], groups: tuple[Group, ...]
) -> None:
    from edge_sim.analysis.report import write_page
    from edge_sim.analysis.report.pages import PictureRow, image_grid

    def sections() -> Iterator[PictureRow]:
        for number, group in enumerate(groups[:MOST_GROUPS], 1):
            count, kept = len(group.rows), len(group.kept)
            words = f"{count} pictures, {kept} kept"
            if count > MOST_CARDS:
                words += f"; the first {MOST_CARDS} are shown"
            yield PictureRow(f"Group {number}", words, _cards(root, entries, group))

    gone = sum(len(group.redundant) for group in groups)
    facts = [
        f"{len(entries)} pictures of {printable(root)}, likeness {args.threshold:g} and above",
        f"{len(groups)} groups, {gone} pictures need not stay; framed pictures are kept",
    ]
    if len(groups) > MOST_GROUPS:
        facts.append(f"the {MOST_GROUPS} largest groups are shown")
    write_page(args.report, image_grid("Near-duplicates", facts, sections()))


def _cards(root: Path, entries: Sequence[IndexEntry], group: Group) -> Iterator[CaptionedPicture]:
    from edge_sim.analysis.report.pages import CaptionedPicture
    from edge_sim.errors import SourceError
    from edge_sim.io.sources.pictures import read_picture

    likeness_of: dict[int, float] = {row: score for i in group.kept for row, score in i.redundant}
    for row in group.rows[:MOST_CARDS]:
        entry = entries[row]
        try:
            pixels = read_picture(root / entry.path)
        except SourceError:
            pixels = None
        size = f"{entry.width}x{entry.height}, {entry.file_bytes / 1000:.0f} kB"
        first = f"{likeness_of[row]:.3f}" if row in likeness_of else "keep"
        mark: Mark | None = None if row in likeness_of else "good"
        yield CaptionedPicture(pixels, (first, _name(entries, row), size), mark)
