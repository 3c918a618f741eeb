"""A publisher with keys and a folder, and a device that takes packs from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import cv2

from edge_sim.core.types import BgrImage
from edge_sim.errors import PackError
from edge_sim.fleet import packs, publishing, signing, updates
from edge_sim.fleet.fetching import PackFetcher
from edge_sim.fleet.publishing import RoleKeys, Rollout
from edge_sim.fleet.update_state import REFUSED, Trial, UpdateOutcome, UpdatePolicy, first_state
from edge_sim.gallery.records import Enrolled
from edge_sim.gallery.store import GalleryStore
from edge_sim.vision.probe import make_probe
from tests.pictured import CellsEmbedder, picture

NOW_S = 1_800_000_000.0
DAY_S = 86_400.0
AT = datetime(2026, 1, 31, tzinfo=timezone.utc)
EMBEDDER = CellsEmbedder()
_BUILT: dict[tuple[object, ...], bytes] = {}
"""Packs that were built already: drawing is the slow part of these tests."""


def encoded(pixels: BgrImage) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def taken(state: str, seed: int) -> Enrolled:
    """A reference with the very picture that it was made from."""
    pixels = picture(state, seed)
    probe = make_probe(EMBEDDER, pixels)
    return Enrolled(state, probe.embedding, probe.thumbnail, encoded(pixels), "day", AT)


def states_of(path: Path, watch: str = "bowl") -> list[str]:
    with GalleryStore.open(path, read_only=True) as store:
        assert store.check() == ()
        return [item.state for item in store.records(watch=watch)]


@dataclass
class Depot:
    """The publisher: keys by letter, and the folder."""

    base: Path
    threshold: int = 1
    packs_keys: Sequence[str] = ("a",)
    now_s: float = NOW_S
    paths: dict[str, Path] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.base / "depot"

    def key(self, name: str) -> Path:
        path = self.base / f"{name}.key"
        if not path.exists():
            signing.new_key(path)
        return path

    def public(self, *names: str) -> tuple[str, ...]:
        return tuple(signing.read_public(Path(f"{self.key(name)}.pub")) for name in names)

    def root(self, *signers: str, packs_keys: Sequence[str] | None = None) -> None:
        keys = packs_keys or self.packs_keys
        roles = {
            signing.ROOT: RoleKeys(self.public("r"), 1),
            signing.PACKS: RoleKeys(self.public(*keys), min(self.threshold, len(keys))),
        }
        private = [signing.read_private(self.key(name)) for name in signers or ("r",)]
        publishing.publish_root(self.folder, roles, private, expires_s=self.now_s + 99 * DAY_S)

    def pack(
        self,
        version: int,
        states: Mapping[str, str] | None = None,
        *,
        name: str = "bowls",
        target: str = "feeder",
        mark: str = "",
    ) -> Path:
        """A pack whose references of state `food` show a disc on the left, unless told."""
        path = self.base / f"{name}-{version}{mark}.pack"
        shown = states or {"empty": "empty", "food": "left"}
        key = (name, version, target, tuple(shown.items()))
        if key in _BUILT:
            path.write_bytes(_BUILT[key])
            return path
        source = self.base / f"{name}-{version}{mark}.db"
        with GalleryStore.open(source, create=True) as store:
            store.add(
                "bowl",
                [
                    Enrolled(
                        state, item.embedding, item.thumbnail, item.crop, "day", AT,
                        {"pack": str(version)},
                    )
                    for state, drawn in shown.items()
                    for item in (taken(drawn, seed + 10 * version) for seed in range(4))
                ],
            )  # fmt: skip
            plan = packs.PackPlan(name, version, version - 1, target)
            packs.build(path, plan, store, EMBEDDER, watches=["bowl"], pinned=())
        _BUILT[key] = path.read_bytes()
        return path

    def publish(
        self,
        *paths: Path,
        signers: Sequence[str] = ("a",),
        rollout: Rollout | None = None,
        days: float = 10,
    ) -> None:
        publishing.publish(
            self.folder,
            paths,
            [signing.read_private(self.key(name)) for name in signers],
            rollout=rollout or Rollout(),
            expires_s=self.now_s + days * DAY_S,
        )


@dataclass
class Device:
    """A device with a gallery of its own, which trusts the first root."""

    base: Path
    root: bytes
    name: str = "porch"
    target: str = "feeder"
    group: str = ""
    now_s: float = NOW_S
    embedder: CellsEmbedder = EMBEDDER
    trial: Trial | None = None

    @property
    def gallery(self) -> Path:
        return self.base / f"{self.name}.db"

    def taught(self) -> Device:
        with GalleryStore.open(self.gallery, create=True) as store:
            store.add("bowl", [taken("empty", 1), taken("empty", 2)])
        return self

    @property
    def policy(self) -> UpdatePolicy:
        return UpdatePolicy(
            self.gallery,
            self.name,
            lambda: self.embedder,
            {"bowl": ()},
            self.trial,
            clock=lambda: self.now_s,
        )

    def take(self, place: object, **more: object) -> list[UpdateOutcome]:
        first = first_state(self.root, self.target, self.group, name="root")
        return updates.update(PackFetcher(str(place), **more), self.policy, first)  # type: ignore[arg-type]

    def update(self, place: object, **more: object) -> list[UpdateOutcome]:
        """Take what is offered; a refusal is raised as well."""
        outcomes = self.take(place, **more)
        for item in outcomes:
            if item.outcome == REFUSED:
                raise PackError(str(item.reason))
        return outcomes


def depot_and_device(base: Path, **options: object) -> tuple[Depot, Device]:
    """A publisher with version 1 in its folder, and a device that has not asked yet."""
    depot = Depot(base, **options)  # type: ignore[arg-type]
    depot.root()
    depot.publish(depot.pack(1), signers=list(depot.packs_keys)[: depot.threshold])
    return depot, Device(base, (depot.folder / "root/1.json").read_bytes()).taught()
