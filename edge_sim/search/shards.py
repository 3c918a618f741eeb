"""Shards of an index: parts of a folder that are indexed apart, by any scheduler, and merged.

A picture belongs to the shard that a digest of its path names, whatever its content and wherever
the folder is mounted: each worker walks the folder itself, and no list is handed around. A shard is
an index of its own with a manifest beside it, `shard.json`:

    {"schema": 1, "shard": 3, "of": 16, "complete": true, "model_id": "...", "pictures": 6250, ...}
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

import msgspec

from edge_sim.core.files import is_file, printable, read_bounded, write_whole
from edge_sim.errors import SearchError
from edge_sim.search.frames import file_of

NAME = "shard.json"
SCHEMA = 1
MOST_SHARDS = 1_000_000
_MAX_BYTES = 64_000


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """Part of a folder.

    Args:
        number: Number of the part, 1 to `of`.
        of: Number of parts.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= MOST_SHARDS:
            raise ValueError(
                f"no shard {self.number}/{self.of}: shards count from 1/{max(1, self.of)} up to "
                f"{max(1, self.of)}/{max(1, self.of)}"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that a text names, as in `3/16`.

        Raises:
            ValueError: It names none.
        """
        match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text)
        if match is None:
            raise ValueError(f"{text!r} is no shard; write its number and their count, as in 3/16")
        return cls(int(match[1]), int(match[2]))

    def holds(self, path: Path) -> bool:
        """Return whether a path, relative to the root, belongs to this part."""
        return shard_number(path, self.of) == self.number

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def shard_number(path: Path, of: int) -> int:
    """Return the number, 1 to `of`, of the shard that a relative path belongs to.

    The first 8 bytes of the SHA-256 of its bytes, as a big-endian number, modulo `of`, plus 1. The
    frames of a video belong to the shard of the video.
    """
    digest = sha256(os.fsencode(file_of(path))).digest()
    return int.from_bytes(digest[:8], "big") % of + 1


class ShardManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `shard.json`.

    Args:
        schema: Number of this form.
        shard: Number of the part, 1 to `of`.
        of: Number of parts.
        complete: Whether all files of the part were read since the last start.
        model_id: Model of the vectors.
        root: Folder of the pictures, for people.
        pictures: Number of pictures in the index.
        unread: Number of files that could not be read.
        finished_at: End of the last complete run, ISO 8601 in UTC.
    """

    shard: int
    of: int
    complete: bool
    model_id: str
    root: str
    schema: int = SCHEMA
    pictures: int | None = None
    unread: int | None = None
    finished_at: str | None = None

    @property
    def part(self) -> Shard:
        """Shard that the index is."""
        return Shard(self.shard, self.of)


def read_manifest(folder: Path) -> ShardManifest | None:
    """Return the manifest in the folder of an index; None if that is no shard.

    Raises:
        SearchError: It is damaged, cannot be read, or was written by a newer edge_sim.
    """
    path = folder / NAME
    if not is_file(path):
        return None
    try:
        found = msgspec.json.decode(read_bounded(path, _MAX_BYTES), type=ShardManifest)
        Shard(found.shard, found.of)
    except OSError as error:
        raise SearchError(f"{printable(path)}: {error.strerror or error}") from error
    except ValueError as error:
        raise SearchError(
            f"{printable(path)}: damaged ({error}); delete the folder and build the shard again"
        ) from error
    if found.schema > SCHEMA:
        raise SearchError(f"{printable(path)}: written by a newer edge_sim; upgrade edge_sim")
    return found


def start_shard(
    folder: Path,
    wanted: Shard | None,
    model_id: str,
    root: Path,
    *,
    is_new: bool,
    is_whole: bool = True,
) -> Shard | None:
    """Write that a run is under way; return the shard that the index is, None for a whole one.

    Call it under the lock of the index.

    Args:
        folder: Folder of the index.
        wanted: Shard that is to be built; None takes the index as it is.
        model_id: Model of the index.
        root: Folder of the pictures.
        is_new: Whether the index holds nothing yet.
        is_whole: Whether all files of the shard are read; otherwise only a new manifest is written.

    Raises:
        SearchError: The index is another shard, or a whole one, or the disk is full.
    """
    found = read_manifest(folder)
    place = printable(folder)
    if found is None:
        if wanted is None:
            return None
        if not is_new:
            raise SearchError(f"{place}: an index, but no shard; give another --out for {wanted}")
    elif wanted is not None and wanted != found.part:
        raise SearchError(f"{place}: is shard {found.part}; give another --out for {wanted}")
    part = wanted if found is None else found.part
    if part is not None and (is_whole or found is None):
        begun = ShardManifest(
            shard=part.number, of=part.of, complete=False, model_id=model_id, root=printable(root)
        )
        _write(folder, begun)
    return part


def finish_shard(folder: Path, *, pictures: int, unread: int) -> None:
    """Write that all files of a shard were read.

    Raises:
        SearchError: There is no manifest any more, or the disk is full.
    """
    found = read_manifest(folder)
    if found is None:
        raise SearchError(f"{printable(folder / NAME)}: was deleted meanwhile; run it again")
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    done = msgspec.structs.replace(
        found, complete=True, pictures=pictures, unread=unread, finished_at=now
    )
    _write(folder, done)


def _write(folder: Path, manifest: ShardManifest) -> None:
    path = folder / NAME
    try:
        write_whole(path, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    except OSError as error:
        raise SearchError(f"{printable(path)}: {error.strerror or error}") from error
