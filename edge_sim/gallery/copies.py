"""Backup and restore of the gallery file, whole, while other processes use it.

A sound file receives the copy as one change under SQLite's locks, so that a running daemon sees
it; the previous content is kept beside it. A damaged file is moved away with its log first.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_sim.core import sqlite
from edge_sim.core.files import entries, exists, is_dir, make_private
from edge_sim.core.sqlite import transaction, write_back
from edge_sim.errors import GalleryError
from edge_sim.gallery import history, integrity
from edge_sim.gallery.database import (
    BUSY_TIMEOUT_S,
    GALLERY,
    check_header,
    open_database,
    opened_alone,
    translated,
)

_PARTS = ("", "-wal", "-shm", "-journal")
_KEPT = ".before-restore-"


@dataclass(frozen=True, slots=True)
class Restored:
    """Outcome of a restore.

    Args:
        revision: Last revision of the copy.
        kept: Place where the gallery that was there before is kept; None if there was none.
    """

    revision: int
    kept: Path | None


def back_up(path: Path, target: Path, *, timeout_s: float = BUSY_TIMEOUT_S) -> int:
    """Write the gallery at `path`, log included, to the one file `target`; return its revision.

    Raises:
        GalleryError: There is a file at `target`, the gallery is damaged, or the disk is full.
    """
    with translated(target):
        if exists(target) or target.is_symlink():
            raise GalleryError(f"{target} is there already; name a new file")
    opened = open_database(path, create=False, read_only=True, timeout_s=timeout_s)
    with closing(opened) as source, translated(target):
        _check_sound(source, path, "no copy was made")
        with _copied(source, target) as copy:
            _put_in_place(copy, target)
            return _revision(target)


def restore(path: Path, copy: Path, *, timeout_s: float = BUSY_TIMEOUT_S) -> Restored:
    """Make the gallery at `path` what the file `copy` is; what was there is kept beside it.

    Args:
        path: Place of the gallery; nothing need be there.
        copy: A gallery file; `path` itself if a copy was put there beside an old log.
        timeout_s: Longest wait for another process, seconds.

    Raises:
        GalleryError: `copy` is no sound gallery, `path` belongs to another program, or the disk
            is full; nothing was changed.
    """
    with translated(path):
        is_same = exists(path) and exists(copy) and path.samefile(copy)
        if exists(path):
            _check_own(path)
    with closing(_opened_copy(copy, is_same, timeout_s)) as source, translated(path):
        _check_sound(source, copy, "nothing was restored")
        with _copied(source, path) as whole:
            revision = _revision(whole)
            if not exists(path):
                _put_in_place(whole, path)
                return Restored(revision, None)
            try:
                opened = open_database(path, create=False, read_only=False, timeout_s=timeout_s)
            except GalleryError as error:
                if _is_passing(error):
                    raise
                return Restored(revision, _put_in_place_of_damaged(whole, path))
            with closing(opened) as present:
                return Restored(revision, _taken_in(whole, present, path, timeout_s))


def _opened_copy(copy: Path, is_same: bool, timeout_s: float) -> sqlite3.Connection:
    if is_same:
        return opened_alone(copy, timeout_s)
    return open_database(copy, create=False, read_only=True, timeout_s=timeout_s)


def _check_own(path: Path) -> None:
    """Raise `GalleryError` if what is at `path` cannot have been a gallery."""
    if is_dir(path):
        raise GalleryError(f"{path} is a directory, not a gallery file")
    try:
        check_header(path)
    except GalleryError as error:
        if "another program" in str(error):
            raise
    except sqlite3.Error:
        pass  # damaged: that is why a copy is to take its place


def _check_sound(source: sqlite3.Connection, path: Path, outcome: str) -> None:
    with translated(path), transaction(source, writes=False):
        found = next(history.problems(source), None)
    if found is not None:
        raise GalleryError(f"{path}: the gallery is damaged ({found}); {outcome}")


@contextmanager
def _copied(source: sqlite3.Connection, beside: Path) -> Iterator[Path]:
    """Give a copy in one file of the present format, in the folder of `beside`."""
    if not is_dir(beside.parent):
        raise GalleryError(f"{beside}: there is no folder {beside.parent}; make it first")
    temporary = beside.with_name(f".{beside.name}.{secrets.token_hex(4)}.new")
    try:
        make_private(temporary)
        with closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA synchronous = FULL")
            copy.execute("PRAGMA journal_mode = DELETE")
            _seal(copy)
        yield temporary
    finally:
        for suffix in _PARTS:
            Path(f"{temporary}{suffix}").unlink(missing_ok=True)


def _seal(copy: sqlite3.Connection) -> None:
    """Bring a copy of the first format to the present one."""
    with transaction(copy, writes=True):
        number = history.head(copy)
        if number and integrity.last(copy) is None:
            integrity.put(copy, number, logged=True)
            copy.execute(f"PRAGMA user_version = {GALLERY.format}")


def _taken_in(whole: Path, present: sqlite3.Connection, path: Path, timeout_s: float) -> Path:
    """Write the copy into the open gallery as one change; return where its content is kept."""
    kept = _free_name(path)
    write_back(present, timeout_s)
    with _copied(present, kept) as before:
        _put_in_place(before, kept)
    with closing(sqlite3.connect(whole, isolation_level=None)) as source:
        with transaction(source, writes=True), closing(opened_alone(path, timeout_s)) as own:
            integrity.mark(source, integrity.latest(own))
        source.backup(present)
    write_back(present, timeout_s)
    return kept


def _put_in_place_of_damaged(whole: Path, path: Path) -> Path:
    kept = _free_name(path)
    moved: list[str] = []
    try:
        # The log first: without it the file is what was last written back, never a mixture.
        for suffix in reversed(_PARTS):
            part = Path(f"{path}{suffix}")
            if exists(part):
                part.rename(f"{kept}{suffix}")
                moved.append(suffix)
        _put_in_place(whole, path)
    except OSError:
        if not exists(path):
            for suffix in reversed(moved):
                Path(f"{kept}{suffix}").rename(f"{path}{suffix}")
        raise
    return kept


def _is_passing(error: GalleryError) -> bool:
    """Return whether the system caused an error, as by a full disk or a lock, and not the file."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return isinstance(cause, sqlite3.OperationalError) and not sqlite.is_damage(cause)
    return isinstance(cause, OSError)


def kept_beside(path: Path) -> tuple[Path, ...]:
    """Return the files that earlier restores have kept beside a gallery, sorted by name.

    Raises:
        AccessError: The folder cannot be read.
    """
    start = f"{path.name}{_KEPT}"
    return tuple(item for item in entries(path.absolute().parent) if item.name.startswith(start))


def _free_name(path: Path) -> Path:
    for number in range(1, 10_000):
        kept = path.with_name(f"{path.name}{_KEPT}{number}")
        if not any(exists(f"{kept}{suffix}") for suffix in _PARTS):
            return kept
    raise GalleryError(f"{path}: too many galleries are kept beside it; remove some")


def _put_in_place(temporary: Path, path: Path) -> None:
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sqlite.put_in_place(temporary, path)


def _revision(path: Path) -> int:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return history.head(connection)
