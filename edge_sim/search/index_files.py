"""Files made from the rows of an index, to be mapped into memory by a search."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_sim.core.files import is_file, sync_folder
from edge_sim.core.ranking import Rows
from edge_sim.errors import SearchError
from edge_sim.search import rows
from edge_sim.search.indexes import AUTO, build_graph, chosen_kind

Progress = Callable[[int, int], object]
"""Called with (done, total) rows of a graph; False stops."""


_UNFINISHED = ".part"
_CHUNK_BYTES = 1 << 20


class _Made(msgspec.Struct, frozen=True):
    """Entry of the settings: the change that the files were made after, and their kind."""

    changes: int
    kind: str
    reason: str
    graph: bool
    vectors_sum: str | None = None
    graph_sum: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """Derived files that are up to date.

    Args:
        vectors: Path of the .npy file.
        graph: Path of the graph; None where the kind needs none.
        why: Kind, and the reason for it.
        sums: Checksum of each file as it was written; None in an index of an older edge_sim.
    """

    vectors: Path
    graph: Path | None
    why: tuple[str, str]
    sums: Mapping[Path, str | None]

    @property
    def kind(self) -> str:
        """A key of `edge_sim.search.indexes.KINDS`."""
        return self.why[0]


def current(connection: sqlite3.Connection, folder: Path) -> Made | None:
    """Return the files, if they are there and nothing changed since they were made."""
    found = rows.settings(connection)
    if "derived" not in found:
        return None
    try:
        made = msgspec.json.decode(found["derived"], type=_Made)
    except msgspec.DecodeError:
        return None
    vectors, graph = _names(folder, made.changes)
    needed = [vectors, graph] if made.graph else [vectors]
    if made.changes != int(found["changes"]) or not all(map(is_file, needed)):
        return None
    if made.graph and made.graph_sum is None:
        return None  # a graph that may be damaged is not opened: it can crash the process
    sums = {vectors: made.vectors_sum, graph: made.graph_sum}
    return Made(vectors, graph if made.graph else None, (made.kind, made.reason), sums)


def damaged(made: Made) -> Iterator[str]:
    """Yield the faults of the files, after reading all of them.

    Raises:
        OSError: They cannot be read.
    """
    for path in filter(None, (made.vectors, made.graph)):
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


def mapped(made: Made, count: int) -> Rows:
    """Return the vectors, mapped from their file.

    Raises:
        SearchError: The file is damaged.
    """
    try:
        # An empty file cannot be mapped.
        found: Rows = np.load(made.vectors, mmap_mode="r" if count else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SearchError(
            f"{made.vectors}: damaged ({error}); delete it and run `edge-sim index build` again"
        ) from error
    expected = made.sums[made.vectors]
    if made.graph is None and expected is not None and _checksum(made.vectors) != expected:
        raise SearchError(f"{made.vectors}: damaged; run `edge-sim index build` again")
    if found.ndim != 2 or len(found) != count or found.dtype != np.float32:
        raise SearchError(
            f"{made.vectors}: damaged; delete it and run `edge-sim index build` again"
        )
    return found


def make(
    connection: sqlite3.Connection, folder: Path, kind: str, progress: Progress | None
) -> None:
    """Make the files if they are not up to date; old ones are deleted afterwards.

    Raises:
        SearchError: The disk is full, or the kind needs what is not installed.
    """
    present = current(connection, folder)
    if present is not None and not any(damaged(present)):
        return
    found = rows.settings(connection)
    changes = int(found["changes"])
    vectors, graph = _names(folder, changes)
    count, width = rows.counts(connection).pictures, int(found.get("width", 0))
    dimension = int(found.get("dimension", 0))
    taken, reason = chosen_kind(count, dimension) if kind == AUTO else (kind, "configured")
    try:
        _write_vectors(connection, vectors, count, width)
        has_graph = taken == "hnsw" and count > 0
        if has_graph:
            _write_graph(np.load(vectors, mmap_mode="r")[:, :dimension], graph, progress)
        sync_folder(folder)
    finally:
        for part in (vectors, graph):
            with suppress(OSError):
                part.with_suffix(_UNFINISHED).unlink(missing_ok=True)
    sums = (_checksum(vectors), _checksum(graph) if has_graph else None)
    made = _Made(changes, taken, reason, has_graph, *sums)
    connection.execute(
        "INSERT OR REPLACE INTO settings VALUES ('derived', ?)",
        (msgspec.json.encode(made).decode(),),
    )
    keep = {vectors, graph} if has_graph else {vectors}
    for pattern in ("vectors-*", "graph-*"):
        for old in folder.glob(pattern):
            if old not in keep:
                with suppress(OSError):
                    old.unlink()


def _names(folder: Path, changes: int) -> tuple[Path, Path]:
    return folder / f"vectors-{changes}.npy", folder / f"graph-{changes}.usearch"


def _write_vectors(connection: sqlite3.Connection, path: Path, count: int, width: int) -> None:
    part = path.with_suffix(_UNFINISHED)
    with part.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
        np.lib.format.write_array_header_1_0(file, header)
        written = 0
        for vector in rows.vectors(connection):
            if vector.size != width:
                raise SearchError("a vector in the index is damaged; run `edge-sim index verify`")
            file.write(vector.tobytes())
            written += 1
        if written != count:
            raise SearchError(f"{path}: the index changed meanwhile; run it again")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _write_graph(vectors: Rows, path: Path, progress: Progress | None) -> None:
    graph: Any = build_graph(vectors, progress=progress)
    part = path.with_suffix(_UNFINISHED)
    try:
        graph.save(str(part))
    except RuntimeError as error:
        raise SearchError(f"{path}: cannot be written ({error})") from error
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def _checksum(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
