"""Labelled sets in tar files, read where they are: nothing is unpacked.

A picture in a tar is named like a file below it, `shelf.tar/open/1.jpg`.
"""

from __future__ import annotations

import tarfile
from functools import lru_cache
from pathlib import Path, PurePosixPath

from edge_sim.core.archives import TAR_FAULTS
from edge_sim.core.files import is_file, printable
from edge_sim.core.images import decode, decode_reduced
from edge_sim.core.tables import name_key
from edge_sim.core.types import BgrImage
from edge_sim.errors import DataError, SourceError
from edge_sim.io.sources.pictures import MAX_FILE_BYTES, read_picture, read_reduced

MAX_COMPRESSED_BYTES = 1 << 30
_KNOWN_TARS = 8
_COMPRESSED = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz"}
"""Kinds of compression that `tarfile` reads, by the first bytes of a file."""
_LONGEST_START = 6


class PictureTar:
    """Files in a tar, read in any order; those of a compressed tar are kept in memory.

    Args:
        path: The tar.

    Raises:
        DataError: It cannot be read, or is compressed and holds too much.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._contents: dict[str, bytes] = {}
        try:
            with path.open("rb") as file:
                start = file.read(_LONGEST_START)
            mode = next((kind for mark, kind in _COMPRESSED.items() if start.startswith(mark)), "")
            # By its first bytes: tried in turn, each kind would add a line to the error of a plain
            # tar that is damaged.
            with tarfile.open(path, f"r:{mode}") as archive:  # type: ignore[call-overload]
                (self._keep_contents if mode else self._find_places)(archive)
        except DataError:
            raise
        except (OSError, *TAR_FAULTS) as error:
            raise DataError(
                f"{printable(path)}: the tar cannot be read: {printable(str(error))}"
            ) from error

    def _find_places(self, archive: tarfile.TarFile) -> None:
        for member in archive:
            if member.size < 0:
                raise tarfile.ReadError("a file of negative size")
            if member.isreg() and not member.issparse():
                self._places[name_key(member.name)] = (member.offset_data, member.size)

    def _keep_contents(self, archive: tarfile.TarFile) -> None:
        kept = 0
        for member in archive:
            if not member.isreg() or member.issparse():
                continue
            kept += member.size
            if kept > MAX_COMPRESSED_BYTES:
                raise DataError(
                    f"{printable(self.path)}: is compressed and holds more than "
                    f"{MAX_COMPRESSED_BYTES >> 20} MiB; store it without compression"
                )
            file = archive.extractfile(member)
            name = name_key(member.name)
            self._contents[name] = b"" if file is None else file.read()
            self._places[name] = (0, member.size)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files, in the order of the tar."""
        return tuple(self._places)

    def find(self, name: str) -> str | None:
        """Return the name of a file as it is in the tar; None if there is none."""
        key = name_key(name)
        return key if key in self._places else None

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            DataError: There is none, it is larger than any picture, or the tar is damaged.
        """
        where = printable(self.path / name)
        if name not in self._places:
            raise DataError(f"{where}: not in the tar")
        start, size = self._places[name]
        if size > MAX_FILE_BYTES:
            raise DataError(f"{where}: {size} bytes are more than {MAX_FILE_BYTES}")
        if name in self._contents:
            return self._contents[name]
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(size)
        except OSError as error:
            raise DataError(f"{where}: cannot be read: {error.strerror or error}") from error

    def uppermost(self, name: str) -> str | None:
        """Return the place of a file of this name, the one in fewest folders; None without any."""
        found = (text for text in self._places if PurePosixPath(text).name == name)
        return min(found, key=lambda text: (text.count("/"), text), default=None)


def open_tar(path: Path) -> PictureTar:
    """Return a tar, listed once for as long as it is not written again.

    Raises:
        DataError: It cannot be read.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(
            f"{printable(path)}: the tar cannot be read: {error.strerror or error}"
        ) from error
    return _listed(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=_KNOWN_TARS)
def _listed(path: Path, _written_ns: int, _size: int) -> PictureTar:
    return PictureTar(path)


def read_labelled_picture(path: Path, side_px: int | None = None) -> BgrImage:
    """Return a picture in a folder, or in a tar where a file on the path is one.

    Args:
        path: The picture, `set/open/1.jpg` or `set.tar/open/1.jpg`.
        side_px: Side that it will be squashed to; it may then be smaller than stored. None keeps
            its size.

    Raises:
        DataError: It cannot be read.
    """
    in_folder = is_file(path)
    tar = None if in_folder else next((item for item in path.parents if is_file(item)), None)
    try:
        if tar is None:
            return read_picture(path) if side_px is None else read_reduced(path, side_px)
        data = open_tar(tar).read(path.relative_to(tar).as_posix())
        return decode(data) if side_px is None else decode_reduced(data, side_px).pixels
    except SourceError as error:
        raise DataError(str(error)) from error
    except ValueError as error:
        raise DataError(f"{printable(path)}: {error}") from error
