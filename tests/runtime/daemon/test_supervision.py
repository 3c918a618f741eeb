"""No part of the daemon dies silently, no reload ends it, a lost camera makes states stale."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge_sim.cli.main import main
from edge_sim.core.events import Event, SourceLost, SourceRestored, StateChanged
from edge_sim.core.types import Frame
from edge_sim.decision.pipeline import Outcome, Pipeline
from edge_sim.errors import SinkError, SourceError
from edge_sim.io.sinks.capabilities import SetSensitivity
from edge_sim.io.sinks.file import FileSink
from edge_sim.runtime.assembly import Environment, build
from edge_sim.runtime.config import Config
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.runtime.daemon.outputs import EventDispatcher
from edge_sim.runtime.daemon.recording import Recorders
from edge_sim.runtime.health.status import StatusBoard
from tests.runtime.daemon.cameras import LIMIT_S, Camera, Show, lamp_config, world_of
from tests.runtime.daemon.test_service import (
    await_commands,
    await_events,
    await_log,
    changes,
    running,
    show,
    written,
)


def await_health(daemon: Daemon, *, alive: bool) -> tuple[str, ...]:
    waiting = threading.Event()
    for _ in range(int(LIMIT_S / 0.01)):
        health = daemon.board.health()
        if health.alive is alive:
            return health.faults
        waiting.wait(0.01)
    raise AssertionError(f"health stays {not alive}: {daemon.board.health()}")


def two_cameras(config: Config) -> Config:
    """The lamp, and a second camera with a watch of its own."""
    section, watch = config.sources["camera"], config.watches["lamp"]
    return msgspec.structs.replace(
        config,
        sources={"camera": section, "second": section},
        watches={
            "lamp": msgspec.structs.replace(watch, source="camera"),
            "other": msgspec.structs.replace(watch, source="second"),
        },
    )


def test_a_camera_that_is_added_is_watched_after_a_reload(tmp_path: Path) -> None:
    config = lamp_config(tmp_path)
    cameras = {"camera": Camera(), "second": Camera("second")}
    frames = Show()
    with running(config, cameras, reloaded=two_cameras(config)) as daemon:
        show(daemon, cameras["camera"], frames, "on")
        daemon.request_reload()
        await_commands(daemon)
        show(daemon, cameras["second"], frames, "on", 5)
        show(daemon, cameras["camera"], frames, "off", 5)
        await_events(daemon, 3)
        assert {item.name for item in daemon.board.sources} == {"camera", "second"}
    told = [event for event in written(tmp_path) if isinstance(event, StateChanged)]
    assert changes([event for event in told if event.watch == "lamp"]) == [
        (None, "on"),
        ("on", "off"),
    ]
    assert [event.reason for event in told if event.watch == "other"] == ["no_references"]


def test_a_camera_that_is_taken_away_is_closed_after_a_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = lamp_config(tmp_path)
    cameras = {"camera": Camera(), "second": Camera("second")}
    with running(two_cameras(config), cameras, reloaded=config) as daemon:
        show(daemon, cameras["second"], Show(), "on", 1)
        daemon.request_reload()
        await_log(caplog, "the configuration was read again")
        show(daemon, cameras["camera"], Show(), "on", 5)
        await_events(daemon, 1)
        assert [item.name for item in daemon.board.sources] == ["camera"]
    assert cameras["second"].closed


@pytest.mark.parametrize("error", [TypeError("unhashable type: 'list'"), RecursionError("deep")])
def test_any_error_while_reading_keeps_the_old_configuration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def reload() -> Config:
        raise error

    camera, frames = Camera(), Show()
    daemon = Daemon(lamp_config(tmp_path), reload=reload, environment=world_of({"camera": camera}))
    with Running(daemon):
        show(daemon, camera, frames, "on")
        daemon.request_reload()
        await_commands(daemon)
        show(daemon, camera, frames, "off")
        await_events(daemon, 2)
    assert f"rejected, the old one stays in force: {type(error).__name__}: {error}" in caplog.text
    assert changes(written(tmp_path)) == [(None, "on"), ("on", "off")]


class Running:
    """A daemon in a thread of its own; told to stop at the end."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._thread = threading.Thread(target=daemon.run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._daemon.request_stop()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()


def test_an_error_in_the_middle_of_a_reload_goes_back_to_the_old_configuration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = lamp_config(tmp_path)
    changed = msgspec.structs.replace(config, device="renamed")
    use = Recorders.use

    def fail_once(recorders: Recorders, new: Config) -> None:
        if new.device == "renamed":
            raise KeyError("half way")
        use(recorders, new)

    camera, frames = Camera(), Show()
    with running(config, {"camera": camera}, reloaded=changed) as daemon:
        show(daemon, camera, frames, "on")
        monkeypatch.setattr(Recorders, "use", fail_once)
        daemon.request_reload()
        await_commands(daemon)
        show(daemon, camera, frames, "off")
        await_events(daemon, 2)
    assert "the old one stays in force: KeyError: 'half way'" in caplog.text
    assert changes(written(tmp_path)) == [(None, "on"), ("on", "off")]
    assert {event.device for event in written(tmp_path)} == {config.device}


def test_a_rejected_reload_drops_no_event_that_waits_for_a_sink_it_would_have_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = lamp_config(tmp_path)
    changed = msgspec.structs.replace(
        config, sinks=(), outbox=msgspec.structs.replace(config.outbox, path="elsewhere.db")
    )
    monkeypatch.setattr(FileSink, "emit", _refuse)
    camera, frames = Camera(), Show()
    with running(config, {"camera": camera}, reloaded=changed) as daemon:
        show(daemon, camera, frames, "on")
        use = Recorders.use

        def fail(recorders: Recorders, new: Config) -> None:
            if not new.sinks:
                raise KeyError("half way")
            use(recorders, new)

        monkeypatch.setattr(Recorders, "use", fail)
        with pytest.raises(KeyError, match="half way"):
            daemon.reload(LIMIT_S)
    monkeypatch.undo()
    with running(config, {"camera": camera}) as daemon:
        await_events(daemon, 1)
    assert changes(written(tmp_path)) == [(None, "on")]


def _refuse(sink: FileSink, event: Event) -> None:
    raise SinkError("the disk is away")


def test_a_bug_in_the_processing_is_red_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Pipeline.process

    def broken(pipeline: Pipeline, frame: Frame) -> tuple[Outcome, ...]:
        raise ZeroDivisionError("a bug")

    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        monkeypatch.setattr(Pipeline, "process", broken)
        camera.give(*frames.frames("on", 1))
        (fault,) = await_health(daemon, alive=False)
        assert fault == "source camera: ZeroDivisionError: a bug (failure 1)"
        assert daemon.board.failures == {"source camera": 1}
        assert not daemon.board.health().stuck
        monkeypatch.setattr(Pipeline, "process", process)
        camera.give(*frames.frames("off", 1))
        await_health(daemon, alive=True)
        show(daemon, camera, frames, "off")
        await_events(daemon, 2)
    assert changes(written(tmp_path)) == [(None, "on"), ("on", "off")]


def test_events_that_the_outbox_did_not_take_are_put_in_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera, frames = Camera(), Show()
    put = EventDispatcher.put

    def broken(dispatcher: EventDispatcher, events: object) -> None:
        raise ZeroDivisionError("a bug")

    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on", 1)
        monkeypatch.setattr(EventDispatcher, "put", broken)
        show(daemon, camera, frames, "on")
        await_events(daemon, 1)
        assert "outbox" in await_health(daemon, alive=False)[0]
        monkeypatch.setattr(EventDispatcher, "put", put)
        show(daemon, camera, frames, "on", 1)
        await_health(daemon, alive=True)
    assert changes(written(tmp_path)) == [(None, "on")]


def test_a_command_that_breaks_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        monkeypatch.setattr(Daemon, "_set_sensitivity", lambda *_: 1 / 0)
        daemon._on_command(SetSensitivity("lamp", 0.8))
        await_log(caplog, "command failed: ZeroDivisionError")
        show(daemon, camera, frames, "off")
        await_events(daemon, 2)


def test_a_thread_that_dies_is_red_and_only_a_restart_helps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera, frames = Camera(), Show()
    before = threading.excepthook
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on", 1)
        dying = threading.Thread(target=lambda: 1 / 0, name="paho")
        dying.start()
        dying.join(LIMIT_S)
        (fault,) = await_health(daemon, alive=False)
        assert fault == "thread paho: it has ended with ZeroDivisionError: division by zero"
        assert daemon.board.health().stuck
    assert "thread paho: it has ended with" in caplog.text
    assert threading.excepthook is before


def test_cameras_without_a_thread_are_lost_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if thread.name == "reader second":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    cameras = {"camera": Camera(), "second": Camera("second")}
    with running(two_cameras(lamp_config(tmp_path)), cameras) as daemon:
        await_events(daemon, 1)
        show(daemon, cameras["camera"], Show(), "on")
        await_events(daemon, 2)
    lost, changed = written(tmp_path)
    assert isinstance(lost, SourceLost)
    assert "second: no thread can be started" in lost.error
    assert isinstance(changed, StateChanged)


def test_without_threads_for_itself_the_daemon_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lamp_config(tmp_path)
    monkeypatch.setattr(threading.Thread, "start", start)
    assert main(["daemon", "-c", str(tmp_path / "config.yaml")]) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == (
        "edge-sim: no thread can be started: raise the limit of tasks "
        "(TasksMax= of the unit, ulimit -u)"
    )


class Time:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


STALE = [(None, "on"), ("on", "unknown"), ("unknown", "off")]


def test_a_watch_of_a_lost_camera_becomes_stale_and_goes_back(tmp_path: Path) -> None:
    time, camera, frames = Time(), Camera(), Show()
    environment = Environment(
        open_source=lambda config, name: camera, is_live=lambda uri: True, clock=time
    )
    config = lamp_config(tmp_path)
    daemon = Daemon(config, reload=lambda: config, environment=environment)
    with Running(daemon):
        show(daemon, camera, frames, "on")
        camera.give(SourceError("no frame for 20 s"))
        await_events(daemon, 2)
        time.now_s += 59.9
        assert daemon.board.watches[0].state == daemon._device.watches["lamp"].decider.state
        time.now_s += 0.1
        stale = await_events(daemon, 3)[2]
        assert isinstance(stale, StateChanged)
        assert (stale.after, stale.reason, stale.matches) == ("unknown", "stale", ())
        assert stale.captured_at_s == pytest.approx(4.0 + 60.0)
        assert daemon.board.watches[0].state is not None
        assert daemon.board.watches[0].state.name == "unknown"
        show(daemon, camera, frames, "off")
        await_events(daemon, 5)
    assert changes(written(tmp_path)) == STALE
    kinds = [type(event) for event in written(tmp_path)]
    assert kinds.count(SourceLost) == kinds.count(SourceRestored) == 1


def test_stale_is_reported_once_over_a_restart(tmp_path: Path) -> None:
    config = lamp_config(tmp_path)
    time = Time()
    for round_number in range(2):
        camera, frames = Camera(), Show()
        environment = replace(world_of({"camera": camera}), clock=time)
        daemon = Daemon(config, reload=lambda: config, environment=environment)
        with Running(daemon):
            if round_number == 0:
                show(daemon, camera, frames, "on")
                camera.give(SourceError("gone"))
                await_events(daemon, 2)
                time.now_s += 60.0
                await_events(daemon, 3)
            else:
                camera.give(SourceError("still gone"))
                time.now_s += 120.0
                show(daemon, camera, frames, "off")
                await_events(daemon, 2)
    assert changes(written(tmp_path)) == STALE


def test_stale_is_the_same_in_the_api(tmp_path: Path) -> None:
    time, camera, frames = Time(), Camera(), Show()
    environment = Environment(
        open_source=lambda config, name: camera, is_live=lambda uri: True, clock=time
    )
    found: list[Event] = []
    with build(lamp_config(tmp_path), environment=environment) as device:
        steps = device.steps()
        for frame in frames.frames("on", 5):
            camera.give(frame)
            found += next(steps).events
        camera.give(SourceError("no frame for 20 s"))
        found += next(steps).events
        time.now_s += 60.0
        found += next(steps).events
        for frame in frames.frames("off", 5):
            camera.give(frame)
            found += next(steps).events
    assert changes(found) == STALE


def test_a_camera_that_never_came_makes_its_watch_stale(tmp_path: Path) -> None:
    time = Time()

    def no_camera(config: Config, name: str) -> Camera:
        raise SourceError("camera: no such camera")

    environment = Environment(open_source=no_camera, is_live=lambda uri: True, clock=time)
    with build(lamp_config(tmp_path), environment=environment) as device:
        steps = device.steps()
        next(steps)
        time.now_s += 60.0
        events = [event for step in (next(steps), next(steps)) for event in step.events]
    (stale,) = [event for event in events if isinstance(event, StateChanged)]
    assert (stale.before, stale.after, stale.reason) == (None, "unknown", "stale")


@pytest.fixture(autouse=True)
def _quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a test sets rings nobody: look at it often."""
    monkeypatch.setattr("edge_sim.runtime.loop.TICK_S", 0.02)
    monkeypatch.setattr("edge_sim.runtime.daemon.daemon.TICK_S", 0.02)


def test_faults_are_shown_until_they_are_over() -> None:
    board = StatusBoard("shed")
    board.show_fault("sink file", "ValueError: 1")
    board.show_fault("sink file", "ValueError: 1")
    board.show_fault("sink file", "ValueError: 2")
    assert board.health().faults[0] == "sink file: ValueError: 2"
    assert not board.health().alive
    board.show_fault("sink file", None)
    assert board.health().alive
    assert board.failures == {"sink file": 2}
