"""A gallery as folders: one per state, pictures inside. Other programs' training data looks so.

Layouts that drop in as they are:

- a folder per state, as `export_states` writes it and as Teachable Machine's downloads unpack
  (`Class 1-samples/`);
- Frigate's classification models: `dataset/<state>/` beside `train/`;
- anomalib's and MVTec's: `train/good/`, `test/good/`, `test/<defect>/`; `ground_truth/` is masks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from edge_sim.enrolment.candidates import Found, ReferenceOrigin, pictures_in, read_candidate
from edge_sim.errors import EdgeSimError, GalleryError, SourceError
from edge_sim.files import entries, is_dir, is_file, printable
from edge_sim.gallery import checked_name
from edge_sim.gallery_store import GalleryStore, ReferenceRecord
from edge_sim.private_file import write_private

MANIFEST = "references.json"
_NOT_CLASSES = frozenset({"__MACOSX", "@eaDir", "lost+found"})  # what archives and disks add
_SAMPLES = "-samples"  # Teachable Machine's download of the class X is X-samples.zip
_SCHEMA = 1
_MAX_MANIFEST_BYTES = 256_000_000


class _Listed(msgspec.Struct, frozen=True):
    """What an export knows of one reference."""

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

    Hidden folders and those without pictures do not count.

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
            "pictures inside"
        )
    return dict(sorted(found.items()))


def states_in(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the folders of each state in `folder`, sorted; see the layouts above.

    Raises:
        SourceError: As in `classes_in`.
        GalleryError: A folder has a name that no state can have, or two would be one state.
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
    """Return the state that a folder is for: accents go, other characters become `_`.

    Raises:
        GalleryError: Nothing is left, it is too long, or the word is reserved.
    """
    bare = unicodedata.normalize("NFKD", folder_name).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", bare).strip("_")
    try:
        return checked_name("state", name)
    except GalleryError as error:
        raise GalleryError(f"folder {folder_name[:80]!r}: {error}; rename the folder") from error


def pictures_of(folder: Path, folders: tuple[Path, ...]) -> Iterator[Found]:
    """Yield the pictures of one state; those of an export come with what was known of them.

    Raises:
        SourceError: A folder cannot be read.
        GalleryError: The list of an export is damaged.
    """
    origins = _origins(folder)
    for place in folders:
        for path in pictures_in(place):
            yield read_candidate(path, origins.get(path.relative_to(folder).as_posix()))


def export_states(store: GalleryStore, watch: str, folder: Path) -> tuple[ReferenceRecord, ...]:
    """Write the pictures of a watch to `folder/<state>/<id>.png`; what is known of them beside.

    Args:
        folder: New or empty: nothing is ever written over.

    Raises:
        GalleryError: The watch has no references, or the folder is in use or cannot be written.
    """
    records = store.records(watch=watch)
    if not records:
        raise GalleryError(f"{store.path}: watch {watch!r} has no references to export")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise GalleryError(f"{folder} is not empty; name a new folder")
        for record in records:
            place = folder / record.state
            place.mkdir(exist_ok=True)
            write_private(place / f"{record.reference_id}.png", store.crop(record.reference_id))
        (folder / MANIFEST).write_bytes(
            msgspec.json.format(
                msgspec.json.encode({"schema": _SCHEMA, "references": records}), indent=2
            )
        )
    except EdgeSimError:
        raise
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
    """Return what the list of an export says, by path of the picture; empty without a list."""
    path = folder / MANIFEST
    try:
        if not is_file(path):
            return {}
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise GalleryError(f"{path} is too large for a list of references")
        listed = msgspec.json.decode(path.read_bytes(), type=_Manifest)
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
