"""What goes into an index and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from edge_sim.ranking import Rows

LOOK_PX = 48
"""Side of the grey look that near-duplicates are found by."""


class VectorScale(str, Enum):
    """What of a picture is compared."""

    GLOBAL = "global"
    """What is seen."""
    SPATIAL = "spatial"
    """Where it is seen: the cells of the picture, one by one."""
    BOTH = "both"
    """The mean of the two cosines."""


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """How a new index is made.

    Args:
        root: Folder of the pictures.
        model_id: Of the embedder.
        model: What opens the same embedder again: `default`, `thumbnail` or a path.
        scale: What is kept; `both` can be searched in all three ways.
        kind: A key of `edge_sim.indexes.KINDS`, or `auto`: chosen by size.
    """

    root: Path
    model_id: str
    model: str = "default"
    scale: VectorScale = VectorScale.GLOBAL
    kind: str = "auto"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A picture in the index.

    Args:
        path: Relative to the root.
        width: In pixels.
        height: In pixels.
        file_bytes: Size of the file.
        sharpness: As in `Quality`.
        contrast: As in `Quality`.
        content: The same number for files that are byte for byte the same.
        tags: Sorted.
    """

    path: Path
    width: int
    height: int
    file_bytes: int
    sharpness: float
    contrast: float
    content: int
    tags: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """Name of the folder that the picture lies in; empty directly under the root."""
        return self.path.parent.name

    @property
    def attributes(self) -> Mapping[str, str]:
        """What `--where` may ask for, besides tags."""
        return {
            "folder": self.path.parent.as_posix(),
            "state": self.state,
            "suffix": self.path.suffix.lower().lstrip("."),
            "width": str(self.width),
            "height": str(self.height),
        }


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that is in no search, and why. The path is relative to the root."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class PictureTable:
    """The pictures and their vectors, row by row.

    Args:
        entries: (N) in order of their rows.
        vectors: (N, D + S) float32: a unit vector of D numbers, then one of S for the cells.
        dimension: D.
        kind: Of the index to open over them.
        graph: File of the graph; None where there is none.
    """

    entries: tuple[IndexEntry, ...]
    vectors: Rows
    dimension: int
    kind: str
    graph: Path | None = None


@dataclass(frozen=True, slots=True)
class Info:
    """What `edge-sim index info` says."""

    path: Path
    root: Path
    model_id: str
    model: str
    scale: VectorScale
    dimension: int
    spatial_dimension: int
    pictures: int
    unread: int
    kind: str
    reason: str
    bytes_on_disk: int
    ready: bool
    tags: Mapping[str, int] = field(default_factory=dict)
