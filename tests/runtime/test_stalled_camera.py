"""A camera whose read blocks for its whole time-out costs the others no frame, however run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_sim.cli.main import main
from edge_sim.core.events import Event, SourceLost, SourceRestored, from_json_line
from edge_sim.core.types import Frame
from edge_sim.decision.pipeline import Outcome, Pipeline
from edge_sim.errors import SourceError
from edge_sim.io import sources
from edge_sim.io.sources import register_source
from edge_sim.io.sources.options import SourceOptions
from edge_sim.runtime.assembly import build
from edge_sim.runtime.config import load_config
from edge_sim.runtime.daemon.daemon import Daemon
from tests.builders import flat_frame
from tests.devices import make_gallery

FRAMES = 30
PATIENCE_S = 20.0
"""Time-out of the stalled camera: by then the good one has long ended, unless it was held up."""


class Yard:
    """Two cameras that know what was processed; `dead` does not open before the good one ends."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.given = 0
        self.seen: Counter[str] = Counter()
        self.over = threading.Event()
        self.seen_meanwhile: int | None = None
        self.attempts = 0
        self.dead = False
        self.revives = False

    def processed(self, name: str) -> None:
        with self.changed:
            self.seen[name] += 1
            self.changed.notify_all()

    def open(self, place: str, options: SourceOptions) -> Good | Stalled:
        assert options.name is not None
        return Good(self, options.name) if place == "good" else Stalled(self, options.name)


class Good:
    """Gives a frame once the last was processed, so that none is replaced by a newer one."""

    def __init__(self, yard: Yard, name: str) -> None:
        self.name = name
        self._yard = yard

    def read(self) -> Frame | None:
        yard = self._yard
        with yard.changed:
            yard.changed.wait_for(lambda: yard.seen[self.name] >= yard.given, PATIENCE_S)
            if yard.given == FRAMES:
                yard.over.set()
                return None
            yard.given += 1
        return flat_frame(index=yard.given)

    def close(self) -> None:
        return


class Stalled:
    """Opens, unless it is dead, and never gives a frame."""

    def __init__(self, yard: Yard, name: str) -> None:
        self.name = name
        self._yard = yard
        yard.attempts += 1
        if yard.dead and not yard.over.is_set():
            raise SourceError(f"{name}: no such camera")
        self._left = 1 if yard.revives else 0

    def read(self) -> Frame | None:
        yard = self._yard
        if yard.seen_meanwhile is None:
            yard.over.wait(PATIENCE_S)
            yard.seen_meanwhile = yard.seen["good"]
        self._left -= 1
        return flat_frame(index=99) if self._left >= 0 else None

    def close(self) -> None:
        return


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    made = Yard()
    register_source("yard", made.open)
    process = Pipeline.process

    def counted(pipeline: Pipeline, frame: Frame) -> tuple[Outcome, ...]:
        outcomes = process(pipeline, frame)
        (watch,) = pipeline.watches
        made.processed(watch.name)
        return outcomes

    monkeypatch.setattr(Pipeline, "process", counted)
    yield made
    made.over.set()
    del sources._REGISTERED["yard"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The stalled camera comes first."""
    make_gallery(tmp_path / "gallery.db", "lamp", watch="good")
    path = tmp_path / "config.yaml"
    path.write_text(
        "model: {path: thumbnail}\n"
        "sources:\n  stalled: {uri: 'yard:stalled'}\n  good: {uri: 'yard:good'}\n"
        "watches:\n  other: {source: stalled}\n  good: {source: good}\n"
        "sinks:\n  - {kind: file, path: events.jsonl}\n"
    )
    return path


def sent(config: Path) -> list[Event]:
    lines = (config.parent / "events.jsonl").read_bytes().splitlines()
    return [from_json_line(line) for line in lines]


def with_api(config: Path) -> None:
    with build(load_config(config)) as device:
        for _ in device.events():
            pass


def with_run(config: Path) -> None:
    assert main(["run", "-c", str(config)]) == 0


def with_daemon(config: Path) -> None:
    loaded = load_config(config)
    Daemon(loaded, reload=lambda: loaded).run()


WAYS = pytest.mark.parametrize("play", [with_api, with_run, with_daemon])


@WAYS
def test_a_camera_that_blocks_costs_the_others_no_frame(
    yard: Yard, config: Path, play: Callable[[Path], None]
) -> None:
    play(config)
    assert yard.seen_meanwhile is not None
    assert yard.seen_meanwhile >= 0.9 * FRAMES


@WAYS
def test_a_camera_that_is_dead_from_the_start_is_lost_and_comes_back(
    yard: Yard,
    config: Path,
    play: Callable[[Path], None],
) -> None:
    yard.dead = yard.revives = True
    play(config)
    assert yard.seen["good"] >= 0.9 * FRAMES
    assert yard.attempts >= 2
    of_source = [e for e in sent(config) if isinstance(e, SourceLost | SourceRestored)]
    assert [type(event) for event in of_source] == [SourceLost, SourceRestored]
    assert isinstance(of_source[0], SourceLost)
    assert of_source[0].error.startswith("stalled: no such camera; next try in 1 s")
