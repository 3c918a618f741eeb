"""Ed25519 keys and signed metadata: the roles, thresholds and rotation of The Update Framework.

A signed file holds its content as text, so that the bytes that were signed are the bytes that are
read: nothing is written again in a canonical form. A signature covers the role as well, so that
metadata of one role never passes for that of another.

Two roles, by https://theupdateframework.github.io/specification/latest/: `root` names the keys of
both roles and how many of them must sign; `packs` lists the packs that are offered.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from edge_sim.core.events import unix_time_s
from edge_sim.core.files import write_whole
from edge_sim.errors import PackError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROOT, PACKS = "root", "packs"
"""The roles."""
MAX_METADATA_BYTES = 1 << 20
MOST_SIGNATURES = 64
MAX_VERSION = 2**31 - 1
_CONTEXT = "edge_sim signed metadata 1"
_KEY_BYTES = 32
_KEY_MODE = 0o600
_PUBLIC_MODE = 0o666  # less what the umask takes away


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signature by one key, both as hexadecimal digits."""

    key_id: str
    signature: str


class SignedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed file: the role, its metadata as JSON text, and the signatures over both."""

    role: str
    payload: str
    signatures: tuple[Signature, ...] = ()


class SigningRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keys of a role, by id, and how many of them must sign."""

    key_ids: tuple[str, ...]
    threshold: int


class RootMetadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keys that are trusted: public keys by id, and the role of each.

    `expires` is a time as in `2026-01-31T12:00:00.000Z`.
    """

    version: int
    expires: str
    keys: dict[str, str]
    root: SigningRole
    packs: SigningRole

    def role(self, name: str) -> SigningRole:
        """Return the role of a name."""
        return self.root if name == ROOT else self.packs


class PackEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pack that is offered.

    Args:
        name: Name of the pack, the same in all its versions.
        version: Counted up; a device never goes to a lower one.
        previous: Version that it follows; 0 for the first.
        target: Product that it is made for; a device takes those of its own only.
        model_id: Model that the references were embedded with.
        file: Name of the file in the folder of the packs.
        length: Bytes of the file.
        sha256: Digest of the file, hexadecimal digits.
        rollout_percent: Share of the devices that may take it, 0 to 100.
        canary: Groups whose devices take it whatever the share.
    """

    name: str
    version: int
    previous: int
    target: str
    model_id: str
    file: str
    length: int
    sha256: str
    rollout_percent: int = 100
    canary: tuple[str, ...] = ()


class PackListing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """List of all packs that are offered; one signature covers all of them."""

    version: int
    expires: str
    packs: tuple[PackEntry, ...] = ()


_Metadata = TypeVar("_Metadata", RootMetadata, PackListing)


def new_key(path: Path) -> str:
    """Make a private key in `path` and its public key in `path` + `.pub`; return the id.

    Raises:
        PackError: One of the two exists, or cannot be written; then neither is made.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    made: list[Path] = []
    try:
        for place, content, mode in (
            (path, key.private_bytes_raw(), _KEY_MODE),
            (Path(f"{path}.pub"), public, _PUBLIC_MODE),
        ):
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            with os.fdopen(os.open(place, flags, mode), "w", encoding="ascii") as file:
                made.append(place)
                file.write(f"{content.hex()}\n")
    except OSError as error:
        for done in made:  # half a pair is of no use, and would be in the way of the next try
            done.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise PackError(
                f"{place} exists; a key is never overwritten, name another file"
            ) from error
        raise PackError(f"{place}: cannot write ({error.strerror or error})") from error
    return key_id_of(public.hex())


def key_id_of(public: str) -> str:
    """Return the id of a public key: the start of its SHA-256, 32 hexadecimal digits."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:32]


def read_public(path: Path) -> str:
    """Return the public key in a file, 64 hexadecimal digits.

    Raises:
        PackError: There is no such file, or no key in it.
    """
    return _key_in(path, "public key, as `edge-sim pack key new` writes to FILE.pub").hex()


def read_private(path: Path) -> Ed25519PrivateKey:
    """Return the private key in a file.

    Raises:
        PackError: There is no such file, no key in it, or cryptography is not installed.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(_key_in(path, "private key"))


def _key_in(path: Path, noun: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = bytes.fromhex(file.read(200).decode("ascii").strip())
    except OSError as error:
        raise PackError(f"{path}: cannot read ({error.strerror or error})") from error
    except ValueError:
        data = b""
    if len(data) != _KEY_BYTES:
        raise PackError(f"{path} holds no {noun}: 64 hexadecimal digits")
    return data


def check_library() -> None:
    """Raise `PackError` if cryptography is not installed."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError as error:
        raise PackError("packs need cryptography: pip install 'edge_sim[fleet]'") from error


def sealed(role: str, metadata: RootMetadata | PackListing) -> SignedFile:
    """Return metadata in a signed file, without signatures."""
    return SignedFile(role, msgspec.json.encode(metadata).decode())


def signed(signed_file: SignedFile, keys: Iterable[Ed25519PrivateKey]) -> SignedFile:
    """Return a signed file with the signatures of `keys` added; those of the same keys replaced."""
    found = {item.key_id: item for item in signed_file.signatures}
    for key in keys:
        key_id = key_id_of(key.public_key().public_bytes_raw().hex())
        found[key_id] = Signature(key_id, key.sign(_message(signed_file)).hex())
    return msgspec.structs.replace(signed_file, signatures=tuple(found.values()))


def read_signed(data: bytes, name: str) -> SignedFile:
    """Return the signed file in the content of a file; `name` is for messages.

    Raises:
        PackError: It is no signed metadata.
    """
    if len(data) > MAX_METADATA_BYTES:
        raise PackError(f"{name}: more than {MAX_METADATA_BYTES} bytes, too many for metadata")
    try:
        found = msgspec.json.decode(data, type=SignedFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PackError(f"{name}: is cut off, damaged, or no signed metadata") from error
    if len(found.signatures) > MOST_SIGNATURES:
        raise PackError(f"{name}: more than {MOST_SIGNATURES} signatures")
    return found


def write_signed(path: Path, signed_file: SignedFile) -> None:
    """Write a signed file so that readers see the old file or the new one.

    Raises:
        PackError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.format(msgspec.json.encode(signed_file), indent=1) + b"\n")
        path.chmod(0o644)  # public: any HTTP server may hand it out
    except OSError as error:
        raise PackError(f"{path}: cannot write ({error.strerror or error})") from error


def signers_of(signed_file: SignedFile, root: RootMetadata) -> tuple[str, ...]:
    """Return the ids of the keys of the signed file's role whose signatures hold, each once."""
    return tuple(
        key_id
        for key_id in dict.fromkeys(item.key_id for item in signed_file.signatures)
        if key_id in root.role(signed_file.role).key_ids
        and _is_signed(signed_file, key_id, root.keys)
    )


def _is_signed(signed_file: SignedFile, key_id: str, keys: Mapping[str, str]) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    for item in signed_file.signatures:
        if item.key_id != key_id:
            continue
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(keys[key_id]))
            public.verify(bytes.fromhex(item.signature), _message(signed_file))
        except (InvalidSignature, ValueError, KeyError):
            continue
        return True
    return False


def _message(signed_file: SignedFile) -> bytes:
    return f"{_CONTEXT}\n{signed_file.role}\n{signed_file.payload}".encode()


def check_signatures(signed_file: SignedFile, root: RootMetadata, name: str) -> None:
    """Raise `PackError` unless enough keys of the role have signed."""
    needed = root.role(signed_file.role).threshold
    count = len(signers_of(signed_file, root))
    if count < needed:
        raise PackError(
            f"{name}: {count} valid signatures of trusted keys, {needed} are needed; "
            f"it was altered, or signed with keys that root {root.version} does not trust"
        )


def root_in(signed_file: SignedFile, name: str) -> RootMetadata:
    """Return the root metadata of a signed file, whose signatures are checked elsewhere.

    Raises:
        PackError: It is none, or its keys and thresholds do not fit together.
    """
    root = _metadata(signed_file, ROOT, RootMetadata, name)
    for key_id, public in root.keys.items():
        # Otherwise one key under two names would count as two.
        if len(public) != 2 * _KEY_BYTES or not _is_hex(public) or key_id != key_id_of(public):
            raise PackError(f"{name}: the key {key_id[:40]!r} is not what its id says")
    for title, role in ((ROOT, root.root), (PACKS, root.packs)):
        known = set(role.key_ids)
        if not known <= set(root.keys) or not 1 <= role.threshold <= len(known):
            raise PackError(
                f"{name}: the role {title} has {len(known)} keys and the threshold {role.threshold}"
            )
    return root


def listing_in(signed_file: SignedFile, name: str) -> PackListing:
    """Return the list of packs of a signed file, whose signatures are checked elsewhere.

    Raises:
        PackError: It is none.
    """
    return _metadata(signed_file, PACKS, PackListing, name)


def _metadata(signed_file: SignedFile, role: str, kind: type[_Metadata], name: str) -> _Metadata:
    if signed_file.role != role:
        raise PackError(f"{name}: metadata of the role {signed_file.role[:20]!r}, not {role!r}")
    try:
        found = msgspec.json.decode(signed_file.payload, type=kind)
        unix_time_s(found.expires)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PackError(f"{name}: no metadata of the role {role!r} ({error})") from error
    if not 1 <= found.version <= MAX_VERSION:
        raise PackError(f"{name}: the version {found.version} is not between 1 and {MAX_VERSION}")
    return found


def check_fresh(metadata: RootMetadata | PackListing, now_s: float, name: str) -> None:
    """Raise `PackError` if the metadata has expired: somebody may hold back newer one."""
    if unix_time_s(metadata.expires) <= now_s:
        raise PackError(
            f"{name}: expired at {metadata.expires}; publish it again, "
            f"or set the clock of this device if it is wrong"
        )


def next_root(trusted: RootMetadata, signed_file: SignedFile, name: str) -> RootMetadata:
    """Return the root that follows `trusted`, which both sets of keys must have signed.

    Raises:
        PackError: It does not follow, or too few keys of either root have signed it.
    """
    check_signatures(signed_file, trusted, name)
    found = root_in(signed_file, name)
    check_signatures(signed_file, found, name)
    if found.version != trusted.version + 1:
        raise PackError(f"{name}: root {found.version} does not follow root {trusted.version}")
    return found


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdef" for letter in text)
