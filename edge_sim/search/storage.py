"""Places that hold the pictures of an archive: a folder, a tar file, an object store.

    for item in open_storage("s3://bucket/photos").list():
        data = storage.read(item)

A listing is a stream, so that ten million pictures need no memory; a tar is read in place, at the
offsets of its members. Object stores are read through fsspec, with the package of each protocol.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from edge_sim.core.archives import TAR_FAULTS
from edge_sim.core.files import is_dir, is_file, printable
from edge_sim.core.picture_header import kind_by_name, read_header
from edge_sim.errors import SearchError
from edge_sim.io.sources.pictures import MAX_FILE_BYTES, picture_bytes
from edge_sim.io.sources.uri import PICTURE_SUFFIXES, masked
from edge_sim.search.build import Scan, is_made_by_programs, record_file, walk
from edge_sim.search.rows import Unread
from edge_sim.secrets import mask_secrets, register_secret

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
UNKNOWN = 0
_CHANGED = ("LastModified", "last_modified", "mtime", "updated", "created")
"""Names under which the protocols of fsspec give the time of the last change."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """Picture in a storage.

    Args:
        path: Path in the index, relative.
        size: Size, bytes; `UNKNOWN` where the storage does not say.
        mtime_ns: Time of the last change, nanoseconds since 1970; `UNKNOWN` likewise.
        key: Name for the storage, which may differ from the path.
        offset: Place of the first byte in a tar.
    """

    path: Path
    size: int
    mtime_ns: int
    key: str = ""
    offset: int = 0


class PictureStorage(Protocol):
    """Storage of pictures; it is opened again from its spec in each worker."""

    readers: int
    """Number of threads that read at the same time."""

    root: Path
    """Place that the paths in the index are relative to."""
    unread: list[Unread]
    """Places that the last listing could not enter."""

    def list(self) -> Iterator[StoredPicture]:
        """Yield the pictures, in no particular order.

        Raises:
            SearchError: The storage cannot be read.
        """

    def read(self, item: StoredPicture) -> bytes:
        """Return the content of a picture.

        Raises:
            OSError: It cannot be read; another time it may.
            ValueError: It is no picture, or too large.
        """


def open_storage(spec: str, *, skip: Path | None = None) -> PictureStorage:
    """Return the storage that a path or a URL names.

    Args:
        spec: Path of a folder or of a tar file, or a URL.
        skip: Folder that a listing leaves out: the index itself.

    Raises:
        SearchError: There is none, or its protocol needs a package that is not installed.
    """
    if _URL.match(spec):
        return ObjectStorage(spec)
    place = Path(os.path.abspath(Path(spec).expanduser()))  # noqa: PTH100 - keeps links
    if is_dir(place):
        return FolderStorage(place, skip)
    if is_file(place):
        return TarStorage(place)
    raise SearchError(f"{printable(place)}: no such folder or tar file")


class FolderStorage:
    """Folder that every worker sees under the same path."""

    readers = 2

    def __init__(self, root: Path, skip: Path | None = None) -> None:
        self.root = root
        self._skip = skip
        self.unread: list[Unread] = []

    def list(self) -> Iterator[StoredPicture]:
        """Yield the pictures of the folder and of those in it, as `build.scan` finds them."""
        found = Scan()
        for path in walk(self.root, self.root, found, self._skip):
            record_file(path, self.root, found)
            for inside, state in found.files.items():
                yield StoredPicture(inside, state.size, state.mtime_ns)
            found.files.clear()
            found.videos.clear()
        self.unread = found.unread

    def read(self, item: StoredPicture) -> bytes:
        """Return the content of a file."""
        return picture_bytes(self.root / item.path)


class TarStorage:
    """Tar file without compression that every worker sees under the same path."""

    readers = 2

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unread: list[Unread] = []

    def list(self) -> Iterator[StoredPicture]:
        """Yield the members that are pictures by their suffix."""
        try:
            with tarfile.open(self.root, "r:") as archive:
                while (member := archive.next()) is not None:
                    # It keeps all members for a second pass, 1.5 kB each.
                    archive.members.clear()  # type: ignore[attr-defined]
                    name = _relative(member.name)
                    if member.isreg() and not member.issparse() and name is not None:
                        mtime_ns = int(member.mtime * 1_000_000_000)
                        yield StoredPicture(
                            name, member.size, mtime_ns, member.name, member.offset_data
                        )
        except OSError as error:
            raise SearchError(f"{printable(self.root)}: {error.strerror or error}") from error
        except TAR_FAULTS as error:
            raise SearchError(
                f"{printable(self.root)}: cannot be read as a tar without compression "
                f"({printable(str(error))})"
            ) from error

    def read(self, item: StoredPicture) -> bytes:
        """Return the content of a member."""
        _check_size(item)
        with self.root.open("rb") as file:
            file.seek(item.offset)
            return _checked(item, file.read(item.size))


class ObjectStorage:
    """Folder of an object store, or of anything else that fsspec reads."""

    readers = 8
    """A request takes tens of milliseconds, in which the next pictures are asked for."""

    def __init__(self, url: str) -> None:
        _hide_password(url)
        self._url = url
        self.root = Path(masked(url))
        self.unread: list[Unread] = []
        self._files, self._base = _file_system(url)

    def list(self) -> Iterator[StoredPicture]:
        """Yield the objects that are pictures by their suffix."""
        any_entry = False
        try:
            # A folder that was passed over would look like pictures that are gone.
            places = self._files.walk(self._base, detail=True, on_error="raise")
            for folder, below, found in places:
                for name in [name for name in below if is_made_by_programs(name)]:
                    below.pop(name)
                any_entry = any_entry or bool(below or found)
                for name, facts in found.items():
                    item = self._item(folder, name, facts)
                    if item is not None:
                        yield item
        except FileNotFoundError as error:
            raise SearchError(f"{masked(self._url)}: nothing there") from error
        except Exception as error:
            raise _unusable(self._url, error) from error
        if not any_entry:  # many stores have no folders
            raise SearchError(f"{masked(self._url)}: nothing there")

    def _item(self, folder: str, name: str, facts: dict[str, Any]) -> StoredPicture | None:
        key = str(facts.get("name") or f"{folder}/{name}")
        path = _relative(key.removeprefix(self._base).lstrip("/"))
        if path is None:
            return None
        return StoredPicture(path, int(facts.get("size") or UNKNOWN), _changed_ns(facts), key)

    def read(self, item: StoredPicture) -> bytes:
        """Return the content of an object."""
        _check_size(item)
        try:
            data = self._files.cat_file(item.key)
        except (OSError, ValueError):
            raise
        except Exception as error:
            # Each protocol has errors of its own; another try may succeed.
            raise OSError(0, mask_secrets(f"{type(error).__name__}: {error}")[:200]) from error
        return _checked(item, bytes(data))


def _hide_password(url: str) -> None:
    """Keep the password in a URL out of all errors from here on."""
    with suppress(ValueError):  # the error that follows says what is wrong with it
        if password := urlsplit(url).password:
            register_secret(password)


def _file_system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise SearchError("fsspec is not installed: pip install 'edge_sim[ray]'") from error
    try:
        files, base = url_to_fs(url)
    except Exception as error:
        raise _unusable(url, error) from error
    return files, str(base).rstrip("/")


def _unusable(url: str, error: Exception) -> SearchError:
    reason = printable(" ".join(str(error).split())[:200]) or type(error).__name__
    return SearchError(f"{masked(url)}: cannot be read ({reason})")


def _relative(name: str) -> Path | None:
    """Return the path in the index of a picture; None for what is no picture by its name.

    A name that leads out of the storage, or starts with a dot, is none.
    """
    path = Path(name.lstrip("/").removeprefix("./"))
    parts = path.parts
    if path.suffix.lower() not in PICTURE_SUFFIXES or "\0" in name or ".." in parts:
        return None
    if path.name.startswith(".") or any(map(is_made_by_programs, parts[:-1])):
        return None
    return path


def _changed_ns(facts: dict[str, Any]) -> int:
    for name in _CHANGED:
        value = facts.get(name)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
            except ValueError:
                continue
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
            return round(aware.timestamp() * 1e6) * 1000
        if isinstance(value, int | float):
            return round(value * 1e6) * 1000
    return UNKNOWN


def _check_size(item: StoredPicture) -> None:
    if item.size < 0:
        raise ValueError("a file of negative size")  # of a damaged tar
    if item.size > MAX_FILE_BYTES:
        raise ValueError(f"{item.size} bytes are more than {MAX_FILE_BYTES}")


def _checked(item: StoredPicture, data: bytes) -> bytes:
    """Return the content, as `picture_bytes` does for a file."""
    if not data:
        raise ValueError("the file is empty")
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{len(data)} bytes are more than {MAX_FILE_BYTES}")
    kind = kind_by_name(item.path.suffix)
    if kind is not None and read_header(data) is None:
        raise ValueError(f"{kind} pictures are not read; convert it to JPEG or PNG")
    return data
