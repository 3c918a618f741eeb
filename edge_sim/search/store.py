"""Store of an index: the pictures of a folder and their vectors, on disk.

One process at a time updates an index.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.files import entries, size_of
from edge_sim.core.sqlite import transaction
from edge_sim.errors import EdgeSimError, ModelError, SearchError
from edge_sim.gallery.calibrations import KeptCalibration
from edge_sim.gallery.gallery import checked_name
from edge_sim.search import attributes, bars, index_files, regions, rows, vector_rows
from edge_sim.search import entries as entry_rows
from edge_sim.search.colours import Colours
from edge_sim.search.entries import EntryTable
from edge_sim.search.frames import KEY_FRAMES
from edge_sim.search.index_database import NAME as NAME
from edge_sim.search.index_database import open_database, translated, writing
from edge_sim.search.indexes import AUTO, KINDS
from edge_sim.search.ivf import FileProgress
from edge_sim.search.locking import exclusive, is_locked
from edge_sim.search.rows import (
    BuildProgress,
    EmbeddedFile,
    IndexPlan,
    Info,
    Known,
    PictureTable,
    Unread,
    VectorScale,
)


class IndexStore:
    """Open index. Use it from the thread that opened it; close it, or use `with`.

    Every method raises `SearchError` where the index is damaged, on a full disk or closed.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = connection

    @classmethod
    def open(cls, path: str | PathLike[str], *, create: IndexPlan | None = None) -> IndexStore:
        """Open the index in the folder `path`.

        Args:
            path: Folder of the index.
            create: Settings of a new index, made if there is none; an existing one must match, but
                keeps its own way with bars.

        Raises:
            SearchError: No index, damaged, of a newer edge_sim, or made for another folder.
            ModelError: The index that is there was made with another model.
        """
        place = Path(os.path.abspath(path))  # noqa: PTH100 - keeps links, unlike resolve
        connection = open_database(place, create=create is not None)
        store = cls(connection, place)
        try:
            if create is not None:
                store._adopt(create)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with translated(self.path):
                connection.close()

    def __enter__(self) -> IndexStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"IndexStore({str(self.path)!r}{'' if self._connection else ', closed'})"

    @property
    def plan(self) -> IndexPlan:
        """Settings of the index."""
        with self._reading() as connection:
            found = rows.settings(connection)
            return IndexPlan(
                root=Path(os.fsdecode(bytes.fromhex(found["root"]))),
                model_id=str(found["model_id"]),
                model=os.fsdecode(bytes.fromhex(found["model"])),
                scale=VectorScale(found["scale"]),
                kind=str(found["kind"]),
                cuts_bars=bars.are_cut(connection),
                frames=found.get(rows.FRAMES, KEY_FRAMES),
                regions=found.get(rows.REGIONS) == "yes",
            )

    def check_model(self, model_id: str) -> None:
        """Raise `ModelError` unless embeddings of this model may be compared with the index."""
        own = self.plan.model_id
        if own != model_id:
            if self.plan.is_imported:
                advice = "name that one with --model-id, or import into another index"
            else:
                advice = "name that one with --model, or build another index"
            raise ModelError(f"{self.path}: made with the model {own}, not {model_id}; {advice}")

    def check_pictures(self) -> None:
        """Raise `SearchError` if the index holds imported vectors instead of pictures."""
        if self.plan.is_imported:
            raise SearchError(
                f"{self.path}: holds imported vectors, no pictures; `edge-sim index import` "
                f"updates it, and a search takes its ids or a .npy file as --query"
            )

    def info(self) -> Info:
        """Return the description of the index."""
        plan = self.plan
        with self._reading() as connection:
            counts = rows.counts(connection)
            made = index_files.current(connection, self.path)
            found = rows.settings(connection)
            is_ready = made is not None and _is_near(connection, made)
            dimension, whole = int(found.get("dimension", 0)), int(found.get("width", 0))
        kind, reason = ("none", "not finished; build it again") if made is None else made.why
        return Info(
            path=self.path,
            root=plan.root,
            model_id=plan.model_id,
            model=plan.model,
            scale=plan.scale,
            dimension=dimension,
            spatial_dimension=whole - dimension,
            pictures=counts.pictures,
            unread=counts.unread,
            kind=kind,
            reason=reason,
            bytes_on_disk=sum(map(size_of, entries(self.path))),
            ready=is_ready,
            tags=self.tags(),
            left_out=counts.left_out,
            update=self.update_state(),
            regions=bool(plan.regions),
        )

    def tags(self) -> Mapping[str, int]:
        """Return the number of files with each tag, sorted by tag."""
        with self._reading() as connection:
            return attributes.tag_counts(connection)

    def update_state(self) -> BuildProgress | None:
        """Return the update that is running or was stopped; None if the last one ended."""
        with self._reading() as connection:
            found = rows.progress(connection)
        if found is None:
            return None
        verb = "import" if self.plan.is_imported else "build"
        done, total, stage = found
        return BuildProgress(done, total, is_locked(self.path), verb, stage)

    def entries(self) -> EntryTable:
        """Return the pictures, in order of their rows."""
        imported = self.plan.is_imported
        with self._reading() as connection:
            return entry_rows.entries(connection, imported=imported)

    def unread(self) -> tuple[Unread, ...]:
        """Return the files that cannot be searched, by path."""
        with self._reading() as connection:
            return tuple(rows.unread(connection))

    def table(self) -> PictureTable:
        """Return the pictures with their vectors, mapped from a file where there is one."""
        with self._reading() as connection:
            made = index_files.current(connection, self.path)
            try:
                return self._table(connection)
            except SearchError:
                # Another process may have put new files in the place of those that were read.
                if index_files.current(connection, self.path) == made:
                    raise
            return self._table(connection)

    def _table(self, connection: sqlite3.Connection) -> PictureTable:
        # In one snapshot: a content that is listed is there when its vector is read.
        with transaction(connection, writes=False):
            imported = rows.is_imported(connection)
            found = entry_rows.entries(connection, imported=imported)
            dimension = int(rows.settings(connection).get("dimension", 0))
            made = index_files.current(connection, self.path)
            if made is None:
                return PictureTable(found, rows.all_vectors(connection), dimension, "exact")
            vectors = index_files.all_rows(connection, made, found.contents)
        index_files.check_graph(made)
        return PictureTable(found, vectors, dimension, made.kind, made.graph)

    def thumbnails(self) -> NDArray[np.uint8]:
        """Return (N, 48, 48) uint8 grey thumbnails, in order of the rows."""
        self.check_pictures()
        with self._reading() as connection:
            return rows.small_pictures(connection)[0]

    def colours(self) -> Colours:
        """Return (N, 8, 8, 2) uint8 colours, in order of the rows; zeros where none are kept."""
        with self._reading() as connection:
            return rows.small_pictures(connection)[1]

    def without_regions(self) -> set[int]:
        """Return the numbers of the contents whose regions are to be kept, and are not there."""
        if not self.plan.regions:
            return set()
        with self._reading() as connection:
            return regions.without(connection)

    def regions(self, contents: NDArray[np.int64], dimension: int) -> regions.RegionRows | None:
        """Return the regions of pictures; None if the index keeps none.

        Args:
            contents: (N,) number of the content of each picture.
            dimension: Length of a global vector.
        """
        with self._reading() as connection:
            return regions.load(connection, contents, dimension)

    def known(self) -> Mapping[Path, Known]:
        """Return the entry of each path, read or not."""
        with self._reading() as connection:
            return rows.known(connection)

    def hashes(self, only: Iterable[bytes] | None = None) -> Mapping[bytes, int]:
        """Return the sha256 of every content, or of those among `only`, and its number."""
        with self._reading() as connection:
            return rows.hashes(connection, only)

    def put(
        self,
        files: Iterable[EmbeddedFile | Known],
        *,
        progress: tuple[int, int] | None = None,
    ) -> Mapping[bytes, int]:
        """Write the entries of some paths, in one transaction; return the contents as `hashes`.

        Args:
            files: The entries.
            progress: Number of files that are done with these, and of how many.
        """
        new = {}
        with self._changing() as connection:
            for item in files:
                number = rows.put(connection, item)
                if isinstance(item, EmbeddedFile) and number is not None:
                    new[item.sha256] = number
            if progress is not None:
                rows.set_progress(connection, *progress)
        return new

    def put_vectors(
        self,
        batch: Sequence[vector_rows.ImportedRow],
        report: vector_rows.ImportReport,
        *,
        progress: tuple[int, int],
    ) -> None:
        """Write imported rows, in one transaction, and count them.

        Args:
            batch: The rows, one or more.
            report: Counts to raise.
            progress: Number of rows that are done with these, and of how many.
        """
        with self._changing() as connection:
            vector_rows.put(connection, batch, report)
            rows.set_progress(connection, *progress)

    def describe_vectors(
        self, facts: Mapping[str, Mapping[str, str]], tags: Mapping[str, Iterable[str]]
    ) -> None:
        """Give imported rows their attributes, all others none, and add tags, by their ids."""
        with self._reading() as connection, transaction(connection, writes=True):
            vector_rows.describe(connection, facts, tags)

    def forget_but(self, names: Iterable[str]) -> int:
        """Delete all ids but these from the index; return the number of those deleted."""
        with self._reading() as connection:
            gone = vector_rows.paths_but(connection, names)
        return self.forget(gone) if gone else 0

    def end_progress(self) -> None:
        """Write that the update of the folder is at its end."""
        # No change of the pictures: files made from them stay as good as they were.
        with self._reading() as connection:
            if rows.progress(connection) is not None:
                with transaction(connection, writes=True):
                    rows.end_progress(connection)

    def sweep(self, contents: Iterable[int | None] | None = None) -> None:
        """Delete those of some contents, or of all, that no path has any more."""
        with self._reading() as connection, transaction(connection, writes=True):
            rows.sweep(connection, contents)

    def forget(self, paths: Iterable[Path]) -> int:
        """Delete paths from the index; return the number of those that were in it."""
        with self._changing() as connection:
            return rows.forget(connection, paths)

    def leave_out(self, paths: Iterable[Path]) -> int:
        """Exclude pictures from searches for good; the files stay. Return their number.

        Raises:
            SearchError: A path is not in the index.
        """
        with self._changing() as connection:
            return rows.leave_out(connection, paths)

    def tag(self, paths: Iterable[Path], tag: str) -> int:
        """Put a tag on pictures; return the number of contents that had no such tag.

        Raises:
            GalleryError: An invalid tag.
            SearchError: A path is not in the index.
        """
        checked_name("tag", tag)
        with self._reading() as connection:
            return attributes.add_tag(connection, paths, tag)

    def untag(self, paths: Iterable[Path], tag: str) -> int:
        """Take a tag off pictures; return the number of contents that had it.

        Raises:
            SearchError: A path is not in the index.
        """
        with self._reading() as connection:
            return attributes.drop_tag(connection, paths, tag)

    def rename_tag(self, before: str, after: str) -> int:
        """Rename a tag on all pictures; return the number of contents that had it.

        Raises:
            GalleryError: The new name is no valid tag.
        """
        checked_name("tag", after)
        with self._reading() as connection:
            return attributes.rename_tag(connection, before, after)

    def keep_out(self, items: Iterable[Known]) -> None:
        """Leave out paths that another index left out, whether they are in this one or not yet."""
        with self._changing() as connection:
            _keep_out(connection, items)

    def take_facts(self, other: IndexStore) -> None:
        """Take tags, own attributes, left-out paths, calibration and the list of merged shards."""
        with other._reading() as connection:
            tags, own = attributes.facts_by_content(connection)
            merged = rows.settings(connection).get(rows.MERGED)
        left_out = [item for item in other.known().values() if item.fault == rows.LEFT_OUT]
        with self._changing() as connection:
            attributes.add_facts(connection, tags, own)
            _keep_out(connection, left_out)
            if merged is not None:
                rows.set_text(connection, rows.MERGED, merged)
        if (kept := other.calibration()) is not None:
            self.keep_calibration(kept)

    def put_attributes(self, facts: Mapping[Path, Mapping[str, str]]) -> None:
        """Replace the attributes of pictures that a table gives; other pictures keep none.

        Only what differs is written. Of several files with one content, the last one counts.

        Args:
            facts: Attributes by path, relative to the root; paths that are not read are skipped.
        """
        with self._reading() as connection, transaction(connection, writes=True):
            attributes.migrate(connection)
            contents = attributes.contents_of_paths(connection)
            wanted = {contents[path]: own for path, own in facts.items() if path in contents}
            attributes.replace_own(connection, wanted)

    def prepare(self, progress: FileProgress | None = None, *, checked: bool = True) -> None:
        """Make the files that a search maps, if many pictures came or went since.

        Args:
            progress: Called with (done, total) rows while a graph is made; False stops.
            checked: Whether the files are read, and made anew where they are damaged.
        """
        plan = self.plan
        with self._reading() as connection:

            def show(done: int, total: int) -> object:
                with transaction(connection, writes=True):
                    rows.set_progress(connection, done, total, rows.GRAPH)
                return None if progress is None else progress(done, total)

            index_files.make(connection, self.path, plan.kind, show, checked=checked)
            state = rows.progress(connection)
            if state is not None and state[2] == rows.GRAPH:
                with transaction(connection, writes=True):
                    rows.end_progress(connection)

    def calibration(self) -> KeptCalibration | None:
        """Return the calibrated threshold of near-duplicates, if one was kept."""
        with self._reading() as connection:
            text = rows.settings(connection).get(rows.CALIBRATION)
        try:
            return None if text is None else msgspec.json.decode(text, type=KeptCalibration)
        except msgspec.DecodeError as error:
            raise SearchError(
                f"{self.path}: its calibration is damaged; `edge-sim calibrate` makes a new one"
            ) from error

    def keep_calibration(self, kept: KeptCalibration) -> None:
        """Keep the threshold of near-duplicates, in place of an older one."""
        # No change of the pictures: files made from them stay as good as they were.
        with self._reading() as connection, transaction(connection, writes=True):
            rows.set_text(connection, rows.CALIBRATION, msgspec.json.encode(kept).decode())

    def problems(self) -> tuple[str, ...]:
        """Return the faults of the index, a line each; reads all of it."""
        with self._reading() as connection:
            found = list(rows.problems(connection))
            made = index_files.current(connection, self.path)
            if made is None:
                found.append("not finished: run `edge-sim index build` again")
            else:
                found.extend(index_files.damaged(made))
        return tuple(found)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock the index against updates by other processes.

        Raises:
            SearchError: Another one is updating it.
        """
        with exclusive(self.path):
            yield

    def _adopt(self, plan: IndexPlan) -> None:
        if plan.kind != AUTO and plan.kind not in KINDS:
            names = ", ".join([AUTO, *sorted(KINDS)])
            raise SearchError(f"no kind of index {plan.kind!r}; there are {names}")
        with self._reading() as connection:
            is_new = "root" not in rows.settings(connection)
        if is_new:
            # All settings or none: half of them would be no index and no new one.
            with self._changing() as connection:
                rows.settle(connection, plan)
                bars.record(connection, cut=plan.cuts_bars)
            return
        own = self.plan
        if own.root != plan.root:
            raise SearchError(
                f"{self.path}: an index of {own.root}; give another --out for {plan.root}"
            )
        if own.is_imported != plan.is_imported:
            held, other = ("imported vectors", "pictures")[:: 1 if own.is_imported else -1]
            raise SearchError(f"{self.path}: holds {held}; give another --out for {other}")
        if own.scale is not plan.scale:
            raise SearchError(
                f"{self.path}: keeps the scale {own.scale.value}, not {plan.scale.value}; "
                f"give another --out"
            )
        self.check_model(plan.model_id)
        if plan.kind not in (AUTO, own.kind):
            with self._changing() as connection:
                rows.set_kind(connection, plan.kind)
        if plan.frames not in ("", own.frames):
            with self._changing() as connection:
                rows.set_text(connection, rows.FRAMES, plan.frames)
        if plan.regions not in (None, own.regions):
            with self._changing() as connection:
                rows.set_regions(connection, kept=bool(plan.regions))

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = self._open_connection()
        try:
            with translated(self.path / NAME):
                yield connection
        except EdgeSimError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            # SQLite keeps a text where a number belongs, and a damaged page lacks its rows.
            raise SearchError(
                f"{self.path / NAME} is damaged ({type(error).__name__}: {error}); "
                f"build the index again in another folder"
            ) from error

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        connection = self._open_connection()
        with translated(self.path / NAME), writing(connection):
            attributes.migrate(connection)
            # Before the first change, after which the contents may not tell it any more.
            bars.record(connection, cut=bars.are_cut(connection))
            yield connection

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise SearchError(f"{self.path}: the index is closed")
        return self._connection


def _keep_out(connection: sqlite3.Connection, items: Iterable[Known]) -> None:
    for item in items:
        name = os.fsencode(item.path)
        found = connection.execute("SELECT content FROM files WHERE path = ?", (name,)).fetchone()
        if found is None:
            rows.put(connection, replace(item, content=None, fault=rows.LEFT_OUT))
        elif found[0] is not None:
            rows.leave_out(connection, [item.path])


def _is_near(connection: sqlite3.Connection, made: index_files.Made) -> bool:
    """Return whether files are near the contents; False where they are damaged."""
    try:
        return index_files.lag(connection, made).is_small
    except SearchError:
        return False
