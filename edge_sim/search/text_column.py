"""Second vector column of an index: each picture in the space of a dual encoder, for words.

    fill_text_column(store, encoder, encoder_folder)
    with open_text_column(store.path) as column:
        collection = column.collection(store, collection_of_index(store))

It is a file of its own beside the index, `text.db`, and belongs to the bytes of a picture (its
SHA-256): pictures that are renamed, moved or indexed again keep their vectors. It is filled while
a folder is indexed, a batch per transaction, and goes on where it was stopped.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sim.core import sqlite
from edge_sim.core.files import is_file, write_whole
from edge_sim.core.protocols import DualEncoder
from edge_sim.core.sqlite import FileKind, Schema, kept_path, transaction
from edge_sim.core.types import THUMBNAIL_PX, Embedding, FloatMatrix, FloatVector
from edge_sim.core.vectors import normalised
from edge_sim.errors import EdgeSimError, ModelError, SearchError
from edge_sim.search.queries import picture_of
from edge_sim.search.searcher import Collection, Query
from edge_sim.search.store import IndexStore

NAME = "text.db"
TEXT_COLUMN = FileKind(
    noun="a text column",
    application_id=0x65_53_74_78,  # "eStx"
    format=1,
    error=SearchError,
    remedy="delete the file and run `edge-sim index build` again with --text-model",
)
_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE vectors (sha256 BLOB PRIMARY KEY, vector BLOB NOT NULL);
"""
_KNOWN = Schema(_SCHEMA)
_TIMEOUT_S = 10.0
_BATCH = 64
"""Pictures per transaction: the most that a kill can lose."""
_FLOAT = np.dtype("<f2")
"""Numbers as they are kept: half the size for an error of a cosine below 0.0005."""

ProgressWrapper = Callable[[Iterator[Path], int], Iterable[Path]]


@dataclass(slots=True)
class FillReport:
    """Outcome of a fill.

    Args:
        embedded: Pictures that went through the model.
        failed: Pictures without a vector, with the reason.
    """

    embedded: int
    failed: list[tuple[Path, str]]


class TextColumn:
    """Open text column. Use it from the thread that opened it; close it, or use `with`.

    Every method raises `SearchError` where the file is damaged or the disk is full.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        with self._reading():
            found = dict(connection.execute("SELECT name, value FROM settings"))
            self.model_id = str(found["model_id"])
            self.model_folder = kept_path(bytes.fromhex(found["model"]))
            self.dimension = int(found["dimension"])

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._connection.close()

    def __enter__(self) -> TextColumn:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def known(self) -> set[bytes]:
        """Return the SHA-256 of every picture that has a vector."""
        with self._reading():
            return {row[0] for row in self._connection.execute("SELECT sha256 FROM vectors")}

    def put(self, vectors: Mapping[bytes, FloatVector]) -> None:
        """Write vectors, in one transaction.

        Args:
            vectors: SHA-256 of the picture -> (D,) float32 unit vector.
        """
        rows = [(digest, vector.astype(_FLOAT).tobytes()) for digest, vector in vectors.items()]
        with self._reading(), transaction(self._connection, writes=True):
            self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def keep_only(self, digests: Iterable[bytes]) -> None:
        """Delete the vectors of all other pictures."""
        gone = self.known() - set(digests)
        if gone:
            with self._reading(), transaction(self._connection, writes=True):
                self._connection.executemany(
                    "DELETE FROM vectors WHERE sha256 = ?", ((digest,) for digest in gone)
                )

    def rows(self, digests: Sequence[bytes]) -> tuple[FloatMatrix, NDArray[np.intp]]:
        """Return the vectors of those pictures that have one, (M, D), and their (M) places.

        Args:
            digests: (N) SHA-256 of pictures.
        """
        with self._reading():
            found = dict(self._connection.execute("SELECT sha256, vector FROM vectors"))
        places = [at for at, digest in enumerate(digests) if digest in found]
        blobs = [found[digests[at]] for at in places]
        if any(len(blob) != _FLOAT.itemsize * self.dimension for blob in blobs):
            raise SearchError(f"{self.path}: a vector is damaged; {TEXT_COLUMN.remedy}")
        vectors = np.frombuffer(b"".join(blobs), _FLOAT).reshape(-1, self.dimension)
        return normalised(vectors.astype(np.float32)), np.asarray(places, np.intp)

    def counts(self, store: IndexStore) -> tuple[int, int]:
        """Return the numbers of pictures of an index with and without a vector."""
        known, digests = self.known(), _digests(store)
        found = sum(digest in known for digest in digests)
        return found, len(digests) - found

    def problems(self) -> tuple[str, ...]:
        """Return the faults of the column, a line each; reads all of it."""
        found = []
        with self._reading():
            for (text,) in self._connection.execute("PRAGMA integrity_check"):
                if text != "ok":
                    found.append(f"{self.path}: {text}")
            for digest, blob in self._connection.execute("SELECT sha256, vector FROM vectors"):
                is_whole = len(blob) == _FLOAT.itemsize * self.dimension
                if not is_whole or not np.isfinite(np.frombuffer(blob, _FLOAT)).all():
                    found.append(f"{self.path}: the vector of {digest.hex()[:12]} is damaged")
        return tuple(found)

    def collection(self, store: IndexStore, pictures: Collection) -> Collection:
        """Return those of the pictures of an index that have a vector, searched exactly by it.

        Args:
            store: The index.
            pictures: Result of `collection_of_index`.
        """
        vectors, places = self.rows(_digests(store))
        kept = places.tolist()
        return replace(
            pictures,
            names=[pictures.names[at] for at in kept],
            vectors=vectors,
            dimension=self.dimension,
            model_id=self.model_id,
            facts=lambda row: pictures.facts(kept[row]),
            thumbnail=lambda row: pictures.thumbnail(kept[row]),
            kind="exact",
            graph=None,
        )

    def query(self, text: str, encoder: DualEncoder) -> Query:
        """Return a text as a query.

        Raises:
            ModelError: The encoder is another one, or gives no vector.
        """
        if encoder.model_id != self.model_id:
            raise ModelError(
                f"{self.model_folder}: the text model is {encoder.model_id}, the pictures were "
                f"embedded with {self.model_id}; run `edge-sim index build` with --text-model"
            )
        embedding = Embedding(encoder.embed_text(text), None, self.model_id)
        return Query(embedding, np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with sqlite.translated(self.path, TEXT_COLUMN):
                yield
        except EdgeSimError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise SearchError(
                f"{self.path} is damaged ({type(error).__name__}: {error}); {TEXT_COLUMN.remedy}"
            ) from error


def open_text_column(index: Path) -> TextColumn | None:
    """Return the text column of the index in a folder; None if it has none.

    Raises:
        SearchError: The file is damaged, of a newer edge_sim, or no text column.
    """
    path = index / NAME
    if not is_file(path):
        return None
    with sqlite.translated(path, TEXT_COLUMN):
        connection = sqlite.connected(path, timeout_s=_TIMEOUT_S)
    try:
        with sqlite.translated(path, TEXT_COLUMN):
            if sqlite.is_new(connection, path, TEXT_COLUMN):
                connection.close()
                return None
            if (foreign := _KNOWN.foreign(connection)) is not None:
                raise SearchError(
                    f"{path}: holds the {foreign} and is not read; {TEXT_COLUMN.remedy}"
                )
            if missing := _KNOWN.missing(connection):
                raise sqlite3.DatabaseError(f"malformed: no {', '.join(missing)}")
        return TextColumn(connection, path)
    except BaseException:
        connection.close()
        raise


def drop_text_column(index: Path) -> bool:
    """Delete the text column of an index; return whether there was one.

    Raises:
        SearchError: It cannot be deleted.
    """
    path = index / NAME
    found = is_file(path)
    with sqlite.translated(path, TEXT_COLUMN):
        for ending in ("", "-wal", "-shm", "-journal"):
            path.with_name(NAME + ending).unlink(missing_ok=True)
    return found


def carry_text_column(source: Path, target: Path) -> None:
    """Copy the text column of an index to another of the same pictures, if it has one.

    Raises:
        SearchError: It cannot be read or written.
    """
    path = source / NAME
    if is_file(path):
        with sqlite.translated(target / NAME, TEXT_COLUMN):
            write_whole(target / NAME, path.read_bytes())


def fill_text_column(
    store: IndexStore,
    encoder: DualEncoder,
    folder: Path,
    *,
    progress: ProgressWrapper | None = None,
) -> FillReport:
    """Give every picture of an index its vector; those that have one are not read again.

    A column of another model is made anew.

    Args:
        store: Open index, up to date.
        encoder: Encoder, used from the calling thread only.
        folder: Absolute folder that opens the same encoder again.
        progress: Wrapper of the finished paths and their number that shows the progress.

    Raises:
        ModelError: The encoder cannot be loaded.
        SearchError: The disk is full, or another process updates the index.
    """
    with store.exclusive():
        column = open_text_column(store.path)
        if column is not None and column.model_id != encoder.model_id:
            column.close()
            drop_text_column(store.path)
            column = None
        with closing(column or _made(store.path, encoder, folder)) as kept:
            digests = _digests(store)
            kept.keep_only(digests)
            known = kept.known()
            todo = {
                digest: entry.path
                for digest, entry in zip(digests, store.entries(), strict=True)
                if digest not in known
            }
            report = FillReport(0, [])
            # Closed here, however it ends: it writes what is done while the column is open.
            with closing(_embed(store.plan.root, encoder, todo, kept, report)) as done:
                for _ in done if progress is None or not todo else progress(done, len(todo)):
                    pass
    return report


def _embed(
    root: Path,
    encoder: DualEncoder,
    todo: Mapping[bytes, Path],
    column: TextColumn,
    report: FillReport,
) -> Generator[Path, None, None]:
    """Yield the paths as they are done; finished ones are kept, however this ends."""
    batch: dict[bytes, FloatVector] = {}
    try:
        for digest, path in todo.items():
            try:
                # A frame of a video has a name of its own, as in a query.
                pixels = picture_of(
                    os.fspath(root / path), lambda *_: None, side_px=encoder.input_px
                )
                batch[digest] = encoder.embed_picture(pixels)
                report.embedded += 1
            except ModelError as error:
                if not report.embedded:
                    raise  # the model itself cannot be used
                report.failed.append((path, str(error)))
            except EdgeSimError as error:
                report.failed.append((path, str(error)))
            if len(batch) >= _BATCH:
                column.put(batch)
                batch = {}
            yield path
    finally:
        if batch:
            column.put(batch)


def _made(index: Path, encoder: DualEncoder, folder: Path) -> TextColumn:
    path = index / NAME
    settings = {
        "model_id": encoder.model_id,
        # Paths are bytes; hexadecimal keeps those that are no text.
        "model": os.fsencode(folder).hex(),
        "dimension": str(encoder.dimension),
    }
    with sqlite.translated(path, TEXT_COLUMN):
        connection = sqlite.connected(path, timeout_s=_TIMEOUT_S)
    try:
        # In one transaction: half of it would be no column and no new file.
        with sqlite.translated(path, TEXT_COLUMN), transaction(connection, writes=True):
            for statement in f"{_SCHEMA} {sqlite.stamp(TEXT_COLUMN)}".split(";"):
                connection.execute(statement)
            connection.executemany("INSERT INTO settings VALUES (?, ?)", settings.items())
        return TextColumn(connection, path)
    except BaseException:
        connection.close()
        raise


def _digests(store: IndexStore) -> list[bytes]:
    """Return the SHA-256 of the pictures of an index, in order of their rows."""
    digest_of = {number: digest for digest, number in store.hashes().items()}
    return [digest_of[entry.content] for entry in store.entries()]
