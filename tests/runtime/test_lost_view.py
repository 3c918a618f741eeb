"""A watch that becomes `unknown: stale` is reported, explained, drawn and replayed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_sim.analysis.replay import Reading, ReplayRun, compared
from edge_sim.analysis.report.timeline import Timeline
from edge_sim.cli.main import main
from edge_sim.cli.run import record
from edge_sim.core.events import Event, StateChanged, from_json_line
from edge_sim.core.types import Frame, State, UnknownReason
from edge_sim.decision.pipeline import Pipeline
from edge_sim.errors import SourceError
from edge_sim.io import sources
from edge_sim.io.sources import register_source
from edge_sim.io.sources.options import SourceOptions
from edge_sim.runtime.assembly import build
from edge_sim.runtime.config import load_config
from edge_sim.runtime.daemon.daemon import Daemon
from edge_sim.runtime.daemon.recording import Records
from edge_sim.runtime.explanations import find_explanation
from edge_sim.runtime.loop import Step
from edge_sim.runtime.score_log import read_lines
from tests.builders import flat_frame
from tests.devices import make_device, make_gallery

LIMIT_S = 20.0
STALE = State("unknown", UnknownReason.STALE)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[StateChanged], Timeline]:
    """A recorded run of 60 frames whose view is lost after the 30th."""
    folder = tmp_path_factory.mktemp("lost")
    extra = "score_log: {path: scores.jsonl, every_s: 0}\nsinks: []\n"
    config = load_config(make_device(folder, extra=extra))
    changes: list[StateChanged] = []
    timeline = Timeline()
    with build(config) as device:
        records = Records(config)
        (runner,) = device.runners.values()
        regions = {name: watch.region for name, watch in device.watches.items()}
        for step in device.steps():
            assert step.frame is not None
            taken = [step]
            if step.frame.index == 30:
                lost = runner.pipeline.lose_view(step.source, step.frame.unix_time_s + 0.05, 0.05)
                taken.append(Step(None, (), tuple(lost), step.source))
            for each in taken:
                records.note(device.watches, each)
                record(timeline, each, regions)
                changes += [event for event in each.events if isinstance(event, StateChanged)]
            if step.frame.index == 59:
                break
        records.close()
    return folder, changes, timeline


def stale_of(changes: list[StateChanged]) -> StateChanged:
    (stale,) = [event for event in changes if event.reason == UnknownReason.STALE.value]
    return stale


def test_it_is_explained_with_the_observations_before_it(
    recorded: tuple[Path, list[StateChanged], Timeline], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, changes, _ = recorded
    stale = stale_of(changes)
    explanation = find_explanation([folder / "explanations.jsonl"], stale.id)
    assert explanation.event == stale
    assert len(explanation.observations) == 31
    assert explanation.observations[-1].state == stale.before
    assert not any(item.decided for item in explanation.observations)
    assert len(explanation.gallery) == len(explanation.configuration) == 16
    assert main(["explain", stale.id, "--explanations", str(folder / "explanations.jsonl")]) == 0
    assert "No picture came for too long." in capsys.readouterr().out


def test_it_is_an_event_of_the_timeline(
    recorded: tuple[Path, list[StateChanged], Timeline],
) -> None:
    _, changes, timeline = recorded
    (track,) = timeline.tracks
    assert [event.change.after for event in track.events].count(STALE) == 1
    assert len(track.events) == len(changes)
    assert STALE in [span.state for span in track.spans()]


def test_the_log_replays_to_the_events_that_followed(
    recorded: tuple[Path, list[StateChanged], Timeline],
) -> None:
    folder, changes, _ = recorded
    run = ReplayRun()
    reading = Reading([run])
    assert sum(1 for _ in reading.observations(read_lines([folder / "scores.jsonl"]))) == 60
    assert reading.is_exact
    assert compared(reading.logged, run.events).is_equal
    after = changes[changes.index(stale_of(changes)) + 1]
    assert (after.before, after.before_reason) == ("unknown", "stale")
    assert [event.id for _, event in reading.logged] == [
        event.id for event in changes if event != stale_of(changes)
    ]


class Fading:
    """Camera that gives ten frames, fails, and ends once its watch is stale."""

    def __init__(self, name: str, stale: threading.Event) -> None:
        self.name = name
        self._stale = stale
        self._given = 0

    def read(self) -> Frame | None:
        self._given += 1
        if self._stale.is_set():
            return None
        if self._given > 10:
            raise SourceError(f"{self.name}: cable pulled")
        return flat_frame(self._given)

    def close(self) -> None:
        return


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    stale = threading.Event()
    opened: list[str] = []

    def opener(place: str, options: SourceOptions) -> Fading:
        opened.append(place)
        if len(opened) > 1:
            stale.wait(LIMIT_S)
        return Fading(options.name or place, stale)

    lose_view = Pipeline.lose_view

    def watched(pipeline: Pipeline, source: str, unix_s: float, silent_s: float) -> Iterator[Event]:
        events = list(lose_view(pipeline, source, unix_s, silent_s))
        stale.set()
        yield from events

    monkeypatch.setattr(Pipeline, "lose_view", watched)
    register_source("vanishing", opener)
    make_gallery(tmp_path / "gallery.db", "lamp", watch="lamp")
    path = tmp_path / "config.yaml"
    path.write_text(
        "model: {path: thumbnail}\n"
        "sources:\n  camera: {uri: 'vanishing:x', stale_after_s: 0.05}\n"
        "watches:\n  lamp: {}\n"
        "sinks:\n  - {kind: file, path: events.jsonl}\n"
    )
    yield path
    del sources._REGISTERED["vanishing"]


def with_run(config: Path) -> None:
    assert main(["run", "-c", str(config)]) == 0


def with_daemon(config: Path) -> None:
    loaded = load_config(config)
    Daemon(loaded, reload=lambda: loaded).run()


@pytest.mark.parametrize("play", [with_run, with_daemon])
def test_a_watch_whose_camera_stays_lost_becomes_stale(
    config: Path, play: Callable[[Path], None]
) -> None:
    play(config)
    lines = (config.parent / "events.jsonl").read_bytes().splitlines()
    states = [event for event in map(from_json_line, lines) if isinstance(event, StateChanged)]
    stale = stale_of(states)
    assert (stale.watch, stale.after) == ("lamp", "unknown")
    kept = find_explanation([config.parent / "explanations.jsonl"], stale.id)
    assert kept.event == stale
