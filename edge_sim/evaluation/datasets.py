"""Labelled pictures on disk: folders with a `labels.csv`, tars of class folders."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from edge_sim.domain import BgrImage, is_reserved
from edge_sim.errors import DataError
from edge_sim.files import is_dir, is_file, printable
from edge_sim.imaging import decode
from edge_sim.sources.times import read_time
from edge_sim.tables import named_file, read_table

LABELS = "labels.csv"
NEITHER = "transition"
"""Label of frames that show no state cleanly: never a reference, never asked for."""
_BOUNDARY = "boundary"  # in the nuisance column: between two states of a continuous process
_FIRST_DATE_S = 1e8  # March 1973; smaller numbers count frames or seconds
REST = "not_"
"""Prefix of the state that all others are taken together as."""


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One picture of a labelled folder.

    Args:
        path: Of the picture.
        state: Its label.
        is_clean: Whether it shows its state cleanly.
        time_s: Seconds since 1970 UTC if the table has a date, else its place in the order.
    """

    path: Path
    state: str
    is_clean: bool
    time_s: float


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A labelled folder.

    Args:
        name: Of the folder.
        frames: In the order of the table.
        is_dated: Whether the times are dates.
        is_ordered: Whether the order of the frames is that of shooting.
    """

    name: str
    frames: tuple[LabelledFrame, ...]
    is_dated: bool
    is_ordered: bool

    @property
    def states(self) -> tuple[str, ...]:
        """States of the clean frames, sorted."""
        return tuple(sorted({frame.state for frame in self.frames if frame.is_clean}))

    def against_rest(self, state: str) -> LabelledSet:
        """Return the set with all other states taken together; unchanged without `state`."""
        if state not in self.states or len(self.states) < 3:
            return self
        frames = tuple(
            frame
            if frame.state == state or not frame.is_clean
            else replace(frame, state=REST + state)
            for frame in self.frames
        )
        return replace(self, frames=frames)


def read_set(folder: Path) -> LabelledSet:
    """Return the labelled set in a folder: `labels.csv` with the columns frame and state.

    A column `nuisance` that holds `boundary`, or the state `transition`, keeps a frame out of
    references and questions. A column whose name holds `time` dates the frames, which are then put
    in the order of time. Without dates the order of the table is taken as that of shooting, unless
    META.json calls it not known.

    Raises:
        DataError: No table, a missing column, a picture that is not there or is named twice, a name
            that no state may have, dates among other things, or no state at all.
    """
    table = folder / LABELS
    rows = _rows(table)
    times, is_dated = _times(table, rows)
    frames: list[LabelledFrame] = []
    line_of: dict[Path, int] = {}
    for (line, row), time_s in zip(rows, times, strict=True):
        frame = _frame(folder, row, time_s, f"{table}, line {line}")
        if line_of.setdefault(frame.path, line) != line:
            raise DataError(
                f"{table}, line {line}: {row['frame']} is in line {line_of[frame.path]}"
            )
        frames.append(frame)
    if is_dated:
        frames.sort(key=lambda frame: frame.time_s)
    result = LabelledSet(folder.name, tuple(frames), is_dated, is_dated or _is_ordered(folder))
    if not result.states:
        raise DataError(f"{table}: no frame shows a state")
    return result


def _frame(folder: Path, row: dict[str, str], time_s: float, where: str) -> LabelledFrame:
    """Return one row of the table; `where` it stands begins every error."""
    path = named_file(folder, row["frame"])
    if path is None:
        raise DataError(f"{where}: there is no picture {printable(folder / row['frame'])}")
    state = row["state"].strip()
    if not state:
        raise DataError(f"{where}: no state")
    if is_reserved(state):
        raise DataError(f"{where}: the name {state!r} is reserved; call the state otherwise")
    is_clean = state != NEITHER and _BOUNDARY not in (row.get("nuisance") or "")
    return LabelledFrame(path, state, is_clean, time_s)


def read_tar(path: Path) -> Iterator[tuple[str, BgrImage]]:
    """Yield (class, picture) of every `<class>/<picture>` in a tar, in the order of the tar.

    Raises:
        DataError: The tar or a picture in it cannot be read, or there is none.
    """
    found = False
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                inner = PurePosixPath(member.name)
                if not member.isfile() or len(inner.parts) < 2:
                    continue
                file = archive.extractfile(member)
                if file is None:
                    continue
                found = True
                yield inner.parent.name, _decoded(file.read(), f"{path}: {member.name}")
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path}: the tar cannot be read: {error}") from error
    if not found:
        raise DataError(f"{path}: no `<class>/<picture>` in this tar")


def _decoded(data: bytes, what: str) -> BgrImage:
    try:
        return decode(data)
    except ValueError as error:
        raise DataError(f"{what}: {error}") from error


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the line and the fields of each row."""
    if not is_dir(table.parent):
        raise DataError(f"{table.parent}: there is no such folder")
    if not is_file(table):
        raise DataError(f"{table}: not there; a labelled folder needs one (columns frame, state)")
    found = read_table(table)
    names = found.header
    if not found.rows:
        raise DataError(f"{table}: the table is empty")
    for column in ("frame", "state"):
        if names.count(column) != 1:
            number = "two columns" if column in names else "no column"
            raise DataError(f"{table}: {number} {column!r}; there are {', '.join(names)}")
    for line, row in found.rows:
        if len(row) > len(names):
            raise DataError(f"{table}, line {line}: more fields than the {len(names)} columns")
    return [
        (line, {name: found.field(row, name) for name in dict.fromkeys(names)})
        for line, row in found.rows
    ]


def _times(table: Path, rows: list[tuple[int, dict[str, str]]]) -> tuple[list[float], bool]:
    """Return a time per row, and whether they are dates."""
    places = [float(number) for number in range(len(rows))]
    column = next((name for name in rows[0][1] if "time" in name.lower()), None)
    times = [] if column is None else [_date(row[column]) for _, row in rows]
    dates = [time_s for time_s in times if time_s is not None]
    if not dates:
        return places, False
    if len(dates) < len(rows):
        line = rows[times.index(None)][0]
        raise DataError(f"{table}, line {line}: no date under {column!r}, as other lines have")
    return dates, True


def _date(text: str) -> float | None:
    """Return seconds since 1970; None for what is no date, or a count of frames or seconds."""
    try:
        time_s = read_time(text)
    except ValueError:
        return None
    return time_s if time_s >= _FIRST_DATE_S else None


def _is_ordered(folder: Path) -> bool:
    meta = folder / "META.json"
    if not is_file(meta):
        return True
    try:
        notes = json.loads(meta.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{meta}: cannot be read: {error}") from error
    if not isinstance(notes, dict):
        raise DataError(f"{meta}: must hold an object, holds {type(notes).__name__}")
    return "not known" not in str(notes.get("temporal_order", ""))
