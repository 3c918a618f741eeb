"""Names of one file: links, and which of several equal files is the original.

A symbolic link and what it points to are one picture, and so are hard links. Deleting what others
point to loses the picture, and deleting a link frees nothing, so neither is ever advised.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_sim.index_store import IndexEntry
from edge_sim.sources.pictures import natural_key

_COPY = re.compile(
    r"(?:[ _-]\(\d+\)|\(\d+\)|[ _-]+(?:copy|kopie|copie|copia)(?:[ _-]*\(?\d+\)?)?|~\d*)$"
    r"|^(?:copy|kopie) (?:of|von) ",
    re.IGNORECASE,
)
_UNKNOWN_TIME_NS = 1 << 63


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the file system says of one picture.

    Args:
        is_copy: Whether its name is one that programs give to a copy.
        mtime_ns: Time of the last change; far in the future if the file cannot be asked.
        is_linked: Whether it is a link, or another picture of the list is a link to it.
    """

    is_copy: bool = False
    mtime_ns: int = _UNKNOWN_TIME_NS
    is_linked: bool = False


@dataclass(frozen=True, slots=True)
class Distinct:
    """The pictures of a list, each file once.

    Args:
        rows: Rows that stand for a file of their own.
        facts: For each of them.
        links: Row of every other name of a file -> the row that stands for it.
    """

    rows: tuple[int, ...]
    facts: tuple[FileFacts, ...]
    links: dict[int, int]


def distinct_files(root: Path, entries: Sequence[IndexEntry]) -> Distinct:
    """Return each file once; of several names the one that is no link, then the first, stays.

    Args:
        root: Folder that the paths of the entries are relative to.
        entries: Pictures of an index.
    """
    names: dict[tuple[int, int], list[int]] = {}
    states: list[os.stat_result | None] = []
    soft = []
    for row, entry in enumerate(entries):
        path = root / entry.path
        state = _state(path)
        states.append(state)
        soft.append(path.is_symlink())
        key = (-1, row) if state is None else (state.st_dev, state.st_ino)
        names.setdefault(key, []).append(row)
    rows, facts, links = [], [], {}
    for group in names.values():
        group.sort(key=lambda row: (soft[row], natural_key(entries[row].path)))
        first = group[0]
        state = states[first]
        rows.append(first)
        facts.append(
            FileFacts(
                is_copy=_COPY.search(entries[first].path.stem) is not None,
                mtime_ns=_UNKNOWN_TIME_NS if state is None else state.st_mtime_ns,
                is_linked=len(group) > 1 or soft[first],
            )
        )
        links.update(dict.fromkeys(group[1:], first))
    order = sorted(range(len(rows)), key=rows.__getitem__)
    return Distinct(tuple(rows[at] for at in order), tuple(facts[at] for at in order), links)


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
