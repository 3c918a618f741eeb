"""References found again in the gallery file, for those who did not keep them.

GalleryStore: the references of all watches of a device, with their history.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from edge_sim.gallery.calibrations import calibrated_levels
from edge_sim.gallery.database import (
    BUSY_TIMEOUT_S,
    GALLERY,
    identity_of,
    open_database,
    translated,
)
from edge_sim.gallery.gallery import Gallery, checked_name
from edge_sim.gallery.records import Difference, Enrolled, ReferenceRecord, Revision, Reworked

logger = logging.getLogger(__name__)

_TIMEOUT_S = 1.0  # a look waits for it; readers have to wait for next to nothing


@dataclass(frozen=True, slots=True)
class FromFile:
    """Finds references of one revision again: a `gallery.ReferenceLoader`.

    The file is opened each time: few looks are told to anybody, and any thread may ask. What
    cannot be read is logged and left out, for nobody's decision hangs on it.

    Args:
        path: Of the gallery file.
        revision: At which the references were read.
    """

    path: Path
    revision: int

    def __call__(self, reference_ids: Iterable[str]) -> dict[str, Reference]:
        """Return those of the references that can be had."""
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


_DELETING = frozenset({"forget", "purge"})


@dataclass(frozen=True, slots=True)
class OpenMode:
    """Mode in which a store was opened; a file that replaces the first is opened the same."""

    read_only: bool
    timeout_s: float


class GalleryStore:
    """An open gallery file. Use it from the thread that opened it; close it, or use `with`.

    Every method raises `GalleryError` where the file is damaged, locked for too long, read-only,
    on a full disk, or closed, where an id is not there, and where a name cannot be; nothing is
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
            read_only: Refuse every change; works on a read-only disk.
            timeout_s: How long a change waits for another process that is writing.
            clock: Seconds since 1970, for the times in the log.

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

        Cheap enough to ask between two frames: it reads one page.

        Raises:
            GalleryError: The file is gone, or another one is in its place that is no gallery.
        """
        with self.reading() as connection:
            version = int(connection.execute("PRAGMA data_version").fetchone()[0])
        return self._openings << 32 | version

    def watches(self) -> tuple[str, ...]:
        """Return the names of the watches that have references, sorted."""
        return tuple(sorted({item.watch for item in self.records()}))

    def gallery(
        self, watch: str, *, model_id: str | None = None, revision: int | None = None
    ) -> Gallery:
        """Return the references of `watch`, in the order of enrolment; empty if it has none.

        Args:
            model_id: Of the embedder in use; a gallery of another model is refused.
            revision: As it was then; None for now.

        Raises:
            GalleryError: References of another model, no such revision, or a damaged row.
        """
        with self.reading() as connection:
            number = history.checked_revision(connection, revision)
            found = history.references_at(connection, watch, number)
            levels = calibrated_levels(connection, watch, number)
        history.check_model(found, watch, model_id)
        recall = FromFile(self.path, number)
        return Gallery(found, revision=number, calibrated=levels, recall=recall)

    def records(
        self,
        *,
        watch: str | None = None,
        state: str | None = None,
        revision: int | None = None,
    ) -> tuple[ReferenceRecord, ...]:
        """Return what is known of the references, without their arrays, in order of enrolment."""
        with self.reading() as connection:
            number = history.checked_revision(connection, revision)
            found = history.records_at(connection, number)
        return tuple(
            item for item in found if watch in (None, item.watch) and state in (None, item.state)
        )

    def record(self, reference_id: str) -> ReferenceRecord:
        """Return what is known of one reference."""
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
            GalleryError: A name that cannot be, nothing to add, or two models in one watch.
        """
        checked_name("watch", watch)
        states = ", ".join(sorted({checked_name("state", item.state) for item in enrolled}))
        detail = f"{len(enrolled)} to {watch} ({states})"
        with self.changing("add", detail) as (connection, number):
            edits.add(connection, number, watch, enrolled)
        return self._written(number)

    def forget(self, reference_ids: Iterable[str]) -> Revision:
        """Remove references, present or past, with their pictures; neither `undo` brings back.

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

        What was removed before cannot be brought back by `undo` or `rollback` then.
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
        """Write the file anew without the room of what was deleted, and empty the log."""
        connection = self._open_connection()
        with translated(self.path):
            connection.execute("VACUUM")
        write_back(connection, self._access.timeout_s)

    def remove(self, reference_ids: Iterable[str]) -> Revision:
        """Remove references; their pictures stay in the file for `undo`."""
        ids = edits.unique(reference_ids)
        with self.changing("remove", edits.named(ids)) as (connection, number):
            edits.end(connection, number, ids)
        return self._written(number)

    def relabel(self, reference_ids: Iterable[str], state: str) -> Revision:
        """Say that references show another state."""
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

    def undo(self) -> Revision:
        """Take the last change back that was not taken back yet, as a new revision.

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
        """Return what is different at revision `after` from `before`."""
        with self.reading() as connection:
            for number in (before, after):
                history.checked_revision(connection, number)
            return history.difference(connection, before, after)

    def check(self) -> tuple[str, ...]:
        """Return what is wrong with the file, a line each; reads all of it."""
        with self.reading() as connection:
            return tuple(history.problems(connection))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give one moment of the file, for what this package keeps beside references."""
        connection = self._open_connection()
        with translated(self.path), transaction(connection, writes=False):
            yield connection

    @contextmanager
    def changing(self, verb: str, detail: str) -> Iterator[tuple[sqlite3.Connection, int]]:
        """Give a transaction and the number of the revision that it makes."""
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
        if now != self._identity:
            self._reopen(now)
        return self._connection

    def _reopen(self, identity: tuple[int, int]) -> None:
        """Go over to the file that is in the place of the one that was opened."""
        access = self._access
        connection = open_database(
            self.path, create=False, read_only=access.read_only, timeout_s=access.timeout_s
        )
        old, self._connection = self._connection, connection
        self._identity = identity
        self._openings += 1
        if old is not None:
            with suppress(sqlite3.Error):
                old.close()
