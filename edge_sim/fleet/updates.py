"""Device side of packs: fetch, verify, try, and activate as one revision of the gallery.

The order is that of a power cut at any moment. Keys and versions that were seen are kept first, so
that nothing older is ever taken; the references come in one transaction last, so that the gallery
is the old one or the new one. The installed version stands in the log of the gallery itself.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_sim.core.files import is_dir, is_file, write_whole
from edge_sim.core.protocols import Embedder
from edge_sim.errors import ModelError, PackError
from edge_sim.fleet import signing
from edge_sim.fleet.packs import (
    GALLERY,
    MAX_PACK_BYTES,
    OpenPack,
    PackManifest,
    digest_of,
    enrolled_in,
    refusals,
)
from edge_sim.fleet.publishing import LISTING, root_name
from edge_sim.fleet.signing import PACKS, PackEntry, PackListing, RootMetadata
from edge_sim.gallery.store import REPLACED, GalleryStore
from edge_sim.vision.embedders.model_pull import Limits, download

_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
_DETAIL = re.compile(r"([A-Za-z0-9_-]+) version ([0-9]{1,10}) \(")
_MOST_ROOTS = 1000
_CHUNK_BYTES = 1 << 20
_ADVICE = "check the network, or copy the folder here and name that"


class UpdateState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State that a device keeps between updates.

    Args:
        root: Signed file of the root that is trusted.
        listing_version: Highest version of a list that was accepted.
        target: Product that this device is.
        group: Canary group of this device; empty without one.
    """

    root: signing.SignedFile
    listing_version: int
    target: str
    group: str = ""
    schema: int = 1


@dataclass(frozen=True, slots=True)
class PackFetcher:
    """Reader of the files of a folder, or of the same folder behind an HTTP server.

    Args:
        place: Path of the folder, or its http or https address.
        stall_s: Longest time without a byte, seconds.
        whole_s: Longest time of one file, seconds.
        clock: Clock that returns monotonic seconds.
    """

    place: str
    stall_s: float = 30.0
    whole_s: float = 1800.0
    clock: Callable[[], float] = time.monotonic

    def fetch(self, name: str, out: Path, limit: int) -> bool:
        """Write a file to `out`, at most `limit` bytes; return False if there is none.

        Raises:
            PackError: It cannot be read, is larger, or takes too long.
        """
        try:
            if self.place.startswith(("http://", "https://")):
                return self._download(name, out, limit)
            return self._copy(Path(self.place) / name, out, limit)
        except OSError as error:
            raise PackError(f"{out}: cannot write ({error.strerror or error})") from error

    def _download(self, name: str, out: Path, limit: int) -> bool:
        limits = Limits(limit, self.stall_s, self.whole_s, self.clock)
        opener = urllib.request.build_opener()
        url = f"{self.place.rstrip('/')}/{name}"
        try:
            download(url, out, opener=opener, limits=limits, advice=_ADVICE)
        except ModelError as error:
            cause = error.__cause__
            if isinstance(cause, urllib.error.HTTPError) and cause.code == 404:
                return False
            raise PackError(str(error)) from error
        return True

    def _copy(self, path: Path, out: Path, limit: int) -> bool:
        if not is_dir(self.place):
            raise PackError(f"{self.place}: there is no such folder; name one, or an http address")
        if not is_file(path):
            return False
        try:
            source = path.open("rb")
        except OSError as error:
            raise PackError(f"{path}: cannot read ({error.strerror or error})") from error
        with source, out.open("wb") as target:
            left = limit
            while block := source.read(_CHUNK_BYTES):
                left -= len(block)
                if left < 0:
                    raise PackError(f"{path}: larger than {limit} bytes; not read on")
                target.write(block)
        return True


@dataclass(frozen=True, slots=True)
class UpdatePolicy:
    """Place of the files of a device, and what it is.

    Args:
        gallery: Gallery file.
        device: Name of the device, which decides when a rollout reaches it.
        embedder: Model in use.
        watches: Watches of the device with their states, empty where any are allowed; None where
            any watch is allowed.
        clock: Clock that returns seconds since 1970.
    """

    gallery: Path
    device: str
    embedder: Embedder
    watches: Mapping[str, Sequence[str]] | None = None
    clock: Callable[[], float] = time.time

    @property
    def state_path(self) -> Path:
        """Path of the state between updates."""
        return self.gallery.with_name(f"{self.gallery.name}.updates.json")

    @property
    def workspace(self) -> Path:
        """Folder of downloads, on the disk of the gallery; emptied before and after each update."""
        return self.gallery.with_name(f".{self.gallery.name}.updates")


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """Outcome for one pack.

    Args:
        name: Name of the pack.
        version: Version that is offered.
        outcome: `activated`, `current`, or `waiting` where the rollout has not reached the device.
        revision: Revision of the gallery that it made; None if it made none.
    """

    name: str
    version: int
    outcome: str
    revision: int | None = None


def first_state(root: bytes, target: str, group: str = "", *, name: str) -> UpdateState:
    """Return the state of a device that was never updated, from the root it was given.

    Raises:
        PackError: It is no root, or not signed by its own keys.
    """
    signed_file = signing.read_signed(root, name)
    signing.check_signatures(signed_file, signing.root_in(signed_file, name), name)
    return UpdateState(signed_file, 0, target, group)


def read_state(path: Path) -> UpdateState | None:
    """Return the kept state; None if there is none.

    Raises:
        PackError: It is damaged.
    """
    if not is_file(path):
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=UpdateState)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PackError(
            f"{path}: is damaged; move it away and name the root again with --root"
        ) from error
    except OSError as error:
        raise PackError(f"{path}: cannot read ({error.strerror or error})") from error


def update(
    fetcher: PackFetcher, policy: UpdatePolicy, first: UpdateState | None = None
) -> list[UpdateOutcome]:
    """Take what a folder offers to this device; an outcome for each pack of its target.

    Args:
        fetcher: The folder.
        policy: The device.
        first: State to begin with where none is kept.

    Raises:
        PackError: The folder, its list or a pack is rejected; the gallery is as it was, but for
            packs that were activated before.
    """
    signing.check_library()
    state = read_state(policy.state_path) or first
    if state is None:
        raise PackError(
            f"{policy.state_path}: there is no root to trust yet; name it with --root FILE, "
            f"and the product with --target NAME"
        )
    workspace = policy.workspace
    try:
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir()
    except OSError as error:
        raise PackError(f"{workspace}: cannot make it ({error.strerror or error})") from error
    try:
        listing = _refresh(fetcher, policy, state)
        offered = [item for item in listing.packs if item.target == state.target]
        if listing.packs and not offered:
            others = ", ".join(sorted({item.target for item in listing.packs}))
            raise PackError(f"{fetcher.place}: no pack for {state.target!r}, only for {others}")
        return [_take(entry, fetcher, policy, state.group) for entry in offered]
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _refresh(fetcher: PackFetcher, policy: UpdatePolicy, state: UpdateState) -> PackListing:
    """Follow the roots, check the list, and keep what is trusted from now on."""
    now_s, scratch = policy.clock(), policy.workspace / "metadata"
    root = signing.root_in(state.root, str(policy.state_path))
    signed_file, known = state.root, state.listing_version
    for _ in range(_MOST_ROOTS):
        name = root_name(root.version + 1)
        if not fetcher.fetch(name, scratch, signing.MAX_METADATA_BYTES):
            break
        signed_file = signing.read_signed(scratch.read_bytes(), name)
        after = signing.next_root(root, signed_file, name)
        if set(after.packs.key_ids) != set(root.packs.key_ids):
            known = 0  # a stolen key may have signed any version
        root = after
    _keep(policy, msgspec.structs.replace(state, root=signed_file, listing_version=known))
    signing.check_fresh(root, now_s, root_name(root.version))
    if not fetcher.fetch(LISTING, scratch, signing.MAX_METADATA_BYTES):
        raise PackError(f"{fetcher.place}: there is no {LISTING}")
    signed = signing.read_signed(scratch.read_bytes(), LISTING)
    listing = _checked_listing(signed, root, known, now_s)
    _keep(policy, msgspec.structs.replace(state, root=signed_file, listing_version=listing.version))
    return listing


def _checked_listing(
    signed_file: signing.SignedFile, root: RootMetadata, known: int, now_s: float
) -> PackListing:
    if signed_file.role != PACKS:
        raise PackError(f"{LISTING}: metadata of the role {signed_file.role[:20]!r}, not {PACKS!r}")
    signing.check_signatures(signed_file, root, LISTING)
    listing = signing.listing_in(signed_file, LISTING)
    if listing.version < known:
        raise PackError(
            f"{LISTING}: version {listing.version} is older than version {known}, "
            f"which this device has seen"
        )
    signing.check_fresh(listing, now_s, LISTING)
    return listing


def _keep(policy: UpdatePolicy, state: UpdateState) -> None:
    if read_state(policy.state_path) == state:
        return
    try:
        write_whole(policy.state_path, msgspec.json.encode(state))
    except OSError as error:
        raise PackError(f"{policy.state_path}: cannot write ({error.strerror or error})") from error


def _take(
    entry: PackEntry, fetcher: PackFetcher, policy: UpdatePolicy, group: str
) -> UpdateOutcome:
    if not _FILE_NAME.fullmatch(entry.file) or not 0 < entry.length <= MAX_PACK_BYTES:
        raise PackError(f"{LISTING}: the file {entry.file[:80]!r} has no valid name or length")
    installed = installed_version(policy.gallery, entry.name)
    if entry.version < installed:
        raise PackError(
            f"{entry.name}: version {entry.version} is offered, version {installed} was "
            f"installed; to go back, run `edge-sim gallery undo`"
        )
    if entry.version == installed:
        return UpdateOutcome(entry.name, entry.version, "current")
    if not is_selected(entry, policy.device, group):
        return UpdateOutcome(entry.name, entry.version, "waiting")
    file = policy.workspace / "pack"
    if not fetcher.fetch(entry.file, file, entry.length):
        raise PackError(f"{fetcher.place}: there is no {entry.file}, which {LISTING} names")
    if digest_of(file) != (entry.length, entry.sha256):
        raise PackError(f"{entry.file}: is not the file that was signed; it was not opened")
    revision = _activate(file, entry, policy)
    return UpdateOutcome(entry.name, entry.version, "activated", revision)


def is_selected(entry: PackEntry, device: str, group: str) -> bool:
    """Return whether a rollout has reached a device.

    Devices are spread evenly by a digest of pack, version and device: a larger share keeps all
    devices of a smaller one, and another version begins with others.
    """
    if group and group in entry.canary:
        return True
    key = f"{entry.name}\0{entry.version}\0{device}".encode()
    number = int.from_bytes(hashlib.sha256(key).digest()[:8], "big")
    return number % 10_000 < entry.rollout_percent * 100


def installed_version(gallery: Path, name: str) -> int:
    """Return the highest version of a pack that a gallery ever had; 0 for none."""
    if not is_file(gallery):
        return 0
    with GalleryStore.open(gallery, read_only=True) as store:
        found = [_DETAIL.match(item.detail) for item in store.log() if item.verb == REPLACED]
    return max((int(item[2]) for item in found if item and item[1] == name), default=0)


def _activate(file: Path, entry: PackEntry, policy: UpdatePolicy) -> int:
    """Try a pack that was verified, and make it a revision of the gallery."""
    with OpenPack(file) as pack:
        manifest = pack.manifest
        _check_manifest(manifest, entry, policy.watches)
        inner = policy.workspace / GALLERY
        pack.unpack_gallery(inner)
        with GalleryStore.open(inner, read_only=True) as offered:
            _check_states(manifest, offered)
            refused = refusals(manifest, offered, policy.embedder, pack.picture)
            if refused:
                raise PackError(
                    f"{entry.file}: {refused[0][1]}; {len(refused)} of {len(manifest.pictures)} "
                    f"pinned pictures fail on this device"
                )
            content = {watch: enrolled_in(offered, watch) for watch in manifest.states}
    count = sum(map(len, content.values()))
    detail = f"{entry.name} version {entry.version} ({count} references, {entry.sha256[:12]})"
    with GalleryStore.open(policy.gallery, create=True) as store:
        return store.replace(content, detail).number


def _check_manifest(
    manifest: PackManifest, entry: PackEntry, watches: Mapping[str, Sequence[str]] | None
) -> None:
    ours = (manifest.name, manifest.version, manifest.previous, manifest.target, manifest.model_id)
    if ours != (entry.name, entry.version, entry.previous, entry.target, entry.model_id):
        raise PackError(
            f"{entry.file}: is {manifest.name} {manifest.version}, not as {LISTING} says"
        )
    if watches is None:
        return
    for watch, states in manifest.states.items():
        if watch not in watches:
            known = ", ".join(watches)
            raise PackError(f"{entry.file}: this device has no watch {watch!r}, only {known}")
        extra = sorted(set(states) - set(watches[watch])) if watches[watch] else []
        if extra:
            raise PackError(
                f"{entry.file}: watch {watch!r} of this device has no state {extra[0]!r}"
            )


def _check_states(manifest: PackManifest, offered: GalleryStore) -> None:
    problems = offered.check()
    if problems:
        raise PackError(f"the gallery of the pack is damaged: {problems[0]}")
    found = {watch: offered.gallery(watch).states for watch in offered.watches()}
    if found != manifest.states:
        raise PackError("the gallery of the pack has other watches or states than its list")
