"""Packs that a gallery has had: what is in force, what is to be reported, and the way back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_sim.core.files import is_file
from edge_sim.errors import PackError
from edge_sim.fleet.update_state import (
    ACTIVATED,
    REFUSED,
    ROLLED_BACK,
    UpdateOutcome,
    UpdatePolicy,
    keep_state,
    read_state,
)
from edge_sim.gallery.store import REPLACED, GalleryStore

_DETAIL = re.compile(
    r"([A-Za-z0-9_-]+) version ([0-9]{1,10}) \((?:.*, ([0-9]{1,10}) observations\))?"
)


@dataclass(frozen=True, slots=True)
class InstalledPack:
    """Highest version of a pack that a gallery ever had.

    Args:
        name: Name of the pack.
        version: The version.
        revision: Revision of the gallery that it made.
        observations: Observations of the device's own past that it was held against.
        at_s: Time at which it was activated, or at which the gallery was last changed where it is
            not in force any more; seconds since 1970.
        in_force: Whether the gallery still has any of its references.
    """

    name: str
    version: int
    revision: int
    observations: int
    at_s: float
    in_force: bool


def installed_packs(gallery: Path) -> list[InstalledPack]:
    """Return the packs that a gallery ever had, each in its highest version, by name."""
    if not is_file(gallery):
        return []
    with GalleryStore.open(gallery, read_only=True) as store:
        log = store.log()
        present = {item.reference_id for item in store.records()}
    found: dict[str, InstalledPack] = {}
    for revision in log:
        detail = _DETAIL.match(revision.detail) if revision.verb == REPLACED else None
        if detail is None:
            continue
        known, version = found.get(detail[1]), int(detail[2])
        if known is None or version > known.version:
            in_force = not present.isdisjoint(revision.appeared)
            at_s = (revision if in_force else log[0]).at.timestamp()
            found[detail[1]] = InstalledPack(
                detail[1], version, revision.number, int(detail[3] or 0), at_s, in_force
            )
    return [found[name] for name in sorted(found)]


def installed_version(gallery: Path, name: str) -> int:
    """Return the highest version of a pack that a gallery ever had; 0 for none."""
    return next((item.version for item in installed_packs(gallery) if item.name == name), 0)


def standings(policy: UpdatePolicy) -> list[UpdateOutcome]:
    """Return what became of each pack, for reports: activated, rolled back or refused.

    Raises:
        PackError: The kept state is damaged.
        GalleryError: The gallery cannot be read.
    """
    installed = installed_packs(policy.gallery)
    found = [
        UpdateOutcome(
            item.name,
            item.version,
            ACTIVATED if item.in_force else ROLLED_BACK,
            item.revision,
            observations=item.observations,
            at_s=item.at_s,
        )
        for item in installed
    ]
    highest = {item.name: item.version for item in installed}
    state = read_state(policy.state_path)
    for name, past in {} if state is None else state.refused.items():
        if past.version > highest.get(name, 0):
            found.append(
                UpdateOutcome(name, past.version, REFUSED, reason=past.reason, at_s=past.at_s)
            )
    return found


def unreported(policy: UpdatePolicy) -> list[UpdateOutcome]:
    """Return the standings whose outcome was not reported yet; errors as of `standings`."""
    state = read_state(policy.state_path)
    known = {} if state is None else state.reported
    return [item for item in standings(policy) if known.get(_key_of(item)) != item.outcome]


def note_reported(policy: UpdatePolicy, item: UpdateOutcome) -> None:
    """Keep that an outcome was reported.

    Raises:
        PackError: The state is damaged or cannot be written.
    """
    state = read_state(policy.state_path)
    if state is None:
        return
    present = set(map(_key_of, standings(policy)))
    known = {key: outcome for key, outcome in state.reported.items() if key in present}
    known[_key_of(item)] = item.outcome
    keep_state(policy, msgspec.structs.replace(state, reported=known))


def _key_of(item: UpdateOutcome) -> str:
    return f"{item.name} {item.version}"


def roll_back(gallery: Path, name: str | None) -> tuple[InstalledPack, int]:
    """Give the gallery back what it was before a pack; return the pack and the new revision.

    Args:
        gallery: Gallery file.
        name: Name of the pack; None for the one that was activated last.

    Raises:
        PackError: There is no such pack in force, or the gallery was changed since.
        GalleryError: The gallery cannot be written.
    """
    known = [item for item in installed_packs(gallery) if name in (None, item.name)]
    in_force = sorted((item for item in known if item.in_force), key=lambda item: item.revision)
    if not in_force:
        what = "no pack" if name is None else f"no pack {name!r}"
        raise PackError(f"{gallery}: {what} is in force")
    found = in_force[-1]
    with GalleryStore.open(gallery) as store:
        later = store.diff(found.revision, store.revision)
        if later.appeared or later.gone or later.altered:
            raise PackError(
                f"{gallery}: references were changed since {found.name} version {found.version}; "
                f"take that back with `edge-sim gallery undo`, or give it up: `edge-sim gallery "
                f"rollback {found.revision - 1}`"
            )
        return found, store.rollback(found.revision - 1).number
