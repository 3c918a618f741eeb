"""Pack: one file with references, and pictures that show on every device whether they fit.

The file is a zip of `pack.json`, `gallery.db` and `pictures/`. The gallery in it is made anew: it
holds what the watches have now, and nothing of the past of the gallery it came from. A pack is not
signed itself; the list of packs holds its length and digest, and that list is (`signing`).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import msgspec

from edge_sim.core.archives import ZIP_FAULTS, EntryTooLargeError, copy_entry
from edge_sim.core.files import private_opener
from edge_sim.core.images import decode
from edge_sim.core.protocols import Embedder
from edge_sim.decision.scorer import GalleryScorer
from edge_sim.errors import EdgeSimError, GalleryError, PackError
from edge_sim.fleet.signing import MAX_VERSION
from edge_sim.gallery.enrolment import as_stored
from edge_sim.gallery.gallery import checked_name
from edge_sim.gallery.records import Enrolled
from edge_sim.gallery.store import GalleryStore
from edge_sim.vision.probe import make_probe

MANIFEST, GALLERY = "pack.json", "gallery.db"
SUFFIX = ".pack"
MOST_PICTURES = 200
MAX_PACK_BYTES = 512 << 20
_MAX_MANIFEST_BYTES = 1 << 20
_MAX_PICTURE_BYTES = 32 << 20
_CHUNK_BYTES = 1 << 20


class PinnedPicture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Picture of the region of a watch, and the state that every device must see in it."""

    file: str
    watch: str
    state: str


class PackManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of a pack; the fields are those of `signing.PackEntry`.

    `states` holds the states of each watch, by name.
    """

    name: str
    version: int
    previous: int
    target: str
    model_id: str
    states: dict[str, tuple[str, ...]]
    pictures: tuple[PinnedPicture, ...]
    schema: int = 1


@dataclass(frozen=True, slots=True)
class PinnedSource:
    """Encoded picture of the region of a watch, with its state, before it is in a pack."""

    watch: str
    state: str
    encoded: bytes
    name: str


@dataclass(frozen=True, slots=True)
class PackPlan:
    """Name, version and target of a pack that is about to be built; as in `signing.PackEntry`."""

    name: str
    version: int
    previous: int
    target: str

    def __post_init__(self) -> None:
        try:
            checked_name("pack", self.name)
            checked_name("target", self.target)
        except GalleryError as error:
            raise PackError(str(error)) from error
        if not 0 <= self.previous < self.version <= MAX_VERSION:
            raise PackError(
                f"version {self.version} after {self.previous}: a version is above the previous one"
            )


def build(
    out: Path,
    plan: PackPlan,
    store: GalleryStore,
    embedder: Embedder,
    *,
    watches: Sequence[str],
    pinned: Sequence[PinnedSource],
) -> PackManifest:
    """Write a pack of the references of some watches to `out`.

    Every pinned picture is tried here first: a pack that its own pictures speak against is not
    built. A state without one gets its last reference, which shows no more than that the model of a
    device gives the same embedding.

    Raises:
        PackError: `out` exists, a pinned picture is of another state, or nothing can be written.
        GalleryError: A watch has no references, or references of another model.
    """
    galleries = {watch: store.gallery(watch, model_id=embedder.model_id) for watch in watches}
    for watch, gallery in galleries.items():
        if not gallery.references:
            raise GalleryError(f"{store.path}: watch {watch!r} has no references to pack")
    states = {watch: gallery.states for watch, gallery in galleries.items()}
    sources = [*pinned, *_missing(store, states, pinned)]
    if len(sources) > MOST_PICTURES:
        raise PackError(f"{len(sources)} pinned pictures are more than {MOST_PICTURES}")
    for item in sources:
        if item.state not in states.get(item.watch, ()):
            raise PackError(f"{item.name}: the pack has no state {item.watch}/{item.state}")
    named = {f"pictures/{number:03}.img": item for number, item in enumerate(sources)}
    manifest = PackManifest(
        name=plan.name,
        version=plan.version,
        previous=plan.previous,
        target=plan.target,
        model_id=embedder.model_id,
        states=states,
        pictures=tuple(PinnedPicture(file, item.watch, item.state) for file, item in named.items()),
    )
    with TemporaryDirectory(prefix="edge-sim-pack-") as temporary:
        folder = Path(temporary)
        with GalleryStore.open(folder / GALLERY, create=True) as fresh:
            fresh.replace({watch: enrolled_in(store, watch) for watch in watches}, plan.name)
            refused = refusals(manifest, fresh, embedder, lambda file: named[file].encoded)
        if refused:
            wrong = named[refused[0][0].file].name
            raise PackError(f"{wrong}: {refused[0][1]}; {len(refused)} pinned pictures fail")
        _write(
            out, manifest, folder / GALLERY, {file: item.encoded for file, item in named.items()}
        )
    return manifest


def enrolled_in(store: GalleryStore, watch: str) -> list[Enrolled]:
    """Return the references of a watch as they can be added to another gallery."""
    records = {item.reference_id: item for item in store.records(watch=watch)}
    return [
        Enrolled(
            state=item.state,
            embedding=item.embedding,
            thumbnail=item.thumbnail,
            crop=store.crop(item.reference_id),
            condition=item.condition,
            enrolled_at=item.enrolled_at,
            metadata=item.metadata,
            tags=records[item.reference_id].tags,
        )
        for item in store.gallery(watch).references
    ]


def refusals(
    manifest: PackManifest,
    store: GalleryStore,
    embedder: Embedder,
    picture: Callable[[str], bytes],
) -> list[tuple[PinnedPicture, str]]:
    """Return the pinned pictures that do not show their state, with the reason.

    Args:
        manifest: Content of the pack.
        store: Gallery of the pack.
        embedder: Embedder of this device.
        picture: Function that returns the encoded picture of a name.

    Raises:
        PackError: The model is another one, or a watch has no pinned picture.
    """
    if manifest.model_id != embedder.model_id:
        raise PackError(
            f"the pack is made for the model {manifest.model_id}, this device uses "
            f"{embedder.model_id}"
        )
    scorers = {
        watch: GalleryScorer(store.gallery(watch, model_id=embedder.model_id))
        for watch in manifest.states
    }
    unproved = sorted(set(scorers) - {item.watch for item in manifest.pictures})
    if unproved:
        raise PackError(f"the pack has no pinned picture of watch {unproved[0]!r}")
    found = []
    for item in manifest.pictures:
        if item.watch not in scorers:
            raise PackError(f"the pinned picture {item.file} is of no watch of the pack")
        reason = _refusal(item, scorers[item.watch], embedder, picture(item.file))
        if reason is not None:
            found.append((item, reason))
    return found


def _refusal(
    item: PinnedPicture, scorer: GalleryScorer, embedder: Embedder, encoded: bytes
) -> str | None:
    try:
        probe = make_probe(embedder, as_stored(decode(encoded)))
        match = scorer.best_match(probe)
    except (EdgeSimError, ValueError) as error:
        return f"the pinned picture of {item.watch}/{item.state} cannot be used ({error})"
    if match is not None and match.best.state == item.state:
        return None
    seen = "nothing" if match is None else match.best.state
    return f"the pinned picture of {item.watch}/{item.state} shows {seen}"


def _missing(
    store: GalleryStore, states: Mapping[str, Sequence[str]], pinned: Sequence[PinnedSource]
) -> list[PinnedSource]:
    """Return the last reference of every state that no pinned picture shows."""
    shown = {(item.watch, item.state) for item in pinned}
    last = {
        (item.watch, item.state): item.reference_id
        for item in store.records()
        if item.state in states.get(item.watch, ())
    }
    return [
        PinnedSource(watch, state, store.crop(reference_id), f"reference {reference_id}")
        for (watch, state), reference_id in sorted(last.items())
        if (watch, state) not in shown
    ]


def _write(out: Path, manifest: PackManifest, gallery: Path, pictures: Mapping[str, bytes]) -> None:
    try:
        with out.open("xb") as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
            archive.write(gallery, GALLERY)
            for name, encoded in pictures.items():
                archive.writestr(name, encoded)
    except FileExistsError as error:
        raise PackError(f"{out} exists; name another file") from error
    except OSError as error:
        out.unlink(missing_ok=True)
        raise PackError(f"{out}: cannot write ({error.strerror or error})") from error


class OpenPack:
    """Open pack file; use `with`. Every method raises `PackError` where the file is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except OSError as error:
            raise PackError(f"{path}: cannot read ({error.strerror or error})") from error
        except ZIP_FAULTS as error:
            raise PackError(f"{path}: is cut off, damaged, or no pack") from error
        try:
            self.manifest = self._read_manifest()
        except PackError:
            self._archive.close()
            raise

    def __enter__(self) -> OpenPack:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def picture(self, file: str) -> bytes:
        """Return a pinned picture, encoded."""
        return self._read(file, _MAX_PICTURE_BYTES)

    def unpack_gallery(self, path: Path) -> None:
        """Write the gallery of the pack to `path`."""
        try:
            with open(path, "wb", opener=private_opener) as file:
                self._copy(GALLERY, file, MAX_PACK_BYTES)
        except OSError as error:
            raise PackError(f"{path}: cannot write ({error.strerror or error})") from error

    def _read_manifest(self) -> PackManifest:
        data = self._read(MANIFEST, _MAX_MANIFEST_BYTES)
        try:
            found = msgspec.json.decode(data, type=PackManifest)
            # The name becomes that of a file where the pack is published.
            PackPlan(found.name, found.version, found.previous, found.target)
            for watch, states in found.states.items():
                checked_name("watch", watch)
                for state in states:
                    checked_name("state", state)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise PackError(f"{self.path}: {MANIFEST} is no list of a pack ({error})") from error
        if found.schema != 1:
            raise PackError(
                f"{self.path}: is of the schema {found.schema}, this edge_sim knows 1; upgrade it"
            )
        if not found.states or len(found.pictures) > MOST_PICTURES:
            raise PackError(f"{self.path}: no watch in it, or too many pinned pictures")
        return found

    def _read(self, name: str, limit: int) -> bytes:
        content = io.BytesIO()
        self._copy(name, content, limit)
        return content.getvalue()

    def _copy(self, name: str, stream: BinaryIO, limit: int) -> None:
        try:
            copy_entry(self._archive, name, stream, limit)
        except KeyError as error:
            raise PackError(f"{self.path}: there is no {name[:80]} in it") from error
        except EntryTooLargeError as error:
            raise PackError(
                f"{self.path}: {name[:80]} unpacks to more than {limit} bytes"
            ) from error
        except ZIP_FAULTS as error:
            raise PackError(f"{self.path}: {name[:80]} is damaged ({error})") from error


def digest_of(path: Path) -> tuple[int, str]:
    """Return the length of a file and its SHA-256.

    Raises:
        PackError: It cannot be read.
    """
    digest, length = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(_CHUNK_BYTES):
                digest.update(block)
                length += len(block)
    except OSError as error:
        raise PackError(f"{path}: cannot read ({error.strerror or error})") from error
    return length, digest.hexdigest()
