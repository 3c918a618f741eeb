"""Several hands look at several sources at once, and at one source never twice at once."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace as replace_of

from edge_sim.config import Config
from edge_sim.daemon.bell import Bell
from edge_sim.daemon.hands import MOST, SharedEmbedders, hands_for
from edge_sim.daemon.worker import Turn, Worker
from edge_sim.domain import BgrImage, Embedding, Frame
from edge_sim.errors import SourceError
from edge_sim.events import StateChanged
from edge_sim.loop import Lane
from edge_sim.pipeline import Pipeline
from edge_sim.sinks.remote import SetSensitivity
from tests.builders import BrightnessEmbedder, embedding, flat_frame
from tests.daemon.cameras import LIMIT_S, Camera, Show, lamp_config
from tests.daemon.test_service import await_events, await_frames, changes, running, written


class Queue:
    """A source with so many frames; `meet` is called in every read."""

    def __init__(self, name: str, frames: int, meet: threading.Barrier | None = None) -> None:
        self.name = name
        self.inside = 0
        self._meet = meet
        self._frames = deque(flat_frame(index=at) for at in range(frames))

    def read(self) -> Frame | None:
        self.inside += 1
        assert self.inside == 1, "two hands in one source"
        if self._meet is not None:
            self._meet.wait(LIMIT_S)
        self.inside -= 1
        return self._frames.popleft() if self._frames else None

    def close(self) -> None:
        return


class Broken(Queue):
    def read(self) -> Frame | None:
        raise SourceError(f"{self.name}: not a video")


def lane(source: Queue) -> Lane:
    return Lane(source, Pipeline(BrightnessEmbedder(), [], "shed"), live=False, now=lambda: 0.0)


def worker(*sources: Queue, hands: int) -> Worker:
    made = Worker(Bell())
    made.use([lane(source) for source in sources], None, hands=hands)
    return made


def all_turns(working: Worker) -> list[Turn]:
    found = []
    while not working.done:
        turn = working.turn(LIMIT_S)
        if turn is not None:
            found.append(turn)
    working.close()
    return found


def test_two_hands_are_in_two_sources_at_the_same_time() -> None:
    """Alone, either would wait at the barrier until the test fails."""
    meet = threading.Barrier(2)
    turns = all_turns(worker(Queue("a", 20, meet), Queue("b", 20, meet), hands=2))
    assert len(turns) == 42


@pytest.mark.parametrize("hands", [1, 2, 3])
def test_frames_of_one_source_stay_in_order(hands: int) -> None:
    turns = all_turns(worker(*(Queue(name, 30) for name in "abcd"), hands=hands))
    for name in "abcd":
        frames = [
            turn.step.frame.index for turn in turns if turn.source == name and turn.step.frame
        ]
        assert frames == list(range(30))


def test_settling_waits_for_what_is_under_way_and_begins_nothing() -> None:
    working = worker(Queue("a", 5), Queue("b", 5), hands=2)
    assert working.turn(LIMIT_S) is not None
    settled = list(working.settle())
    assert len(settled) <= 2
    assert list(working.settle()) == []
    working.close()


def test_an_error_in_a_thread_comes_out_where_the_turn_is_fetched() -> None:
    working = worker(Broken("a", 1), Queue("b", 0), hands=2)
    with pytest.raises(SourceError, match="a: not a video"):
        all_turns(working)


def test_there_are_never_more_hands_than_sources_and_never_none() -> None:
    assert hands_for(3, sources=2) == 2
    assert hands_for(3, sources=8) == 3
    assert 1 <= hands_for(0, sources=8) <= MOST
    assert hands_for(0, sources=1) == 1


class Exclusive:
    """An embedder that notices two threads in it."""

    model_id, dimension, input_px = "fake@1", 2, 8

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def embed(self, pixels: BgrImage) -> Embedding:
        assert self._lock.acquire(blocking=False), "two threads in one model"
        try:
            return embedding(1, float(pixels[0, 0, 0]))
        finally:
            self._lock.release()


def test_a_model_is_used_by_one_thread_at_a_time() -> None:
    shared = SharedEmbedders([Exclusive(), Exclusive()])
    found: list[float] = []

    def embed(value: int) -> None:
        pixels = np.full((8, 8, 3), value, np.uint8)
        found.extend(float(shared.embed(pixels).vector[1]) for _ in range(50))

    threads = [threading.Thread(target=embed, args=(value,)) for value in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert len(found) == 200


def test_a_daemon_with_two_hands_tells_the_same(tmp_path: Path) -> None:
    config = two_lamps(tmp_path)
    cameras = {"camera": Camera(), "second": Camera("second")}
    shows = {name: Show() for name in cameras}
    with running(config, cameras) as daemon:
        for number, state in enumerate(["on"] * 5 + ["off"] * 5):
            for name, camera in cameras.items():
                camera.give(*shows[name].frames(state, 1))
            await_frames(daemon, 2 * number + 2)
        await_events(daemon, 3)
        daemon._on_command(SetSensitivity("lamp", 0.6))
    told = [event for event in written(tmp_path) if isinstance(event, StateChanged)]
    assert changes([event for event in told if event.watch == "lamp"]) == [
        (None, "on"),
        ("on", "off"),
    ]
    assert [event.reason for event in told if event.watch == "other"] == ["no_references"]


def two_lamps(folder: Path) -> Config:
    """Two cameras, the second with a watch that has no references; two hands."""
    config = lamp_config(folder, "daemon: {workers: 2}\n")
    ((name, lamp),) = config.watches.items()
    ((source, section),) = config.sources.items()
    watches = {name: replace_of(lamp, source=source), "other": replace_of(lamp, source="second")}
    return replace_of(config, watches=watches, sources={source: section, "second": section})
