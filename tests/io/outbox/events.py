"""Events, clocks and sinks for the tests of the outbox."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Condition
from threading import Event as Signal

from edge_sim.core.events import (
    Event,
    EventDraft,
    EventOrigin,
    SourceLost,
    StateChanged,
    completed,
    state_changed,
)
from edge_sim.core.types import State
from edge_sim.errors import SinkError
from tests.builders import change, observation


def changed(number: int, watch: str = "gate") -> StateChanged:
    """The `number`th change of a watch; every number has its own id."""
    after = State("open" if number % 2 else "closed")
    origin = EventOrigin(device="d", source="yard", watch=watch, model="m@1", gallery_revision=3)
    return state_changed(change(None, after, index=number), origin)


def told(notice: EventDraft, number: int = 7, watch: str = "gate") -> Event:
    """What a watch notices besides its state."""
    return completed(notice, observation(index=number), EventOrigin("d", "yard", watch, "m@1", 1))


def lost(number: int) -> SourceLost:
    return SourceLost(f"{number:016x}", "d", "yard", "2026-01-31T12:00:00.000Z", "gone")


class HandClock:
    """Monotonic seconds that only move when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class ListSink:
    """Keeps what it gets; fails as often as told, and can be waited for."""

    def __init__(self, name: str = "list", failures: Iterable[Exception | None] = ()) -> None:
        self.name = name
        self.events: list[Event] = []
        self.attempts = 0
        self.closed = False
        self._failures = iter(failures)
        self._got = Condition()

    def emit(self, event: Event) -> None:
        if self.closed:
            raise SinkError("list: the sink is closed")
        self.attempts += 1
        failure = next(self._failures, None)
        if failure is not None:
            raise failure
        with self._got:
            self.events.append(event)
            self._got.notify_all()

    def close(self) -> None:
        self.closed = True

    def wait_for(self, count: int, timeout_s: float = 10.0) -> bool:
        with self._got:
            return self._got.wait_for(lambda: len(self.events) >= count, timeout_s)


class StuckSink(ListSink):
    """Hangs in `emit` until it is closed."""

    def __init__(self, name: str = "stuck") -> None:
        super().__init__(name)
        self.entered = Signal()
        self._let_go = Signal()

    def emit(self, event: Event) -> None:
        self.entered.set()
        self._let_go.wait(30.0)
        raise SinkError("stuck: cut off")

    def close(self) -> None:
        super().close()
        self._let_go.set()
