"""The loop goes round, reports losses once, rests as told, and lets no part stop the others."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest

from edge_sim.core.backoff import HELD_S
from edge_sim.core.events import Event, SourceLost, SourceRestored
from edge_sim.core.types import BgrImage, Embedding, Frame
from edge_sim.decision.pipeline import Pipeline
from edge_sim.errors import SinkError, SourceError
from edge_sim.runtime.loop import Loop, SourceRunner, Step, Throttle, Wakeup, deliver, steps
from edge_sim.runtime.sharing import MAX_WORKERS, SharedEmbedders, worker_count
from tests.builders import BrightnessEmbedder, ListSource, embedding, flat_frame
from tests.contracts.test_event_sink import EVENT

LIMIT_S = 20.0


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every worker that a test starts has ended when it does."""
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(LIMIT_S)
    assert not [thread.name for thread in left if thread.is_alive()]


class Time:
    """A clock that a test sets; waiting for the wakeup lets it go on."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def wait(self, wakeup: Wakeup, limit_s: float) -> None:
        self.waits.append(limit_s)
        self.now_s += limit_s


def lane(
    *items: Frame | SourceError, live: bool = True, clock: Callable[[], float] | None = None
) -> SourceRunner:
    pipeline = Pipeline(BrightnessEmbedder(), [], "shed")
    clock = clock or Time()
    return SourceRunner(ListSource(items), pipeline, live=live, now=clock, clock=clock)


def events_of(*lanes: SourceRunner) -> list[Event]:
    return [event for step in steps(lanes) for event in step.events]


def test_a_live_source_that_fails_is_lost_once_and_restored_once() -> None:
    error, time, found = SourceError("no frame for 20 s"), Time(), list[Event]()
    for step in steps([lane(flat_frame(), error, error, flat_frame(index=1), clock=time)]):
        found += step.events
        time.now_s += 5.0
    lost, restored = found
    assert isinstance(lost, SourceLost)
    assert lost.error == "no frame for 20 s"
    assert isinstance(restored, SourceRestored)
    assert restored.lost_for_s == 10.0


def test_a_source_that_opens_and_fails_at_once_floods_nobody() -> None:
    """A frame, then a loss, a hundred times; then it holds."""
    error, time, found = SourceError("it ended"), Time(), list[Event]()
    unsteady = [item for at in range(100) for item in (flat_frame(index=at), error)]
    steady = [flat_frame(index=at) for at in range(100, 200)]
    for step in steps([lane(*unsteady, *steady, clock=time)]):
        found += step.events
        time.now_s += 1.0
    assert [type(event) for event in found] == [
        SourceLost,
        SourceRestored,
        SourceLost,
        SourceRestored,
    ]
    assert isinstance(found[3], SourceRestored)
    assert found[3].lost_for_s == pytest.approx(200 - 3 + HELD_S, abs=2.0)


def test_a_file_that_fails_ends_the_run_with_its_error() -> None:
    with pytest.raises(SourceError, match="truncated"):
        events_of(lane(flat_frame(), SourceError("clip.mp4: truncated"), live=False))


def test_lanes_take_turns_until_the_last_has_ended() -> None:
    short, long = lane(flat_frame()), lane(*[flat_frame(index=at) for at in range(3)])
    assert len(list(steps([short, long]))) == 6
    assert short.ended
    assert long.ended


def test_a_source_that_ends_while_a_reload_is_prepared_has_ended_after_it() -> None:
    before = lane(flat_frame())
    after = SourceRunner(before.source, before.pipeline, live=True, now=Time(), clock=Time())
    assert len(list(steps([before]))) == 2
    after.resume(before)
    assert Loop([after]).done


def test_a_stop_ends_the_loop_before_the_next_turn() -> None:
    stop = threading.Event()
    seen = 0
    for _ in steps([lane(*[flat_frame(index=at) for at in range(9)])], stop=stop):
        seen += 1
        if seen == 3:
            stop.set()
    assert seen == 3


def test_a_changed_gallery_can_be_taken_over_before_each_frame() -> None:
    calls: list[int] = []
    list(steps([lane(flat_frame())], between_frames=lambda: calls.append(1)))
    assert len(calls) == 2


class Ready:
    """A source that is ready while it has frames; each takes `cost_s`."""

    def __init__(self, name: str, time: Time, frames: int, cost_s: float = 0.0) -> None:
        self.name = name
        self._time = time
        self._frames = deque(flat_frame(index=at) for at in range(frames))
        self._cost_s = cost_s

    @property
    def ready(self) -> bool:
        return bool(self._frames)

    def read(self) -> Frame | None:
        self._time.now_s += self._cost_s
        return self._frames.popleft()

    def close(self) -> None:
        return


def loop_of(time: Time, *sources: Ready, throttle: Throttle | None = None) -> Loop:
    loop = Loop(clock=time, wait=time.wait)
    pipeline = Pipeline(BrightnessEmbedder(), [], "shed")
    lanes = [SourceRunner(source, pipeline, live=True, now=time, clock=time) for source in sources]
    loop.use(lanes, throttle=throttle)
    return loop


def test_everyone_who_has_a_frame_gets_a_turn_in_each_round() -> None:
    time = Time()
    loop = loop_of(time, *(Ready(name, time, 1000) for name in "abc"))
    turns = Counter(step.source for step in (loop.next() for _ in range(300)) if step)
    assert turns == {"a": 100, "b": 100, "c": 100}


def test_with_nothing_ready_it_waits_to_be_woken() -> None:
    time = Time()
    loop = loop_of(time, Ready("yard", time, 0))
    assert loop.next(0.7) is None
    assert time.waits == [0.7]
    assert not loop.done


def test_a_wakeup_ends_the_wait_in_progress_or_the_next() -> None:
    wakeup = Wakeup()
    wakeup.ring()
    wakeup.ring()
    assert wakeup.wait(LIMIT_S)
    assert not wakeup.wait(0.0)


def test_the_cpu_cap_makes_it_rest_between_frames() -> None:
    time = Time()
    throttle = Throttle(0.25, used=lambda: time.now_s - sum(time.waits), clock=time)
    loop = loop_of(time, Ready("yard", time, 200, 0.1), throttle=throttle)
    for _ in range(200):
        loop.next(1.0)
    passed_s = time.now_s - 1000.0
    assert (passed_s - sum(time.waits)) / passed_s < 0.3


def test_a_rest_is_cut_in_ticks_so_that_chores_go_on() -> None:
    time = Time()
    throttle = Throttle(0.01, used=lambda: time.now_s - sum(time.waits), clock=time)
    loop = loop_of(time, Ready("yard", time, 9, 5.0), throttle=throttle)
    assert loop.next(0.2) is not None
    assert loop.next(0.2) is None
    assert time.waits == [0.2]


class Faulty(Ready):
    broken = True

    def read(self) -> Frame | None:
        if self.broken:
            raise ZeroDivisionError("a bug")
        return super().read()


def test_what_breaks_rests_longer_each_time_and_stops_nobody() -> None:
    time, faults = Time(), list[tuple[float, str]]()
    faulty, good = Faulty("faulty", time, 50), Ready("good", time, 1000, 1.0)

    def note(source: str, error: Exception | None) -> None:
        faults.append((time.now_s - 1000.0, "" if error is None else str(error)))

    loop = Loop(clock=time, wait=time.wait, on_fault=note)
    pipeline = Pipeline(BrightnessEmbedder(), [], "shed")
    loop.use(
        [SourceRunner(each, pipeline, live=True, now=time, clock=time) for each in (faulty, good)]
    )
    good_steps = 0
    for _ in range(30):
        step = loop.next()
        good_steps += step is not None and step.source == "good"
    assert good_steps >= 25
    starts_s = [at_s for at_s, _ in faults]
    assert np.diff(starts_s).tolist() == [1.0, 5.0, 10.0]
    faulty.broken = False
    for _ in range(100):
        loop.next()
    assert faults[-1][1] == ""


def test_without_a_taker_what_breaks_is_raised() -> None:
    time = Time()
    with pytest.raises(ZeroDivisionError, match="a bug"):
        loop_of(time, Faulty("faulty", time, 50)).next()


class Queue:
    """A source with so many frames; `meet` is called in every read."""

    def __init__(self, name: str, frames: int, meet: threading.Barrier | None = None) -> None:
        self.name = name
        self.inside = 0
        self._meet = meet
        self._frames = deque(flat_frame(index=at) for at in range(frames))

    def read(self) -> Frame | None:
        self.inside += 1
        assert self.inside == 1, "two workers in one source"
        if self._meet is not None:
            self._meet.wait(LIMIT_S)
        self.inside -= 1
        return self._frames.popleft() if self._frames else None

    def close(self) -> None:
        return


class BrokenFile(Queue):
    def read(self) -> Frame | None:
        raise SourceError(f"{self.name}: not a video")


def working(*sources: Queue, workers: int) -> Loop:
    loop = Loop()
    pipeline = Pipeline(BrightnessEmbedder(), [], "shed")
    lanes = [SourceRunner(source, pipeline, live=False, now=lambda: 0.0) for source in sources]
    loop.use(lanes, workers=workers)
    return loop


def all_steps(loop: Loop) -> list[Step]:
    found = []
    with closing(loop):
        while not loop.done:
            step = loop.next(LIMIT_S)
            if step is not None:
                found.append(step)
    return found


def test_two_workers_are_in_two_sources_at_the_same_time() -> None:
    """Alone, either would wait at the barrier until the test fails."""
    meet = threading.Barrier(2)
    assert len(all_steps(working(Queue("a", 20, meet), Queue("b", 20, meet), workers=2))) == 42


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_frames_of_one_source_stay_in_order(workers: int) -> None:
    found = all_steps(working(*(Queue(name, 30) for name in "abcd"), workers=workers))
    for name in "abcd":
        frames = [step.frame.index for step in found if step.source == name and step.frame]
        assert frames == list(range(30))


def test_settling_waits_for_what_is_under_way_and_begins_nothing() -> None:
    with closing(working(Queue("a", 5), Queue("b", 5), workers=2)) as loop:
        assert loop.next(LIMIT_S) is not None
        assert len(list(loop.settle())) <= 2
        assert list(loop.settle()) == []


def test_an_error_in_a_worker_comes_out_where_the_step_is_fetched() -> None:
    with pytest.raises(SourceError, match="a: not a video"):
        all_steps(working(BrokenFile("a", 1), Queue("b", 0), workers=2))


def test_without_threads_for_workers_it_goes_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert len(all_steps(working(Queue("a", 3), Queue("b", 3), workers=3))) == 8


def test_there_are_never_more_workers_than_sources_and_never_none() -> None:
    assert worker_count(3, sources=2) == 2
    assert worker_count(3, sources=8) == 3
    assert 1 <= worker_count(0, sources=8) <= MAX_WORKERS
    assert worker_count(0, sources=1) == 1


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


class RecordingSink:
    name = "recording"

    def __init__(self, *, broken: bool = False) -> None:
        self.events: list[Event] = []
        self._broken = broken

    def emit(self, event: Event) -> None:
        if self._broken:
            raise SinkError("the broker went away")
        self.events.append(event)

    def close(self) -> None:
        return


def test_a_failing_sink_keeps_no_event_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    broken, good = RecordingSink(broken=True), RecordingSink()
    with caplog.at_level(logging.ERROR):
        assert deliver([EVENT], [broken, good]) == 1
    assert good.events == [EVENT]
    assert "the broker went away" in caplog.text
