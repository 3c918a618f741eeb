"""Trouble, overdue states and drift through the whole daemon: told, shown, and kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge_sim.core.events import (
    SceneCleared,
    SceneImpaired,
    ScoresDrifted,
    StateChanged,
    StateOverdue,
    StateOverdueCleared,
    tag_of,
)
from edge_sim.core.types import Frame
from edge_sim.decision.drift import Baseline, DriftFollower, baseline_of
from edge_sim.runtime.config import Config, parse_config
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.runtime.daemon.state_file import DeviceMemory, StateFile
from edge_sim.vision.light import CONDITIONS
from edge_sim.web.monitoring import state_view
from tests.runtime.daemon.cameras import Camera, Show, lamp_config
from tests.runtime.daemon.test_service import await_events, await_frames, running, show, written


def ruled(folder: Path, watch: str) -> Config:
    """The lamp with more lines in its watch."""
    lamp_config(folder)
    text = (folder / "config.yaml").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("  lamp: {")]
    text = text.replace(line, line.rstrip("}") + ", " + watch + "}")
    return parse_config(text, where="test", folder=str(folder))


class SlowShow(Show):
    """Frames ten seconds apart."""

    def frames(self, state: str, count: int) -> Iterator[Frame]:
        for frame in super().frames(state, count):
            yield replace(frame, captured_at_s=10.0 * frame.captured_at_s)


def lid(frames: Show, count: int) -> Iterator[Frame]:
    """The same moments with a lid on the lens."""
    for frame in frames.frames("on", count):
        grey = np.full_like(frame.pixels, 90)
        yield replace(frame, pixels=grey)


def give(daemon: Daemon, camera: Camera, frames: Iterator[Frame]) -> None:
    for frame in frames:
        seen = sum(item.frames for item in daemon.board.sources)
        camera.give(frame)
        await_frames(daemon, seen + 1)


def shown(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = state_view(daemon)["watches"]["lamp"]
    return found


def test_a_covered_camera_is_told_shown_and_cleared_by_itself(tmp_path: Path) -> None:
    camera, frames = Camera(), SlowShow()
    with running(lamp_config(tmp_path), {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        assert shown(daemon)["problems"] == {}
        give(daemon, camera, lid(frames, 6))
        await_events(daemon, 3)
        assert list(shown(daemon)["problems"]) == ["covered"]
        show(daemon, camera, frames, "on", 6)
        await_events(daemon, 5)
        assert shown(daemon)["problems"] == {}
    events = written(tmp_path)
    raised = [item for item in events if isinstance(item, SceneImpaired)]
    cleared = [item for item in events if isinstance(item, SceneCleared)]
    assert [item.problem.value for item in raised] == ["covered"]
    assert [(item.problem.value, item.lasted_s) for item in cleared] == [("covered", 60.0)]
    assert cleared[0].since == raised[0].since


def test_trouble_is_not_told_again_after_a_restart_and_is_cleared_after_it(tmp_path: Path) -> None:
    config = lamp_config(tmp_path)
    camera, frames = Camera(), SlowShow()
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        give(daemon, camera, lid(frames, 6))
        await_events(daemon, 3)
    camera, frames = Camera(), SlowShow()
    with running(config, {"camera": camera}) as daemon:
        give(daemon, camera, lid(frames, 5))
        assert list(shown(daemon)["problems"]) == ["covered"]
        show(daemon, camera, frames, "on", 6)
        await_events(daemon, 2)
    kinds = [tag_of(item) for item in written(tmp_path)]
    assert kinds.count("scene_impaired") == kinds.count("scene_cleared") == 1


def test_trouble_that_nobody_wants_to_hear_of_is_not_told(tmp_path: Path) -> None:
    camera, frames = Camera(), SlowShow()
    config = ruled(tmp_path, "problems: {report: []}")
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        give(daemon, camera, lid(frames, 6))
        assert shown(daemon)["problems"] is None
    assert {tag_of(item) for item in written(tmp_path)} == {"state_changed"}


def test_an_overdue_state_is_told_once_over_a_restart_and_cleared(tmp_path: Path) -> None:
    config = ruled(tmp_path, "rules: {overdue_s: {on: 60}}")
    for count in (6, 8):
        camera, frames = Camera(), SlowShow()
        with running(config, {"camera": camera}) as daemon:
            show(daemon, camera, frames, "on", count)
    camera, frames = Camera(), SlowShow()
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on", 3)
        assert shown(daemon)["overdue"] is True
        show(daemon, camera, frames, "off", 5)
        await_events(daemon, 2)
        assert shown(daemon)["overdue"] is False
    found = [item for item in written(tmp_path) if not isinstance(item, StateChanged)]
    assert [tag_of(item) for item in found] == ["overdue", "overdue_cleared"]
    overdue, over = found
    assert isinstance(overdue, StateOverdue)
    assert isinstance(over, StateOverdueCleared)
    assert (overdue.in_state_s, overdue.number) == (60.0, 1)
    # 30 s in the first run after its decision, 70 in the second, 60 in the third.
    assert over.in_state_s == 160.0
    assert over.since == overdue.since


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_a_clock_that_is_set_makes_nothing_overdue(tmp_path: Path, jump_s: float) -> None:
    config = ruled(tmp_path, "rules: {overdue_s: {on: 3600}, max_duration_s: {on: 7200}}")
    camera, frames = Camera(), SlowShow()
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        frames.unix_time_s += jump_s
        show(daemon, camera, frames, "on", 5)
    assert {tag_of(item) for item in written(tmp_path)} == {"state_changed"}


def test_what_was_told_and_followed_is_in_the_state_file(tmp_path: Path) -> None:
    config = ruled(tmp_path, "rules: {overdue_s: {on: 60}}, drift_every_s: 10")
    camera, frames = Camera(), SlowShow()
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on", 10)
        await_events(daemon, 2)
    memory = StateFile(tmp_path / "state.json").load()
    assert memory != DeviceMemory()
    lamp = memory.watches["lamp"]
    assert lamp.rules is not None
    assert (lamp.rules.state, lamp.rules.overdue) == ("on", 1)
    assert lamp.scores is not None
    assert [(item.state, item.test.observations) for item in lamp.scores.scores.tracks] == [
        ("on", 7)
    ]


def test_scores_that_drift_are_told_with_what_to_do(tmp_path: Path) -> None:
    """Against references that scored far higher than what is seen now."""
    config = ruled(tmp_path, "drift_every_s: 1")
    camera, frames = Camera(), Show()
    with running(config, {"camera": camera}) as daemon:
        show(daemon, camera, frames, "on")
        watch = daemon._device.watches["lamp"]
        (drift,) = [item for item in watch.followers if isinstance(item, DriftFollower)]
        drift.compare_with(baselines())
        show(daemon, camera, frames, "on", 60)
        events = await_events(daemon, 2)
        (reading,) = shown(daemon)["drift"]
        assert reading["drifted"]
    (drifted,) = [item for item in events if isinstance(item, ScoresDrifted)]
    assert (drifted.state, drifted.condition) == ("on", reading["condition"])
    assert "'on'" in drifted.action
    assert drifted.gallery_revision == watch.gallery.revision
    assert msgspec.json.decode(msgspec.json.encode(drifted))["type"] == "drift"


def baselines() -> dict[tuple[str, str], Baseline]:
    """Scores at enrolment above what any picture gets."""
    scores = np.random.default_rng(3).normal(1.4, 0.05, 40)
    return {("on", condition): baseline_of(scores) for condition in CONDITIONS}
