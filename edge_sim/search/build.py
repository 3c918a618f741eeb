"""Build and update of an index: new and changed pictures are read, missing ones are removed.

    with IndexStore.open("photos.index", create=IndexPlan(Path("photos"), model_id)) as store:
        update(store, embedder)
        table = store.table()

Every few hundred pictures are one transaction, so a build that was killed continues where it was.

An index is a folder. `index.db` (SQLite) holds the facts and the vector of each file.
Files made from it are mapped by a search, see `index_files`; they are made again where they are
missing or far behind.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path

from edge_sim.core.exif import exif_facts
from edge_sim.core.files import exists, is_dir
from edge_sim.core.images import ReducedPicture, decode_reduced, measure
from edge_sim.core.protocols import Embedder
from edge_sim.core.tables import name_key
from edge_sim.core.types import GrayImage, Quality
from edge_sim.errors import ModelError, SearchError
from edge_sim.io.sources.pictures import natural_key, picture_bytes
from edge_sim.io.sources.uri import belongs_to_pictures
from edge_sim.search.attributes import found_table, read_attributes
from edge_sim.search.embedding import embedded_picture
from edge_sim.search.frames import file_of, is_video
from edge_sim.search.ivf import FileProgress
from edge_sim.search.queries import enough_px
from edge_sim.search.regions import reading_px
from edge_sim.search.rows import (
    LEFT_OUT,
    VIDEO,
    EmbeddedFile,
    IndexPlan,
    Known,
    Unread,
)
from edge_sim.search.shards import Shard, finish_shard, start_shard
from edge_sim.search.store import IndexStore
from edge_sim.search.videos import FrameReport, embed_videos, video_tasks


@dataclass(frozen=True, slots=True)
class FileState:
    """Size and time of a file: while both are equal, its content is taken to be the same."""

    size: int
    mtime_ns: int


@dataclass(slots=True)
class Scan:
    """Result of a walk through the folder.

    Args:
        files: Path relative to the root -> state, in natural order.
        unread: Files and folders that cannot be accessed.
        closed: Folders among them; their content is unknown.
        videos: Path relative to the root -> state of the files that are named like videos.
        is_empty: Whether nothing of these is there, also not in other shards.
    """

    files: dict[Path, FileState] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)
    closed: set[Path] = field(default_factory=set)
    videos: dict[Path, FileState] = field(default_factory=dict)
    is_empty: bool = True


def scan(
    root: Path,
    starts: Iterable[Path] = (),
    *,
    skip: Path | None = None,
    shard: Shard | None = None,
) -> Scan:
    """Return the pictures and videos under `root`, or under `starts` inside it.

    Links to files are followed, links to folders are not, so a loop of links ends. A file that is
    named itself is taken whatever its suffix.

    Args:
        root: An absolute folder.
        starts: Absolute files or folders under the root; none means all.
        skip: An absolute folder that is left out: the index itself.
        shard: Part of the files to take; None takes all.

    Raises:
        SearchError: There is no such folder, or a start is not there, not under the root, or in
            another shard.
    """
    if not is_dir(root):
        raise SearchError(f"{root}: no such folder")
    found = Scan()
    chosen = list(starts)
    for start in chosen:
        if not start.is_relative_to(root):
            raise SearchError(f"{start}: not under {root}, which is the folder of this index")
        if not exists(start):
            video = file_of(start)
            hint = "" if not exists(video) else f"; a frame comes with its video, {video.name}"
            raise SearchError(f"{start}: no such file or folder{hint}")
        if shard and not is_dir(start) and not shard.holds(start.relative_to(root)):
            raise SearchError(f"{start}: belongs to another shard than {shard}")
    for start in chosen or [root]:
        paths = walk(start, root, found, skip) if is_dir(start) else iter([start])
        for path in paths:
            found.is_empty = False
            if shard is None or shard.holds(path.relative_to(root)):
                record_file(path, root, found)
    found.is_empty = found.is_empty and not found.unread
    found.files = {path: found.files[path] for path in sorted(found.files, key=natural_key)}
    found.videos = {path: found.videos[path] for path in sorted(found.videos, key=natural_key)}
    return found


def walk(start: Path, root: Path, found: Scan, skip: Path | None) -> Iterator[Path]:
    """Yield the pictures under a folder; note in `found` what cannot be opened, and the videos."""

    def closed(error: OSError) -> None:
        folder = Path(os.fsdecode(error.filename)).relative_to(root)
        found.closed.add(folder)
        found.unread.append(Unread(folder, error.strerror or "cannot be opened"))

    for folder, below, names in os.walk(start, onerror=closed):
        here = Path(folder)
        below[:] = sorted(
            name for name in below if here / name != skip and not is_made_by_programs(name)
        )
        for name in names:
            if is_video(here / name) or belongs_to_pictures(here / name):
                yield here / name


def is_made_by_programs(name: str) -> bool:
    """Return whether a folder holds copies and waste of programs rather than pictures of people.

    Hidden folders, thumbnails and recycling bins of network drives; named themselves they are read.
    """
    return name.startswith(".") or name.lower() in _PROGRAM_FOLDERS


def record_file(path: Path, root: Path, found: Scan) -> None:
    """Add a file to those found: with its state, or with the reason why it cannot be read."""
    inside = path.relative_to(root)
    try:
        state = path.stat()
    except OSError as error:
        found.unread.append(Unread(inside, error.strerror or "cannot be accessed"))
        return
    if not stat.S_ISREG(state.st_mode):
        # Opening a pipe or a device that is named like a picture could block for ever.
        found.unread.append(Unread(inside, "not a regular file"))
        return
    kind = found.videos if is_video(path) else found.files
    kind[inside] = FileState(state.st_size, state.st_mtime_ns)


_PROGRAM_FOLDERS = frozenset(
    {"@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"}
)
BATCH = 256
"""Pictures per transaction: the most that a kill can lose."""
FEW_FILES = 64
READERS = 2
"""Threads that read and decode; OpenCV releases the interpreter lock meanwhile."""

ProgressWrapper = Callable[[Iterator[Path], int], Iterable[Path]]
"""Wrapper of the finished paths and their number that yields the same paths."""


@dataclass(slots=True)
class UpdateReport:
    """Outcome of an update.

    Args:
        new: Paths that were not in the index.
        changed: Paths with other content than before.
        read_again: Paths with the same content, read again for their regions; also unchanged.
        unchanged: Paths that needed no reading.
        gone: Paths that no longer exist.
        unread: Files that cannot be searched, with the reason; also those known before.
        embedded: Contents that went through the model.
        left_out: Pictures that stay left out by hand.
        unmatched: Names in the table of attributes that are no picture of the index.
        videos: Number of videos, whose frames count as pictures above.
        shard: Part of the folder that the index is; None for all of it.
    """

    new: int = 0
    changed: int = 0
    read_again: int = 0
    unchanged: int = 0
    gone: int = 0
    unread: list[Unread] = field(default_factory=list)
    embedded: int = 0
    left_out: int = 0
    unmatched: list[str] = field(default_factory=list)
    videos: int = 0
    shard: Shard | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """Content of a path: a fault, or a hash, and pixels unless the hash was known."""

    known: Known
    sha256: bytes = b""
    picture: ReducedPicture | None = None
    measured: tuple[GrayImage, Quality] | None = None
    exif: Mapping[str, str] = field(default_factory=dict)


def update(
    store: IndexStore,
    embedder: Embedder,
    *,
    starts: Sequence[Path] = (),
    table: Path | None = None,
    progress: ProgressWrapper | None = None,
    graph_progress: FileProgress | None = None,
    with_videos: bool = True,
    shard: Shard | None = None,
) -> UpdateReport:
    """Bring the index up to date with its folder, and make it ready for searches.

    Args:
        store: Open index of the same model as the embedder.
        embedder: Embedder, used from the calling thread only.
        starts: Only these files and folders, absolute; none means all. Pictures that were left
            out come back when they, or a folder above them, are named.
        table: Table of attributes, see `attributes.read_attributes`; None takes the one in the
            folder, if there is one.
        progress: Wrapper that shows the progress.
        graph_progress: Called with (done, total) rows while a graph is made.
        with_videos: Whether videos are read; those that are in the index stay.
        shard: Part of the folder that a new index takes; None for the whole folder, or for the
            part that the index is.

    Raises:
        ModelError: The index was made with another model.
        SearchError: The folder is not there, the disk is full, another process updates it, or it
            is another shard; or the folder of an index with pictures has none any more.
        DataError: The table of attributes cannot be used.
    """
    store.check_pictures()
    store.check_model(embedder.model_id)
    root = store.plan.root
    table = found_table(root) if table is None else table
    facts = None if table is None else read_attributes(table)
    with store.exclusive():
        known = store.known()
        shard = start_shard(
            store.path, shard, embedder.model_id, root, is_new=not known, is_whole=not starts
        )
        found = scan(root, starts, skip=store.path, shard=shard)
        if (
            found.is_empty
            and not starts
            and any(item.content is not None for item in known.values())
        ):
            raise SearchError(
                f"{root}: no picture or video is there any more, as where a drive is not mounted; "
                f"the index is left as it was: delete {store.path} if all are gone for good"
            )
        report = UpdateReport(unread=list(found.unread), videos=len(found.videos), shard=shard)
        named = [path.relative_to(root) for path in starts]
        bare = store.without_regions()
        todo = _todo(found, known, named, report, bare)
        frames = FrameReport()
        states = {path: Known(path, *_plain(state)) for path, state in found.videos.items()}
        tasks = video_tasks(states if with_videos else {}, known, store.plan, named, frames)
        # The progress kept in the index is that of the whole folder, which a part does not end.
        total = None if starts else len(todo) + len(tasks)

        def embedded() -> Generator[Path, None, None]:
            yield from _embed(store, embedder, todo, report, bare=bare, total=total)
            begun = None if total is None else (len(todo), total)
            yield from embed_videos(store, embedder, tasks, frames, bare=bare, progress=begun)

        with closing(embedded()) as done:
            for _ in done if progress is None else progress(done, len(todo) + len(tasks)):
                pass
        _add_frames(report, frames)
        if not starts:
            store.end_progress()
            # Last, so that a file that was moved finds its vector.
            report.gone = _forget_gone(store, found, known)
        store.sweep([known.content for _, _, known in todo if known] if starts else None)
        if facts is not None:
            describe(store, facts, report)
            if shard is not None:  # the others have the rest of the names
                report.unmatched = [name for name in report.unmatched if shard.holds(Path(name))]
        store.prepare(graph_progress, checked=not starts)
        if shard is not None and not starts:
            counts = store.info()
            finish_shard(store.path, pictures=counts.pictures, unread=counts.unread)
    return report


def _plain(state: FileState) -> tuple[int, int]:
    return state.size, state.mtime_ns


def _add_frames(report: UpdateReport, frames: FrameReport) -> None:
    for name in ("new", "changed", "unchanged", "embedded", "left_out"):
        setattr(report, name, getattr(report, name) + getattr(frames, name))
    report.unread.extend(Unread(path, reason) for path, reason in frames.unread)


def _todo(
    found: Scan,
    known: Mapping[Path, Known],
    named: Sequence[Path],
    report: UpdateReport,
    bare: set[int],
) -> list[tuple[Path, FileState, Known | None]]:
    todo = []
    for path, state in found.files.items():
        before = known.get(path)
        same = before is not None and (before.size, before.mtime_ns) == (state.size, state.mtime_ns)
        if before is not None and before.fault == LEFT_OUT:
            if not any(path.is_relative_to(item) for item in named):
                report.left_out += 1
                continue
            same = False
        if before is not None and same and before.content not in bare:
            report.unchanged += 1
            if before.fault is not None:
                report.unread.append(Unread(path, before.fault))
        else:
            todo.append((path, state, before))
    return todo


def _forget_gone(store: IndexStore, found: Scan, known: Mapping[Path, Known]) -> int:
    present = found.files.keys() | found.videos.keys()
    # It is unknown whether files below a folder that cannot be opened are gone.
    gone = [
        path
        for path in known
        if file_of(path) not in present
        and not any(path.is_relative_to(item) for item in found.closed)
    ]
    videos = sum((known[path].fault or "").startswith(VIDEO) for path in gone)
    return store.forget(gone) - videos if gone else 0


def describe(
    store: IndexStore, facts: Mapping[str, Mapping[str, str]], report: UpdateReport
) -> None:
    """Give the pictures the attributes of the table; note the names that are no picture."""
    paths: dict[str, list[Path]] = {}
    for item in store.known().values():
        if item.content is not None:
            # What is said of a video is said of all its frames.
            for path in {file_of(item.path), item.path}:
                paths.setdefault(name_key(os.fsdecode(path)), []).append(item.path)
    own: dict[Path, dict[str, str]] = {}
    for name in sorted(facts, key=len):  # the name of a frame is longer than that of its video
        for path in paths.get(name, ()):
            own.setdefault(path, {}).update(facts[name])
    store.put_attributes(own)
    report.unmatched = [name for name in facts if name not in paths]


def _embed(
    store: IndexStore,
    embedder: Embedder,
    todo: Sequence[tuple[Path, FileState, Known | None]],
    report: UpdateReport,
    *,
    bare: set[int],
    total: int | None,
) -> Generator[Path, None, None]:
    """Yield the paths as they are done; finished ones are kept, however this ends.

    Args:
        store: Open index.
        embedder: Embedder of its model.
        todo: Files to read, with their states and their entries.
        report: Report to fill.
        bare: Contents that lack their regions, to be embedded again.
        total: Number of all files of the folder that are to be read, of which the index keeps how
            many are done; None keeps it as it is.
    """
    plan = store.plan
    # Looking a few up, one by one, is quicker than reading all.
    hashes = {} if len(todo) <= FEW_FILES else _complete(store.hashes(), bare)
    side_px = reading_px(enough_px(embedder), regions=bool(plan.regions))
    batch: list[EmbeddedFile | Known] = []
    done = 0

    def keep() -> None:
        progress = None if total is None else (done, total)
        hashes.update(store.put(batch, progress=progress))

    if len(todo) > BATCH:
        keep()
    try:
        for before, read in _read_ahead(plan.root, todo, hashes, side_px):
            item: EmbeddedFile | Known = read.known
            if len(todo) <= FEW_FILES:
                hashes.update(_complete(store.hashes([read.sha256]), bare))
            if read.sha256 in hashes:
                item = replace(read.known, content=hashes[read.sha256])
            elif read.picture is not None:
                item = _embedded(read, embedder, plan)
            lacked = before is not None and before.content in bare
            _count(report, item, before, lacked_regions=lacked)
            batch.append(item)
            if len(batch) >= BATCH:
                done += len(batch)
                keep()
                batch = []
            yield read.known.path
    finally:
        if batch or done:
            done += len(batch)
            keep()


def _complete(hashes: Mapping[bytes, int], bare: set[int]) -> dict[bytes, int]:
    return {sha256: number for sha256, number in hashes.items() if number not in bare}


def _embedded(read: _Read, embedder: Embedder, plan: IndexPlan) -> EmbeddedFile | Known:
    picture = read.picture
    if picture is None or read.measured is None:
        raise ValueError("there is nothing to embed")
    try:
        return embedded_picture(
            replace(read.known, content=None),
            read.sha256,
            picture.pixels,
            embedder,
            plan,
            shape=(picture.width, picture.height),
            measured=read.measured,
            exif=read.exif,
        )
    except ModelError as error:
        return replace(read.known, fault=str(error))


def _state_of(item: EmbeddedFile | Known) -> tuple[int, int]:
    known = item.known if isinstance(item, EmbeddedFile) else item
    return known.size, known.mtime_ns


def _count(
    report: UpdateReport,
    item: EmbeddedFile | Known,
    before: Known | None,
    *,
    lacked_regions: bool = False,
) -> None:
    if isinstance(item, Known) and item.fault is not None:
        report.unread.append(Unread(item.path, item.fault))
        return
    report.embedded += isinstance(item, EmbeddedFile)
    if before is None:
        report.new += 1
    elif isinstance(item, Known) and item.content == before.content:
        report.unchanged += 1
    elif lacked_regions and _state_of(item) == (before.size, before.mtime_ns):
        report.unchanged += 1
        report.read_again += 1
    else:
        report.changed += 1


def _read_ahead(
    root: Path,
    todo: Sequence[tuple[Path, FileState, Known | None]],
    hashes: Mapping[bytes, int],
    side_px: int,
) -> Iterator[tuple[Known | None, _Read]]:
    """Yield the content of each path, in order, a few read in advance."""
    ahead: deque[tuple[Known | None, Future[_Read]]] = deque()
    rest = iter(todo)
    with ThreadPoolExecutor(READERS, thread_name_prefix="reader") as pool:
        try:
            while True:
                for path, state, before in islice(rest, 4 * READERS - len(ahead)):
                    ahead.append((before, pool.submit(_read, root, path, state, hashes, side_px)))
                if not ahead:
                    return
                known, future = ahead.popleft()
                yield known, future.result()
        finally:
            for _, future in ahead:
                future.cancel()


def _read(
    root: Path, path: Path, state: FileState, hashes: Mapping[bytes, int], side_px: int
) -> _Read:
    known = Known(path, state.size, state.mtime_ns)
    return _content(known, lambda: picture_bytes(root / path), hashes, side_px)


def embedded_file(
    known: Known, read: Callable[[], bytes], embedder: Embedder, plan: IndexPlan
) -> EmbeddedFile | Known:
    """Return the entry of a picture from anywhere.

    Args:
        known: Entry without a content.
        read: Function that returns the bytes, or raises `OSError` or `ValueError`.
        embedder: Embedder of the index.
        plan: Settings of the index.

    Raises:
        SearchError: The scale needs cells, and the model has none.
    """
    side_px = reading_px(enough_px(embedder), regions=bool(plan.regions))
    found = _content(known, read, {}, side_px)
    return found.known if found.picture is None else _embedded(found, embedder, plan)


def _content(
    known: Known, read: Callable[[], bytes], hashes: Mapping[bytes, int], side_px: int
) -> _Read:
    try:
        data = read()
        digest = sha256(data).digest()
        if digest in hashes:
            return _Read(known, digest)
        picture = decode_reduced(data, side_px)
    except OSError as error:
        # Without a time of change it is tried again: a permission or a descriptor may come.
        fault = error.strerror or type(error).__name__
        return _Read(replace(known, mtime_ns=-1, fault=fault))
    except ValueError as error:
        return _Read(replace(known, fault=str(error)))
    return _Read(known, digest, picture, measure(picture.pixels), exif_facts(data))
