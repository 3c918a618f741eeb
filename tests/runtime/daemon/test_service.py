"""The daemon with cameras whose frames the tests give: events, restarts, reloads, commands."""

from __future__ import annotations

import socket
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_sim.core.events import Event, SourceLost, SourceRestored, StateChanged, from_json_line
from edge_sim.errors import CommandError, ConfigError, GalleryError, SinkError, SourceError
from edge_sim.gallery.records import Enrolled
from edge_sim.gallery.store import GalleryStore
from edge_sim.io.sinks.capabilities import SetSensitivity, Teach
from edge_sim.runtime.config import Config, parse_config
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.web.server import open_server
from tests.builders import embedding
from tests.runtime.daemon.cameras import LIMIT_S, Camera, Show, lamp_config, world_of


@contextmanager
def running(
    config: Config, cameras: Mapping[str, Camera], reloaded: Config | None = None
) -> Iterator[Daemon]:
    """A daemon in a thread of its own; told to stop at the end."""

    def reload() -> Config:
        if reloaded is None:
            raise ConfigError("config.yaml:3: unknown key 'wtches'")
        return reloaded

    daemon = Daemon(config, reload=reload, environment=world_of(cameras), open_web=open_server)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield daemon
    finally:
        daemon.request_stop()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


class Time:
    now_s = 1000.0


def await_events(daemon: Daemon, count: int) -> list[Event]:
    found = daemon.board.events_after(0, LIMIT_S) or []
    while found and found[-1][0] < count:
        more = daemon.board.events_after(found[-1][0], LIMIT_S)
        assert more, f"{len(found)} events of {count}"
        found += more
    return [event for _, event in found]


def await_frames(daemon: Daemon, count: int) -> None:
    """Wait until the worker has looked at so many frames."""
    waiting = threading.Event()
    for _ in range(int(LIMIT_S / 0.01)):
        if sum(item.frames for item in daemon.board.sources) >= count:
            return
        waiting.wait(0.01)
    raise AssertionError(f"fewer than {count} frames")


def await_commands(daemon: Daemon) -> None:
    """Wait until requested reloads and commands are over; frames go on while they fit galleries."""
    for _ in range(2):  # the first may be carried out just before a reload
        daemon.call(lambda _: None, LIMIT_S)


def show(daemon: Daemon, camera: Camera, show: Show, state: str, count: int = 5) -> None:
    """Give frames one by one, so that none is replaced by a newer one."""
    for frame in show.frames(state, count):
        seen = sum(item.frames for item in daemon.board.sources)
        camera.give(frame)
        await_frames(daemon, seen + 1)


def written(folder: Path) -> list[Event]:
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    return [from_json_line(line) for line in lines]


def changes(events: list[Event]) -> list[tuple[str | None, str]]:
    return [(item.before, item.after) for item in events if isinstance(item, StateChanged)]


def test_a_change_is_reported_and_delivered(tmp_path: Path) -> None:
    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        show(daemon, camera, frames, "off")
        await_events(daemon, 2)
    assert changes(written(tmp_path)) == [(None, "on"), ("on", "off")]
    assert camera.closed


def test_a_restart_reports_nothing_that_was_reported(tmp_path: Path) -> None:
    config = lamp_config(tmp_path)
    for _ in range(3):
        camera, frames = Camera(), Show()
        with running(config, {"camera": camera}) as daemon:
            show(daemon, camera, frames, "on")
    assert changes(written(tmp_path)) == [(None, "on")]


def test_what_is_lost_on_a_disk_that_takes_nothing_is_counted_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    def reject(*_: object) -> None:
        raise SinkError("events.jsonl: cannot append (Read-only file system)")

    config = lamp_config(tmp_path)
    camera, frames = Camera(), Show()
    with running(config, {"camera": camera}) as daemon:
        monkeypatch.setattr("edge_sim.io.outbox.queue.save", refuse)
        monkeypatch.setattr("edge_sim.io.sinks.file.FileSink.emit", reject)
        show(daemon, camera, frames, "on")
        show(daemon, camera, frames, "off")
        await_events(daemon, 2)
    assert daemon.lost == 2
    assert "2 events are lost" in caplog.text


def test_pictures_of_events_are_kept_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sim.runtime.daemon.teaching.KEPT_BYTES", 1)
    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        for state in ("on", "off", "on"):
            show(daemon, camera, frames, state)
        await_events(daemon, 3)
        teacher = daemon._recorders.teacher
        assert sum(len(kept) for kept in teacher._pictures.values()) == 1, "the newest stays"


def test_a_lesson_before_the_first_event_fits_no_gallery_for_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*_: object) -> None:
        raise AssertionError("there is nothing to decide again")

    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on", 1)
        monkeypatch.setattr("edge_sim.runtime.daemon.teaching.stages_of", fit)
        assert daemon.teach(Teach("lamp", "dim")).flips == ()


def test_a_locked_gallery_rejects_a_lesson_soon(tmp_path: Path) -> None:
    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        with closing(sqlite3.connect(tmp_path / "gallery.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(GalleryError, match="another process is writing"):
                daemon.teach(Teach("lamp", "off"))


def test_a_lesson_for_a_gallery_that_is_gone_is_no_success(tmp_path: Path) -> None:
    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        (tmp_path / "gallery.db").unlink()
        with pytest.raises(GalleryError, match="no gallery"):
            daemon.teach(Teach("lamp", "off"))
    assert not (tmp_path / "gallery.db").exists()


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_a_clock_that_jumps_a_day_reports_nothing(tmp_path: Path, jump_s: float) -> None:
    config = lamp_config(tmp_path)
    camera, frames = Camera(), Show()
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        frames.unix_time_s += jump_s
        show(daemon, camera, frames, "on", 8)
        frames.unix_time_s -= jump_s
        show(daemon, camera, frames, "on", 8)
    frames = Show(unix_time_s=1_700_000_000.0 + jump_s)
    camera = Camera()
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on", 8)
    assert changes(written(tmp_path)) == [(None, "on")]


def test_a_change_while_it_was_off_is_reported_from_the_last_state(tmp_path: Path) -> None:
    config = lamp_config(tmp_path)
    for state in ("on", "off"):
        camera, frames = Camera(), Show()
        with running(config, {"camera": camera}) as daemon:
            show(daemon, camera, frames, state)
    assert changes(written(tmp_path)) == [(None, "on"), ("on", "off")]


def test_time_in_a_state_goes_on_after_a_restart(tmp_path: Path) -> None:
    config = lamp_config(tmp_path)
    time = Time()
    durations = []
    for _ in range(2):
        camera, frames = Camera(), Show()
        world = replace(world_of({"camera": camera}), clock=lambda: time.now_s)
        daemon = Daemon(config, reload=lambda: config, environment=world)
        thread = threading.Thread(target=daemon.run)
        thread.start()
        show(daemon, camera, frames, "on")
        time.now_s += 3600.0
        durations.append(daemon.board.in_state_s("lamp"))
        daemon.request_stop()
        thread.join(LIMIT_S)
        time.now_s += 86_400.0  # off for a day: that does not count
    assert durations == [3600.0, 7200.0]


def test_an_empty_gallery_is_reported_once_and_not_at_every_restart(tmp_path: Path) -> None:
    config = lamp_config(tmp_path, "  # nothing more\n")
    other = replace_watch(config, "empty")
    for _ in range(2):
        camera, frames = Camera(), Show()
        with running(other, {"camera": camera}) as daemon:
            show(daemon, camera, frames, "on")
    assert changes(written(tmp_path)) == [(None, "unknown")]


def replace_watch(config: Config, name: str) -> Config:
    return msgspec.structs.replace(config, watches={name: config.watches["lamp"]})


def test_a_lost_camera_is_reported_once_and_again_when_it_is_back(tmp_path: Path) -> None:
    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        camera.give(SourceError("no frame for 20 s"), SourceError("no frame for 20 s"))
        await_events(daemon, 2)
        assert not daemon.board.health().ready
        assert daemon.board.health().alive
        show(daemon, camera, frames, "on", 1)
        events = await_events(daemon, 3)
    assert [type(item) for item in events] == [StateChanged, SourceLost, SourceRestored]


def test_a_camera_lost_before_a_restart_is_only_reported_as_back(tmp_path: Path) -> None:
    config = lamp_config(tmp_path)
    camera = Camera()
    with running(config, {"camera": camera}) as daemon:
        camera.give(SourceError("gone"))
        await_events(daemon, 1)
    camera, frames = Camera(), Show()
    with running(config, {"camera": camera}) as daemon:
        camera.give(SourceError("still gone"))
        show(daemon, camera, frames, "on", 1)
        await_events(daemon, 1)
    assert [type(item) for item in written(tmp_path)] == [SourceLost, SourceRestored]


def test_a_bad_new_configuration_is_refused_and_the_old_one_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        daemon.request_reload()
        await_commands(daemon)
        show(daemon, camera, frames, "off")
        await_events(daemon, 2)
    assert "rejected, the old one stays in force: config.yaml:3: unknown key" in caplog.text
    assert changes(written(tmp_path)) == [(None, "on"), ("on", "off")]


def test_a_reload_keeps_state_and_camera_and_sends_events_to_the_new_sinks(tmp_path: Path) -> None:
    config = lamp_config(tmp_path)
    text = (tmp_path / "config.yaml").read_text().replace("events.jsonl", "others.jsonl")
    changed = parse_config(text, where="test", folder=str(tmp_path))
    camera, frames = Camera(), Show()
    with running(config, {"camera": camera}, reloaded=changed) as daemon:
        show(daemon, camera, frames, "on")
        daemon.request_reload()
        await_commands(daemon)
        show(daemon, camera, frames, "off", 6)
        await_events(daemon, 2)
        assert not camera.closed
    assert changes(written(tmp_path)) == [(None, "on")]
    (tmp_path / "others.jsonl").replace(tmp_path / "events.jsonl")
    assert changes(written(tmp_path)) == [("on", "off")]


def test_a_new_configuration_whose_sink_cannot_open_is_refused_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = lamp_config(tmp_path)
    text = (tmp_path / "config.yaml").read_text().replace("events.jsonl", "no/such/folder.jsonl")
    changed = parse_config(text, where="test", folder=str(tmp_path))
    camera, frames = Camera(), Show()
    with running(config, {"camera": camera}, reloaded=changed) as daemon:
        show(daemon, camera, frames, "on")
        daemon.request_reload()
        await_commands(daemon)
        show(daemon, camera, frames, "off", 6)
        await_events(daemon, 2)
    assert "rejected, the old one stays in force" in caplog.text
    assert changes(written(tmp_path)) == [(None, "on"), ("on", "off")]


def test_a_new_configuration_whose_server_cannot_listen_changes_no_sink(tmp_path: Path) -> None:
    config = lamp_config(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = (tmp_path / "config.yaml").read_text().replace("events.jsonl", "others.jsonl")
        text += f"web: {{listen: '127.0.0.1:{port}'}}\n"
        changed = parse_config(text, where="test", folder=str(tmp_path))
        camera, frames = Camera(), Show()
        with running(config, {"camera": camera}, reloaded=changed) as daemon:
            show(daemon, camera, frames, "on")
            daemon.request_reload()
            await_commands(daemon)
            show(daemon, camera, frames, "off", 6)
            await_events(daemon, 2)
    assert changes(written(tmp_path)) == [(None, "on"), ("on", "off")]


def test_a_sensitivity_that_was_set_stays_over_a_restart(tmp_path: Path) -> None:
    config = lamp_config(tmp_path)
    camera, frames = Camera(), Show()
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        daemon._on_command(SetSensitivity("lamp", 0.8))
        await_commands(daemon)
        show(daemon, camera, frames, "on", 3)
    camera, frames = Camera(), Show()
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on", 1)
        assert daemon._device.config.watches["lamp"].sensitivity == 0.8
    assert changes(written(tmp_path)) == [(None, "on")]


def test_what_is_seen_now_can_be_taught_and_is_known_at_once(tmp_path: Path) -> None:
    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        (event,) = await_events(daemon, 1)
        before = daemon.board.watches[0].revision
        with suppress(CommandError):  # the drawn picture may be one that is enrolled already
            daemon.teach(Teach("lamp", "on"), LIMIT_S)
        lesson = daemon.teach(Teach("lamp", "broken", event.id), LIMIT_S)
        assert lesson.revision > before
        assert lesson.state == "broken"
        assert "broken" in daemon._device.watches["lamp"].gallery.states


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Teach("lmap", "on"), r"there is no watch 'lmap' \(did you mean 'lamp'\?\)"),
        (Teach("lamp", "on", "no-such-event"), "no picture of the event no-such-event"),
    ],
)
def test_a_correction_that_makes_no_sense_is_refused(
    tmp_path: Path, order: Teach, message: str
) -> None:
    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on", 1)
        with pytest.raises(CommandError, match=message):
            daemon.teach(order, LIMIT_S)


def test_a_gallery_of_another_model_is_not_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody re-embeds the gallery before the configuration names the new model."""
    camera, frames = Camera(), Show()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        rig = daemon._device
        with GalleryStore.open(tmp_path / "gallery.db") as store:
            store.remove([item.reference_id for item in store.gallery("lamp").references])
            store.add("lamp", [foreign_reference()])
        show(daemon, camera, frames, "on", 2)
        await_log(caplog, "the gallery is kept as it was")
        assert rig.watches["lamp"].gallery.states == ("off", "on")
    assert changes(written(tmp_path)) == [(None, "on")]


def foreign_reference() -> Enrolled:
    return Enrolled(
        state="on",
        embedding=embedding(1.0, 0.0, model_id="another@1"),
        thumbnail=np.zeros((96, 96), np.uint8),
        crop=b"png",
        condition="day",
        enrolled_at=datetime(2026, 1, 31, tzinfo=timezone.utc),
        metadata={},
    )


def await_log(caplog: pytest.LogCaptureFixture, text: str) -> None:
    waiting = threading.Event()
    for _ in range(int(LIMIT_S / 0.01)):
        if text in caplog.text:
            return
        waiting.wait(0.01)
    raise AssertionError(f"nobody said {text!r}")


def test_it_ends_by_itself_when_every_source_has_ended(tmp_path: Path) -> None:
    camera = Camera()
    camera.give(None)
    Daemon(lamp_config(tmp_path), reload=Config, environment=world_of({"camera": camera})).run()
    assert camera.closed


def test_several_cameras_are_looked_at_and_none_waits_for_a_silent_one(tmp_path: Path) -> None:
    config = lamp_config(tmp_path)
    sources = {"camera": config.sources["camera"], "silent": config.sources["camera"]}
    watch = config.watches["lamp"]
    watches = {
        "lamp": msgspec.structs.replace(watch, source="camera"),
        "other": msgspec.structs.replace(watch, source="silent"),
    }
    config = msgspec.structs.replace(config, sources=sources, watches=watches)
    camera, silent, frames = Camera(), Camera("silent"), Show()
    with running(config, {"camera": camera, "silent": silent}) as daemon:
        show(daemon, camera, frames, "on")
        await_events(daemon, 1)
    assert changes(written(tmp_path)) == [(None, "on")]
