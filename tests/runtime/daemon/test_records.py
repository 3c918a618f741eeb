"""What is written down of decisions never stops a device, and is only what was asked for."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edge_sim.analysis.replay import Reading, ReplayRun, compared
from edge_sim.core.events import StateChanged
from edge_sim.io.sinks.capabilities import SetSensitivity
from edge_sim.runtime.assembly import build
from edge_sim.runtime.config import Config, load_config
from edge_sim.runtime.daemon.recording import Records
from edge_sim.runtime.daemon.state_file import with_sensitivities
from edge_sim.runtime.daemon.teaching import explanations_path
from edge_sim.runtime.explanations import configuration_digest, find_explanation
from edge_sim.runtime.score_log import ScoreLine, read_lines
from tests.devices import make_device
from tests.runtime.daemon.cameras import Camera, Show, lamp_config
from tests.runtime.daemon.test_service import await_commands, await_events, running, show


def recorded(config: Config, *, frames: int = 60) -> list[StateChanged]:
    """Run a device, write down what it decides, and return its changes."""
    found = []
    with build(config) as device:
        records = Records(config)
        watches = device.watches
        for step in device.steps():
            records.note(watches, step)
            found += [event for event in step.events if isinstance(event, StateChanged)]
            if step.frame is not None and step.frame.index + 1 >= frames:
                break
        records.close()
        records.close()
    return found


def configured(folder: Path, extra: str = "") -> Config:
    quiet = "sinks: []\n"
    return load_config(make_device(folder, extra=extra + quiet))


def test_every_change_is_explained_and_nothing_else_is_written(tmp_path: Path) -> None:
    config = configured(tmp_path)
    events = recorded(config)
    assert len(events) >= 2
    for event in events:
        assert find_explanation([tmp_path / "explanations.jsonl"], event.id).event == event
    assert len((tmp_path / "explanations.jsonl").read_bytes().splitlines()) == len(events)
    assert not (tmp_path / "scores.jsonl").exists()


def test_a_score_log_with_every_look_decides_again_what_was_decided(tmp_path: Path) -> None:
    config = configured(tmp_path, "score_log: {path: scores.jsonl, every_s: 0}\n")
    events = recorded(config)
    run = ReplayRun()
    reading = Reading([run])
    assert sum(1 for _ in reading.observations(read_lines([tmp_path / "scores.jsonl"]))) == 60
    assert reading.is_exact
    assert compared(reading.logged, run.events).is_equal
    assert [event.id for _, event in reading.logged] == [event.id for event in events]


def test_a_summary_now_and_then_is_what_is_asked_for_by_default(tmp_path: Path) -> None:
    config = configured(tmp_path, "score_log: {path: scores.jsonl}\n")
    recorded(config)
    assert len((tmp_path / "scores.jsonl").read_bytes().splitlines()) == 1


def test_a_disk_that_takes_nothing_is_logged_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    extra = "explanations: {path: no/e.jsonl}\nscore_log: {path: no/s.jsonl, every_s: 0}\n"
    with caplog.at_level(logging.ERROR):
        events = recorded(configured(tmp_path, extra))
    assert len(events) >= 2
    assert "no/e.jsonl: cannot append" in caplog.text
    assert "no/s.jsonl: cannot append" in caplog.text


def test_a_score_log_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    config = configured(tmp_path, "score_log: {path: later/s.jsonl, every_s: 0}\n")
    with build(config) as device:
        records = Records(config)
        for number, step in enumerate(device.steps()):
            if number == 10:
                (tmp_path / "later").mkdir()
            records.note(device.watches, step)
            if number == 19:
                break
        records.close()
    lines = [line for line in read_lines([tmp_path / "later" / "s.jsonl"])]
    assert sum(isinstance(line, ScoreLine) for line in lines) == 10


def test_an_explanation_that_cannot_be_written_costs_no_line_of_the_score_log(
    tmp_path: Path,
) -> None:
    extra = "explanations: {path: no/e.jsonl}\nscore_log: {path: s.jsonl, every_s: 0}\n"
    events = recorded(configured(tmp_path, extra), frames=40)
    lines = [line for line in read_lines([tmp_path / "s.jsonl"]) if isinstance(line, ScoreLine)]
    assert [line.number for line in lines] == list(range(1, 41))
    assert [line.event for line in lines if line.event] == [event.id for event in events]


@pytest.mark.parametrize(
    ("extra", "kept"),
    [
        ("", True),
        ("explanations: {path: null}\n", False),
        ("outbox: {storage: memory}\n", False),
    ],
)
def test_nothing_is_kept_where_nothing_may_be(tmp_path: Path, extra: str, kept: bool) -> None:
    config = configured(tmp_path, extra + "score_log: {path: s.jsonl, every_s: 0}\n")
    recorded(config)
    assert (explanations_path(config) is not None) == kept
    assert (tmp_path / "explanations.jsonl").exists() == kept
    assert (tmp_path / "s.jsonl").exists() == ("memory" not in extra)


def test_the_daemon_explains_with_the_sensitivity_that_was_set_before_its_restart(
    tmp_path: Path,
) -> None:
    config = lamp_config(tmp_path)
    camera, frames = Camera(), Show()
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        daemon._on_command(SetSensitivity("lamp", 0.8))
        await_commands(daemon)
        show(daemon, camera, frames, "on", 3)
    camera = Camera()
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "off")
        await_events(daemon, 1)
    found = find_explanation([tmp_path / "explanations.jsonl"], "last")
    assert found.event.after == "off"
    assert found.settings is not None
    assert found.settings.sensitivity == 0.8
    changed = with_sensitivities(config, {"lamp": 0.8})
    assert found.configuration == configuration_digest(changed, "lamp")
