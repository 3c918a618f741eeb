"""State of a device between updates, what it is, and the outcomes of its packs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_sim.core.files import is_file, write_whole
from edge_sim.core.protocols import Embedder
from edge_sim.errors import PackError
from edge_sim.fleet import signing
from edge_sim.gallery.gallery import Gallery

ACTIVATED, REFUSED, ROLLED_BACK = "activated", "refused", "rolled_back"
"""Outcomes of `PackReported`."""


class RefusedPack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Version of a pack that was refused, with the reason; `at_s` is seconds since 1970."""

    version: int
    sha256: str
    reason: str
    at_s: float


class UpdateState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State that a device keeps between updates.

    Args:
        root: Signed file of the root that is trusted.
        listing_version: Highest version of a list that was accepted.
        target: Product that this device is.
        group: Canary group of this device; empty without one.
        refused: Last refusal of each pack, by its name.
        reported: Outcome last reported, by pack and version as in `bowls 3`.
    """

    root: signing.SignedFile
    listing_version: int
    target: str
    group: str = ""
    schema: int = 1
    refused: dict[str, RefusedPack] = msgspec.field(default_factory=dict)
    reported: dict[str, str] = msgspec.field(default_factory=dict)


Trial = Callable[[Mapping[str, Gallery]], int]
"""Holds the references of a pack, by watch, against the device's own past; returns the number of
observations, or raises `PackError` with the reason against them."""


@dataclass(frozen=True, slots=True)
class UpdatePolicy:
    """Place of the files of a device, and what it is.

    Args:
        gallery: Gallery file.
        device: Name of the device, which decides when a rollout reaches it.
        open_embedder: Opener of the model in use, called where a pack is to be tried.
        watches: Watches of the device with their states, empty where any are allowed; None where
            any watch is allowed.
        trial: Trial after that on the pinned pictures; None for no other.
        target: Product that this device is; None for the one that was kept.
        group: Canary group; None for the one that was kept.
        tries_again: Whether a pack is tried again that was refused within the last day.
        clock: Clock that returns seconds since 1970.
    """

    gallery: Path
    device: str
    open_embedder: Callable[[], Embedder]
    watches: Mapping[str, Sequence[str]] | None = None
    trial: Trial | None = None
    target: str | None = None
    group: str | None = None
    tries_again: bool = True
    clock: Callable[[], float] = time.time

    @property
    def state_path(self) -> Path:
        """Path of the state between updates."""
        return self.gallery.with_name(f"{self.gallery.name}.updates.json")

    @property
    def lock_path(self) -> Path:
        """Path of the lock that one update at a time holds."""
        return self.gallery.with_name(f"{self.gallery.name}.updates.lock")

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
        outcome: `activated`, `refused`, `current`, or `waiting` where the rollout has not reached
            the device.
        revision: Revision of the gallery that it made; None if it made none.
        reason: Reason of a refusal; None otherwise.
        observations: Observations of the device's own past that it was held against.
        at_s: Time of the outcome, seconds since 1970; 0 where nothing became of the pack.
    """

    name: str
    version: int
    outcome: str
    revision: int | None = None
    reason: str | None = None
    observations: int = 0
    at_s: float = 0.0


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


def begun_state(policy: UpdatePolicy, first: UpdateState | None) -> UpdateState:
    """Return the state that is kept, or the first one, with the product and group of the policy.

    Raises:
        PackError: There is neither, or the kept one is damaged.
    """
    state = read_state(policy.state_path) or first
    if state is None:
        raise PackError(
            f"{policy.state_path}: there is no root to trust yet; name it with --root FILE, "
            f"and the product with --target NAME"
        )
    target = state.target if policy.target is None else policy.target
    group = state.group if policy.group is None else policy.group
    return msgspec.structs.replace(state, target=target, group=group)


def keep_state(policy: UpdatePolicy, state: UpdateState) -> None:
    """Write the state unless it is kept already.

    Raises:
        PackError: It cannot be written.
    """
    if read_state(policy.state_path) == state:
        return
    try:
        write_whole(policy.state_path, msgspec.json.encode(state))
    except OSError as error:
        raise PackError(f"{policy.state_path}: cannot write ({error.strerror or error})") from error
