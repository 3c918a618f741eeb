"""The daemon while a gallery is fitted: frames go on, a stop is obeyed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_sim.errors import CommandError, SourceError
from edge_sim.runtime import assembly
from edge_sim.runtime.daemon.daemon import Daemon
from tests.runtime.daemon.cameras import LIMIT_S, Camera, Show, lamp_config, world_of
from tests.runtime.daemon.test_service import (
    await_commands,
    await_events,
    await_frames,
    running,
    show,
)
from tests.runtime.daemon.test_supervision import two_cameras


class Gate:
    """Holds the fitting of a pipeline until a test opens it."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.opened = threading.Event()
        self.holds = True
        self.passes = 0  # pipelines that are fitted before it holds


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate, inner = Gate(), assembly.build_pipeline

    def held(*args: object, **named: object) -> object:
        if gate.holds and gate.passes > 0:
            gate.passes -= 1
        elif gate.holds:
            gate.begun.set()
            assert gate.opened.wait(LIMIT_S)
        return inner(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(assembly, "build_pipeline", held)
    yield gate
    gate.opened.set()


def test_a_stop_while_the_gallery_is_fitted_at_the_start_is_obeyed(
    gate: Gate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = lamp_config(tmp_path)
    daemon = Daemon(config, reload=lambda: config, environment=world_of({"camera": Camera()}))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    assert gate.begun.wait(LIMIT_S)
    daemon.request_stop()
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert not gate.opened.is_set()
    assert "stopped: a stop was requested" in caplog.text


def test_frames_go_on_while_a_reload_fits_the_gallery(gate: Gate, tmp_path: Path) -> None:
    gate.holds = False
    config, camera, frames = lamp_config(tmp_path), Camera(), Show()
    with running(config, {"camera": camera}, config) as daemon:
        show(daemon, camera, frames, "on")
        gate.holds = True
        daemon.request_reload()
        assert gate.begun.wait(LIMIT_S)
        show(daemon, camera, frames, "on")
        await_frames(daemon, 10)
        assert not gate.opened.is_set()


def test_a_stop_while_a_reload_fits_the_gallery_is_obeyed(gate: Gate, tmp_path: Path) -> None:
    gate.holds = False
    config, camera = lamp_config(tmp_path), Camera()
    with running(config, {"camera": camera}, config) as daemon:
        show(daemon, camera, Show(), "on")
        gate.holds = True
        daemon.request_reload()
        assert gate.begun.wait(LIMIT_S)
    assert not gate.opened.is_set()


def test_a_caller_whose_reload_a_stop_cuts_short_is_told_so(gate: Gate, tmp_path: Path) -> None:
    gate.holds = False
    config, camera = lamp_config(tmp_path), Camera()
    with ThreadPoolExecutor(1) as caller:
        with running(config, {"camera": camera}, config) as daemon:
            show(daemon, camera, Show(), "on")
            gate.holds = True
            reload = caller.submit(daemon.reload, LIMIT_S)
            assert gate.begun.wait(LIMIT_S)
        with pytest.raises(CommandError, match=r"^the daemon is about to end$"):
            reload.result(LIMIT_S)


def await_end(daemon: Daemon, name: str) -> None:
    """Wait until the daemon has taken the end of a source."""
    waiting = threading.Event()
    for _ in range(int(LIMIT_S / 0.01)):
        if daemon._device.runners[name].ended:
            return
        waiting.wait(0.01)
    raise AssertionError(f"{name} has not ended")


def test_a_source_that_ends_while_a_reload_fits_the_gallery_is_not_waited_for(
    gate: Gate, tmp_path: Path
) -> None:
    gate.holds = False
    config = two_cameras(lamp_config(tmp_path))
    cameras = {"camera": Camera(), "second": Camera("second")}
    daemon = Daemon(config, reload=lambda: config, environment=world_of(cameras))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    show(daemon, cameras["camera"], Show(), "on")
    gate.passes, gate.holds = 1, True
    daemon.request_reload()
    assert gate.begun.wait(LIMIT_S)
    cameras["camera"].give(None)
    await_end(daemon, "camera")
    gate.opened.set()
    await_commands(daemon)
    cameras["second"].give(None)
    thread.join(LIMIT_S)
    ended_by_itself = not thread.is_alive()
    daemon.request_stop()
    thread.join(LIMIT_S)
    assert ended_by_itself


def test_a_camera_that_is_lost_is_lost_as_long_after_a_reload(tmp_path: Path) -> None:
    config, camera = lamp_config(tmp_path), Camera()
    with running(config, {"camera": camera}, config) as daemon:
        show(daemon, camera, Show(), "on")
        camera.give(SourceError("camera: unplugged"))
        await_events(daemon, 2)
        lost = daemon._device.runners["camera"]
        daemon.reload(LIMIT_S)
        after = daemon._device.runners["camera"]
    assert after is not lost
    assert after.is_lost
    assert after._lost_at_s == lost._lost_at_s
