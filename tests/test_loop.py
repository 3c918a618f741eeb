"""The loop reads in turn, reports losses once and lets no sink stop it."""

from __future__ import annotations

import logging
from threading import Event as StopEvent

import pytest

from edge_sim.domain import Frame
from edge_sim.errors import SinkError, SourceError
from edge_sim.events import Event, SourceLost, SourceRestored
from edge_sim.loop import Lane, deliver, steps
from edge_sim.pipeline import Pipeline
from tests.builders import BrightnessEmbedder, ListSource, flat_frame
from tests.contracts.test_event_sink import EVENT


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        self.now_s += 5.0
        return self.now_s


def lane(*items: Frame | SourceError, live: bool = True) -> Lane:
    pipeline = Pipeline(BrightnessEmbedder(), [], "shed")
    return Lane(ListSource(items), pipeline, live=live, now=Clock(), clock=Clock())


def events_of(*lanes: Lane) -> list[Event]:
    return [event for step in steps(lanes) for event in step.events]


def test_a_live_source_that_fails_is_lost_once_and_restored_once() -> None:
    error = SourceError("no frame for 20 s")
    events = events_of(lane(flat_frame(), error, error, flat_frame(index=1), flat_frame(index=2)))
    assert [type(event) for event in events] == [SourceLost, SourceRestored]
    lost, restored = events
    assert isinstance(lost, SourceLost)
    assert lost.error == "no frame for 20 s"
    assert isinstance(restored, SourceRestored)
    assert restored.lost_for_s == 5.0


def test_a_file_that_fails_ends_the_run_with_its_error() -> None:
    with pytest.raises(SourceError, match="truncated"):
        events_of(lane(flat_frame(), SourceError("clip.mp4: truncated"), live=False))


def test_lanes_take_turns_until_the_last_has_ended() -> None:
    short, long = lane(flat_frame()), lane(*[flat_frame(index=at) for at in range(3)])
    assert len(list(steps([short, long]))) == 6
    assert short.ended
    assert long.ended


def test_a_stop_ends_the_loop_before_the_next_turn() -> None:
    stop = StopEvent()
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
