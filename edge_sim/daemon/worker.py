"""The inference worker: takes turns between the sources, one frame of each at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from edge_sim.daemon.bell import Bell
from edge_sim.daemon.hands import Done, Hands, ManyHands, OwnHand
from edge_sim.daemon.throttle import Throttle
from edge_sim.daemon.turns import Turns
from edge_sim.loop import Lane, Step
from edge_sim.protocols import FrameSource

_LONG_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One step of one source, and the seconds that it took."""

    source: str
    step: Step
    took_s: float


class Worker:
    """Looks at the frames of several sources, none before its turn.

    A source with `ready` (a `Feeder`) goes when it has a frame; any other is read in the turn.
    With several hands, sources are looked at at the same time, but never one source twice: what
    its watches saw stays in order.

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
        self._hands: Hands = OwnHand(clock)
        self._number = 1
        self._busy: set[str] = set()

    def use(self, lanes: Iterable[Lane], throttle: Throttle | None, *, hands: int = 1) -> None:
        """Work on these lanes from now on; only to be called when nothing is under way."""
        self._lanes = {lane.source.name: lane for lane in lanes}
        self._throttle = throttle
        self._rest_until_s = None
        if hands != self._number:
            self._hands.close()
            self._number = hands
            self._hands = (
                OwnHand(self._clock)
                if hands == 1
                else ManyHands(hands, clock=self._clock, ring=self._bell.ring)
            )

    @property
    def done(self) -> bool:
        """Whether every source has ended."""
        return not self._busy and all(lane.ended for lane in self._lanes.values())

    def turn(self, limit_s: float) -> Turn | None:
        """Return a step that is done, beginning others; None if none is within `limit_s`.

        Raises:
            SourceError: A source that is not live cannot be read.
        """
        done = self._hands.finished()
        if done is None and self._is_resting(limit_s):
            return None
        self._begin()
        done = done or self._hands.finished()
        if done is None:
            if not self.done:
                self._wait(self._bell, limit_s)
            done = self._hands.finished()
        return None if done is None else self._ended(done)

    def settle(self) -> Iterator[Turn]:
        """Yield the steps that are under way, each when it is done; no other begins meanwhile.

        Raises:
            SourceError: A source that is not live cannot be read.
        """
        while self._busy:
            done = self._hands.finished()
            if done is None:
                self._wait(self._bell, _LONG_S)
            else:
                yield self._ended(done)

    def close(self) -> None:
        """Let the threads go. Safe to call twice."""
        self._hands.close()

    def _begin(self) -> None:
        """Give every free hand something to do."""
        while self._hands.free:
            name = self._turns.pick(self._ready())
            if name is None:
                return
            self._busy.add(name)
            self._hands.start(name, self._lanes[name].step)

    def _ended(self, done: Done) -> Turn:
        self._busy.discard(done.source)
        self._turns.charge(done.source, done.took_s)
        if self._throttle is not None:
            self._rest_until_s = self._clock() + self._throttle.rest_s()
        if done.step is None:
            raise done.error or RuntimeError(f"{done.source}: a step without a result")
        return Turn(done.source, done.step, done.took_s)

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
            name
            for name, lane in self._lanes.items()
            if name not in self._busy and not lane.ended and is_ready(lane.source)
        ]


def is_ready(source: FrameSource) -> bool:
    """Return whether reading the source would not wait for a camera."""
    return bool(getattr(source, "ready", True))
