"""Folder of packs as any HTTP server hands it out, and the side that writes it.

`root/1.json`, `root/2.json` ... are the keys, each signed by those before; `packs.json` is the
signed list; `<name>-<version>.pack` are the packs. A new list is written after the packs that it
names, so that a device never reads of a file that is not there yet.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_sim.core.events import utc_text
from edge_sim.core.files import is_file, sync_folder
from edge_sim.errors import PackError
from edge_sim.fleet import signing
from edge_sim.fleet.packs import MAX_PACK_BYTES, SUFFIX, OpenPack, digest_of
from edge_sim.fleet.signing import (
    PACKS,
    ROOT,
    PackEntry,
    PackListing,
    RootMetadata,
    SignedFile,
    SigningRole,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LISTING = "packs.json"
DAY_S = 86_400.0


def root_name(version: int) -> str:
    """Return the name of the file of a root, below the folder."""
    return f"root/{version}.json"


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """Public keys of a role, and how many of them must sign."""

    public: tuple[str, ...]
    threshold: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """Share of the devices, 0 to 100, and groups that take a pack whatever the share."""

    percent: int = 100
    canary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise PackError(f"a rollout to {self.percent} % of the devices: use 0 to 100")


def publish_root(
    folder: Path,
    roles: Mapping[str, RoleKeys],
    keys: Sequence[Ed25519PrivateKey],
    *,
    expires_s: float,
) -> RootMetadata:
    """Write the next root of a folder, or its first.

    Raises:
        PackError: Too few of the keys before or of the new ones sign it, or it cannot be written;
            then devices would reject it, and nothing is written.
    """
    public = {signing.key_id_of(key): key for role in roles.values() for key in role.public}
    before = last_root(folder)
    root = RootMetadata(
        version=1 if before is None else before.version + 1,
        expires=utc_text(expires_s),
        keys=public,
        root=_role(roles[ROOT]),
        packs=_role(roles[PACKS]),
    )
    name = root_name(root.version)
    signed_file = signing.signed(signing.sealed(ROOT, root), keys)
    signing.check_signatures(signed_file, signing.root_in(signed_file, name), name)
    if before is not None:
        signing.next_root(before, signed_file, name)
    signing.write_signed(folder / name, signed_file)
    return root


def _role(keys: RoleKeys) -> SigningRole:
    return SigningRole(tuple(sorted(map(signing.key_id_of, keys.public))), keys.threshold)


def last_root(folder: Path) -> RootMetadata | None:
    """Return the last root of a folder; None in a new one.

    Raises:
        PackError: A root cannot be read, or does not follow the one before.
    """
    root: RootMetadata | None = None
    while is_file(place := folder / root_name(1 if root is None else root.version + 1)):
        signed_file = _signed_at(place)
        if root is None:
            root = signing.root_in(signed_file, str(place))
            signing.check_signatures(signed_file, root, str(place))
        else:
            root = signing.next_root(root, signed_file, str(place))
    return root


def listing_at(folder: Path) -> tuple[SignedFile, PackListing] | None:
    """Return the list of a folder and its signed file, signatures unchecked; None in a new one.

    Raises:
        PackError: It is no list.
    """
    place = folder / LISTING
    if not is_file(place):
        return None
    signed_file = _signed_at(place)
    return signed_file, signing.listing_in(signed_file, str(place))


def _signed_at(place: Path) -> SignedFile:
    try:
        with place.open("rb") as file:
            data = file.read(signing.MAX_METADATA_BYTES + 1)
    except OSError as error:
        raise PackError(f"{place}: cannot read ({error.strerror or error})") from error
    return signing.read_signed(data, str(place))


def publish(
    folder: Path,
    packs: Iterable[Path],
    keys: Sequence[Ed25519PrivateKey],
    *,
    rollout: Rollout,
    expires_s: float,
) -> PackListing:
    """Copy packs into a folder, and list them in place of earlier versions of the same names.

    Without packs the same list is signed again, with the rollout as it was and a later expiry.
    The same version again changes its rollout. Fewer signatures than are needed are no error:
    `add_signatures` adds those of keys that are elsewhere, and devices wait until then.

    Raises:
        PackError: No root, a version that is not above the listed one, another file of the same
            version, or nothing can be written.
    """
    if last_root(folder) is None:
        raise PackError(f"{folder}: has no root yet; make one with `edge-sim pack key root`")
    known = listing_at(folder)
    before = known[1] if known is not None else PackListing(0, utc_text(expires_s))
    listed = {item.name: item for item in before.packs}
    for path in packs:
        entry = _entry_of(path, rollout)
        _check_follows(entry, listed.get(entry.name), path)
        _copy(path, folder / entry.file, entry)
        listed[entry.name] = entry
    listing = PackListing(before.version + 1, utc_text(expires_s), tuple(listed.values()))
    signed_file = signing.signed(signing.sealed(PACKS, listing), keys)
    signing.write_signed(folder / LISTING, signed_file)
    return listing


def set_rollouts(
    folder: Path, rollouts: Mapping[str, Rollout], keys: Sequence[Ed25519PrivateKey]
) -> PackListing:
    """Give packs of a list another rollout, in a new list that expires with the one before.

    Raises:
        PackError: There is no list, it does not name a pack, or it cannot be written.
    """
    known = listing_at(folder)
    if known is None:
        raise PackError(f"{folder}: has no {LISTING}; publish a pack first")
    before = known[1]
    missing = sorted(set(rollouts) - {item.name for item in before.packs})
    if missing:
        raise PackError(f"{folder}: {LISTING} names no pack {missing[0]!r}")
    packs = tuple(
        item
        if (rollout := rollouts.get(item.name)) is None
        else msgspec.structs.replace(item, rollout_percent=rollout.percent, canary=rollout.canary)
        for item in before.packs
    )
    listing = PackListing(before.version + 1, before.expires, packs)
    signing.write_signed(folder / LISTING, signing.signed(signing.sealed(PACKS, listing), keys))
    return listing


def _entry_of(path: Path, rollout: Rollout) -> PackEntry:
    length, digest = digest_of(path)
    if length > MAX_PACK_BYTES:
        raise PackError(f"{path}: {length} bytes, a device takes {MAX_PACK_BYTES}")
    with OpenPack(path) as pack:
        manifest = pack.manifest
    return PackEntry(
        name=manifest.name,
        version=manifest.version,
        previous=manifest.previous,
        target=manifest.target,
        model_id=manifest.model_id,
        file=f"{manifest.name}-{manifest.version}{SUFFIX}",
        length=length,
        sha256=digest,
        rollout_percent=rollout.percent,
        canary=rollout.canary,
    )


def _check_follows(entry: PackEntry, before: PackEntry | None, path: Path) -> None:
    if before is None or entry.version > before.version:
        return
    if entry.version < before.version:
        raise PackError(
            f"{path}: version {entry.version} of {entry.name} after version {before.version}; "
            f"devices reject it, build it again with a higher version"
        )
    if entry.sha256 != before.sha256:
        raise PackError(
            f"{path}: version {entry.version} of {entry.name} is listed with other content; "
            f"build it again with a higher version"
        )


def _copy(path: Path, target: Path, entry: PackEntry) -> None:
    fresh = target.with_name(f"{target.name}.new")
    try:
        shutil.copyfile(path, fresh)
        if digest_of(fresh) != (entry.length, entry.sha256):
            raise PackError(f"{path}: changed while it was copied")
        fresh.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise PackError(f"{target}: cannot write ({error.strerror or error})") from error
    finally:
        fresh.unlink(missing_ok=True)


def add_signatures(path: Path, keys: Sequence[Ed25519PrivateKey]) -> SignedFile:
    """Add signatures to a signed file, and return its signed file.

    Raises:
        PackError: It is no signed metadata, or cannot be written.
    """
    signed_file = signing.signed(_signed_at(path), keys)
    signing.write_signed(path, signed_file)
    return signed_file


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """Status of a folder of packs.

    Args:
        root: Last root.
        listing: List of packs; None if there is none.
        signatures: Number of valid signatures of the list.
        problems: Reasons why devices reject what is there, a line each.
    """

    root: RootMetadata
    listing: PackListing | None
    signatures: int
    problems: tuple[str, ...]


def status_of(folder: Path, now_s: float) -> FolderStatus:
    """Return what a device finds in a folder, every digest checked.

    Raises:
        PackError: There is no root, or a file is no signed metadata.
    """
    root = last_root(folder)
    if root is None:
        raise PackError(f"{folder}: has no root; make one with `edge-sim pack key root`")
    problems: list[str] = []
    _note(problems, lambda: signing.check_fresh(root, now_s, root_name(root.version)))
    known = listing_at(folder)
    if known is None:
        return FolderStatus(root, None, 0, tuple(problems))
    signed_file, listing = known
    _note(problems, lambda: signing.check_signatures(signed_file, root, LISTING))
    _note(problems, lambda: signing.check_fresh(listing, now_s, LISTING))
    for entry in listing.packs:
        _note(problems, lambda entry=entry: _check_file(folder, entry))  # type: ignore[misc]
    return FolderStatus(root, listing, len(signing.signers_of(signed_file, root)), tuple(problems))


def _note(problems: list[str], check: Callable[[], None]) -> None:
    try:
        check()
    except PackError as error:
        problems.append(str(error))


def _check_file(folder: Path, entry: PackEntry) -> None:
    if digest_of(folder / entry.file) != (entry.length, entry.sha256):
        raise PackError(f"{entry.file}: is not the file that was published")
