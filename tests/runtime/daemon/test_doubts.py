"""What a watch is unsure of is kept for a person, few and far between, and only if asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from edge_sim.core.images import edges_of
from edge_sim.core.types import Frame, Match, Probe, State, Threshold, UnknownReason
from edge_sim.decision.pipeline import Outcome, Watch
from edge_sim.errors import ConfigError
from edge_sim.gallery.gallery import Gallery
from edge_sim.runtime.config import Config, parse_config
from edge_sim.runtime.daemon.recording import UncertainFrames, is_uncertain
from edge_sim.runtime.loop import Step
from edge_sim.runtime.review_queue import ReviewFolder, picture_of
from tests.builders import GOOD_QUALITY, embedding, flat_frame, match, observation
from tests.decision.test_pipeline import STAGES
from tests.runtime.daemon.cameras import Camera, Show, lamp_config
from tests.runtime.daemon.test_service import running, show

SURE = match(("open", 0.95), ("shut", 0.05))
TORN = match(("open", 0.6), ("shut", 0.4))
LEVELS = MappingProxyType({"open": Threshold(0.5, 0.4), "shut": Threshold(0.5, 0.4)})
BLACK = np.zeros((96, 96), np.uint8)
PROBE = Probe(embedding(1, 0), BLACK, edges_of(BLACK), GOOD_QUALITY, 0.0, 0.0, 0)


def looked(best: Match | None, at_s: float = 0.0) -> Outcome:
    return Outcome("gate", PROBE, observation(best, at_s=at_s), State("open"), LEVELS, None)


def config(folder: Path, extra: str = "") -> Config:
    text = f"review: {{path: review, every_s: 10{extra}}}"
    return parse_config(text, where="c.yaml", folder=str(folder))


def note(doubts: UncertainFrames, *outcomes: Outcome) -> None:
    watches = {"gate": Watch("gate", Gallery(), STAGES)}
    for outcome in outcomes:
        frame = flat_frame(at_s=outcome.observation.captured_at_s)
        doubts.note(watches, Step(frame, (outcome,), ()))


def test_a_look_is_uncertain_if_it_is_new_sound_and_not_clear() -> None:
    assert is_uncertain(looked(TORN))
    assert not is_uncertain(looked(SURE))
    unfamiliar = match(("open", 0.45))
    assert is_uncertain(looked(unfamiliar))
    assert not is_uncertain(looked(None)), "without references there is nothing to doubt"
    assert not is_uncertain(replace(looked(TORN), embedded=False)), "it was seen before"
    strange = replace(observation(SURE), impediment=UnknownReason.NOVEL)
    assert is_uncertain(replace(looked(SURE), observation=strange))
    covered = replace(observation(TORN), impediment=UnknownReason.COVERED)
    assert not is_uncertain(replace(looked(TORN), observation=covered))


def test_what_is_kept_is_the_region_far_apart_in_time(tmp_path: Path) -> None:
    doubts = UncertainFrames(config(tmp_path))
    note(doubts, *(looked(TORN, float(at)) for at in range(25)))
    items = ReviewFolder(tmp_path / "review").items()
    times = [item.facts.unix_time_s - 1_700_000_000.0 for item in items if item.facts]
    assert times == [0.0, 10.0, 20.0]
    assert picture_of(items[0]).shape == (24, 32, 3)
    assert doubts.kept == 3


def test_a_source_that_counts_its_seconds_anew_is_not_silenced(tmp_path: Path) -> None:
    doubts = UncertainFrames(config(tmp_path))
    note(doubts, looked(TORN, 1000.0), looked(TORN, 0.0))
    assert doubts.kept == 2


def test_the_folder_is_bounded(tmp_path: Path) -> None:
    doubts = UncertainFrames(config(tmp_path, ", max_frames: 3"))
    note(doubts, *(looked(TORN, 10.0 * at) for at in range(9)))
    assert len(ReviewFolder(tmp_path / "review").items()) == 3


def test_nothing_is_kept_unless_asked_for(tmp_path: Path) -> None:
    doubts = UncertainFrames(parse_config("", where="c.yaml", folder=str(tmp_path)))
    note(doubts, looked(TORN))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_is_logged_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "review").write_text("a file where the folder should be")
    doubts = UncertainFrames(config(tmp_path))
    note(doubts, *(looked(TORN, 10.0 * at) for at in range(5)))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "not kept for review" in caplog.text


def test_a_device_that_keeps_nothing_on_disk_keeps_no_pictures() -> None:
    text = "review: {path: review}\noutbox: {storage: memory}\n"
    with pytest.raises(ConfigError, match=r"c.yaml:1: review.path: keeps pictures on the disk"):
        parse_config(text, where="c.yaml")


class UpsideDown(Show):
    """Frames of a lamp as it was never enrolled."""

    def frames(self, state: str, count: int) -> Iterator[Frame]:
        for frame in super().frames(state, count):
            yield replace(frame, pixels=frame.pixels[::-1].copy())


def test_the_daemon_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    device = lamp_config(tmp_path, "review: {path: review, every_s: 0}\n")
    camera = Camera()
    with running(device, {"camera": camera}) as daemon:
        show(daemon, camera, Show(), "on")
        assert ReviewFolder(tmp_path / "review").items() == ()
        show(daemon, camera, UpsideDown(), "on", 1)
    (item,) = ReviewFolder(tmp_path / "review").items("lamp")
    assert item.facts is not None
    assert item.facts.state == "on"
