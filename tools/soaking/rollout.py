"""Devices of a fleet take a pack in stages; one that fails on too many of them is stopped."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_sim.core.protocols import Embedder
from edge_sim.errors import PackError
from edge_sim.fleet import publishing, signing
from edge_sim.fleet.fetching import PackFetcher
from edge_sim.fleet.installed import installed_packs, standings
from edge_sim.fleet.packs import PackPlan, build
from edge_sim.fleet.publishing import RoleKeys, Rollout
from edge_sim.fleet.update_state import UpdatePolicy, first_state
from edge_sim.fleet.updates import update
from edge_sim.gallery.candidates import EnrolmentCandidate
from edge_sim.gallery.enrolment import EnrolmentPlan, enrol
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sources.synthetic.source import reference_frames, scene_roi, scene_states
from edge_sim.vision.embedders import open_embedder
from edge_sim.vision.probe import Region

SCENE, TARGET, CANARY = "lamp", "panel", "lab"
STAGES = (5, 25, 60, 100)
STOP_ABOVE = 0.1
_VALID_S = 30 * publishing.DAY_S


@dataclass(frozen=True)
class FleetDevice:
    """A device with a gallery of its own; `fails` on every pack if its last day speaks against."""

    folder: Path
    name: str
    group: str
    fails: bool

    def policy(self, embedder: Embedder) -> UpdatePolicy:
        """Return what it is."""
        return UpdatePolicy(
            self.folder / f"{self.name}.db",
            self.name,
            lambda: embedder,
            {SCENE: ()},
            self._trial,
            tries_again=False,
        )

    def _trial(self, _galleries: Mapping[str, Gallery]) -> int:
        if self.fails:
            raise PackError("its last day speaks against it")
        return 1440


class FleetTrial:
    """Publisher and devices, in one folder.

    Args:
        folder: Folder, new.
        devices: Number of devices; one in twenty is a canary.
    """

    def __init__(self, folder: Path, devices: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._depot = folder, folder / "depot"
        self._embedder = open_embedder("thumbnail")
        key = folder / "a.key"
        signing.new_key(key)
        self._keys = [signing.read_private(key)]
        role = RoleKeys((signing.read_public(Path(f"{key}.pub")),), 1)
        roles = {signing.ROOT: role, signing.PACKS: role}
        publishing.publish_root(self._depot, roles, self._keys, expires_s=time.time() + _VALID_S)
        self._first = (self._depot / "root/1.json").read_bytes()
        source = folder / "source.db"
        _enrol(source, self._embedder)
        whole = source.read_bytes()
        self.devices: list[FleetDevice] = []
        for number in range(devices):
            name = f"device-{number:04}"
            (folder / f"{name}.db").write_bytes(whole)
            group = CANARY if number % 20 == 0 else ""
            self.devices.append(FleetDevice(folder, name, group, fails=False))

    def publish(self, version: int, rollout: Rollout) -> None:
        """Publish a version, or give it another rollout."""
        path = self._folder / f"{SCENE}-{version}.pack"
        if not path.exists():
            plan = PackPlan(SCENE, version, version - 1, TARGET)
            with GalleryStore.open(self._folder / "source.db", read_only=True) as store:
                build(path, plan, store, self._embedder, watches=[SCENE], pinned=())
        expires_s = time.time() + _VALID_S
        publishing.publish(self._depot, [path], self._keys, rollout=rollout, expires_s=expires_s)

    def fail(self, group: str) -> None:
        """Let the devices of a group refuse every pack from now on."""
        self.devices = [
            FleetDevice(item.folder, item.name, item.group, fails=item.group == group)
            for item in self.devices
        ]

    def check(self) -> Counter[str]:
        """Let every device check for packs; return the number of devices by outcome."""
        fetcher = PackFetcher(str(self._depot))
        outcomes: Counter[str] = Counter()
        for device in self.devices:
            first = first_state(self._first, TARGET, device.group, name="root")
            (outcome,) = update(fetcher, device.policy(self._embedder), first)
            outcomes[outcome.outcome] += 1
        return outcomes

    def reports(self, version: int) -> Counter[str]:
        """Return the number of devices by what they would report of a version."""
        return Counter(
            item.outcome
            for device in self.devices
            for item in standings(device.policy(self._embedder))
            if item.version == version
        )

    def stop_if_failing(self, version: int) -> bool:
        """Stop a version as `edge-sim pack status --stop-above 10` does; return whether it did."""
        reports = self.reports(version)
        failed = reports["refused"] + reports["rolled_back"]
        if failed <= STOP_ABOVE * max(reports.total(), 1):
            return False
        publishing.set_rollouts(self._depot, {SCENE: Rollout(0)}, self._keys)
        return True

    def versions(self) -> Counter[int]:
        """Return the number of devices by the version in force."""
        return Counter(
            max((item.version for item in installed_packs(self._gallery(device))), default=0)
            for device in self.devices
        )

    def contents(self) -> set[str]:
        """Return the digests of what the galleries hold."""
        return {_digest(self._gallery(device)) for device in self.devices}

    def _gallery(self, device: FleetDevice) -> Path:
        return device.policy(self._embedder).gallery


def _enrol(path: Path, embedder: Embedder) -> None:
    with GalleryStore.open(path, create=True) as store:
        for state in scene_states(SCENE):
            candidates = [
                EnrolmentCandidate(f"{state}-{frame.index}", frame.pixels)
                for frame in reference_frames(SCENE, state, 3)
            ]
            plan = EnrolmentPlan(SCENE, state, region=Region(scene_roi(SCENE)), force=True)
            enrol(store, embedder, candidates, plan=plan, now=lambda: 0.0)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with GalleryStore.open(path, read_only=True) as store:
        for item in store.gallery(SCENE).references:
            digest.update(item.state.encode() + item.embedding.vector.tobytes())
    return digest.hexdigest()


def run(folder: Path, *, devices: int) -> dict[str, Any]:
    """Take version 1 in stages, and stop version 2 at its canaries; write and return the report."""
    trial = FleetTrial(folder, devices)
    canaries = sum(item.group == CANARY for item in trial.devices)
    began_s, problems, stages = time.monotonic(), [], []
    trial.publish(1, Rollout(0, (CANARY,)))
    trial.check()
    stages.append(trial.versions()[1])
    if stages[0] != canaries:
        problems.append(f"{stages[0]} devices have version 1, not the {canaries} canaries")
    for percent in STAGES:
        if trial.stop_if_failing(1):
            problems.append("version 1 was stopped")
        trial.publish(1, Rollout(percent, (CANARY,)))
        trial.check()
        stages.append(trial.versions()[1])
    if stages != sorted(stages) or stages[-1] != devices:
        problems.append(f"version 1 reached {stages} devices")
    if len(trial.contents()) != 1:
        problems.append("devices with one version have different references")
    took_s = time.monotonic() - began_s
    trial.fail(CANARY)
    trial.publish(2, Rollout(0, (CANARY,)))
    refused = trial.check()["refused"]
    if not trial.stop_if_failing(2):
        problems.append("a version that its canaries refuse was not stopped")
    trial.check()
    if refused != canaries or trial.versions() != Counter({1: devices}):
        problems.append(f"{refused} refusals, versions {dict(trial.versions())}")
    report = {
        "devices": devices,
        "canaries": canaries,
        "stages_percent": [0, *STAGES],
        "devices_after_each": stages,
        "took_s": round(took_s, 1),
        "refused_by_canaries": refused,
        "problems": problems,
    }
    (folder / "rollout.json").write_text(f"{json.dumps(report, indent=1)}\n")
    return report
