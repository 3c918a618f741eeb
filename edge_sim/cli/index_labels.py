"""`edge-sim index list|tag|tags|export|map`: pictures of an index by tags, attributes and place."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.options import absolute, combined_filter, positive, where_options
from edge_sim.cli.output import note, print_json, print_table, say
from edge_sim.core.files import printable

if TYPE_CHECKING:
    from edge_sim.analysis.report.pages import CaptionedPicture
    from edge_sim.search.entries import EntryTable, IndexEntry
    from edge_sim.search.export import ExportedPicture
    from edge_sim.search.picture_map import PictureMap
    from edge_sim.search.store import IndexStore

SCHEMA = 1
MANY_FOR_TSNE = 20_000
FORMS = ("csv", "jsonl", "folders", "fiftyone", "label-studio", "vectors")


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to those of `edge-sim index`."""
    listing = verbs.add_parser(
        "list", help="list pictures by tag and attributes", description=show_list.__doc__
    )
    filter_options(listing)
    listing.set_defaults(handler=show_list)
    tag = verbs.add_parser(
        "tag", help="put tags on pictures, or take them off", description=tag_pictures.__doc__
    )
    tag.add_argument("index", type=Path, metavar="INDEX")
    tag.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file or folder")
    tag.add_argument("--add", action="append", default=[], metavar="TAG")
    tag.add_argument("--drop", action="append", default=[], metavar="TAG")
    tag.set_defaults(handler=tag_pictures)
    tags = verbs.add_parser(
        "tags", help="list the tags with their counts, or rename one", description=show_tags.__doc__
    )
    tags.add_argument("index", type=Path, metavar="INDEX")
    tags.add_argument(
        "--rename", nargs=2, metavar=("OLD", "NEW"), help="NEW may exist: both become one"
    )
    tags.set_defaults(handler=show_tags)
    export = verbs.add_parser(
        "export",
        help="write pictures with tags and attributes for other tools",
        description=export_pictures.__doc__,
    )
    filter_options(export)
    export.add_argument("out", type=Path, metavar="OUT", help="file of a table, or a new folder")
    export.add_argument(
        "--format",
        choices=FORMS,
        default="csv",
        help="csv and jsonl are tables; folders has one folder per tag; vectors is for `import`",
    )
    export.set_defaults(handler=export_pictures)
    _register_map(verbs)


def _register_map(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = verbs.add_parser(
        "map",
        help="draw a map of all pictures, in groups of similar ones",
        description=draw_map.__doc__,
    )
    verb.add_argument("index", type=Path, metavar="INDEX")
    verb.add_argument("out", type=Path, metavar="OUT", help=".html for people, .csv for programs")
    verb.add_argument(
        "--layout",
        choices=("pca", "tsne"),
        default="pca",
        help="pca is quick; tsne keeps alike pictures together (scikit-learn, extra `map`)",
    )
    verb.add_argument(
        "--grouping",
        choices=("kmeans", "hdbscan"),
        default="kmeans",
        help="hdbscan finds how many groups there are, and pictures in none (extra `map`)",
    )
    verb.add_argument(
        "--groups", type=positive, metavar="N", help="of kmeans; default: root of half of all"
    )
    verb.add_argument(
        "--smallest", type=positive, metavar="N", help="pictures of a group of hdbscan, default 10"
    )
    verb.add_argument(
        "--examples",
        type=positive,
        default=5,
        metavar="N",
        help="typical and odd pictures per group, default 5",
    )
    verb.set_defaults(handler=draw_map)


def filter_options(parser: argparse.ArgumentParser) -> None:
    """Add the index and the options that choose pictures in it."""
    parser.add_argument("index", type=Path, metavar="INDEX")
    parser.add_argument("--state", metavar="S", help="of this folder")
    where_options(parser)


def show_list(args: argparse.Namespace) -> int:
    """Print the pictures of an index, all or those that pass a filter."""
    from edge_sim.search.store import IndexStore

    with IndexStore.open(args.index) as store:
        found = _chosen(args, store)
    if args.json:
        pictures = [
            {
                "path": printable(item.path),
                "tags": item.tags,
                **{key: printable(value) for key, value in item.attributes.items()},
            }
            for item in found
        ]
        print_json({"schema": SCHEMA, "index": str(args.index), "pictures": pictures})
        return 0
    rows = [
        (
            printable(item.path),
            f"{item.width}x{item.height}",
            item.own.get("taken", "-"),
            " ".join(item.tags) or "-",
        )
        for item in found
    ]
    if rows:
        print_table(["picture", "size", "taken", "tags"], rows)
    note(f"{len(found)} pictures")
    return 0


def tag_pictures(args: argparse.Namespace) -> int:
    """Put tags on pictures, or take them off; a folder means all pictures below it. Tags belong
    to the content: they stay when a file is renamed or moved."""
    from edge_sim.errors import SearchError
    from edge_sim.gallery.gallery import checked_name
    from edge_sim.search.store import IndexStore

    if not args.add and not args.drop:
        raise SearchError("name a tag with --add or --drop")
    for tag in args.add:  # all of them, before the first is put on
        checked_name("tag", tag)
    with IndexStore.open(args.index) as store:
        paths = pictures_below(store, args.paths)
        added = sum(store.tag(paths, tag) for tag in args.add)
        dropped = sum(store.untag(paths, tag) for tag in args.drop)
    if args.json:
        counts = {"pictures": len(paths), "added": added, "dropped": dropped}
        print_json({"schema": SCHEMA, "index": str(args.index), **counts})
    else:
        say(f"{args.index}: {len(paths)} pictures, {added} tags added, {dropped} taken off")
    return 0


def show_tags(args: argparse.Namespace) -> int:
    """Print the tags of an index with the number of their pictures; or rename a tag."""
    from edge_sim.errors import SearchError
    from edge_sim.search.store import IndexStore

    with IndexStore.open(args.index) as store:
        if args.rename is not None:
            before, after = args.rename
            present = store.tags()
            if before not in present:
                raise SearchError(
                    f"{args.index}: no tag {printable(before)!r}; there are "
                    f"{', '.join(map(printable, present)) or 'none'}"
                )
            store.rename_tag(before, after)
        tags = store.tags()
    if args.json:
        print_json({"schema": SCHEMA, "index": str(args.index), "tags": tags})
    elif tags:
        print_table(["tag", "pictures"], [(printable(tag), number) for tag, number in tags.items()])
    else:
        note("no picture has a tag; `edge-sim index tag` puts one on")
    return 0


def export_pictures(args: argparse.Namespace) -> int:
    """Write pictures with their tags and attributes: as CSV or JSON Lines, as a folder per tag, as
    a data set of FiftyOne, or as tasks for Label Studio."""
    from edge_sim.search.export import TABLES, ExportedPicture, export
    from edge_sim.search.store import IndexStore

    if args.format == "vectors":
        return _export_vectors(args)
    with IndexStore.open(args.index) as store:
        root = store.plan.root
        pictures = [
            ExportedPicture(root / item.path, printable(item.path), item.tags, item.attributes)
            for item in _chosen(args, store)
        ]
    if args.format not in TABLES:
        _check_inside(pictures, root)
    number = export(pictures, args.out, args.format)
    if args.json:
        print_json({"schema": SCHEMA, "out": str(args.out), "pictures": number})
    else:
        say(f"{args.out}: {number} pictures written as {args.format}")
    return 0


def _check_inside(pictures: Sequence[ExportedPicture], root: Path) -> None:
    """Check that no id of imported vectors leads out of the folder whose pictures are copied.

    Raises:
        SearchError: One does.
    """
    from edge_sim.errors import SearchError
    from edge_sim.search.frames import leads_out

    for item in pictures:
        if leads_out(Path(item.name)):
            raise SearchError(
                f"{item.name}: leads out of {printable(root)}, and no picture from there is "
                f"copied; leave it out with --where, or export csv or jsonl"
            )


def _export_vectors(args: argparse.Namespace) -> int:
    """Write `vectors.npy` and `ids.csv`, which `index import` reads."""
    from edge_sim.search.imported import write_vectors
    from edge_sim.search.store import IndexStore

    with IndexStore.open(args.index) as store:
        table, model_id = store.table(), store.plan.model_id
    chosen = _passing(args, table.entries)
    write_vectors(args.out, table.vectors[:, : table.dimension], table.entries, chosen)
    if args.json:
        facts = {"pictures": len(chosen), "model_id": model_id}
        print_json({"schema": SCHEMA, "out": str(args.out), **facts})
    else:
        say(f"{args.out}: {len(chosen)} vectors written, of the model {model_id}")
    return 0


def pictures_below(store: IndexStore, paths: Sequence[Path]) -> list[Path]:
    """Return the pictures of an index that are `paths`, or lie below them, relative to its root.

    Raises:
        SearchError: There is none at or below one of them.
    """
    from edge_sim.errors import SearchError
    from edge_sim.search.frames import file_of

    root = store.plan.root
    present = [Path(name) for name in store.entries().names]
    found: dict[Path, None] = {}
    for path in map(absolute, paths):
        chosen = [
            item
            for item in present
            if (root / item).is_relative_to(path) or root / file_of(item) == path
        ]
        if not chosen:
            raise SearchError(f"{printable(path)}: no such picture in {store.path}")
        found.update(dict.fromkeys(chosen))
    return list(found)


def _chosen(args: argparse.Namespace, store: IndexStore) -> list[IndexEntry]:
    found = store.entries()
    return [found[row] for row in _passing(args, found)]


def _passing(args: argparse.Namespace, found: EntryTable) -> list[int]:
    """Return the rows that pass the filter of the arguments."""
    where = combined_filter(args.where, state=args.state, tags=args.tag)
    if where is None or not found:
        return list(range(len(found)))
    table = found.attribute_table()
    mask = table.mask(where)
    for hint in table.hints(where):
        note(printable(hint))
    return [int(row) for row in mask.nonzero()[0]]


def draw_map(args: argparse.Namespace) -> int:
    """Write where each picture lies in the plane, and its group: a table, or a page on which a
    lasso chooses pictures, with the most typical and the oddest pictures of each group. The plane
    is that of the two principal components or that of t-SNE."""
    from edge_sim.errors import DataError
    from edge_sim.search.picture_map import TSNE, MapPlan, picture_map
    from edge_sim.search.store import IndexStore

    kind = args.out.suffix.lower()
    if kind not in (".html", ".csv"):
        raise DataError(f"{args.out}: name a file that ends in .html or .csv")
    plan = MapPlan(args.layout, args.grouping, args.groups, args.smallest, args.examples)
    with IndexStore.open(args.index) as store:
        table, root = store.table(), store.plan.root
    if plan.layout == TSNE and len(table.entries) > MANY_FOR_TSNE:
        note(f"t-SNE of {len(table.entries)} pictures takes minutes")
    found = picture_map(table.vectors[:, : table.dimension], plan)
    if kind == ".csv":
        _write_points(args.out, table.entries, found)
    else:
        _write_map_page(args, root, table.entries, found)
    _print_map(args, len(table.entries), found)
    return 0


def _print_map(args: argparse.Namespace, pictures: int, found: PictureMap) -> None:
    groups, alone = len(found.typical), len(found.ungrouped)
    if args.json:
        facts = {
            "layout": args.layout,
            "grouping": args.grouping,
            "pictures": pictures,
            "groups": groups,
            "ungrouped": alone,
        }
        print_json({"schema": SCHEMA, "out": str(args.out), **facts})
        return
    rest = f", {alone} in none" if args.grouping == "hdbscan" else ""
    say(f"{args.out}: {pictures} pictures in {groups} groups{rest}")


def _write_points(path: Path, entries: Sequence[IndexEntry], found: PictureMap) -> None:
    from edge_sim.errors import DataError
    from edge_sim.search.export import write_csv

    def ranks(groups: Sequence[Sequence[int]]) -> dict[int, int]:
        return {row: rank for group in groups for rank, row in enumerate(group, 1)}

    typical, odd = ranks(found.typical), ranks(found.odd)

    def fields(row: int) -> tuple[str, ...]:
        x, y = found.points[row]
        group = int(found.groups[row]) + 1
        marks = (group or "", f"{found.distances[row]:.4f}", typical.get(row, ""), odd.get(row, ""))
        return printable(entries[row].path), f"{x:.4f}", f"{y:.4f}", *map(str, marks)

    header = ("file", "x", "y", "group", "distance", "typical", "odd")
    try:
        write_csv(path, header, map(fields, range(len(entries))))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def _write_map_page(
    args: argparse.Namespace, root: Path, entries: Sequence[IndexEntry], found: PictureMap
) -> None:
    from edge_sim.analysis.report import write_page
    from edge_sim.analysis.report.document import document
    from edge_sim.analysis.report.pages import PictureRow, grid, map_block

    def row(heading: str, note_text: str, rows: Sequence[int]) -> PictureRow:
        return PictureRow(heading, note_text, _map_cards(root, entries, rows))

    rows = []
    for group, (typical, odd) in enumerate(zip(found.typical, found.odd, strict=True)):
        size = int((found.groups == group).sum())
        rows.append(row(f"Group {group + 1}", f"{size} pictures; the most typical", typical))
        if others := [item for item in odd if item not in typical]:
            rows.append(row("", "the oddest", others))
    if alone := found.ungrouped[: args.examples]:
        text = f"{len(found.ungrouped)} pictures; the farthest from every group"
        rows.append(row("In no group", text, alone))
    names = [printable(root / entry.path) for entry in entries]
    advice = (
        f"Saved as chosen.txt, this list is tagged by: "
        f"xargs -d '\\n' edge-sim index tag {absolute(args.index)} --add TAG < chosen.txt"
    )
    points = map_block(found.points, found.groups, names, advice)
    facts = [
        f"{len(entries)} pictures of {printable(root)}, laid out by {args.layout}, "
        f"in {len(found.typical)} groups by {args.grouping}"
    ]
    write_page(args.out, document("Map of pictures", [points, *map(grid, rows)], facts=facts))


def _map_cards(
    root: Path, entries: Sequence[IndexEntry], rows: Sequence[int]
) -> Iterator[CaptionedPicture]:
    from edge_sim.analysis.report.pages import CaptionedPicture
    from edge_sim.errors import SourceError
    from edge_sim.search.frames import read_inside

    for row in dict.fromkeys(rows):
        try:
            pixels = read_inside(root, entries[row].path)
        except SourceError:
            pixels = None
        yield CaptionedPicture(pixels, (printable(entries[row].path),))
