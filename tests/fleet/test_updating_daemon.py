"""A running daemon takes a pack between two frames, and outlives whatever goes wrong with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install '.[fleet]'")

from edge_sim.core.events import PackReported, from_json_line
from edge_sim.errors import ConfigError, PackError
from edge_sim.fleet import publishing, signing, updater
from edge_sim.fleet.packs import PackPlan, build
from edge_sim.fleet.publishing import RoleKeys, Rollout
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime.config import Config
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.vision.embedders import open_embedder
from tests.io.sinks.waiting import wait_until
from tests.runtime.daemon.cameras import LIMIT_S, Camera, lamp_config, world_of

FAR_S = 4_000_000_000.0


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A lamp's configuration, and a folder with a pack of its own references."""
    monkeypatch.setattr(updater, "_FIRST_S", 0.0)
    folder, key = tmp_path / "depot", tmp_path / "a.key"
    config = lamp_config(
        tmp_path,
        "updates: {uri: depot, root: depot/root/1.json, target: panel}\n"
        "score_log: {path: scores.jsonl}\n",
    )
    signing.new_key(key)
    keys = [signing.read_private(key)]
    role = RoleKeys((signing.read_public(Path(f"{key}.pub")),), 1)
    roles = {signing.ROOT: role, signing.PACKS: role}
    publishing.publish_root(folder, roles, keys, expires_s=FAR_S)
    plan = PackPlan("lamp", 1, 0, "panel")
    with GalleryStore.open(tmp_path / "gallery.db", read_only=True) as store:
        watches = list(store.watches())
        build(
            tmp_path / "lamp.pack", plan, store, open_embedder("thumbnail"),
            watches=watches, pinned=(),
        )  # fmt: skip
    publishing.publish(folder, [tmp_path / "lamp.pack"], keys, rollout=Rollout(), expires_s=FAR_S)
    return config


@contextmanager
def running(config: Config, reload: Callable[[], Config] | None = None) -> Iterator[Daemon]:
    daemon = Daemon(
        config,
        reload=reload or (lambda: config),
        environment=world_of({"camera": Camera()}),
        open_updater=updater.open_updater,
    )
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield daemon
    finally:
        daemon.request_stop()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def reported(folder: Path) -> list[PackReported]:
    path = folder / "events.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    found = map(from_json_line, lines)
    return [event for event in found if isinstance(event, PackReported)]


def revision_in_force(daemon: Daemon) -> int:
    return daemon.board.watches[0].revision if daemon.board.watches else 0


def test_a_pack_comes_into_force_and_is_an_event(tmp_path: Path, config: Config) -> None:
    with GalleryStore.open(tmp_path / "gallery.db", read_only=True) as store:
        before = store.revision
    with running(config) as daemon:
        wait_until(lambda: bool(reported(tmp_path)))
        wait_until(lambda: revision_in_force(daemon) == before + 1)
        assert daemon.board.health().faults == ("source camera: no frame yet",)
    (event,) = reported(tmp_path)
    assert (event.pack, event.outcome, event.gallery_revision) == ("lamp", "activated", before + 1)
    with running(config) as daemon:  # not once more after a restart
        wait_until(lambda: (daemon.board.updates or event) is not event)
        wait_until(lambda: getattr(daemon.board.updates, "checked_unix_s", None) is not None)
    assert reported(tmp_path) == [event]


def test_updates_can_be_added_and_taken_away_while_it_runs(tmp_path: Path, config: Config) -> None:
    without = msgspec.structs.replace(config, updates=type(config.updates)())
    present = [config]
    with running(without, lambda: present[0]) as daemon:
        assert daemon.board.updates is None
        daemon.reload(LIMIT_S)
        wait_until(lambda: bool(reported(tmp_path)))
        present[0] = without
        daemon.reload(LIMIT_S)
        assert daemon.board.updates is None


def test_a_thread_of_updates_that_has_died_makes_the_health_red(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def died(_: object) -> float:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(updater.Updater, "turn", died)
    with running(config) as daemon:
        wait_until(lambda: "thread updates" in daemon.board.faults)
        health = daemon.board.health()
        assert (health.alive, health.stuck) == (False, True)


def test_updates_without_the_extra_are_one_line(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise PackError("packs need cryptography: pip install 'edge_sim[fleet]'")

    monkeypatch.setattr(signing, "check_library", missing)
    daemon = Daemon(
        config, reload=lambda: config, environment=world_of({"camera": Camera()}),
        open_updater=updater.open_updater,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"config.yaml:\d+: updates.uri: packs need cryptography"):
        daemon.run()
