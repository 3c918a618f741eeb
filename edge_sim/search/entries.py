"""Pictures of an index, row by row, with their attributes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.files import printable
from edge_sim.search import attributes
from edge_sim.search.filters import AttributeTable, Column
from edge_sim.search.frames import file_of, split_frame

_CHUNK_ROWS = 16_384
_MOST_FIGURE = 1e9


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """Picture in the index.

    Args:
        path: Path relative to the root.
        width: Width, pixels.
        height: Height, pixels.
        file_bytes: Size of the file, bytes.
        sharpness: Sharpness, as in `Quality`.
        contrast: Contrast, as in `Quality`.
        content: Number of the content, equal for files that are byte for byte the same.
        tags: Sorted tags.
        own: Attributes from the table of the folder and from EXIF.
    """

    path: Path
    width: int
    height: int
    file_bytes: int
    sharpness: float
    contrast: float
    content: int
    tags: tuple[str, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """Name of the folder that the picture lies in; empty directly under the root."""
        return self.path.parent.name

    @property
    def attributes(self) -> Mapping[str, str]:
        """Attributes for filters, besides tags."""
        return {
            **self._place_in_video(),
            **self.own,
            "path": printable(self.path),
            "folder": self.path.parent.as_posix(),
            "state": self.state,
            "suffix": file_of(self.path).suffix.lower().lstrip("."),
            "width": str(self.width),
            "height": str(self.height),
            "bytes": str(self.file_bytes),
        }

    def _place_in_video(self) -> dict[str, str]:
        found = split_frame(os.fsdecode(self.path))
        return {} if found is None else {"video": printable(found[0]), "second": f"{found[1]:g}"}

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the (key, value) pairs that filters see: the attributes, and each tag as `tag`."""
        yield from self.attributes.items()
        yield from ((attributes.TAG, tag) for tag in self.tags)


class EntryTable(Sequence[IndexEntry]):
    """Pictures of an index in order of their rows, kept by column: an entry is made when asked for.

    A million pictures take some 100 MB, and so many entries ten times as much.

    Args:
        paths: (N) paths relative to the root, as bytes.
        figures: (N, 5) float64: bytes, width, height, sharpness, contrast.
        contents: (N,) int64 numbers of the contents.
        tags: Sorted tags of the rows that have any.
        own: Attributes by key.
    """

    def __init__(
        self,
        paths: Sequence[bytes],
        figures: NDArray[np.float64],
        contents: NDArray[np.int64],
        tags: Mapping[int, tuple[str, ...]],
        own: Mapping[str, Column],
    ) -> None:
        self.paths = paths
        self.contents = contents
        self._figures = figures
        self._tags = tags
        self._own = own
        self.names = EntryNames(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, row: int) -> IndexEntry: ...
    @overload
    def __getitem__(self, row: slice) -> list[IndexEntry]: ...
    def __getitem__(self, row: int | slice) -> IndexEntry | list[IndexEntry]:
        if isinstance(row, slice):
            return [self[at] for at in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        size, width, height, sharpness, contrast = self._figures[row].tolist()
        own = {key: value for key, column in self._own.items() if (value := column.value_at(row))}
        return IndexEntry(
            path=Path(os.fsdecode(self.paths[row])),
            width=int(width),
            height=int(height),
            file_bytes=int(size),
            sharpness=sharpness,
            contrast=contrast,
            content=int(self.contents[row]),
            tags=self._tags.get(row, ()),
            own=own,
        )

    def attribute_table(self) -> AttributeTable:
        """Return the attributes for filters; a column is made when it is asked for."""
        makers = {
            "path": lambda: Column.of_texts(map(printable, map(os.fsdecode, self.paths))),
            "folder": lambda: Column.of_texts(map(_folder, self.paths)),
            "state": lambda: Column.of_texts(map(_state, self.paths)),
            "suffix": lambda: Column.of_texts(map(_suffix, self.paths)),
            "bytes": lambda: Column.of_numbers(self._figures[:, 0]),
            "width": lambda: Column.of_numbers(self._figures[:, 1]),
            "height": lambda: Column.of_numbers(self._figures[:, 2]),
            attributes.TAG: self._tag_column,
        }
        own = {key: partial(_itself, column) for key, column in self._own.items()}
        rows = [row for row, path in enumerate(self.paths) if b"#t=" in path]
        if rows:
            names = [split_frame(os.fsdecode(self.paths[row])) or ("", 0.0) for row in rows]
            videos = Column.of_texts((printable(name) for name, _ in names), rows)
            seconds = Column.of_texts((f"{at_s:g}" for _, at_s in names), rows)
            own = {"video": partial(_itself, videos), "second": partial(_itself, seconds), **own}
        return AttributeTable.of_columns(len(self), {**own, **makers})

    def _tag_column(self) -> Column:
        pairs = [(row, tag) for row, tags in self._tags.items() for tag in tags]
        return Column.of_texts((tag for _, tag in pairs), [row for row, _ in pairs])


class EntryNames(Sequence[str]):
    """Paths of the pictures of an index as text, in order of their rows."""

    def __init__(self, paths: Sequence[bytes]) -> None:
        self._paths = paths
        self._rows: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [os.fsdecode(path) for path in self._paths[row]]
        return os.fsdecode(self._paths[row])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _encoded(name) in self._by_path()

    def index(self, name: str, *_: int) -> int:
        """Return the row of a path.

        Raises:
            ValueError: There is none.
        """
        found = self._by_path().get(_encoded(name))
        if found is None:
            raise ValueError(f"no picture {name!r}")
        return found

    def _by_path(self) -> dict[bytes, int]:
        if len(self._rows) != len(self._paths):
            self._rows = {path: row for row, path in enumerate(self._paths)}
        return self._rows


def entries(connection: sqlite3.Connection, *, imported: bool = False) -> EntryTable:
    """Return the pictures in order of their rows.

    Args:
        connection: Database of the index.
        imported: Whether the rows are imported vectors, whose contents have nothing to tell.
    """
    columns = "0, 0, 0, 0" if imported else "width, height, sharpness, contrast"
    source = "files" if imported else "files JOIN contents ON contents.id = content"
    found = connection.execute(
        f"SELECT files.id, path, content, bytes, {columns} FROM {source} "
        "WHERE content IS NOT NULL ORDER BY files.id"
    )
    paths: list[bytes] = []
    numbers, figures = [np.zeros((0, 2), np.int64)], [np.zeros((0, 5))]
    while chunk := found.fetchmany(_CHUNK_ROWS):
        ids, names, contents, *rest = zip(*chunk, strict=True)
        _check_paths(names)
        paths.extend(names)
        numbers.append(np.column_stack([np.array(ids, np.int64), np.array(contents, np.int64)]))
        figures.append(np.column_stack([np.array(part, np.float64) for part in rest]))
    files, contents_of = np.concatenate(numbers).T
    whole = np.concatenate(figures)
    if not (np.abs(whole[:, 3:]) <= _MOST_FIGURE).all():
        raise ValueError("a figure of a picture is out of range")
    marked = attributes.tags_of_files(connection)
    tags = {row: marked[number] for row, number in enumerate(files.tolist()) if number in marked}
    own = attributes.attributes_by_key(connection, files)
    return EntryTable(paths, whole, contents_of, tags if marked else {}, own)


def _check_paths(paths: Sequence[object]) -> None:
    """Raise where a column of paths holds something else; SQLite keeps any type in any column."""
    for path in paths:
        if not isinstance(path, bytes):
            raise TypeError(f"a path of the type {type(path).__name__}")
        if b"\0" in path:
            raise ValueError("a path holds a NUL")


def _itself(column: Column) -> Column:
    return column


def _encoded(name: str) -> bytes:
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:
        return b"\0"  # which no path holds


def _folder(path: bytes) -> str:
    return os.fsdecode(path.rpartition(b"/")[0]) or "."


def _state(path: bytes) -> str:
    return os.fsdecode(path.rpartition(b"/")[0].rpartition(b"/")[2])


def _suffix(path: bytes) -> str:
    return file_of(Path(os.fsdecode(path.rpartition(b"/")[2]))).suffix.lower().lstrip(".")
