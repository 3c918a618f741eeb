"""`edge-sim search`: the pictures of a gallery or an index that are most like a query."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sim.cli.index import SCALES
from edge_sim.cli.options import check_known, combined_filter, positive, roi
from edge_sim.cli.output import note, print_json, print_table
from edge_sim.core.files import printable
from edge_sim.errors import SearchError

if TYPE_CHECKING:
    from edge_sim.core.protocols import Embedder
    from edge_sim.core.types import BgrImage
    from edge_sim.gallery.calibrations import KeptCalibration
    from edge_sim.gallery.head import Head
    from edge_sim.gallery.store import GalleryStore
    from edge_sim.search.queries import Known
    from edge_sim.search.searcher import Answer, Collection, Hit, Query, SearchFilter


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
    from edge_sim.gallery.heads import kept_head

    check_known(args.watch, store.watches(), "watch", store.path)
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
    from edge_sim.cli.options import only_watch
    from edge_sim.errors import GalleryError
    from edge_sim.gallery.heads import kept_head
    from edge_sim.gallery.store import GalleryStore

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


CALIBRATED = "calibrated"
COSINE = "cosine"


def least_score(text: str) -> float | str:
    """Return the number of the option, or the word that stands for the calibrated one.

    Raises:
        ArgumentTypeError: It is neither.
    """
    if text == CALIBRATED:
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number; give one, or `{CALIBRATED}`"
        ) from None


def check_least(args: argparse.Namespace) -> None:
    """Raise `SearchError` where the options differ from what `calibrate` measured."""
    if args.min_score != CALIBRATED:
        return
    if args.gallery is None:
        raise SearchError(f"--min-score {CALIBRATED} goes with --gallery, which keeps calibrations")
    if args.metric != COSINE or args.scale != "global":
        raise SearchError(
            f"--min-score {CALIBRATED} goes with --metric cosine and --scale global: nothing else "
            f"was calibrated"
        )


def resolved_least(args: argparse.Namespace, model_id: str, *, learned: bool) -> float | None:
    """Return the least score in force, and report the origin of a calibrated one.

    Raises:
        SearchError: Nothing fits: no calibration, of another model, or of several watches.
    """
    if args.min_score != CALIBRATED:
        return None if args.min_score is None else float(args.min_score)
    if learned:
        raise SearchError("cosine was calibrated, not the learned likeness: add --plain")
    kept = _kept(args)
    if kept.model != model_id:
        raise SearchError(
            f"{args.gallery}: calibrated with the model {kept.model}, not {model_id}; "
            f"run `edge-sim calibrate --gallery {args.gallery} --write` again"
        )
    value = kept.thresholds[0].threshold
    note(f"cosine {value:.4f} and above: {kept.origin}")
    return value


def _kept(args: argparse.Namespace) -> KeptCalibration:
    from edge_sim.gallery.calibrations import kept_calibrations

    found = [
        item
        for item in kept_calibrations(args.gallery)
        if item.score == COSINE and args.watch in (None, item.watch)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        watches = ", ".join(item.watch for item in found)
        raise SearchError(f"{args.gallery}: calibrated for {watches}; name one with --watch")
    raise SearchError(
        f"{args.gallery}: no cosine was calibrated; run "
        f"`edge-sim calibrate --gallery {args.gallery} --write`"
    )


SCHEMA = 1
PIXEL_METRICS = ("ssim", "fused")
METRICS = ("cosine", "euclidean", "manhattan", "ssim", "fused")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = commands.add_parser(
        "search",
        help="find the pictures of a gallery or an index most like a picture",
        description="Rank pictures by likeness to a query. Equal scores are in order of "
        "Manhattan distance. ssim and fused look at pixels: they rank the nearest by cosine.",
    )
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--text",
        metavar="WORDS",
        help="search in words, as in 'brown dog': by the text model of the index, or by English "
        "nouns with the default model",
    )
    parser.add_argument(
        "--words",
        action="store_true",
        help="--text by the nouns that edge_sim knows, also where the index has a text model",
    )
    asked.add_argument(
        "--query",
        nargs="+",
        action="extend",
        default=[],
        metavar="PICTURE",
        help="a file, CLIP#t=SECONDS, the id of a reference, or a path in the index; several: what "
        "they have in common",
    )
    parser.add_argument(
        "--roi",
        type=roi,
        metavar="x1,y1,x2,y2",
        help="search for this region of the query, in fractions of its width and height",
    )
    among = parser.add_mutually_exclusive_group(required=True)
    among.add_argument("--gallery", type=Path, metavar="FILE", help="search its references")
    among.add_argument("--index", type=Path, metavar="INDEX", help="from `edge-sim index build`")
    parser.add_argument("--watch", metavar="NAME", help="of the gallery; all if left out")
    parser.add_argument("--model", metavar="SPEC", help="the model the pictures were embedded with")
    parser.add_argument("--top-k", type=positive, default=100, metavar="K", help="default 100")
    parser.add_argument("--least", action="store_true", help="the least similar first")
    parser.add_argument("--metric", choices=METRICS, default="cosine")
    parser.add_argument("--scale", choices=SCALES, default="global", help="what is compared")
    head_options(parser)
    parser.add_argument(
        "--whole", action="store_true", help="compare whole pictures, not the regions that are kept"
    )
    parser.add_argument("--state", metavar="S", help="only of this state, or folder of an index")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="FILTER",
        help="only pictures that pass, as in 'state = open and not tag in (blurred, dark)'; "
        "several: all of them",
    )
    parser.add_argument(
        "--min-score",
        type=least_score,
        metavar="X",
        help="only at or above it; `calibrated`: what `calibrate --gallery` found for cosine",
    )
    parser.add_argument("--tag", action="append", default=[], metavar="TAG", help="with this tag")
    parser.add_argument("--tag-hits", metavar="NAME", help="put this tag on the hits")
    parser.add_argument("--report", type=Path, metavar="OUT.html", help="a page with the pictures")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=search)


@dataclass(frozen=True, slots=True)
class _Opened:
    """Collection that is searched, and functions that show and tag its hits.

    Args:
        collection: The collection.
        embedder: Its model; None for imported vectors.
        head: Learned likeness to search by; None for that of the model.
        picture: Function that returns the picture of a hit.
        tag: Function that tags pictures by their names, and returns the number of new tags.
        known: Function that returns a picture by its name, see `queries.Known`.
        cut_bars: Whether bars were cut off its pictures.
    """

    collection: Collection
    embedder: Embedder | None
    head: Head | None
    picture: Callable[[Hit], BgrImage | None]
    tag: Callable[[list[str], str], int]
    known: Known
    cut_bars: bool

    @property
    def model_id(self) -> str:
        """Model of the queries."""
        own = self.collection.model_id if self.embedder is None else self.embedder.model_id
        return own or ""


def search(args: argparse.Namespace) -> int:
    """Find and print; exit code 0 also where nothing is found."""
    from edge_sim.errors import DataError
    from edge_sim.gallery.gallery import checked_name
    from edge_sim.search.rows import VectorScale
    from edge_sim.search.searcher import Searcher, SearchFilter, adapted, adapted_query

    if args.report is not None and args.report.suffix.lower() != ".html":
        raise DataError(f"{args.report}: the report is written as .html")
    check_head(args)
    check_least(args)
    if args.tag_hits is not None:
        checked_name("tag", args.tag_hits)
    where = combined_filter(args.where, state=args.state, tags=args.tag)
    wanted = SearchFilter(
        top_k=args.top_k,
        metric=args.metric,
        least=args.least,
        where=where,
        min_score=None if args.min_score == CALIBRATED else args.min_score,
        scale=VectorScale(args.scale),
        whole=args.whole or args.text is not None,
    )
    if args.words and args.text is None:
        raise SearchError("--words goes with --text")
    if args.text is not None:
        _check_text(args)
    if len(args.query) > 1 and args.metric in PIXEL_METRICS:
        raise SearchError(f"--metric {args.metric} compares pixels: give one --query")
    with _opened(args) as opened:
        collection, query = _query_of(args, opened)
        if opened.head is not None:
            collection = adapted(collection, opened.head)
            query = adapted_query(query, opened.head)
        learned = opened.head is not None
        least = resolved_least(args, opened.model_id, learned=learned)
        wanted = replace(wanted, min_score=least)
        answer = Searcher(collection).search(query, wanted)
        names = [hit.name for hit in answer.hits]
        tagged = opened.tag(names, args.tag_hits) if args.tag_hits is not None and names else 0
        if args.report is not None:
            _write_report(args, answer, opened)
    text_model = collection.model_id if args.text is not None else None
    by = _Manner(learned=opened.head is not None, text_model=text_model)
    _print(args, answer, wanted, by, tagged=tagged)
    return 0


def _query_of(args: argparse.Namespace, opened: _Opened) -> tuple[Collection, Query]:
    from edge_sim.core.types import Roi
    from edge_sim.search.queries import query_of, query_of_vectors

    if args.text is not None:
        return _in_words(args, opened)
    if opened.embedder is None:
        if args.roi is not None or args.metric in PIXEL_METRICS:
            raise SearchError(
                f"{args.index}: holds imported vectors, no pictures: search it without --roi and "
                f"--metric {'|'.join(PIXEL_METRICS)}"
            )
        return opened.collection, query_of_vectors(args.query, opened.collection)
    region = None if args.roi is None else Roi(*args.roi)
    return opened.collection, query_of(
        args.query,
        opened.embedder,
        opened.known,
        cut_bars=opened.cut_bars,
        roi=region,
        regions=opened.collection.regions is not None,
    )


def _check_text(args: argparse.Namespace) -> None:
    """Raise `SearchError` where other options make no sense for words."""
    if args.metric != COSINE or args.scale != "global":
        raise SearchError(
            "--text goes with --metric cosine and --scale global: words have no pixels"
        )
    if args.roi is not None or args.head is not None:
        raise SearchError("--text goes without --roi and --head")
    args.plain = True


def _in_words(args: argparse.Namespace, opened: _Opened) -> tuple[Collection, Query]:
    """Return what --text searches, and its query; say which words are not known."""
    from edge_sim.cli.index_text import text_search
    from edge_sim.search.words import open_words

    if args.index is not None and not args.words:
        found = text_search(args.index, opened.collection, args.text)
        if found is not None:
            return found
    query, unknown = open_words(opened.model_id).query(args.text)
    for word in unknown:
        note(str(word))
    return opened.collection, query


def _picture_of_index(
    root: Path, paths: Sequence[str], name: str, side_px: int | None = None
) -> BgrImage | None:
    """Return a picture of an index by its path in it; None if it is not there or cannot be read."""
    from edge_sim.errors import SourceError
    from edge_sim.search.frames import read_inside

    if name not in paths:
        return None
    try:
        return read_inside(root, Path(name), side_px)
    except SourceError:
        return None


@contextmanager
def _opened(args: argparse.Namespace) -> Iterator[_Opened]:
    from edge_sim.core.images import decode
    from edge_sim.gallery.store import GalleryStore
    from edge_sim.search.searcher import collection_of_index, collection_of_store
    from edge_sim.search.store import IndexStore
    from edge_sim.vision.embedders import open_embedder

    if args.index is not None:
        with IndexStore.open(args.index) as index:
            if (state := index.update_state()) is not None:
                note(f"{args.index}: {state}")
            collection = collection_of_index(index)
            known = partial(_picture_of_index, index.plan.root, collection.names)
            yield _Opened(
                collection,
                None
                if index.plan.is_imported and args.model is None
                else open_embedder(args.model or index.plan.model),
                head_for_index(args),
                lambda hit: known(hit.name),
                lambda names, tag: index.tag(map(Path, names), tag),
                known,
                index.plan.cuts_bars,
            )
        return
    with GalleryStore.open(args.gallery, read_only=args.tag_hits is None) as store:
        collection = collection_of_store(store, watch=args.watch)
        ids = set(collection.names)

        def mark(names: list[str], tag: str) -> int:
            return len(store.tag(names, add=[tag]).altered)

        def known_reference(name: str, _: int | None) -> BgrImage | None:
            return decode(store.crop(name)) if name in ids else None

        yield _Opened(
            collection,
            open_embedder(args.model),
            head_of_store(args, store),
            lambda hit: decode(store.crop(hit.name)),
            mark,
            known_reference,
            cut_bars=False,  # a reference is embedded as its camera sees it
        )


@dataclass(frozen=True, slots=True)
class _Manner:
    """Likeness of a search: learned or not, and the model of the texts where it is in words."""

    learned: bool
    text_model: str | None


def _print(
    args: argparse.Namespace, answer: Answer, wanted: SearchFilter, by: _Manner, *, tagged: int
) -> None:
    if args.json:
        print_json(
            {
                "schema": SCHEMA,
                "queries": [printable(name) for name in args.query],
                "text": None if args.text is None else printable(args.text),
                "among": str(args.index or args.gallery),
                "metric": wanted.metric,
                "scale": wanted.scale.value,
                "least": wanted.least,
                "learned": by.learned,
                "text_model": by.text_model,
                "index": answer.kind,
                "pictures": answer.pictures,
                "eligible": answer.eligible,
                "tagged": tagged,
                "hits": [_plain(hit) for hit in answer.hits],
            }
        )
        return
    if answer.hits:
        _print_hits(args, answer)
    manner = f"{answer.kind}, by the learned likeness" if by.learned else answer.kind
    if by.text_model is not None:
        manner = f"{manner}, in words by {by.text_model}"
    note(f"{len(answer.hits)} of {answer.pictures} pictures ({manner}){_remark(answer, wanted)}")
    if args.tag_hits is not None:
        note(f"{tagged} newly tagged {args.tag_hits}")


def _print_hits(args: argparse.Namespace, answer: Answer) -> None:
    score = args.metric
    heads = ["rank", score] if score == "cosine" else ["rank", score, "cosine"]
    rows = [
        [hit.rank, hit.score, *([] if score == "cosine" else [hit.cosine]), *_words(hit)]
        for hit in answer.hits
    ]
    heads += ["state", "picture"]
    if any(hit.region for hit in answer.hits):
        heads.append("region x, y, w, h")
        for row, hit in zip(rows, answer.hits, strict=True):
            row.append("-" if hit.region is None else ", ".join(f"{part:g}" for part in hit.region))
    print_table(heads, rows)


def _words(hit: Hit) -> tuple[str, str]:
    return hit.facts.get("state", "") or "-", printable(hit.name)


def _remark(answer: Answer, wanted: SearchFilter) -> str:
    if not answer.pictures:
        return "; there are none"
    if not answer.eligible:
        hint = "".join(f"; {printable(line)}" for line in answer.hints)
        return f"; the filter {printable(str(wanted.where))} matches none{hint}"
    if not answer.hits and wanted.min_score is not None:
        return f"; none scores {wanted.min_score:g} or more"
    unseen = f"; {answer.unseen} could not be opened" if answer.unseen else ""
    if wanted.where is None:
        return unseen
    hint = "".join(f"; {printable(line)}" for line in answer.hints)
    return f", {answer.eligible} pass the filter{hint}{unseen}"


def _plain(hit: Hit) -> Hit:
    """Return a hit whose words can be encoded."""
    facts = {printable(key): printable(value) for key, value in hit.facts.items()}
    return replace(hit, name=printable(hit.name), facts=facts)


def _write_report(args: argparse.Namespace, answer: Answer, opened: _Opened) -> None:
    from edge_sim.analysis.report import write_page
    from edge_sim.analysis.report.pages import CaptionedPicture, PictureRow, image_grid
    from edge_sim.search.queries import picture_of

    asked = (
        CaptionedPicture(picture_of(name, opened.known), (printable(Path(name).name),), "good")
        for name in args.query
    )
    words = "" if args.text is None else printable(args.text)
    query = PictureRow("Query", words, asked)
    order = "Least similar" if args.least else "Most similar"
    cards = (
        CaptionedPicture(
            opened.picture(hit), (f"{hit.rank}. {hit.score:.3f}", *reversed(_words(hit)))
        )
        for hit in answer.hits
    )
    by = args.metric if opened.head is None else f"{args.metric} of the learned likeness"
    found = PictureRow(f"{order} by {by}", f"{len(answer.hits)} pictures", cards)
    among = f"among {answer.pictures} pictures of {printable(args.index or args.gallery)}"
    write_page(args.report, image_grid("Search", [among], [query, found]))
