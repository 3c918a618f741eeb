"""A device whose pages are served starts with nothing and grows while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_sim.errors import CommandError, ConfigError
from edge_sim.gallery.store import GalleryStore
from edge_sim.runtime.config import Config, parse_config
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.web.server import open_server
from tests.runtime.daemon.cameras import LIMIT_S, Camera, Show, lamp_config, world_of
from tests.runtime.daemon.test_service import await_events, changes, running, show, written
from tests.runtime.daemon.test_supervision import Running

SERVED = "web: {listen: '127.0.0.1:0'}\n"


@contextmanager
def growing(folder: Path, camera: Camera, next_configs: list[Config]) -> Iterator[Daemon]:
    """A daemon that starts with an empty configuration."""
    empty = parse_config(f"model: {{path: thumbnail}}\n{SERVED}", folder=str(folder))
    daemon = Daemon(
        empty,
        reload=lambda: next_configs.pop(0),
        environment=world_of({"camera": camera}),
        open_web=open_server,
    )
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        daemon.call(lambda _: None, LIMIT_S)
        yield daemon
    finally:
        daemon.request_stop()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def watches_of(daemon: Daemon) -> list[str]:
    return daemon.call(lambda device: list(device.watches), LIMIT_S)


def test_a_served_device_starts_empty_and_takes_its_first_watch(tmp_path: Path) -> None:
    camera, frames = Camera(), Show()
    (tmp_path / "later").mkdir()
    first = lamp_config(tmp_path / "later", SERVED)
    with growing(tmp_path, camera, [first]) as daemon:
        with GalleryStore.open(tmp_path / "gallery.db") as store:
            assert store.revision == 0, "the gallery was made"
        assert daemon.board.health().alive
        assert daemon.reload(LIMIT_S) is first
        assert watches_of(daemon) == ["lamp"]
        show(daemon, camera, frames, "on")
        await_events(daemon, 1)
        newest = daemon._recorders.teacher.frame("camera")
        assert newest is not None
        assert newest.index == 4
        assert daemon.stills.of("lamp"), "there is something to choose from"
    assert changes(written(tmp_path / "later")) == [(None, "on")]


def test_a_state_that_has_no_reference_yet_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = lamp_config(tmp_path, SERVED)
    text = (tmp_path / "config.yaml").read_text().replace("lamp: {", "lamp: {states: [on, ajar], ")
    ajar = parse_config(text, folder=config.folder)
    with growing(tmp_path, Camera(), [ajar]) as daemon:
        daemon.reload(LIMIT_S)
    assert "watch lamp has no reference yet of ajar" in caplog.text


def test_a_configuration_that_cannot_be_used_is_an_error_of_the_caller(tmp_path: Path) -> None:
    camera = Camera()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        with pytest.raises(ConfigError, match="wtches"):
            daemon.reload(LIMIT_S)
        assert watches_of(daemon) == ["lamp"]


def test_a_reload_that_has_begun_is_waited_for_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, given_up = threading.Event(), threading.Event()

    class Watched(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            assert begun.wait(LIMIT_S)
            return super().result(timeout)

        def cancel(self) -> bool:
            found = super().cancel()
            given_up.set()
            return found

    config = lamp_config(tmp_path)
    changed = msgspec.structs.replace(config, device="renamed")

    def reload() -> Config:
        begun.set()
        assert given_up.wait(LIMIT_S)
        return changed

    camera = Camera()
    daemon = Daemon(config, reload=reload, environment=world_of({"camera": camera}))
    with Running(daemon):
        show(daemon, camera, Show(), "on", 1)
        monkeypatch.setattr("edge_sim.runtime.daemon.supervision.Future", Watched)
        assert daemon.reload(0.0) is changed
        assert daemon.config is changed


def test_a_job_that_has_not_begun_in_time_is_never_run(tmp_path: Path) -> None:
    camera, frames = Camera(), Show()
    config = lamp_config(tmp_path)
    daemon = Daemon(config, reload=lambda: config, environment=world_of({"camera": camera}))
    done: list[str] = []
    with pytest.raises(CommandError, match="busy or about to end"):
        daemon.call(lambda _: done.append("late"), 0.0)
    with Running(daemon):
        show(daemon, camera, frames, "on", 1)
        daemon.call(lambda _: done.append("in time"), LIMIT_S)
    assert done == ["in time"]
