"""Files made from the contents of an index, to be mapped into memory by a search.

`vectors-<n>.npy` holds a row per content, `keys-<n>.npy` the numbers of these contents, ascending,
and some kinds of index have a third file. They are never changed. Contents that come later are read
from the database, those that go are left out, and when there are many of either, new files take the
place of the old. So a process that is killed at any moment leaves files that can be used.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.core.files import is_file, sync_folder
from edge_sim.core.ranking import Rows
from edge_sim.errors import SearchError
from edge_sim.search import rows
from edge_sim.search.indexes import AUTO, EXACT_BYTES, KINDS, IndexKind, chosen_kind
from edge_sim.search.ivf import FileProgress
from edge_sim.search.segments import joined

_UNFINISHED = ".part"
_CHUNK_BYTES = 1 << 20
RECENT, RECENT_PART = 1024, 0.02
"""Number of contents, or part of all, that may be missing in the files: 20,000 rows are compared
one by one in about 1 ms, and a row costs its share of the next files."""
GONE_PART = 0.25
"""Part of the rows of the files that may belong to contents that are gone."""


class _Made(msgspec.Struct, frozen=True):
    """Entry of the settings: the change that the files were made after, and their kind."""

    changes: int
    kind: str
    reason: str
    graph: bool
    vectors_sum: str | None = None
    graph_sum: str | None = None
    keys_sum: str | None = None
    """None in an index of an older edge_sim, whose files hold a row per file, not per content."""


@dataclass(frozen=True, slots=True)
class Made:
    """Derived files that can be searched.

    Args:
        vectors: Path of the .npy file.
        keys: Path of the numbers of the contents; None where the rows are those of the pictures.
        graph: Path of the graph or of the inverted lists; None where there is none.
        why: Kind, and the reason for it.
        sums: Checksum of each file as it was written.
    """

    vectors: Path
    keys: Path | None
    graph: Path | None
    why: tuple[str, str]
    sums: Mapping[Path, str | None]

    @property
    def kind(self) -> str:
        """A key of `edge_sim.search.indexes.KINDS`."""
        return self.why[0]

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of the files."""
        return tuple(path for path in (self.vectors, self.keys, self.graph) if path is not None)


@dataclass(frozen=True, slots=True)
class Lag:
    """Difference between the files and the database.

    Args:
        base: Number of rows in the files.
        recent: Number of contents that are not in the files.
        gone: Number of rows whose content is gone.
    """

    base: int
    recent: int
    gone: int

    @property
    def is_small(self) -> bool:
        """True if a search is about as quick as with new files."""
        few = max(RECENT, RECENT_PART * self.base)
        return self.recent <= few and self.gone <= GONE_PART * self.base


def current(connection: sqlite3.Connection, folder: Path) -> Made | None:
    """Return the files, if they are there and can be searched."""
    found = rows.settings(connection)
    if "derived" not in found:
        return None
    try:
        made = msgspec.json.decode(found["derived"], type=_Made)
    except msgspec.DecodeError:
        return None
    if made.kind not in KINDS:
        return None
    vectors, keys, graph = _names(folder, made.changes, made.kind)
    sums: dict[Path, str | None] = {vectors: made.vectors_sum}
    if made.keys_sum is None and made.changes != int(found["changes"]):
        return None
    if made.keys_sum is not None:
        sums[keys] = made.keys_sum
    if made.graph:
        if made.graph_sum is None:
            return None  # a graph that may be damaged is not opened: it can crash the process
        sums[graph] = made.graph_sum
    if not all(map(is_file, sums)):
        return None
    kept = keys if keys in sums else None
    return Made(vectors, kept, graph if made.graph else None, (made.kind, made.reason), sums)


def lag(connection: sqlite3.Connection, made: Made) -> Lag:
    """Return how far the files are behind.

    Raises:
        SearchError: The keys are damaged.
    """
    if made.keys is None:
        return Lag(0, 0, 0)
    keys = _loaded_keys(made.keys)
    last = int(keys[-1]) if len(keys) else 0
    (recent,) = connection.execute("SELECT count(*) FROM contents WHERE id > ?", (last,)).fetchone()
    (total,) = connection.execute("SELECT count(*) FROM contents").fetchone()
    return Lag(len(keys), recent, len(keys) - (total - recent))


def damaged(made: Made) -> Iterator[str]:
    """Yield the faults of the files, after reading all of them.

    Raises:
        OSError: They cannot be read.
    """
    for path in made.paths:
        expected = made.sums[path]
        if expected is not None and _checksum(path) != expected:
            yield f"{path.name} is damaged: run `edge-sim index build` again"


def check_graph(made: Made) -> None:
    """Raise `SearchError` if the graph is not as it was written: opening it could crash.

    Raises:
        SearchError: The graph is damaged, or cannot be read.
    """
    if made.graph is None:
        return
    try:
        is_sound = _checksum(made.graph) == made.sums[made.graph]
    except OSError as error:
        raise SearchError(f"{made.graph}: cannot be read ({error.strerror})") from error
    if not is_sound:
        raise SearchError(f"{made.graph}: damaged; run `edge-sim index build` again")


def all_rows(connection: sqlite3.Connection, made: Made, contents: NDArray[np.int64]) -> Rows:
    """Return the vectors of the pictures: those in the files mapped, the others read.

    Args:
        connection: Database of the index.
        made: Its files.
        contents: (N,) number of the content of each picture, in the order of the rows.

    Raises:
        SearchError: A file is damaged.
    """
    base = _mapped(made)
    if not len(base):  # perhaps made before the length of a vector was known
        base = np.zeros((0, int(rows.settings(connection).get("width", 0))), np.float32)
    if made.keys is None:
        if len(base) != len(contents):
            raise _damaged_file(made.vectors)
        return base
    keys = _loaded_keys(made.keys)
    if _checksum(made.keys) != made.sums[made.keys] or len(keys) != len(base):
        raise _damaged_file(made.keys)
    places = np.searchsorted(keys, contents)
    known = places < len(keys)
    known[known] = keys[places[known]] == contents[known]
    missing = np.unique(contents[~known])
    places[~known] = len(keys) + np.searchsorted(missing, contents[~known])
    recent = _read_vectors(connection, missing, base.shape[1])
    return joined(base, recent, places.astype(np.intp))


def _read_vectors(
    connection: sqlite3.Connection, contents: NDArray[np.int64], width: int
) -> NDArray[np.float32]:
    found = np.empty((len(contents), width), np.float32)
    for row, number in enumerate(contents.tolist()):
        vector = rows.vector_of(connection, number)
        if vector.size != width:
            raise SearchError("a vector in the index is damaged; run `edge-sim index verify`")
        found[row] = vector
    return found


def _mapped(made: Made) -> Rows:
    try:
        # An empty file cannot be mapped.
        found: Rows = np.load(made.vectors, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        found = _empty(made.vectors, error)
    expected = made.sums[made.vectors]  # None: written by a version without checksums
    if made.graph is None and expected is not None and _checksum(made.vectors) != expected:
        raise SearchError(f"{made.vectors}: damaged; run `edge-sim index build` again")
    if found.ndim != 2 or found.dtype != np.float32:
        raise _damaged_file(made.vectors)
    return found


def _empty(path: Path, mapping: Exception) -> Rows:
    """Return a file without rows, which cannot be mapped."""
    try:
        found: Rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged_file(path, error) from error
    if found.size:
        raise _damaged_file(path, mapping) from mapping
    return found


def _loaded_keys(path: Path) -> NDArray[np.int64]:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.int64)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged_file(path, error) from error


def _damaged_file(path: Path, error: Exception | None = None) -> SearchError:
    # Not NumPy's own words, which advise to load what is no array as code.
    why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    return SearchError(f"{path}: damaged{why}; delete it and run `edge-sim index build` again")


def make(
    connection: sqlite3.Connection,
    folder: Path,
    kind: str,
    progress: FileProgress | None,
    *,
    checked: bool = True,
) -> None:
    """Make the files if they are far behind; old ones are deleted afterwards.

    Args:
        connection: Database of the index.
        folder: Folder of the index.
        kind: Wanted kind, or `auto`.
        progress: Called with (done, total) rows while a graph is made.
        checked: Whether all files are read, and made anew where they are damaged.

    Raises:
        SearchError: The disk is full, or the kind needs what is not installed.
    """
    earlier = current(connection, folder)
    if earlier is not None and checked and any(damaged(earlier)):
        earlier = None
    behind = None if earlier is None else lag(connection, earlier)
    found = rows.settings(connection)
    dimension = int(found.get("dimension", 0))
    taken = "" if earlier is None else earlier.kind
    if earlier is not None and behind is not None:
        wanted = kind
        if kind == AUTO:
            wanted = _still_chosen(taken, behind.base + behind.recent - behind.gone, dimension)
        if wanted != taken:
            earlier = None
        elif behind.is_small:
            return
        elif behind.gone > GONE_PART * behind.base or (not checked and any(damaged(earlier))):
            earlier = None
    _make(connection, folder, kind, progress, earlier)


def _still_chosen(present: str, count: int, dimension: int) -> str:
    """Return the kind that `auto` takes: the present one a little below its limit as well."""
    size = 4 * count * dimension
    if present != "exact" and EXACT_BYTES / 2 < size <= EXACT_BYTES:
        return present
    return chosen_kind(count, dimension)[0]


def _make(
    connection: sqlite3.Connection,
    folder: Path,
    kind: str,
    progress: FileProgress | None,
    earlier: Made | None,
) -> None:
    """Make the files anew, or from `earlier` ones and what came since."""
    found = rows.settings(connection)
    width, dimension = int(found.get("width", 0)), int(found.get("dimension", 0))
    keys = rows.content_numbers(connection)
    old = keys[:0] if earlier is None or earlier.keys is None else _loaded_keys(earlier.keys)
    if len(old):
        keys = np.concatenate([old, keys[keys > old[-1]]])
    else:
        earlier = None
    taken, reason = chosen_kind(len(keys), dimension) if kind == AUTO else (kind, "configured")
    if earlier is not None:
        taken, reason = earlier.why
    number = int(found["changes"])
    while is_file(_names(folder, number, taken)[0]):
        number += 1  # files in use are never written over
    names = _names(folder, number, taken)
    own = KINDS[taken]
    has_graph = own.write is not None and len(keys) >= own.least_rows
    written = names if has_graph else names[:2]
    try:
        _write_vectors(connection, names[0], keys, width, earlier)
        _write_keys(names[1], keys)
        if has_graph:
            _write_graph(own, names, dimension, progress, earlier)
        sync_folder(folder)
    finally:
        for path in written:
            with suppress(OSError):
                _part(path).unlink(missing_ok=True)
    vectors_sum, keys_sum, *graph_sum = map(_checksum, written)
    made = _Made(
        number, taken, reason, has_graph, vectors_sum, graph_sum[0] if graph_sum else None, keys_sum
    )
    rows.keep_derived(connection, msgspec.json.encode(made).decode(), int(keys[-1:].sum()))
    for pattern in ("vectors-*", "keys-*", "graph-*", "lists-*"):
        for old_file in folder.glob(pattern):
            if old_file not in written:
                with suppress(OSError):
                    old_file.unlink()


def _names(folder: Path, changes: int, kind: str) -> tuple[Path, Path, Path]:
    pattern = KINDS[kind].file or "graph-{}"
    vectors, keys = folder / f"vectors-{changes}.npy", folder / f"keys-{changes}.npy"
    return vectors, keys, folder / pattern.format(changes)


def _part(path: Path) -> Path:
    return path.with_suffix(_UNFINISHED)


def _finish(path: Path) -> None:
    part = _part(path)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def _write_vectors(
    connection: sqlite3.Connection,
    path: Path,
    keys: NDArray[np.int64],
    width: int,
    earlier: Made | None,
) -> None:
    """Write the vectors of the contents `keys`; the first of them are taken from older files."""
    old = None if earlier is None else _mapped(earlier)
    start = 0 if old is None else len(old)
    with _part(path).open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(keys), width)}
        np.lib.format.write_array_header_1_0(file, header)
        step = max(1, _CHUNK_BYTES // max(1, 4 * width))
        for at in range(0, start, step):
            file.write(np.ascontiguousarray(old[at : at + step]).tobytes())  # type: ignore[index]
        written = start
        after = int(keys[start - 1]) if start else -1
        for number, vector in rows.vectors_after(connection, after):
            if vector.size != width:
                raise SearchError("a vector in the index is damaged; run `edge-sim index verify`")
            if written == len(keys) or number != keys[written]:
                raise SearchError(f"{path}: the index changed meanwhile; run it again")
            file.write(vector.tobytes())
            written += 1
        if written != len(keys):
            raise SearchError(f"{path}: the index changed meanwhile; run it again")
        file.flush()
        os.fsync(file.fileno())
    _part(path).replace(path)


def _write_keys(path: Path, keys: NDArray[np.int64]) -> None:
    with _part(path).open("wb") as file:
        np.save(file, keys)
    _finish(path)


def _write_graph(
    own: IndexKind,
    names: tuple[Path, Path, Path],
    dimension: int,
    progress: FileProgress | None,
    earlier: Made | None,
) -> None:
    vectors, _, path = names
    before = None if earlier is None else earlier.graph
    if own.write is not None:
        unit = np.load(vectors, mmap_mode="r")[:, :dimension]
        own.write(unit, _part(path), progress=progress, earlier=before)
        _finish(path)


def _checksum(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
