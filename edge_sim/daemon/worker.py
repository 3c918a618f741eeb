"""The inference worker: takes turns between the sources and looks at one frame at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge_sim.daemon.bell import Bell
from edge_sim.daemon.throttle import Throttle
from edge_sim.daemon.turns import Turns
from edge_sim.loop import Lane, Step
from edge_sim.protocols import FrameSource


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One step of one source, and the seconds that it took."""

    source: str
    step: Step
    took_s: float


class Worker:
    """Looks at the frames of several sources, one after the other, none before its turn.

    A source with `ready` (a `Feeder`) goes when it has a frame; any other is read in the turn.

    Args:
        bell: Rung by the feeders, signals and commands.
        throttle: None for no CPU cap.
        clock: Monotonic seconds.
        wait: Waits for the bell, at most so many seconds.
    """

    def __init__(
        self,
        bell: Bell,
        *,
        throttle: Throttle | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[Bell, float], object] = Bell.wait,
    ) -> None:
        self._bell = bell
        self._throttle = throttle
        self._clock = clock
        self._wait = wait
        self._turns = Turns()
        self._lanes: dict[str, Lane] = {}
        self._rest_until_s: float | None = None

    def use(self, lanes: Iterable[Lane], throttle: Throttle | None) -> None:
        """Work on these lanes from now on."""
        self._lanes = {lane.source.name: lane for lane in lanes}
        self._throttle = throttle
        self._rest_until_s = None

    @property
    def done(self) -> bool:
        """Whether every source has ended."""
        return all(lane.ended for lane in self._lanes.values())

    def turn(self, limit_s: float) -> Turn | None:
        """Do one step; None if no source was ready within `limit_s`, or it is time to rest.

        Raises:
            SourceError: A source that is not live cannot be read.
        """
        if self._is_resting(limit_s):
            return None
        name = self._turns.pick(self._ready())
        if name is None:
            if not self.done:
                self._wait(self._bell, limit_s)
            return None
        started_s = self._clock()
        step = self._lanes[name].step()
        took_s = self._clock() - started_s
        self._turns.charge(name, took_s)
        if self._throttle is not None:
            self._rest_until_s = self._clock() + self._throttle.rest_s()
        return Turn(name, step, took_s)

    def _is_resting(self, limit_s: float) -> bool:
        if self._rest_until_s is None:
            return False
        left_s = self._rest_until_s - self._clock()
        if left_s <= 0.0:
            # A rest is at most a second; a dear frame may owe several.
            left_s = 0.0 if self._throttle is None else self._throttle.rest_s()
            self._rest_until_s = self._clock() + left_s if left_s > 0.0 else None
        if left_s <= 0.0:
            return False
        self._wait(self._bell, min(left_s, limit_s))
        return True

    def _ready(self) -> list[str]:
        return [
            name for name, lane in self._lanes.items() if not lane.ended and is_ready(lane.source)
        ]


def is_ready(source: FrameSource) -> bool:
    """Return whether reading the source would not wait for a camera."""
    return bool(getattr(source, "ready", True))
