"""Rows of the gallery file to values and back; what cannot be decoded is named, never guessed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sim.domain import THUMBNAIL_PX, Embedding, GrayImage, Reference
from edge_sim.errors import GalleryError
from edge_sim.gallery_store.records import ReferenceRecord

# Little-endian whatever the machine, so that a gallery can be copied to another one.
_FLOAT = np.dtype("<f4")
_METADATA = msgspec.json.Decoder(dict[str, str])
_TAGS = msgspec.json.Decoder(tuple[str, ...])
_ESCAPE = "\\"
"""In JSON text it stands before every control character."""
_THUMBNAIL_SHAPE = (THUMBNAIL_PX, THUMBNAIL_PX)

DECODING_ERRORS = (ValueError, TypeError, AttributeError, msgspec.MsgspecError)
"""What decoding damaged bytes may raise."""

EMBEDDING_COLUMNS = ("model_id", "grid", "crc", "vector", "spatial", "thumbnail")
CONTENT_COLUMNS = (
    "ordinal",
    "watch",
    "state",
    "embedding",
    "condition",
    "enrolled_at",
    "metadata",
    "tags",
)
"""What a row of `versions` says, besides when."""


T = TypeVar("T")


def reference_id(ordinal: object) -> str:
    """Return the id that people type: `r12`."""
    return f"r{ordinal}"


def ordinal_of(reference_id: str) -> int | None:
    """Return the number in an id; None if it is not an id of this store."""
    digits = reference_id[1:]
    if not reference_id.startswith("r") or not digits.isascii() or not digits.isdigit():
        return None
    # SQLite's integers have 64 bits; a longer number is no id of ours.
    return int(digits) if len(digits) <= 18 else None


def embedding_row(embedding: Embedding, thumbnail: GrayImage) -> tuple[Any, ...]:
    """Return the values of `EMBEDDING_COLUMNS`."""
    vector = _packed(embedding.vector)
    cells = embedding.spatial
    spatial = None if cells is None else _packed(cells)
    grid = None if cells is None else "x".join(str(side) for side in cells.shape)
    grey = np.ascontiguousarray(thumbnail).tobytes()
    crc = _embedding_crc(embedding.model_id, grid, vector, spatial, grey)
    return embedding.model_id, grid, crc, vector, spatial, grey


def content_crc(values: tuple[Any, ...]) -> int:
    """Return the CRC-32 over the values of `CONTENT_COLUMNS`."""
    return zlib.crc32(repr(values).encode("utf-8", "backslashreplace"))


def _embedding_crc(
    model_id: str, grid: str | None, vector: bytes, spatial: bytes | None, thumbnail: bytes
) -> int:
    start = zlib.crc32(f"{model_id} {grid}".encode())
    return zlib.crc32(thumbnail, zlib.crc32(spatial or b"", zlib.crc32(vector, start)))


def embedding_of(row: tuple[Any, ...]) -> tuple[Embedding, GrayImage]:
    """Return what `embedding_row` was made from; the arrays are read-only views of the row.

    Raises:
        ValueError: The bytes do not fit together.
    """
    model_id, grid, crc, vector, spatial, grey = row
    if _embedding_crc(model_id, grid, vector, spatial, grey) != crc:
        raise ValueError("the checksum does not fit")
    if not model_id.isprintable():
        raise ValueError("its model has a name that cannot be")
    cells = None
    if spatial is not None:
        cells = _unpacked(spatial).reshape(_sides(grid))
    embedding = Embedding(vector=_unpacked(vector), spatial=cells, model_id=model_id)
    return embedding, np.frombuffer(grey, np.uint8).reshape(_THUMBNAIL_SHAPE)


def references_of(rows: Iterable[tuple[Any, ...]]) -> list[Reference]:
    """Return references of rows of `CONTENT_COLUMNS`, `crc` and `EMBEDDING_COLUMNS`.

    Raises:
        GalleryError: A row cannot be decoded; its id is named.
    """
    return list(_each(rows, _reference))


def records_of(rows: Iterable[tuple[Any, ...]]) -> list[ReferenceRecord]:
    """Return records of rows of `CONTENT_COLUMNS`, `crc`, `model_id` and `since`.

    Raises:
        GalleryError: A row cannot be decoded; its id is named.
    """
    return list(_each(rows, _record))


def _each(rows: Iterable[tuple[Any, ...]], decoded: Callable[[tuple[Any, ...]], T]) -> Iterator[T]:
    row: tuple[Any, ...] = ("?",)
    try:
        for row in rows:
            yield decoded(row)
    except DECODING_ERRORS as error:
        raise GalleryError(
            f"reference {reference_id(row[0])} is damaged ({error}); "
            f"`edge-sim gallery verify` lists all that are"
        ) from error


def _reference(row: tuple[Any, ...]) -> Reference:
    ordinal, _, state, _, condition, enrolled_at, metadata, _ = _content(row)
    embedding, thumbnail = embedding_of(row[len(CONTENT_COLUMNS) + 1 :])
    return Reference(
        reference_id=reference_id(ordinal),
        state=state,
        embedding=embedding,
        thumbnail=thumbnail,
        condition=condition,
        enrolled_at=datetime.fromisoformat(enrolled_at),
        metadata=_METADATA.decode(metadata),
    )


def _record(row: tuple[Any, ...]) -> ReferenceRecord:
    ordinal, watch, state, _, condition, enrolled_at, metadata, tags = _content(row)
    model_id, since = row[len(CONTENT_COLUMNS) + 1 :]
    return ReferenceRecord(
        reference_id=reference_id(ordinal),
        watch=watch,
        state=state,
        condition=condition,
        model_id=model_id,
        enrolled_at=datetime.fromisoformat(enrolled_at),
        metadata=_METADATA.decode(metadata),
        tags=tags_of(tags),
        since=since,
    )


def _content(row: tuple[Any, ...]) -> tuple[Any, ...]:
    size = len(CONTENT_COLUMNS)
    content = row[:size]
    if content_crc(content) != row[size]:
        raise ValueError("the checksum of its entry does not fit")
    return content


def metadata_text(metadata: Mapping[str, str]) -> str:
    """Return metadata as it is stored. Keys sorted: equal metadata have equal text."""
    return msgspec.json.encode(dict(metadata), order="deterministic").decode()


def _is_plain(text: str) -> bool:
    return _ESCAPE not in text and text.isprintable()


def printable(text: str) -> str:
    """Return a text of a gallery from elsewhere, with control characters escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def tags_text(tags: Iterable[str]) -> str:
    """Return tags as they are stored: sorted, each once."""
    return msgspec.json.encode(sorted(set(tags))).decode()


def tags_of(text: str) -> tuple[str, ...]:
    """Return tags from their stored text."""
    tags = _TAGS.decode(text)
    return tags if _is_plain(text) else tuple(map(printable, tags))


def _packed(values: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(values, _FLOAT).tobytes()


@lru_cache(maxsize=16)
def _sides(grid: str) -> tuple[int, ...]:
    return tuple(int(side) for side in grid.split("x"))


def _unpacked(data: bytes) -> NDArray[np.float32]:
    values = np.frombuffer(data, _FLOAT)
    return values if _FLOAT.isnative else values.astype(np.float32)
