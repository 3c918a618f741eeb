"""Labelled pictures on disk (folders and tars, of classes or with a `labels.csv`) and embedded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from edge_sim.analysis.evaluation.tars import open_tar, read_labelled_picture
from edge_sim.core.files import entries, is_dir, is_file, printable
from edge_sim.core.protocols import Embedder
from edge_sim.core.tables import Table, named_file, parse_table, read_table
from edge_sim.core.types import BgrImage, Probe, Reference, is_reserved
from edge_sim.errors import DataError
from edge_sim.gallery.gallery import Gallery
from edge_sim.io.sources.pictures import natural_key, read_time
from edge_sim.io.sources.uri import PICTURE_SUFFIXES
from edge_sim.search.build import is_made_by_programs
from edge_sim.vision.light import condition_of
from edge_sim.vision.probe import Region, make_probe

LABELS = "labels.csv"
NEITHER = "transition"
"""Label of frames that show no state cleanly: never a reference and never judged."""
_BOUNDARY = "boundary"  # in the nuisance column: between two states of a continuous process
_FIRST_DATE_S = 1e8  # March 1973; smaller numbers count frames or seconds
_MOST_FOLDERS = 16  # within each other
REST = "not_"
"""Prefix of the state that stands for all others."""


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One picture of a labelled folder.

    Args:
        path: File of the picture, as `tars.read_labelled_picture` reads it.
        state: Label.
        is_clean: Whether it shows its state cleanly.
        time_s: Seconds since 1970 UTC if the table has a date, else the place in the order.
    """

    path: Path
    state: str
    is_clean: bool
    time_s: float


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A labelled folder or tar.

    Args:
        name: Name of the folder, or of the tar without its suffix.
        frames: Frames in the order of the table.
        is_dated: Whether the times are dates.
        is_ordered: Whether the order of the frames is that of shooting.
    """

    name: str
    frames: tuple[LabelledFrame, ...]
    is_dated: bool
    is_ordered: bool

    @property
    def clean(self) -> int:
        """Number of frames that show their state cleanly."""
        return sum(frame.is_clean for frame in self.frames)

    @property
    def states(self) -> tuple[str, ...]:
        """States of the clean frames, sorted."""
        return tuple(sorted({frame.state for frame in self.frames if frame.is_clean}))

    def against_rest(self, state: str) -> LabelledSet:
        """Return the set with all other states as one; unchanged without `state`."""
        if state not in self.states or len(self.states) < 3:
            return self
        frames = tuple(
            frame
            if frame.state == state or not frame.is_clean
            else replace(frame, state=REST + state)
            for frame in self.frames
        )
        return replace(self, frames=frames)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPicture:
    """One picture of a labelled collection.

    Args:
        label: Its class.
        name: Its file; in a tar as in `shelf.tar/open/1.jpg`.
        pixels: The picture.
    """

    label: str
    name: str
    pixels: BgrImage


def read_set(path: Path) -> LabelledSet:
    """Return the labelled set in a folder or a tar: `labels.csv` with the columns frame and state.

    Without a table, but with folders of pictures, it is a set, too: each picture shows the state
    that its folder is named after, and nothing is known of their order.

    A column `nuisance` that holds `boundary`, or the state `transition`, excludes a frame from
    references and judgement. A column whose name holds `time` dates the frames, which are then put
    in the order of time. Without dates the order of the table is taken as that of shooting, unless
    META.json calls it not known.

    Raises:
        DataError: No table, a missing column, a picture that is not there or is named twice, a
            reserved name of a state, dates mixed with other values, or no state at all.
    """
    if is_file(path):
        return _read_tar(path)
    table = path / LABELS
    if not is_file(table) and is_dir(path):
        return _of_class_folders(path, path.name, list(_class_pictures(path)))
    rows = _rows(table)
    frames, is_dated = _frames(table, rows, partial(named_file, path))
    return LabelledSet(path.name, frames, is_dated, is_dated or _is_ordered(path / "META.json"))


def _read_tar(path: Path) -> LabelledSet:
    tar = open_tar(path)
    name = path.with_suffix("").name.removesuffix(".tar")
    found = tar.uppermost(LABELS)
    if found is None:
        pictures = [
            path / text for text in tar.names if "/" in text and _is_picture(PurePosixPath(text))
        ]
        return _of_class_folders(path, name, pictures)
    folder = PurePosixPath(found).parent

    def named(text: str) -> Path | None:
        inner = tar.find(str(folder / text))
        return None if inner is None else path / inner

    table = path / found
    rows = _checked_rows(table, parse_table(tar.read(found), printable(table)))
    frames, is_dated = _frames(table, rows, named)
    meta = tar.find(str(folder / "META.json"))
    is_ordered = meta is None or _is_known(path / meta, tar.read(meta))
    return LabelledSet(name, frames, is_dated, is_dated or is_ordered)


def _is_picture(name: PurePosixPath) -> bool:
    """Return True for a picture of people: neither hidden nor a thumbnail of a network drive."""
    is_made = name.name.startswith(".") or any(map(is_made_by_programs, name.parts[:-1]))
    return not is_made and name.suffix.lower() in PICTURE_SUFFIXES


def _frames(
    table: Path, rows: list[tuple[int, dict[str, str]]], named: Callable[[str], Path | None]
) -> tuple[tuple[LabelledFrame, ...], bool]:
    """Return the frames in order, and whether their times are dates."""
    times, is_dated = _times(table, rows)
    frames: list[LabelledFrame] = []
    line_of: dict[Path, int] = {}
    for (line, row), time_s in zip(rows, times, strict=True):
        where = f"{printable(table)}, line {line}"
        path = named(row["frame"])
        if path is None:
            raise DataError(
                f"{where}: there is no picture {printable(table.parent / row['frame'])}"
            )
        frame = _frame(path, row, time_s, where)
        if line_of.setdefault(frame.path, line) != line:
            raise DataError(f"{where}: {row['frame']} is in line {line_of[frame.path]}")
        frames.append(frame)
    if is_dated:
        frames.sort(key=lambda frame: frame.time_s)
    if not any(frame.is_clean for frame in frames):
        raise DataError(f"{printable(table)}: no frame shows a state")
    return tuple(frames), is_dated


def _of_class_folders(path: Path, name: str, pictures: Sequence[Path]) -> LabelledSet:
    if not pictures:
        raise DataError(
            f"{printable(path)}: neither {LABELS} (columns frame, state) nor folders of pictures, "
            f"one a state, in it"
        )
    for state in sorted({picture.parent.name for picture in pictures}):
        if is_reserved(state):
            raise DataError(
                f"{printable(path)}: the name {state!r} is reserved; call the folder otherwise"
            )
    frames = tuple(
        LabelledFrame(picture, picture.parent.name, True, float(at))
        for at, picture in enumerate(pictures)
    )
    return LabelledSet(name, frames, is_dated=False, is_ordered=False)


def _class_pictures(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Yield the pictures in the folders of a folder, not those in itself, by name."""
    for path in sorted(entries(folder), key=natural_key):
        if is_dir(path):
            if depth < _MOST_FOLDERS and not is_made_by_programs(path.name):
                yield from _class_pictures(path, depth + 1)
        elif depth and _is_picture(PurePosixPath(path.name)):
            yield path


def _frame(path: Path, row: dict[str, str], time_s: float, where: str) -> LabelledFrame:
    """Return one row of the table; every error begins with `where`."""
    state = row["state"].strip()
    if not state:
        raise DataError(f"{where}: no state")
    if is_reserved(state):
        raise DataError(f"{where}: the name {state!r} is reserved; call the state otherwise")
    is_clean = state != NEITHER and _BOUNDARY not in (row.get("nuisance") or "")
    return LabelledFrame(path, state, is_clean, time_s)


def read_labelled(path: Path, side_px: int | None = None) -> Iterator[LabelledPicture]:
    """Return the pictures of a set, see `read_set`, without frames that show no state cleanly.

    Args:
        path: Tar or folder.
        side_px: Side that the pictures will be squashed to; they may then be smaller than stored.
            None keeps their size.

    Raises:
        DataError: It or a picture in it cannot be read, or there is none.
    """
    return pictures_of(read_set(path), side_px)


def pictures_of(labelled: LabelledSet, side_px: int | None = None) -> Iterator[LabelledPicture]:
    """Yield the clean pictures of a set, as `read_labelled` does.

    Raises:
        DataError: A picture cannot be read.
    """
    for frame in labelled.frames:
        if frame.is_clean:
            pixels = read_labelled_picture(frame.path, side_px)
            yield LabelledPicture(frame.state, str(frame.path), pixels)


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the line and the fields of each row."""
    if not is_dir(table.parent):
        raise DataError(f"{printable(table.parent)}: there is no such folder or tar")
    return _checked_rows(table, read_table(table))


def _checked_rows(table: Path, content: Table) -> list[tuple[int, dict[str, str]]]:
    names = content.header
    if not content.rows:
        raise DataError(f"{table}: the table is empty")
    for column in ("frame", "state"):
        if names.count(column) != 1:
            number = "two columns" if column in names else "no column"
            raise DataError(f"{table}: {number} {column!r}; there are {', '.join(names)}")
    for line, row in content.rows:
        if len(row) > len(names):
            raise DataError(f"{table}, line {line}: more fields than the {len(names)} columns")
    return [
        (line, {name: content.field(row, name) for name in dict.fromkeys(names)})
        for line, row in content.rows
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
    """Return seconds since 1970; None for other texts and for counts of frames or seconds."""
    try:
        time_s = read_time(text)
    except ValueError:
        return None
    return time_s if time_s >= _FIRST_DATE_S else None


def _is_ordered(meta: Path) -> bool:
    if not is_file(meta):
        return True
    try:
        return _is_known(meta, meta.read_bytes())
    except OSError as error:
        raise DataError(f"{printable(meta)}: cannot be read: {error}") from error


def _is_known(meta: Path, content: bytes) -> bool:
    """Return False where META.json calls the order not known."""
    try:
        notes = json.loads(content)
    except ValueError as error:
        raise DataError(f"{printable(meta)}: cannot be read: {error}") from error
    if not isinstance(notes, dict):
        raise DataError(f"{printable(meta)}: must hold an object, holds {type(notes).__name__}")
    return "not known" not in str(notes.get("temporal_order", ""))


T = TypeVar("T")
Track = Callable[[Sequence[T], str], Iterable[T]]
"""Wrapper of a sequence that shows progress under a label."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSet:
    """A labelled set, embedded.

    Args:
        name: Name of the set.
        probes: One per frame, in the order of the table.
        labels: States of the frames; None where a frame shows no state cleanly.
        is_dated: Whether the probes' times are dates.
        is_ordered: Whether the order is that of shooting.
        read_region: Function that reads the region of a row; None for a set without pictures.
        paths: Files of the frames; empty for a set without files.
    """

    name: str
    probes: tuple[Probe, ...]
    labels: tuple[str | None, ...]
    is_dated: bool = False
    is_ordered: bool = True
    read_region: Callable[[int], BgrImage] | None = None
    paths: tuple[Path, ...] = ()

    @property
    def states(self) -> tuple[str, ...]:
        """States that the clean frames show, sorted."""
        return tuple(sorted({label for label in self.labels if label is not None}))

    def rows_of(self, state: str) -> tuple[int, ...]:
        """Return the clean frames of a state."""
        return tuple(row for row, label in enumerate(self.labels) if label == state)

    @property
    def clean_rows(self) -> tuple[int, ...]:
        """Rows of the frames that show a state cleanly."""
        return tuple(row for row, label in enumerate(self.labels) if label is not None)

    def condition(self, row: int) -> str:
        """Return the light regime of a frame by itself: `day`, `dusk`, `ir` or `dark`."""
        return condition_of(self.probes[row].quality)

    def pixels(self, row: int) -> BgrImage:
        """Return the region of a frame, read anew: a set keeps no pictures in memory.

        Raises:
            DataError: The set has no pictures, or the file cannot be read.
        """
        if self.read_region is None:
            raise DataError(f"{self.name}: the set has no pictures")
        return self.read_region(row)

    def reference(self, row: int, state: str | None = None) -> Reference:
        """Return a frame as a reference of its state, or of `state`.

        Raises:
            DataError: The frame shows no state and none is given.
        """
        label = state or self.labels[row]
        if label is None:
            raise DataError(f"{self.name}: frame {row} shows no state")
        probe = self.probes[row]
        return Reference(
            reference_id=f"{self.name}/{row}",
            state=label,
            embedding=probe.embedding,
            thumbnail=probe.thumbnail,
            condition=self.condition(row),
            enrolled_at=datetime.fromtimestamp(probe.unix_time_s, tz=timezone.utc),
        )

    def gallery(self, rows: Iterable[int]) -> Gallery:
        """Return a gallery of clean frames."""
        return Gallery(self.reference(row) for row in rows)


def embed_set(
    labelled: LabelledSet, embedder: Embedder, *, region: Region, track: Track[int]
) -> EmbeddedSet:
    """Return the set with every frame read, cropped and embedded as in the pipeline.

    Raises:
        DataError: A picture cannot be read.
    """

    def read_region(row: int) -> BgrImage:
        return region.pixels_of(read_labelled_picture(labelled.frames[row].path))

    probes = []
    for number in track(range(len(labelled.frames)), labelled.name):
        frame = labelled.frames[number]
        probes.append(
            make_probe(
                embedder,
                read_region(number),
                captured_at_s=frame.time_s,
                unix_time_s=frame.time_s,
                frame_index=number,
            )
        )
    labels = tuple(frame.state if frame.is_clean else None for frame in labelled.frames)
    return EmbeddedSet(
        labelled.name,
        tuple(probes),
        labels,
        labelled.is_dated,
        labelled.is_ordered,
        read_region,
        tuple(frame.path for frame in labelled.frames),
    )
