"""Places for the rows of a build on a cluster: an index, or a folder of Parquet files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edge_sim.core.files import entries, printable, sync_folder
from edge_sim.core.sqlite import kept_path
from edge_sim.errors import SearchError
from edge_sim.search.cluster import Row, path_of
from edge_sim.search.frames import file_of, is_video
from edge_sim.search.index_database import open_database, translated
from edge_sim.search.rows import EmbeddedFile, IndexPlan, Known
from edge_sim.search.store import IndexStore

PART_ROWS = 8192
"""Rows per Parquet file: the most that a kill can lose."""
_CHUNK = 4096
_ABOUT = b"edge_sim"
PARQUET_LOCK = ".lock"
"""Name of the lock of a folder of Parquet files; readers of such folders pass over it."""


class IndexSink:
    """Rows straight into an index, whose lock the caller holds."""

    def __init__(self, store: IndexStore) -> None:
        self._store = store

    def present(self) -> Iterator[Known]:
        """Yield the entries of the index, less those of videos, which no worker reads."""
        place = self._store.path
        with closing(open_database(place, create=False)) as connection, translated(place):
            for path, size, mtime_ns, content, fault in connection.execute(
                "SELECT path, bytes, mtime_ns, content, fault FROM files"
            ):
                name = kept_path(path)
                if not is_video(file_of(name)):
                    yield Known(name, int(size), int(mtime_ns), content, fault)

    def remove(self, changed: Iterable[Path], gone: Iterable[Path]) -> int:  # noqa: ARG002
        """Delete what is gone; what changed is replaced when it comes."""
        count = 0
        rest = iter(gone)
        while chunk := list(islice(rest, _CHUNK)):
            count += self._store.forget(chunk)
        return count

    def put(self, rows: Sequence[Row], progress: tuple[int, int]) -> None:
        """Write rows in one transaction."""
        self._store.put(rows, progress=progress)

    def finish(self) -> None:
        """Make the files that a search maps."""
        self._store.end_progress()
        self._store.sweep()
        self._store.prepare()


class ParquetSink:
    """Rows in files `part-00000.parquet`, ..., each written whole; see `docs/archives.md`.

    Args:
        folder: Folder of the files; the caller holds its lock.
        plan: Settings, kept in the metadata of each file.

    Raises:
        SearchError: pyarrow is not installed, or the folder holds other files, or rows of other
            settings.
    """

    def __init__(self, folder: Path, plan: IndexPlan) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise SearchError("pyarrow is not installed: pip install 'edge_sim[ray]'") from error
        self._arrow: Any = pyarrow
        self._parquet: Any = pyarrow.parquet
        self._folder = folder
        self._about = {
            "model_id": plan.model_id,
            "scale": plan.scale.value,
            "bars": "cut" if plan.cuts_bars else "whole",
        }
        self._rows: list[Row] = []
        self._parts = self._checked_parts()
        self.written = 0
        """Number of rows in the files."""

    def present(self) -> Iterator[Known]:
        """Yield the entries in the files."""
        for part in self._parts:
            names = ["path", "bytes", "mtime_ns", "fault"]
            for row in self._read(part, names).to_pylist():
                self.written += 1
                yield Known(Path(row["path"]), row["bytes"], row["mtime_ns"], fault=row["fault"])

    def remove(self, changed: Iterable[Path], gone: Iterable[Path]) -> int:
        """Write the files anew that hold rows of changed pictures, or of those that are gone."""
        away = {printable(path) for path in gone}
        stale = away | {printable(path) for path in changed}
        if not stale:
            return 0
        for part in list(self._parts):
            table = self._read(part)
            kept = [name not in stale for name in table["path"].to_pylist()]
            if not all(kept):
                self._write_table(part, table.filter(self._arrow.array(kept)))
                self.written -= len(kept) - sum(kept)
        return len(away)

    def put(self, rows: Sequence[Row], progress: tuple[int, int]) -> None:  # noqa: ARG002
        """Keep rows until there are enough for a file."""
        self._rows += rows
        if len(self._rows) >= PART_ROWS:
            self._write()

    def finish(self) -> None:
        """Write the rest of the rows."""
        if self._rows:
            self._write()

    def _write(self) -> None:
        number = int(self._parts[-1].stem.partition("-")[2]) + 1 if self._parts else 0
        part = self._folder / f"part-{number:05}.parquet"
        self._write_table(part, self._table(self._rows))
        self._parts.append(part)
        self.written += len(self._rows)
        self._rows = []

    def _write_table(self, part: Path, table: Any) -> None:
        fresh = part.with_suffix(".new")
        try:
            self._parquet.write_table(table, fresh, compression="zstd")
            with fresh.open("rb") as file:
                os.fsync(file.fileno())
            fresh.replace(part)
            sync_folder(self._folder)
        except OSError as error:
            raise SearchError(f"{printable(part)}: {error.strerror or error}") from error

    def _table(self, rows: Sequence[Row]) -> Any:
        arrow = self._arrow
        about = {_ABOUT: json.dumps(self._about).encode()}
        schema = arrow.schema(
            [
                ("path", arrow.string()),
                ("bytes", arrow.int64()),
                ("mtime_ns", arrow.int64()),
                ("fault", arrow.string()),
                ("sha256", arrow.binary(32)),
                ("width", arrow.int32()),
                ("height", arrow.int32()),
                ("sharpness", arrow.float64()),
                ("contrast", arrow.float64()),
                ("vector", arrow.list_(arrow.float32())),
                ("thumbnail", arrow.binary()),
                ("colours", arrow.binary()),
                ("exif", arrow.map_(arrow.string(), arrow.string())),
            ],
            metadata=about,
        )
        return arrow.Table.from_pylist([_plain(row) for row in rows], schema=schema)

    def _checked_parts(self) -> list[Path]:
        found = [item for item in entries(self._folder) if item.name != PARQUET_LOCK]
        for item in found:
            if item.suffix == ".new" and item.name.startswith("part-"):
                item.unlink()  # of a process that was killed
            elif item.suffix != ".parquet" or not item.name.startswith("part-"):
                raise SearchError(
                    f"{printable(self._folder)}: holds {printable(item.name)}; give a new or empty "
                    f"folder"
                )
        parts = sorted(item for item in found if item.suffix == ".parquet")
        for part in parts:
            kept = self._parquet_of(part).schema_arrow.metadata or {}
            if kept.get(_ABOUT) != json.dumps(self._about).encode():
                raise SearchError(
                    f"{printable(part)}: rows of another model, scale or program; give another "
                    f"folder"
                )
        return parts

    def _read(self, part: Path, columns: list[str] | None = None) -> Any:
        return self._parquet_of(part).read(columns=columns)

    def _parquet_of(self, part: Path) -> Any:
        try:
            return self._parquet.ParquetFile(part)
        except (OSError, self._arrow.ArrowInvalid) as error:
            reason = " ".join(str(error).split())
            raise SearchError(f"{printable(part)}: cannot be read ({reason}); delete it") from error


def _plain(row: Row) -> dict[str, Any]:
    known = row if isinstance(row, Known) else row.known
    facts: dict[str, Any] = {
        "path": printable(path_of(row)),
        "bytes": known.size,
        "mtime_ns": known.mtime_ns,
        "fault": known.fault,
    }
    if isinstance(row, EmbeddedFile):
        facts |= {
            "sha256": row.sha256,
            "width": row.shape[0],
            "height": row.shape[1],
            "sharpness": row.sharpness,
            "contrast": row.contrast,
            "vector": np.asarray(row.vector, np.float32),
            "thumbnail": row.thumbnail.tobytes(),
            "colours": row.colours.tobytes(),
            "exif": list(row.exif.items()),
        }
    return facts
