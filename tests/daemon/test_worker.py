"""One worker for all sources: fair, patient, and within its share of the CPU."""

from __future__ import annotations

from collections import Counter, deque

from edge_sim.daemon.bell import Bell
from edge_sim.daemon.throttle import Throttle
from edge_sim.daemon.worker import Worker
from edge_sim.domain import Frame
from edge_sim.loop import Lane
from edge_sim.pipeline import Pipeline
from tests.builders import BrightnessEmbedder, flat_frame


class Time:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits: list[float] = []

    def wait(self, bell: Bell, limit_s: float) -> None:
        self.waits.append(limit_s)
        self.now_s += limit_s


class Slow:
    """A source that is ready while it has frames; looking at one takes `cost_s`."""

    def __init__(self, name: str, time: Time, frames: int, cost_s: float) -> None:
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


def lane(source: Slow) -> Lane:
    pipeline = Pipeline(BrightnessEmbedder(), [], "shed")
    return Lane(source, pipeline, live=True, now=lambda: 0.0, clock=lambda: 0.0)


def worker(time: Time, *lanes: Lane, throttle: Throttle | None = None) -> Worker:
    made = Worker(Bell(), clock=lambda: time.now_s, wait=time.wait)
    made.use(lanes, throttle)
    return made


def test_a_slow_camera_does_not_starve_a_quick_one() -> None:
    time = Time()
    working = worker(
        time, lane(Slow("slow", time, 1000, 1.0)), lane(Slow("quick", time, 1000, 0.1))
    )
    turns: Counter[str] = Counter()
    while time.now_s < 50.0:
        turn = working.turn(1.0)
        assert turn is not None
        turns[turn.source] += 1
    assert turns["quick"] >= 8 * turns["slow"]
    assert turns["slow"] >= 20


def test_with_nothing_ready_it_waits_for_the_bell() -> None:
    time = Time()
    working = worker(time, lane(Slow("yard", time, 0, 0.0)))
    assert working.turn(0.7) is None
    assert time.waits == [0.7]
    assert not working.done


def test_the_cpu_cap_makes_it_rest_between_frames() -> None:
    time = Time()
    throttle = Throttle(0.25, used=lambda: time.now_s - sum(time.waits), clock=lambda: time.now_s)
    working = worker(time, lane(Slow("yard", time, 200, 0.1)), throttle=throttle)
    for _ in range(200):
        working.turn(1.0)
    busy_s = time.now_s - sum(time.waits)
    assert busy_s / time.now_s < 0.3


def test_a_rest_is_cut_in_ticks_so_that_chores_go_on() -> None:
    time = Time()
    throttle = Throttle(0.01, used=lambda: time.now_s - sum(time.waits), clock=lambda: time.now_s)
    working = worker(time, lane(Slow("yard", time, 9, 5.0)), throttle=throttle)
    assert working.turn(0.2) is not None
    assert working.turn(0.2) is None
    assert time.waits == [0.2]
