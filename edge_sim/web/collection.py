"""API of a collection: search, filters, tags, map and near-duplicates of an index of pictures."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from edge_sim.core.files import printable
from edge_sim.core.images import decode, decode_reduced, encode_jpeg
from edge_sim.core.protocols import Embedder
from edge_sim.core.types import BgrImage, Roi
from edge_sim.search.duplicates import THRESHOLD, distinct_files, duplicate_groups
from edge_sim.search.filters import Filter, parse_filter
from edge_sim.search.frames import leads_out, read_inside
from edge_sim.search.picture_map import picture_map
from edge_sim.search.queries import enough_px, query_of_pixels, query_of_vectors
from edge_sim.search.regions import reading_px
from edge_sim.search.searcher import Answer, Query, Searcher, SearchFilter, collection_of_index
from edge_sim.search.store import NAME, IndexStore
from edge_sim.search.words import open_words
from edge_sim.vision.embedders import open_embedder
from edge_sim.web.answers import JPEG, ApiRequest, route
from edge_sim.web.context import WebContext
from edge_sim.web.live import at_most_wide

MAX_PICTURE_BYTES = 20_000_000
MOST_SHOWN = 500
MOST_ON_MAP = 20_000
MOST_GROUPS = 200
MOST_IDS = 10_000
_THUMBNAIL_PX = 320


def routes() -> list[Route]:
    """Return the routes."""
    return [
        route("/api/collection", overview),
        route("/api/collection/pictures", pictures),
        route("/api/collection/search", search),
        route("/api/collection/search", search_upload, method="POST", max_bytes=MAX_PICTURE_BYTES),
        route("/api/collection/tags", change_tags, method="POST"),
        route("/api/collection/map", points),
        route("/api/collection/duplicates", duplicates),
        route("/api/collection/{id}.jpg", picture),
    ]


class TagChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tags to put on pictures, and to take off."""

    ids: tuple[str, ...]
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class CollectionView:
    """Open collection: pictures by ids that name no path, a searcher, and the model for queries.

    Args:
        place: Folder of the index.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        with IndexStore.open(place) as store:
            self.plan = store.plan
            self.stamp = _stamp(place)
            self.collection = collection_of_index(store)
            self.entries = store.entries()
        self.searcher = Searcher(self.collection)
        self.ids = [_id_of(name) for name in self.collection.names]
        self.rows = {name: row for row, name in enumerate(self.ids)}
        self.lock = threading.Lock()
        self._embedder: Embedder | None = None

    def row(self, name: str) -> int:
        """Return the row of a picture.

        Raises:
            HTTPException: There is none.
        """
        if name not in self.rows:
            raise HTTPException(404, f"the collection has no picture {name[:40]!r}")
        return self.rows[name]

    def pixels(self, row: int, side_px: int | None = None) -> BgrImage:
        """Return a picture, read from its file, whole or large enough to squash it to `side_px`.

        Raises:
            HTTPException: It is an id of imported vectors that leads out of the folder.
        """
        path = self.entries[row].path
        if leads_out(path):
            raise HTTPException(
                404, f"{printable(path)}: leads out of the folder of the collection"
            )
        return read_inside(self.plan.root, path, side_px)

    @property
    def embedder(self) -> Embedder:
        """Model for queries, opened when first needed; to be used under the lock."""
        if self._embedder is None:
            if self.plan.is_imported:
                raise HTTPException(
                    422, "the collection holds imported vectors, which have no model for pictures"
                )
            self._embedder = open_embedder(self.plan.model)
        return self._embedder

    def query(self, pixels: BgrImage) -> Query:
        """Return a picture as a query; to be called under the lock."""
        return query_of_pixels(pixels, self.embedder, cut_bars=self.plan.cuts_bars)

    def described(self, row: int) -> dict[str, Any]:
        """Return a picture as the page shows it."""
        entry = self.entries[row]
        return {
            "id": self.ids[row],
            "name": printable(entry.path),
            "tags": entry.tags,
            "facts": {key: printable(value) for key, value in entry.attributes.items()},
            "picture": f"api/collection/{self.ids[row]}.jpg",
        }


def view_of(context: WebContext) -> CollectionView:
    """Return the collection of the device, opened again where its index changed.

    Raises:
        HTTPException: None is configured.
        SearchError: It cannot be opened.
    """
    path = context.config.web.collection
    if path is None:
        raise HTTPException(404, "no collection is configured: set web.collection to an index")
    place = context.config.path(path)
    known: CollectionView | None = context.shared.get("collection")
    if known is not None and known.place == place and _stamp(place) == known.stamp:
        return known
    found = CollectionView(place)
    context.shared["collection"] = found
    return found


def overview(asked: ApiRequest) -> Mapping[str, Any]:
    """Return what the collection holds."""
    view = view_of(asked.context)
    with IndexStore.open(view.place) as store:
        info = store.info()
    return {
        "pictures": info.pictures,
        "unread": info.unread,
        "left_out": info.left_out,
        "model": info.model_id,
        "kind": info.kind,
        "reason": info.reason,
        "ready": info.ready,
        "update": None
        if info.update is None
        else {
            "done": info.update.done,
            "total": info.update.total,
            "running": info.update.is_running,
            "stage": info.update.stage,
        },
        "tags": info.tags,
        "keys": view.searcher.attributes.keys,
    }


def pictures(asked: ApiRequest) -> Mapping[str, Any]:
    """Return pictures that pass a filter, in the order of the index."""
    view = view_of(asked.context)
    wanted = _filter_of(asked)
    rows: Iterable[int] = range(len(view.ids))
    hints: Sequence[str] = ()
    if wanted is not None:
        rows = view.searcher.attributes.mask(wanted).nonzero()[0].tolist()
        hints = view.searcher.attributes.hints(wanted)
    every = list(rows)
    start = max(int(asked.number("offset", 0) or 0), 0)
    shown = every[start : start + _count(asked)]
    return {"total": len(every), "hints": hints, "pictures": [view.described(row) for row in shown]}


def search(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the pictures most, or least, like one of the collection, or like some words."""
    view = view_of(asked.context)
    text = (asked.query.get("text") or "").strip()
    if text:
        query, unknown = open_words(view.plan.model_id).query(text)
        found = _found(asked, view, query, whole=True)
        return {**found, "unknown": [str(word) for word in unknown]}
    row = view.row(asked.query.get("id") or "")
    if view.plan.is_imported:
        return _found(asked, view, query_of_vectors([view.collection.names[row]], view.collection))
    return _searched(asked, view, _cropped(asked, view.pixels(row, _side_px(asked, view))))


def search_upload(asked: ApiRequest) -> Mapping[str, Any]:
    """Return the pictures most, or least, like an uploaded one."""
    view = view_of(asked.context)
    if len(asked.files) != 1:
        raise HTTPException(422, "send one picture")
    try:
        data, side_px = asked.files[0].file.read(), _side_px(asked, view)
        pixels = decode(data) if side_px is None else decode_reduced(data, side_px).pixels
    except ValueError as error:
        raise HTTPException(422, f"the picture cannot be read: {error}") from error
    return _searched(asked, view, _cropped(asked, pixels))


def change_tags(asked: ApiRequest) -> Mapping[str, Any]:
    """Put tags on pictures, or take them off."""
    view, wanted = view_of(asked.context), asked.read(TagChange)
    if not wanted.ids or len(wanted.ids) > MOST_IDS:
        raise HTTPException(422, f"name 1 to {MOST_IDS} pictures")
    paths = [view.entries[view.row(name)].path for name in wanted.ids]
    with IndexStore.open(view.place) as store:
        added = sum(store.tag(paths, tag) for tag in wanted.add)
        dropped = sum(store.untag(paths, tag) for tag in wanted.drop)
        tags = store.tags()
    asked.context.shared.pop("collection", None)
    return {"added": added, "dropped": dropped, "tags": tags}


def points(asked: ApiRequest) -> Mapping[str, Any]:
    """Return every picture as a point, with the groups."""
    view = view_of(asked.context)
    count = len(view.ids)
    if count > MOST_ON_MAP:
        raise HTTPException(
            422, f"{count} pictures are more than a map of {MOST_ON_MAP}; use `index map`"
        )
    found = picture_map(view.collection.vectors[:, : view.collection.dimension])
    return {
        "ids": view.ids,
        "x": [round(float(value), 4) for value in found.points[:, 0]],
        "y": [round(float(value), 4) for value in found.points[:, 1]],
        "groups": found.groups.tolist(),
        "typical": [view.described(row) for row, *_ in found.typical],
    }


def duplicates(asked: ApiRequest) -> Mapping[str, Any]:
    """Return groups of near-duplicates, what to keep first."""
    view = view_of(asked.context)
    with IndexStore.open(view.place) as store:
        thumbnails, colours, kept = store.thumbnails(), store.colours(), store.calibration()
    files = distinct_files(view.plan.root, view.entries)
    rows = list(files.rows)
    groups = duplicate_groups(
        [view.entries[row] for row in rows],
        thumbnails[rows],
        threshold=THRESHOLD if kept is None else kept.thresholds[0].threshold,
        facts=files.facts,
        colours=colours[rows],
    )
    return {
        "groups": [
            {
                "keep": [view.described(rows[item.row]) for item in group.kept],
                "redundant": [
                    {**view.described(rows[row]), "likeness": round(score, 4)}
                    for item in group.kept
                    for row, score in item.redundant
                ],
            }
            for group in groups[:MOST_GROUPS]
        ],
        "total": len(groups),
    }


def picture(asked: ApiRequest) -> Response:
    """Return a picture of the collection as JPEG."""
    view = view_of(asked.context)
    pixels = view.pixels(view.row(asked.path["id"]))
    width_px = asked.number("w", _THUMBNAIL_PX)
    content = encode_jpeg(at_most_wide(pixels, width_px), 82)
    return Response(content, media_type=JPEG, headers={"Cache-Control": "private, max-age=3600"})


def _stamp(place: Path) -> tuple[tuple[int, int], ...]:
    """Return time and size of the files of an index that a change touches."""
    states = []
    for name in (NAME, f"{NAME}-wal"):
        try:
            state = (place / name).stat()
        except OSError:
            continue
        states.append((state.st_mtime_ns, state.st_size))
    return tuple(states)


def _id_of(name: str) -> str:
    return sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _filter_of(asked: ApiRequest) -> Filter | None:
    text = (asked.query.get("filter") or "").strip()
    return parse_filter(text) if text else None


def _count(asked: ApiRequest) -> int:
    return int(min(max(asked.number("k", 60) or 1, 1), MOST_SHOWN))


def _side_px(asked: ApiRequest, view: CollectionView) -> int | None:
    """Return the size at which a picture is read to be searched by; None if only a region is."""
    if asked.query.get("region"):
        return None
    with view.lock:
        return reading_px(enough_px(view.embedder), regions=view.collection.regions is not None)


def _cropped(asked: ApiRequest, pixels: BgrImage) -> BgrImage:
    """Return the region `x,y,w,h` of a picture, in fractions; all of it without one."""
    text = asked.query.get("region")
    if not text:
        return pixels
    try:
        x, y, width, height = (float(part) for part in text.split(","))
        roi = Roi(x, y, min(x + width, 1.0), min(y + height, 1.0))
    except ValueError as error:
        raise HTTPException(422, f"region: {text[:60]!r} is not x,y,width,height") from error
    rows, columns = pixels.shape[:2]
    top, bottom = round(roi.y1 * rows), round(roi.y2 * rows)
    left, right = round(roi.x1 * columns), round(roi.x2 * columns)
    if bottom - top < 2 or right - left < 2:
        raise HTTPException(422, "region: smaller than two pixels")
    return pixels[top:bottom, left:right]


def _searched(asked: ApiRequest, view: CollectionView, pixels: BgrImage) -> Mapping[str, Any]:
    with view.lock:
        query = view.query(pixels)
    return _found(asked, view, query)


def _found(
    asked: ApiRequest, view: CollectionView, query: Query, *, whole: bool = False
) -> dict[str, Any]:
    wanted = SearchFilter(
        top_k=_count(asked),
        least=asked.query.get("order") == "least",
        where=_filter_of(asked),
        whole=whole,
    )
    with view.lock:
        answer: Answer = view.searcher.search(query, wanted)
    return {
        "pictures": [
            {**view.described(hit.row), "score": round(hit.score, 4)} for hit in answer.hits
        ],
        "total": answer.pictures,
        "eligible": answer.eligible,
        "hints": answer.hints,
        "kind": answer.kind,
    }
