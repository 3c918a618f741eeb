"""Pictures of an index, row by row, with their attributes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_sim.core.files import printable
from edge_sim.core.sqlite import kept_figure, kept_path
from edge_sim.search import attributes


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
            **self.own,
            "path": printable(self.path),
            "folder": self.path.parent.as_posix(),
            "state": self.state,
            "suffix": self.path.suffix.lower().lstrip("."),
            "width": str(self.width),
            "height": str(self.height),
            "bytes": str(self.file_bytes),
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the (key, value) pairs that filters see: the attributes, and each tag as `tag`."""
        yield from self.attributes.items()
        yield from ((attributes.TAG, tag) for tag in self.tags)


def entries(connection: sqlite3.Connection) -> Iterator[IndexEntry]:
    """Yield the pictures in order of their rows."""
    marked = attributes.tags_of_files(connection)
    own = attributes.attributes_of_files(connection)
    found = connection.execute(
        "SELECT files.id, path, bytes, width, height, sharpness, contrast, content "
        "FROM files JOIN contents ON contents.id = content ORDER BY files.id"
    )
    for number, path, size, width, height, sharpness, contrast, content in found:
        yield IndexEntry(
            path=kept_path(path),
            width=int(width),
            height=int(height),
            file_bytes=int(size),
            sharpness=kept_figure(sharpness),
            contrast=kept_figure(contrast),
            content=int(content),
            tags=marked.get(number, ()),
            own=own.get(number, {}),
        )
