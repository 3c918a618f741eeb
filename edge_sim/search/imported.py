"""Vectors of one's own in an index: a .npy file and a table of their ids, read and written.

    ids.csv        id,place
                   line 2/0001.jpg,press
    vectors.npy    a row for each line of the table, of any model

Ids are names, and may be paths of pictures. An index of imported vectors has no model to embed a
query with: it is searched by its own rows, or by other vectors of the same model.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.files import is_dir, is_file, printable, write_whole
from edge_sim.core.ranking import Rows
from edge_sim.core.tables import read_table
from edge_sim.core.vectors import normalised
from edge_sim.errors import DataError, GalleryError, SearchError
from edge_sim.gallery.gallery import checked_name
from edge_sim.search.attributes import BUILT_IN, MAX_VALUE
from edge_sim.search.entries import IndexEntry
from edge_sim.search.export import new_folder
from edge_sim.search.ivf import FileProgress
from edge_sim.search.store import IndexStore
from edge_sim.search.vector_rows import ImportedRow, ImportReport

ID_COLUMNS = ("id", "file", "path", "name", "filename")
TAGS = "tags"
MAX_DIMENSION = 65_536
MAX_ID = 4096
MAX_MODEL_ID = 200
BATCH = 4096
"""Rows per transaction: the most that a kill can lose."""
VECTORS, IDS = "vectors.npy", "ids.csv"
BatchWrapper = Callable[[Iterator[int], int], Iterable[int]]
"""Wrapper of the numbers of finished rows, one by one, and of all rows; it yields the same."""


@dataclass(frozen=True, slots=True)
class NamedRow:
    """Line of a table of ids.

    Args:
        line: Line in the file.
        name: The id.
        facts: Attributes, key and value.
        tags: Tags.
    """

    line: int
    name: str
    facts: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()


def read_ids(path: Path) -> list[NamedRow]:
    """Return the lines of a table of ids, in their order.

    A CSV has a column `id` (or `file`, `path`, `name`, `filename`), if wanted a column `tags` with
    blanks between them, and a column per attribute.

    Raises:
        DataError: It cannot be read, has no such column, or an id, tag or attribute cannot be used.
    """
    table = read_table(path)
    name = printable(path)
    column = next((item for item in ID_COLUMNS if item in table.header), None)
    if column is None:
        raise DataError(
            f"{name}, line 1: no column with the ids; call one of "
            f"{', '.join(map(printable, table.header))} `id`"
        )
    keys = [key for key in table.header if key and key not in (column, TAGS)]
    if taken := sorted(BUILT_IN.intersection(keys)):
        raise DataError(f"{name}, line 1: {taken[0]!r} is a built-in attribute; rename it")
    marks = table.header.index(TAGS) if TAGS in table.header else None
    places = [(key, table.header.index(key)) for key in keys]
    at = table.header.index(column)
    lines: dict[str, int] = {}
    found = []
    for line, row in table.rows:
        place = f"{name}, line {line}"
        own = _checked_id(row[at] if at < len(row) else "", place)
        if own in lines:
            raise DataError(f"{place}: the id {own[:60]!r} is that of line {lines[own]} already")
        lines[own] = line
        facts = tuple((key, row[i].strip()) for key, i in places if i < len(row) and row[i].strip())
        if too_long := [key for key, value in facts if max(len(key), len(value)) > MAX_VALUE]:
            raise DataError(f"{place}: {too_long[0][:40]!a} is longer than {MAX_VALUE} characters")
        tags = row[marks].split() if marks is not None and marks < len(row) else ()
        found.append(NamedRow(line, own, facts, tuple(_checked_tag(tag, place) for tag in tags)))
    if not found:
        raise DataError(f"{name}: the table holds no ids below its header")
    return found


def _checked_id(text: str, place: str) -> str:
    text = text.strip()
    if not text or len(text) > MAX_ID:
        reason = "the id is empty" if not text else f"the id is longer than {MAX_ID} characters"
        raise DataError(f"{place}: {reason}")
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text):
        raise DataError(f"{place}: the id {text[:60]!a} holds control characters")
    return str(PurePosixPath(text))


def _checked_tag(tag: str, place: str) -> str:
    try:
        return checked_name("tag", tag)
    except GalleryError as error:
        raise DataError(f"{place}: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class SourceVectors:
    """(N, D) numbers of a file, best mapped, and the name of the file for messages."""

    rows: Rows
    place: str


def checked_model_id(name: str) -> str:
    """Return the name of the model of imported vectors.

    Raises:
        DataError: It is empty, too long, or no printable text.
    """
    if not name.strip() or len(name) > MAX_MODEL_ID or not name.isprintable():
        raise DataError(f"--model-id {name[:60]!a}: wants 1 to {MAX_MODEL_ID} printable characters")
    return name.strip()


def open_vectors(path: Path) -> SourceVectors:
    """Return the (N, D) numbers in a .npy file, mapped.

    Raises:
        DataError: It cannot be read, or holds no such array of finite numbers.
    """
    name = printable(path)
    if not is_file(path):
        raise DataError(f"{name}: {'is a folder' if is_dir(path) else 'no such file'}")
    try:
        found = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError, OverflowError) as error:
        raise DataError(
            f"{name}: is no whole .npy file of numbers; write it with numpy.save"
        ) from error
    if found.ndim != 2 or found.dtype.kind not in "fiu":
        raise DataError(
            f"{name}: wants one row of numbers per id, (N, D), got {found.dtype} {found.shape}"
        )
    if not 1 <= found.shape[1] <= MAX_DIMENSION:
        raise DataError(f"{name}: rows of 1 to {MAX_DIMENSION} numbers, got {found.shape[1]}")
    return SourceVectors(found, name)


def unit_rows(rows: Rows, names: Sequence[str], place: str) -> NDArray[np.float32]:
    """Return rows as float32 of unit length.

    Args:
        rows: (M, D) numbers.
        names: (M) names of the rows, for the message.
        place: Name of the file, for the message.

    Raises:
        DataError: NaN or infinity in a row, or a row of zeros.
    """
    with np.errstate(over="ignore"):
        whole = np.asarray(rows, np.float32)
    finite = np.asarray(np.isfinite(whole).all(axis=1), np.bool_)
    usable = np.asarray(finite & whole.any(axis=1), np.bool_)
    if not usable.all():
        at = int(np.flatnonzero(~usable)[0])
        fault = "is all zeros" if finite[at] else "holds NaN, infinity or a number beyond float32"
        raise DataError(f"{place}: the row of {printable(names[at])[:60]!r} {fault}")
    return normalised(whole)


def import_vectors(
    store: IndexStore,
    vectors: SourceVectors,
    named: Sequence[NamedRow],
    *,
    keeps_others: bool = False,
    progress: BatchWrapper | None = None,
    graph_progress: FileProgress | None = None,
) -> ImportReport:
    """Make an index hold the vectors in a file, under the ids in a table.

    Rows with the vector that they had cost nothing. An import that was stopped goes on where it was
    when it is run again.

    Args:
        store: Open index of imported vectors.
        vectors: The vectors, see `open_vectors`.
        named: Their ids, see `read_ids`.
        keeps_others: Whether ids stay that the table does not have; they are removed otherwise.
        progress: Wrapper that shows the progress.
        graph_progress: Called with (done, total) rows while a graph is made.

    Raises:
        DataError: A row cannot be used.
        SearchError: The disk is full, another process updates the index, or it holds pictures or
            vectors of another length.
    """
    if not store.plan.is_imported:
        raise SearchError(f"{store.path}: holds pictures; give another --out for imported vectors")
    report = ImportReport()
    with store.exclusive():
        done = _written(store, _batches(vectors, named), len(named), report)
        for _ in done if progress is None else progress(done, len(named)):
            pass
        store.end_progress()
        if not keeps_others:
            report.gone = store.forget_but(item.name for item in named)
        store.describe_vectors(
            {item.name: dict(item.facts) for item in named if item.facts},
            {item.name: item.tags for item in named if item.tags},
        )
        store.prepare(graph_progress)
    return report


def check_together(vectors: SourceVectors, named: Sequence[NamedRow], ids: Path) -> None:
    """Raise `DataError` unless there is a usable row for each id."""
    if len(vectors.rows) != len(named):
        raise DataError(
            f"{vectors.place}: {len(vectors.rows)} rows, but {printable(ids)} names "
            f"{len(named)} ids"
        )
    for _ in _batches(vectors, named):
        pass


def _batches(vectors: SourceVectors, named: Sequence[NamedRow]) -> Iterator[list[ImportedRow]]:
    for at in range(0, len(named), BATCH):
        names = [item.name for item in named[at : at + BATCH]]
        unit = unit_rows(vectors.rows[at : at + BATCH], names, vectors.place)
        yield [ImportedRow(name, row) for name, row in zip(names, unit, strict=True)]


def _written(
    store: IndexStore, batches: Iterator[list[ImportedRow]], total: int, report: ImportReport
) -> Iterator[int]:
    done = 0
    for batch in batches:
        done += len(batch)
        store.put_vectors(batch, report, progress=(done, total))
        yield from range(done - len(batch), done)


def write_vectors(
    place: Path, rows: Rows, entries: Sequence[IndexEntry], chosen: Sequence[int]
) -> None:
    """Write rows of an index as `vectors.npy` and `ids.csv` to a new folder, for `import_vectors`.

    Args:
        place: New or empty folder.
        rows: (N, D) rows of unit length.
        entries: (N) pictures of the rows.
        chosen: Numbers of the rows to write, ascending.

    Raises:
        SearchError: The place is taken, or the disk is full.
    """
    numbers = np.asarray(chosen, np.intp)
    try:
        new_folder(place)
        shape = (len(numbers), int(rows.shape[1]))
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        with (place / VECTORS).open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for at in range(0, len(numbers), BATCH):
                file.write(np.asarray(rows[numbers[at : at + BATCH]], "<f4").tobytes())
        write_whole(place / IDS, _table([entries[row] for row in chosen]).encode())
    except OSError as error:
        raise SearchError(
            f"{printable(error.filename or place)}: {error.strerror or error}"
        ) from error


def _table(entries: Sequence[IndexEntry]) -> str:
    keys = sorted({key for entry in entries for key in entry.own} - {*ID_COLUMNS, TAGS})
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", TAGS, *keys))
    for entry in entries:
        own = (entry.own.get(key, "") for key in keys)
        writer.writerow((printable(entry.path), " ".join(entry.tags), *own))
    return text.getvalue()
