"""Store of the references of all watches of a device, with their history."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from os import PathLike
from pathlib import Path
from typing import Any

from edge_sim.core.sqlite import transaction, write_back
from edge_sim.core.types import Reference
from edge_sim.errors import GalleryError
from edge_sim.gallery import edits, history, integrity
from edge_sim.gallery.calibrations import NOVELTY_SCORE, calibrated_levels
from edge_sim.gallery.database import (
    BUSY_TIMEOUT_S,
    GALLERY,
    identity_of,
    open_database,
    stamp_of,
    translated,
)
from edge_sim.gallery.gallery import Gallery, checked_name
from edge_sim.gallery.records import Difference, Enrolled, ReferenceRecord, Revision, Reworked

logger = logging.getLogger(__name__)

_TIMEOUT_S = 1.0  # an observation may wait for it; a reader waits for next to nothing


@dataclass(frozen=True, slots=True)
class FileReferenceLoader:
    """Loader of references of one revision from the file: a `gallery.ReferenceLoader`.

    The file is opened each time: references are rarely needed, and by any thread. Those that
    cannot be read are logged and left out, since no decision depends on them.

    Args:
        path: Path of the gallery file.
        revision: Revision at which the references were read.
    """

    path: Path
    revision: int

    def __call__(self, reference_ids: Iterable[str]) -> dict[str, Reference]:
        """Return the references that can be read."""
        try:
            opened = open_database(self.path, create=False, read_only=True, timeout_s=_TIMEOUT_S)
            with (
                closing(opened) as connection,
                translated(self.path),
                transaction(connection, writes=False),
            ):
                return history.references_of(connection, reference_ids, self.revision)
        except GalleryError as error:
            logger.warning("references cannot be read again: %s", error)
            return {}


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


_DELETING = frozenset({"forget", "purge"})
REPLACED = "pack"
"""Verb of `GalleryStore.replace` in the log."""


@dataclass(frozen=True, slots=True)
class OpenMode:
    """Mode in which a store was opened; a file that replaces the first is opened the same."""

    read_only: bool
    timeout_s: float


class GalleryStore:
    """Open gallery file. Use it from the thread that opened it; close it, or use `with`.

    Every method raises `GalleryError` where the file is damaged, locked for too long, read-only,
    on a full disk, or closed, where an id is not there, and where a name is invalid; nothing is
    changed then. Every change returns the revision that it made.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        clock: Callable[[], float],
        access: OpenMode | None = None,
    ) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = connection
        self._clock = clock
        self._access = access or OpenMode(read_only=False, timeout_s=BUSY_TIMEOUT_S)
        self._identity = identity_of(path)
        self._stamp, self._version = stamp_of(path), _data_version(connection)
        self._openings = 1

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        *,
        create: bool = False,
        read_only: bool = False,
        timeout_s: float = BUSY_TIMEOUT_S,
        clock: Callable[[], float] = time.time,
    ) -> GalleryStore:
        """Open the gallery file at `path`.

        Args:
            create: Make an empty gallery if there is no file. A file is never written over.
            read_only: Reject every change; works on a read-only disk.
            timeout_s: Longest wait of a change for another process that is writing, seconds.
            clock: Clock for the times in the log, seconds since 1970.

        Raises:
            GalleryError: No file, no gallery, damaged, of a newer edge_sim, or not accessible.
        """
        place = Path(path)
        connection = open_database(place, create=create, read_only=read_only, timeout_s=timeout_s)
        return cls(connection, place, clock, OpenMode(read_only, timeout_s))

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with translated(self.path):
                connection.close()

    def __enter__(self) -> GalleryStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"GalleryStore({str(self.path)!r}{'' if self._connection else ', closed'})"

    @property
    def revision(self) -> int:
        """Number of the last change; 0 in a new file."""
        with self.reading() as connection:
            return history.head(connection)

    def data_version(self) -> int:
        """Return a number that changes when another connection has changed or replaced the file.

        Cheap enough to be called between two frames: it reads one page.

        Raises:
            GalleryError: The file is gone, or another one is in its place that is no gallery.
        """
        with self.reading() as connection:
            version = _data_version(connection)
        return self._openings << 32 | version

    def count(self) -> int:
        """Return how many references there are, of all watches together."""
        with self.reading() as connection:
            return history.count_at(connection, history.head(connection))

    def watches(self) -> tuple[str, ...]:
        """Return the names of the watches that have references, sorted."""
        return tuple(sorted({item.watch for item in self.records()}))

    def gallery(
        self, watch: str, *, model_id: str | None = None, revision: int | None = None
    ) -> Gallery:
        """Return the references of `watch`, in the order of enrolment; empty if it has none.

        Args:
            model_id: Model in use; a gallery of another model is rejected. None accepts any.
            revision: Revision to read; None reads the last one.

        Raises:
            GalleryError: References of another model, no such revision, or a damaged row.
        """
        with self.reading() as connection:
            number = history.checked_revision(connection, revision)
            found = history.references_at(connection, watch, number)
            levels = calibrated_levels(connection, watch, number)
            novelty = calibrated_levels(connection, watch, number, score=NOVELTY_SCORE)
        history.check_model(found, watch, model_id)
        recall = FileReferenceLoader(self.path, number)
        return Gallery(
            found, revision=number, calibrated=levels, calibrated_novelty=novelty, recall=recall
        )

    def records(
        self,
        *,
        watch: str | None = None,
        state: str | None = None,
        revision: int | None = None,
    ) -> tuple[ReferenceRecord, ...]:
        """Return the records of the references, without their arrays, in order of enrolment."""
        with self.reading() as connection:
            number = history.checked_revision(connection, revision)
            found = history.records_at(connection, number)
        return tuple(
            item for item in found if watch in (None, item.watch) and state in (None, item.state)
        )

    def record(self, reference_id: str) -> ReferenceRecord:
        """Return the record of one reference."""
        for record in self.records():
            if record.reference_id == reference_id:
                return record
        raise edits.no_such_reference(reference_id)

    def crop(self, reference_id: str) -> bytes:
        """Return the encoded picture of a reference, also of one that was removed since.

        Raises:
            GalleryError: There never was such a reference.
        """
        with self.reading() as connection:
            return history.crop(connection, reference_id)

    def add(self, watch: str, enrolled: Sequence[Enrolled]) -> Revision:
        """Add pictures to `watch`; their new ids are `appeared` of the revision.

        Raises:
            GalleryError: An invalid name, nothing to add, or two models in one watch.
        """
        checked_name("watch", watch)
        states = ", ".join(sorted({checked_name("state", item.state) for item in enrolled}))
        detail = f"{len(enrolled)} to {watch} ({states})"
        with self.changing("add", detail) as (connection, number):
            edits.add(connection, number, watch, enrolled)
        return self._written(number)

    def forget(self, reference_ids: Iterable[str]) -> Revision:
        """Delete references, present or past, with their pictures; `undo` restores neither.

        Raises:
            GalleryError: There never was such a reference.
        """
        ids = edits.unique(reference_ids)
        with self.changing("forget", edits.named(ids)) as (connection, number):
            edits.forget(connection, ids)
        self._overwrite()
        return self._written(number)

    def purge(self) -> Revision | None:
        """Delete every picture that no present reference needs; None if there is none.

        References removed before cannot be restored by `undo` or `rollback` afterwards.
        """
        with self.reading() as connection:
            count = edits.disused(connection)
        if not count:
            return None
        with self.changing("purge", f"{count} past pictures") as (connection, number):
            edits.purge(connection)
        self._overwrite()
        return self._written(number)

    def _overwrite(self) -> None:
        """Rewrite the file without the free space of deleted rows, and empty the log."""
        connection = self._open_connection()
        with translated(self.path):
            connection.execute("VACUUM")
        write_back(connection, self._access.timeout_s)
        self._stamp = stamp_of(self.path)

    def remove(self, reference_ids: Iterable[str]) -> Revision:
        """Remove references; their pictures stay in the file for `undo`."""
        ids = edits.unique(reference_ids)
        with self.changing("remove", edits.named(ids)) as (connection, number):
            edits.end(connection, number, ids)
        return self._written(number)

    def relabel(self, reference_ids: Iterable[str], state: str) -> Revision:
        """Give references another state."""
        ids = edits.unique(reference_ids)
        checked_name("state", state)
        with self.changing("relabel", f"{edits.named(ids)} to {state}") as (connection, number):
            edits.rewrite(connection, number, ids, state=state)
        return self._written(number)

    def move(self, reference_ids: Iterable[str], watch: str) -> Revision:
        """Give references to another watch.

        Raises:
            GalleryError: One of them is not there, or that watch uses another model.
        """
        ids = edits.unique(reference_ids)
        checked_name("watch", watch)
        with self.changing("move", f"{edits.named(ids)} to {watch}") as (connection, number):
            edits.rewrite(connection, number, ids, watch=watch)
            edits.check_single_model(connection, watch)
        return self._written(number)

    def tag(
        self, reference_ids: Iterable[str], *, add: Iterable[str] = (), drop: Iterable[str] = ()
    ) -> Revision:
        """Put tags on references and take tags off."""
        ids = edits.unique(reference_ids)
        new, old = edits.unique(add), edits.unique(drop)
        for tag in new:
            checked_name("tag", tag)
        marks = [*(f"+{tag}" for tag in new), *(f"-{tag}" for tag in old)]
        detail = " ".join([edits.named(ids), *marks])
        with self.changing("tag", detail) as (connection, number):
            edits.retag(connection, number, ids, new, old)
        return self._written(number)

    def rework(self, reworked: Sequence[Reworked]) -> Revision:
        """Replace embeddings by those of another model; `enrolment.reembed` makes them.

        Raises:
            GalleryError: One of them is not there, or a watch would mix two models.
        """
        detail = f"{len(reworked)} with {', '.join(edits.models_of(reworked))}"
        with self.changing("reembed", detail) as (connection, number):
            for watch in edits.rework(connection, number, reworked):
                edits.check_single_model(connection, watch)
        return self._written(number)

    def replace(self, content: Mapping[str, Sequence[Enrolled]], detail: str) -> Revision:
        """Give watches other references in place of all that they have, as one revision.

        Args:
            content: Watch -> references, at least one; other watches stay as they are.
            detail: Text for the log, beside the verb `pack`.

        Raises:
            GalleryError: An invalid name, a watch without references, or two models in one.
        """
        for watch, enrolled in content.items():
            checked_name("watch", watch)
            for item in enrolled:
                checked_name("state", item.state)
        with self.changing(REPLACED, detail) as (connection, number):
            present = history.records_at(connection, number - 1)
            gone = [item.reference_id for item in present if item.watch in content]
            if gone:
                edits.end(connection, number, gone)
            for watch, enrolled in content.items():
                edits.add(connection, number, watch, enrolled)
        return self._written(number)

    def undo(self) -> Revision:
        """Revert the last change that was not reverted yet, as a new revision.

        Raises:
            GalleryError: There is none.
        """
        with self.changing("undo", "") as (connection, number):
            content = history.content_of(connection, number - 1)
            if content == 0:
                raise GalleryError(f"{self.path}: there is no change to undo")
            target = history.content_of(connection, content - 1)
            edits.restore(connection, number, target)
            edits.describe(connection, number, f"revision {content}", target)
        return self._written(number)

    def rollback(self, revision: int) -> Revision:
        """Make the gallery again what it was at `revision`, as a new revision.

        Raises:
            GalleryError: There is no such revision, or it is the present one.
        """
        with self.changing("rollback", f"to revision {revision}") as (connection, number):
            # The new revision is in the table already; it is no target.
            if not 0 <= revision < number - 1:
                raise GalleryError(
                    f"{self.path}: cannot roll back to revision {revision}; "
                    f"the gallery is at {number - 1}, `edge-sim gallery log` shows all"
                )
            edits.restore(connection, number, revision)
        return self._written(number)

    def log(self, *, limit: int | None = None) -> tuple[Revision, ...]:
        """Return the changes, the newest first."""
        with self.reading() as connection:
            return history.revisions(connection, limit=limit)

    def diff(self, before: int, after: int) -> Difference:
        """Return the difference from revision `before` to `after`."""
        with self.reading() as connection:
            for number in (before, after):
                history.checked_revision(connection, number)
            return history.difference(connection, before, after)

    def check(self) -> tuple[str, ...]:
        """Return the faults of the file, a line each; reads all of it."""
        with self.reading() as connection:
            return tuple(history.problems(connection))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Provide a read transaction, for the tables beside references."""
        connection = self._open_connection()
        with translated(self.path), transaction(connection, writes=False):
            yield connection

    @contextmanager
    def changing(self, verb: str, detail: str) -> Iterator[tuple[sqlite3.Connection, int]]:
        """Provide a write transaction and the number of the revision that it makes."""
        connection = self._open_connection()
        at = datetime.fromtimestamp(self._clock(), tz=timezone.utc).isoformat()
        with translated(self.path), transaction(connection, writes=True):
            number = history.head(connection) + 1
            values: tuple[Any, ...] = (number, at, verb, detail, number)
            logged = integrity.has_log(self.path)
            connection.execute("INSERT INTO revisions VALUES (?, ?, ?, ?, ?)", values)
            yield connection, number
            integrity.put(connection, number, logged=logged, anew=verb in _DELETING)
            connection.execute(f"PRAGMA user_version = {GALLERY.format}")
            if identity_of(self.path) != self._identity:
                raise GalleryError(
                    f"{self.path}: the file was moved, removed or replaced while it was changed; "
                    f"nothing was changed"
                )
        write_back(connection, self._access.timeout_s)
        self._stamp = stamp_of(self.path)

    def _written(self, number: int) -> Revision:
        with self.reading() as connection:
            return history.revisions(connection, number=number)[0]

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise GalleryError(f"{self.path}: the gallery is closed")
        now = identity_of(self.path)
        if now is None:
            raise GalleryError(
                f"{self.path}: the gallery file is gone; put it back, "
                f"or a copy with `edge-sim gallery restore COPY`"
            )
        if now != self._identity or self._is_overwritten(self._connection):
            self._reopen(now)
        return self._connection

    def _is_overwritten(self, connection: sqlite3.Connection) -> bool:
        """Return whether the file was changed other than by SQLite, as by a copy put over it.

        SQLite would go on with the pages that it holds, and write them among those of the copy.
        """
        stamp = stamp_of(self.path)
        if stamp == self._stamp:
            return False
        try:
            version = _data_version(connection)
        except sqlite3.Error:
            return True  # as where the copy is shorter than the pages that SQLite knows of
        if version == self._version:
            return True
        self._stamp, self._version = stamp, version
        return False

    def _reopen(self, identity: tuple[int, int]) -> None:
        """Switch to the file that replaced the one that was opened."""
        access = self._access
        connection = open_database(
            self.path, create=False, read_only=access.read_only, timeout_s=access.timeout_s
        )
        old, self._connection = self._connection, connection
        self._identity = identity
        self._stamp, self._version = stamp_of(self.path), _data_version(connection)
        self._openings += 1
        if old is not None:
            with suppress(sqlite3.Error):
                old.close()
