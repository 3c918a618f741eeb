"""Import and export of a gallery as folders of pictures, one per state, or as a zip of them.

Layouts that drop in as they are:

- a folder per state, as `export_states` writes it and as Teachable Machine's downloads unpack
  (`Class 1-samples/`);
- Frigate's classification models: `dataset/<state>/` beside `train/`;
- anomalib's and MVTec's: `train/good/`, `test/good/`, `test/<defect>/`; `ground_truth/` is masks.

Only pictures and the list of an export are unpacked from a zip. Every path is checked, sizes are
counted while unpacking (the figures in the archive are not trusted), and links are skipped.
"""

from __future__ import annotations

import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import msgspec

from edge_sim.core.archives import ZIP_FAULTS, EntryTooLargeError, copy_entry
from edge_sim.core.files import entries, is_dir, is_file, printable, size_of, write_private
from edge_sim.core.picture_header import read_header
from edge_sim.errors import AccessError, EdgeSimError, GalleryError, SourceError
from edge_sim.gallery.candidates import (
    CandidateResult,
    ReferenceOrigin,
    pictures_in,
    read_candidate,
)
from edge_sim.gallery.gallery import checked_name
from edge_sim.gallery.records import ReferenceRecord
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.uri import PICTURE_SUFFIXES

MANIFEST = "references.json"
_NOT_CLASSES = frozenset({"__MACOSX", "@eaDir", "lost+found"})  # added by archives and disks
_SAMPLES = "-samples"  # Teachable Machine's download of the class X is X-samples.zip
_SCHEMA = 1
_MAX_MANIFEST_BYTES = 256_000_000


class _Listed(msgspec.Struct, frozen=True):
    """Entry of one reference in the list of an export."""

    reference_id: str
    state: str
    enrolled_at: datetime
    metadata: dict[str, str]
    tags: tuple[str, ...]


class _Manifest(msgspec.Struct, frozen=True):
    schema: int
    references: tuple[_Listed, ...]


def classes_in(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the folders with pictures of each class, sorted; names as they are on disk.

    Hidden folders and those without pictures are left out.

    Raises:
        SourceError: There is no such folder, or no folder with pictures in it.
    """
    found: dict[str, tuple[Path, ...]] = {}
    for part in _parts(folder):
        for item in _folders_in(part):
            if _has_pictures(item):
                name = item.name.removesuffix(_SAMPLES)
                found[name] = (*found.get(name, ()), item)
    if not found:
        raise SourceError(
            f"{printable(folder)}: no folders with pictures in it; make one for each state, "
            "with its pictures inside"
        )
    return dict(sorted(found.items()))


def states_in(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the folders of each state in `folder`, sorted; see the layouts above.

    Raises:
        SourceError: No such folder, or no folder with pictures in it.
        GalleryError: A folder has no valid name of a state, or two would be one state.
    """
    found: dict[str, tuple[Path, ...]] = {}
    origin: dict[str, str] = {}
    for name, folders in classes_in(folder).items():
        state = state_name(name)
        if state in found:
            raise GalleryError(
                f"{printable(folder)}: the folders {origin[state]!r} and {name!r} would both be "
                f"the state {state!r}; rename one"
            )
        found[state], origin[state] = folders, name
    return found


def state_name(folder_name: str) -> str:
    """Return the state named by a folder: accents are dropped, other characters become `_`.

    Raises:
        GalleryError: Nothing is left, it is too long, or the word is reserved.
    """
    bare = unicodedata.normalize("NFKD", folder_name).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", bare).strip("_")
    try:
        return checked_name("state", name)
    except GalleryError as error:
        raise GalleryError(f"folder {folder_name[:80]!r}: {error}; rename the folder") from error


def pictures_of(folder: Path, folders: tuple[Path, ...]) -> Iterator[CandidateResult]:
    """Yield the pictures of one state; those of an export with their metadata.

    Raises:
        SourceError: A folder cannot be read.
        GalleryError: The list of an export is damaged.
    """
    origins = _origins(folder)
    for place in folders:
        for path in pictures_in(place):
            yield read_candidate(path, origins.get(path.relative_to(folder).as_posix()))


def export_states(store: GalleryStore, watch: str, folder: Path) -> tuple[ReferenceRecord, ...]:
    """Write the pictures of a watch to `folder/<state>/<id>.png`, with a list of their metadata.

    Args:
        folder: New or empty folder; nothing is overwritten.

    Raises:
        GalleryError: The watch has no references, or the folder is in use or cannot be written.
    """
    records = store.records(watch=watch)
    if not records:
        raise GalleryError(f"{store.path}: watch {watch!r} has no references to export")
    try:
        if is_dir(folder) and entries(folder):
            raise GalleryError(f"{folder} is not empty; name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        for record in records:
            place = folder / record.state
            place.mkdir(exist_ok=True)
            write_private(place / f"{record.reference_id}.png", store.crop(record.reference_id))
        (folder / MANIFEST).write_bytes(
            msgspec.json.format(
                msgspec.json.encode({"schema": _SCHEMA, "references": records}), indent=2
            )
        )
    except AccessError as error:
        raise GalleryError(str(error)) from error
    except OSError as error:
        raise GalleryError(f"{folder}: cannot write ({error.strerror or error})") from error
    return records


def _parts(folder: Path) -> tuple[Path, ...]:
    """Return the folders that hold the folders of the states."""
    if is_dir(folder / "train" / "good"):
        return tuple(part for part in (folder / "train", folder / "test") if is_dir(part))
    return (folder / "dataset",) if is_dir(folder / "dataset") else (folder,)


def _folders_in(folder: Path) -> list[Path]:
    return [
        item
        for item in entries(folder)
        if not item.name.startswith(".") and item.name not in _NOT_CLASSES and is_dir(item)
    ]


def _has_pictures(folder: Path) -> bool:
    try:
        return bool(pictures_in(folder))
    except SourceError:
        return False


def _origins(folder: Path) -> Mapping[str, ReferenceOrigin]:
    """Return the entries of the list of an export by path of the picture; empty without a list."""
    path = folder / MANIFEST
    try:
        if not is_file(path):
            return {}
        if size_of(path) > _MAX_MANIFEST_BYTES:
            raise GalleryError(f"{path} is too large for a list of references")
        listed = msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except AccessError:
        raise
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise GalleryError(
            f"{path} is no list of references ({error}); remove it to import the pictures alone"
        ) from error
    if listed.schema != _SCHEMA:
        raise GalleryError(
            f"{path} is of the schema {listed.schema}, this edge_sim knows {_SCHEMA}; upgrade it"
        )
    return {
        f"{item.state}/{item.reference_id}.png": _origin(path, item) for item in listed.references
    }


def _origin(path: Path, item: _Listed) -> ReferenceOrigin:
    if item.enrolled_at.tzinfo is None:
        raise GalleryError(f"{path}: enrolled_at of {item.reference_id[:80]!r} has no time zone")
    tags = tuple(checked_name("tag", tag) for tag in item.tags)
    metadata = {printable(key): printable(value) for key, value in item.metadata.items()}
    return ReferenceOrigin(metadata, item.enrolled_at, tags)


_START_BYTES = 512  # enough to recognise a picture
_DEEPEST = 8  # folders; no layout needs more than three
_ENCRYPTED = 0x1  # https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.4.4
_COMPRESSIONS = frozenset(
    {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
)


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits of an archive: entries, bytes of one file, and bytes of all."""

    entries: int = 100_000
    file_bytes: int = 512_000_000
    total_bytes: int = 8_000_000_000


def is_archive(path: Path) -> bool:
    """Return whether a path names a zip: a file whose name ends in .zip."""
    return path.suffix.lower() == ".zip" and not is_dir(path)


@contextmanager
def unpacked(path: Path, limits: ArchiveLimits | None = None) -> Iterator[Path]:
    """Provide a temporary folder with the pictures of a zip.

    A single folder around everything is entered; pictures outside of folders are of the class that
    the file is named for, as in Teachable Machine's `Class 1-samples.zip`.

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
        except EdgeSimError:
            raise
        except OSError as error:
            raise SourceError(f"{path}: cannot unpack ({error.strerror or error})") from error
        except NotImplementedError as error:  # patches, and encryption of other kinds
            raise SourceError(f"{path}: cannot be unpacked ({error})") from error
        except ZIP_FAULTS as error:
            raise SourceError(f"{path}: is no zip, or damaged ({error})") from error
        yield _inner(root, path)


def _unpack(archive: zipfile.ZipFile, root: Path, path: Path, limits: ArchiveLimits) -> None:
    entries = archive.infolist()
    if len(entries) > limits.entries:
        raise SourceError(f"{path}: {len(entries)} entries are more than {limits.entries}")
    left = limits.total_bytes
    for entry in entries:
        inner = _checked(entry.filename, path)
        if entry.is_dir() or not _wanted(archive, entry, inner):
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


def _wanted(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, inner: PurePosixPath) -> bool:
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return False  # a link or a device
    if inner.suffix.lower() in PICTURE_SUFFIXES or inner.name == MANIFEST:
        return True
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _COMPRESSIONS:
        return False
    with archive.open(entry) as file:
        return read_header(file.read(_START_BYTES)) is not None


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, limit: int) -> int:
    try:
        with target.open("xb") as file:
            return copy_entry(archive, entry, file, limit)
    except EntryTooLargeError as error:
        raise SourceError(
            f"{archive.filename}: {entry.filename[:80]!a} unpacks to more than {limit} bytes"
        ) from error


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
