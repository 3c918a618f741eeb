"""Files made from the rows of an index, to be mapped into memory by a search."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_sim.errors import SearchError
from edge_sim.index_store import rows
from edge_sim.indexes import AUTO, build_graph, chosen_kind
from edge_sim.ranking import Rows

Progress = Callable[[int, int], object]
"""Called with (done, total) rows of a graph; False stops."""


class _Made(msgspec.Struct, frozen=True):
    """What is written in the settings: after which change, and as what."""

    changes: int
    kind: str
    reason: str
    graph: bool


@dataclass(frozen=True, slots=True)
class Made:
    """Files that are up to date.

    Args:
        vectors: The .npy file.
        graph: The graph; None where the kind needs none.
        why: Kind, and the reason for it.
    """

    vectors: Path
    graph: Path | None
    why: tuple[str, str]

    @property
    def kind(self) -> str:
        """A key of `edge_sim.indexes.KINDS`."""
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
    if made.changes != int(found["changes"]) or not all(path.is_file() for path in needed):
        return None
    return Made(vectors, graph if made.graph else None, (made.kind, made.reason))


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
    if found.ndim != 2 or len(found) != count or found.dtype != np.float32:
        raise SearchError(
            f"{made.vectors}: damaged; delete it and run `edge-sim index build` again"
        )
    return found


def make(
    connection: sqlite3.Connection, folder: Path, kind: str, watching: Progress | None
) -> None:
    """Make the files if they are not up to date; old ones are deleted afterwards.

    Raises:
        SearchError: The disk is full, or the kind needs what is not installed.
    """
    if current(connection, folder) is not None:
        return
    found = rows.settings(connection)
    changes = int(found["changes"])
    vectors, graph = _names(folder, changes)
    count, width = rows.counts(connection).pictures, int(found.get("width", 0))
    dimension = int(found.get("dimension", 0))
    taken, reason = chosen_kind(count, dimension) if kind == AUTO else (kind, "asked for")
    _write_vectors(connection, vectors, count, width)
    has_graph = taken == "hnsw" and count > 0
    if has_graph:
        _write_graph(np.load(vectors, mmap_mode="r")[:, :dimension], graph, watching)
    made = _Made(changes, taken, reason, has_graph)
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
    part = path.with_suffix(".part")
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


def _write_graph(vectors: Rows, path: Path, watching: Progress | None) -> None:
    graph: Any = build_graph(vectors, progress=watching)
    part = path.with_suffix(".part")
    try:
        graph.save(str(part))
    except RuntimeError as error:
        raise SearchError(f"{path}: cannot be written ({error})") from error
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
