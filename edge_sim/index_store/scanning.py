"""Which picture files there are, and which of them changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_sim.errors import SearchError
from edge_sim.files import exists, is_dir
from edge_sim.index_store.records import Unread
from edge_sim.sources.pictures import natural_key
from edge_sim.sources.uri import PICTURE_SUFFIXES


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it is now: when both are as before, its content is taken to be the same."""

    size: int
    mtime_ns: int


@dataclass(slots=True)
class Scan:
    """What a walk through the folder met.

    Args:
        files: Path relative to the root -> state, in natural order.
        unread: Files and folders that cannot be looked at.
        closed: Those of them that are folders; nothing is known of what is below.
    """

    files: dict[Path, FileState] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)
    closed: set[Path] = field(default_factory=set)


def scan(root: Path, starts: Iterable[Path] = (), *, skip: Path | None = None) -> Scan:
    """Return the pictures under `root`, or under `starts` inside it.

    Links to files are followed, links to folders are not, so a loop of links ends. A file that is
    named itself is taken whatever its suffix.

    Args:
        root: An absolute folder.
        starts: Absolute files or folders under the root; none means all.
        skip: An absolute folder that is left out: the index itself.

    Raises:
        SearchError: There is no such folder, or a start is not there or not under the root.
    """
    if not is_dir(root):
        raise SearchError(f"{root}: no such folder")
    found = Scan()
    chosen = list(starts)
    for start in chosen:
        if not start.is_relative_to(root):
            raise SearchError(f"{start}: not under {root}, which is the folder of this index")
        if not exists(start):
            raise SearchError(f"{start}: no such file or folder")
    for start in chosen or [root]:
        paths = _walk(start, root, found, skip) if is_dir(start) else iter([start])
        for path in paths:
            _look(path, root, found)
    found.files = {path: found.files[path] for path in sorted(found.files, key=natural_key)}
    return found


def _walk(start: Path, root: Path, found: Scan, skip: Path | None) -> Iterator[Path]:
    def closed(error: OSError) -> None:
        folder = Path(os.fsdecode(error.filename)).relative_to(root)
        found.closed.add(folder)
        found.unread.append(Unread(folder, error.strerror or "cannot be opened"))

    for folder, below, names in os.walk(start, onerror=closed):
        here = Path(folder)
        below[:] = sorted(name for name in below if here / name != skip)
        for name in names:
            if Path(name).suffix.lower() in PICTURE_SUFFIXES:
                yield here / name


def _look(path: Path, root: Path, found: Scan) -> None:
    inside = path.relative_to(root)
    try:
        state = path.stat()
    except OSError as error:
        found.unread.append(Unread(inside, error.strerror or "cannot be looked at"))
        return
    if not stat.S_ISREG(state.st_mode):
        # Opening a pipe or a device that is called like a picture could block for ever.
        found.unread.append(Unread(inside, "not a regular file"))
        return
    found.files[inside] = FileState(state.st_size, state.st_mtime_ns)
