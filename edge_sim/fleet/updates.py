"""Device side of packs: fetch, verify, try, and activate as one revision of the gallery.

The order is that of a power cut at any moment. Keys and versions that were seen are kept first, so
that nothing older is ever taken; the references come in one transaction last, so that the gallery
is the old one or the new one. The installed version stands in the log of the gallery itself, and
what is to be reported is read from there: a report that a power cut ate is made at the next check.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edge_sim.core.files import FileLock
from edge_sim.errors import GalleryError, PackError
from edge_sim.fleet import signing
from edge_sim.fleet.fetching import PackFetcher
from edge_sim.fleet.installed import installed_version
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
from edge_sim.fleet.update_state import (
    ACTIVATED,
    REFUSED,
    RefusedPack,
    UpdateOutcome,
    UpdatePolicy,
    UpdateState,
    begun_state,
    keep_state,
    read_state,
)
from edge_sim.gallery.records import Enrolled
from edge_sim.gallery.store import GalleryStore

_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
_MOST_ROOTS = 1000
_TRY_AGAIN_S = 86_400.0
"""A refused pack is fetched and tried again so much later, on another day of scores."""


def update(
    fetcher: PackFetcher, policy: UpdatePolicy, first: UpdateState | None = None
) -> list[UpdateOutcome]:
    """Take what a folder offers to this device; an outcome for each pack of its target.

    Args:
        fetcher: The folder.
        policy: The device.
        first: State to begin with where none is kept.

    Raises:
        PackError: The folder or its list is rejected, a file is not the one that was signed, or
            another update is at work; the gallery is as it was, but for packs that were activated
            before. A pack that is what was signed, but does not fit, is an outcome.
    """
    signing.check_library()
    try:
        lock = FileLock(policy.lock_path)
    except BlockingIOError as error:
        raise PackError(f"{policy.gallery}: another update is at work; try again later") from error
    except OSError as error:
        raise PackError(
            f"{policy.lock_path}: cannot make it ({error.strerror or error})"
        ) from error
    try:
        return _update(fetcher, policy, first)
    finally:
        lock.release()


def _update(
    fetcher: PackFetcher, policy: UpdatePolicy, first: UpdateState | None
) -> list[UpdateOutcome]:
    state = begun_state(policy, first)
    workspace = policy.workspace
    try:
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir()
    except OSError as error:
        raise PackError(f"{workspace}: cannot make it ({error.strerror or error})") from error
    try:
        state, listing = _refreshed(fetcher, policy, state, policy.workspace / "metadata")
        offered = offered_in(listing, state, fetcher.place)
        taken = [_taken(entry, fetcher, policy, state) for entry in offered]
        for item in taken:
            if isinstance(item, PackError):  # which has kept no other pack from being taken
                raise item
        return [item for item in taken if isinstance(item, UpdateOutcome)]
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def offered_in(listing: PackListing, state: UpdateState, place: str) -> list[PackEntry]:
    """Return the packs of a list for the product of a device.

    Raises:
        PackError: There are packs, but none for it.
    """
    offered = [item for item in listing.packs if item.target == state.target]
    if listing.packs and not offered:
        others = ", ".join(sorted({item.target for item in listing.packs}))
        raise PackError(f"{place}: no pack for {state.target!r}, only for {others}")
    return offered


def preview(
    fetcher: PackFetcher, policy: UpdatePolicy, first: UpdateState | None, folder: Path
) -> tuple[UpdateState, PackListing]:
    """Return the state and the list that an update would go by; nothing is kept.

    Args:
        fetcher: The folder.
        policy: The device.
        first: State to begin with where none is kept.
        folder: Folder for the files that are read.

    Raises:
        PackError: As `update`.
    """
    signing.check_library()
    return _refreshed(fetcher, policy, begun_state(policy, first), folder / "preview", keeps=False)


def _refreshed(
    fetcher: PackFetcher,
    policy: UpdatePolicy,
    state: UpdateState,
    scratch: Path,
    *,
    keeps: bool = True,
) -> tuple[UpdateState, PackListing]:
    """Follow the roots, check the list, and keep what is trusted from now on."""
    now_s = policy.clock()
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
    state = msgspec.structs.replace(state, root=signed_file, listing_version=known)
    if keeps:
        keep_state(policy, state)
    signing.check_fresh(root, now_s, root_name(root.version))
    if not fetcher.fetch(LISTING, scratch, signing.MAX_METADATA_BYTES):
        raise PackError(f"{fetcher.place}: there is no {LISTING}")
    signed = signing.read_signed(scratch.read_bytes(), LISTING)
    listing = _checked_listing(signed, root, known, now_s)
    state = msgspec.structs.replace(state, listing_version=listing.version)
    if keeps:
        keep_state(policy, state)
    return state, listing


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


def _taken(
    entry: PackEntry, fetcher: PackFetcher, policy: UpdatePolicy, state: UpdateState
) -> UpdateOutcome | PackError:
    try:
        return _take(entry, fetcher, policy, state)
    except PackError as error:
        return error


def _take(
    entry: PackEntry, fetcher: PackFetcher, policy: UpdatePolicy, state: UpdateState
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
    if not is_selected(entry, policy.device, state.group):
        return UpdateOutcome(entry.name, entry.version, "waiting")
    past = state.refused.get(entry.name)
    if past is not None and not policy.tries_again and _is_recent(past, entry, policy.clock()):
        return UpdateOutcome(entry.name, entry.version, REFUSED, reason=past.reason)
    file = policy.workspace / "pack"
    if not fetcher.fetch(entry.file, file, entry.length):
        raise PackError(f"{fetcher.place}: there is no {entry.file}, which {LISTING} names")
    if digest_of(file) != (entry.length, entry.sha256):
        raise PackError(f"{entry.file}: is not the file that was signed; it was not opened")
    # From here on it is what was signed: what speaks against it now does so on this device.
    try:
        content, observations = _tried(file, entry, policy)
    except PackError as error:
        if isinstance(error.__cause__, OSError):
            raise  # a full disk is no fault of the pack
        reason = str(error)
        refusal = RefusedPack(entry.version, entry.sha256, reason, policy.clock())
        _keep_refusal(policy, entry.name, refusal)
        return UpdateOutcome(entry.name, entry.version, REFUSED, reason=reason)
    revision = _activate(content, entry, policy, observations)
    return UpdateOutcome(entry.name, entry.version, ACTIVATED, revision, None, observations)


def _is_recent(past: RefusedPack, entry: PackEntry, now_s: float) -> bool:
    is_same = (past.version, past.sha256) == (entry.version, entry.sha256)
    return is_same and 0.0 <= now_s - past.at_s < _TRY_AGAIN_S


def _keep_refusal(policy: UpdatePolicy, name: str, refusal: RefusedPack) -> None:
    state = read_state(policy.state_path)
    if state is not None:
        refused = {**state.refused, name: refusal}
        keep_state(policy, msgspec.structs.replace(state, refused=refused))


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


Content = dict[str, list[Enrolled]]
"""References of a pack, by watch."""


def _tried(file: Path, entry: PackEntry, policy: UpdatePolicy) -> tuple[Content, int]:
    """Return the references of a pack that was verified, and the observations it was tried on.

    Raises:
        PackError: It does not fit this device.
        ModelError: The model of this device cannot be used.
    """
    try:
        return _tried_here(file, entry, policy)
    except GalleryError as error:
        raise PackError(f"{entry.file}: its gallery cannot be used ({error})") from error


def _tried_here(file: Path, entry: PackEntry, policy: UpdatePolicy) -> tuple[Content, int]:
    observations = 0
    with OpenPack(file) as pack:
        manifest = pack.manifest
        _check_manifest(manifest, entry, policy.watches)
        inner = policy.workspace / GALLERY
        pack.unpack_gallery(inner)
        with GalleryStore.open(inner, read_only=True) as offered:
            _check_states(manifest, offered)
            refused = refusals(manifest, offered, policy.open_embedder(), pack.picture)
            if refused:
                raise PackError(
                    f"{entry.file}: {refused[0][1]}; {len(refused)} of {len(manifest.pictures)} "
                    f"pinned pictures fail on this device"
                )
            if policy.trial is not None:
                galleries = {watch: offered.gallery(watch) for watch in manifest.states}
                observations = policy.trial(galleries)
            content = {watch: enrolled_in(offered, watch) for watch in manifest.states}
            return content, observations


def _activate(content: Content, entry: PackEntry, policy: UpdatePolicy, observations: int) -> int:
    """Make references a revision of the gallery; return its number."""
    count = sum(map(len, content.values()))
    detail = (
        f"{entry.name} version {entry.version} ({count} references, {entry.sha256[:12]}, "
        f"{observations} observations)"
    )
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
