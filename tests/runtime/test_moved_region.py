"""A watch that was moved off the region of its references says so as an event."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sim.core.events import Event, SceneCleared, SceneImpaired, SceneProblem, from_json_line
from edge_sim.io.sources.synthetic.source import scene_roi
from edge_sim.runtime.assembly import build
from edge_sim.runtime.config import Config, load_config
from edge_sim.runtime.daemon.daemon import Daemon
from tests.devices import make_device

EVENTS = "sinks:\n  - {kind: file, path: events.jsonl}\n"


def configured(folder: Path, roi: str, extra: str = "") -> Config:
    """A drawn lamp, enrolled with its region, and a watch on the region `roi`."""
    path = make_device(folder, uri="synthetic:lamp?seed=1&frames=12&dwell_s=6", extra=EVENTS)
    text = path.read_text()
    at = text.index("roi: [")
    end = text.index("]", at) + 1
    path.write_text(text[:at] + f"roi: {roi}{extra}" + text[end:])
    return load_config(path)


def region_events(config: Config) -> list[Event]:
    lines = (config.path("events.jsonl")).read_bytes().splitlines()
    events = [from_json_line(line) for line in lines]
    return [event for event in events if isinstance(event, SceneImpaired | SceneCleared)]


def played(config: Config) -> list[Event]:
    Daemon(config, reload=lambda: config).run()
    return region_events(config)


MOVED = "[0.0, 0.0, 0.1, 0.1]"


def test_the_daemon_reports_it_once_over_restarts_and_clears_it(tmp_path: Path) -> None:
    config = configured(tmp_path, MOVED)
    (event,) = played(config)
    assert isinstance(event, SceneImpaired)
    assert (event.watch, event.problem) == ("lamp", SceneProblem.REGION_MOVED)
    assert played(config) == [event]
    box = scene_roi("lamp")
    back = configured(tmp_path, f"[{box.x1}, {box.y1}, {box.x2}, {box.y2}]")
    first, cleared = played(back)
    assert first == event
    assert isinstance(cleared, SceneCleared)
    assert cleared.problem is SceneProblem.REGION_MOVED


def test_the_api_reports_it(tmp_path: Path) -> None:
    with build(configured(tmp_path, MOVED)) as device:
        found = [event for event in device.events() if isinstance(event, SceneImpaired)]
    assert [event.problem for event in found] == [SceneProblem.REGION_MOVED]


@pytest.mark.parametrize("problems", ["{report: []}", "{report: [covered]}"])
def test_it_is_not_reported_where_it_is_not_configured(tmp_path: Path, problems: str) -> None:
    assert played(configured(tmp_path, MOVED, f", problems: {problems}")) == []


def test_pictures_of_another_region_do_not_say_that_the_camera_moved(tmp_path: Path) -> None:
    with build(configured(tmp_path, MOVED)) as device:
        events = list(device.events())
    assert not [event for event in events if getattr(event, "reason", None) == "camera_moved"]
    problems = [event.problem for event in events if isinstance(event, SceneImpaired)]
    assert SceneProblem.CAMERA_MOVED not in problems
