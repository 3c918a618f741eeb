"""A gallery as folders: one per state, pictures inside. Other programs' training data looks so."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge_sim.errors import EdgeSimError, GalleryError, SourceError
from edge_sim.gallery import checked_name
from edge_sim.gallery_store import GalleryStore, ReferenceRecord

MANIFEST = "references.json"


def states_in(folder: Path) -> dict[str, Path]:
    """Return the folder of each state in `folder`, sorted by name; hidden ones do not count.

    Raises:
        SourceError: There is no such folder, or none in it.
        GalleryError: A folder has a name that no state can have.
    """
    try:
        inside = sorted(item for item in folder.iterdir() if item.is_dir())
    except OSError as error:
        raise SourceError(f"{folder}: {error.strerror or error}") from error
    found = [item for item in inside if not item.name.startswith(".")]
    if not found:
        raise SourceError(f"{folder}: no folders in it; make one for each state, pictures inside")
    return {checked_name("state", item.name): item for item in found}


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
            (place / f"{record.reference_id}.png").write_bytes(store.crop(record.reference_id))
        (folder / MANIFEST).write_bytes(
            msgspec.json.format(msgspec.json.encode({"schema": 1, "references": records}), indent=2)
        )
    except EdgeSimError:
        raise
    except OSError as error:
        raise GalleryError(f"{folder}: cannot write ({error.strerror or error})") from error
    return records
