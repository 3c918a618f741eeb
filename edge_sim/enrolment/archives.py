"""A zip of folders with pictures, unpacked for an import without trusting a word of it.

Only pictures and the list of an export leave the archive. Every path is checked, sizes are counted
while unpacking (the archive's own figures may lie), and links stay inside.
"""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from edge_sim.enrolment.folders import MANIFEST
from edge_sim.errors import SourceError
from edge_sim.files import is_dir, is_file
from edge_sim.sources.uri import PICTURE_SUFFIXES

_CHUNK_BYTES = 1 << 20
_DEEPEST = 8  # folders; no layout needs more than three
_ENCRYPTED = 0x1  # https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.4.4
_COMPRESSIONS = frozenset(
    {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
)


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive may hold: entries, bytes of one file, and bytes of all."""

    entries: int = 100_000
    file_bytes: int = 512_000_000
    total_bytes: int = 8_000_000_000


def is_archive(path: Path) -> bool:
    """Whether a path is meant as a zip: a file whose name ends in .zip."""
    return path.suffix.lower() == ".zip" and not is_dir(path)


@contextmanager
def unpacked(path: Path, limits: ArchiveLimits | None = None) -> Iterator[Path]:
    """Give a folder with the pictures of a zip; it is gone afterwards.

    A single folder around everything is stepped into; pictures that lie in no folder are of the
    class that the file is named for, as in Teachable Machine's `Class 1-samples.zip`.

    Raises:
        SourceError: No zip, damaged, encrypted, a path that leads out of it, too much in it, or
            the disk is full.
    """
    with TemporaryDirectory(prefix="edge-sim-") as temporary:
        root = Path(temporary, "in")
        try:
            root.mkdir()
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, root, path, limits or ArchiveLimits())
        except OSError as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"{path}: cannot unpack ({error.strerror or error})") from error
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, UnicodeError) as error:
            raise SourceError(f"{path}: is no zip, or damaged ({error})") from error
        except NotImplementedError as error:  # patches, and encryption of other kinds
            raise SourceError(f"{path}: cannot be unpacked ({error})") from error
        yield _inner(root, path)


def _unpack(archive: zipfile.ZipFile, root: Path, path: Path, limits: ArchiveLimits) -> None:
    entries = archive.infolist()
    if len(entries) > limits.entries:
        raise SourceError(f"{path}: {len(entries)} entries are more than {limits.entries}")
    left = limits.total_bytes
    for entry in entries:
        inner = _checked(entry.filename, path)
        if entry.is_dir() or not _wanted(entry, inner):
            continue
        _check_readable(entry, path)
        target = root.joinpath(*inner.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        left -= _copy(archive, entry, target, min(limits.file_bytes, left))


def _checked(name: str, path: Path) -> PurePosixPath:
    """Return the path of an entry, which stays below the folder that it is unpacked to."""
    inner = PurePosixPath(name)
    bad = inner.is_absolute() or ".." in inner.parts or "\\" in name or "\0" in name
    if bad or len(inner.parts) > _DEEPEST or ":" in (inner.parts or ("",))[0]:
        raise SourceError(f"{path}: the entry {name[:80]!a} has a path that is not safe")
    return inner


def _check_readable(entry: zipfile.ZipInfo, path: Path) -> None:
    name = f"{path}: {entry.filename[:80]!a}"
    if entry.flag_bits & _ENCRYPTED:
        raise SourceError(f"{name} is encrypted; unpack it first and import the folder")
    if entry.compress_type not in _COMPRESSIONS:
        raise SourceError(
            f"{name} is of the compression {entry.compress_type}, which is not read; "
            f"unpack it first and import the folder"
        )


def _wanted(entry: zipfile.ZipInfo, inner: PurePosixPath) -> bool:
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return False  # a link or a device
    return inner.suffix.lower() in PICTURE_SUFFIXES or inner.name == MANIFEST


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, limit: int) -> int:
    written = 0
    with archive.open(entry) as source, target.open("xb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            written += len(chunk)
            if written > limit:
                raise SourceError(
                    f"{archive.filename}: {entry.filename[:80]!a} unpacks to more than "
                    f"{limit} bytes"
                )
            file.write(chunk)
    return written


def _inner(root: Path, path: Path) -> Path:
    entries = list(root.iterdir())
    if any(item.is_file() and item.name != MANIFEST for item in entries):
        around = root.parent / "around"
        around.mkdir()
        return root.rename(around / path.stem).parent
    folders = [item for item in entries if item.is_dir() and item.name != "__MACOSX"]
    if len(folders) == 1 and not is_file(root / MANIFEST):
        below = [item for item in folders[0].iterdir() if item.is_dir()]
        if below and folders[0].name != "dataset":
            return folders[0]
    return root
