"""Couriers deliver in order, try again after 1, 5, 10 and 60 seconds, and never wait for others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event as Signal

import pytest

from edge_sim.core.events import StateChanged
from edge_sim.errors import EventRejectedError, SinkError
from edge_sim.io.outbox.delivery import Delivery, DeliveryWorker, RetryPolicy
from edge_sim.io.outbox.outbox import Outbox
from tests.io.outbox.events import HandClock, ListSink, StuckSink, changed


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with closing(Outbox.open(tmp_path / "outbox.db", ["list", "stuck"])) as opened:
        yield opened


def test_what_waits_is_delivered_in_order(outbox: Outbox) -> None:
    sink = ListSink()
    outbox.put([changed(number) for number in range(40)])
    assert DeliveryWorker(outbox, sink).deliver_pending() is None
    assert sink.events == [changed(number) for number in range(40)]
    assert outbox.counts().delivered["list"] == 40


def test_after_a_failure_the_same_event_comes_again(outbox: Outbox) -> None:
    sink = ListSink(failures=[None, SinkError("no"), None])
    worker = DeliveryWorker(outbox, sink)
    outbox.put([changed(1), changed(2), changed(3)])
    assert worker.deliver_pending() == 1.0
    assert worker.deliver_pending() is None
    assert sink.events == [changed(1), changed(2), changed(3)]


def test_pauses_grow_and_start_over_after_a_success(outbox: Outbox) -> None:
    no = SinkError("no")
    worker = DeliveryWorker(outbox, ListSink(failures=[no, no, no, no, no, None, no]))
    outbox.put([changed(1), changed(2)])
    pauses = [worker.deliver_pending() for _ in range(7)]
    assert pauses == [1.0, 5.0, 10.0, 60.0, 60.0, 1.0, None]


def test_an_event_the_receiver_will_never_take_is_given_up(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    sink = ListSink(failures=[EventRejectedError("too large"), None])
    outbox.put([changed(1), changed(2)])
    assert DeliveryWorker(outbox, sink).deliver_pending() is None
    assert sink.events == [changed(2)]
    assert outbox.counts().dropped == {("list", "rejected"): 1}
    assert f"event {changed(1).id} is lost for list: too large" in caplog.text


def test_a_bug_in_a_sink_is_logged_and_tried_again(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    sink = ListSink(failures=[ZeroDivisionError("bug"), None])
    worker = DeliveryWorker(outbox, sink)
    outbox.put([changed(1)])
    assert worker.deliver_pending() == 1.0
    assert worker.broken == "ZeroDivisionError: bug"
    assert worker.deliver_pending() is None
    assert not worker.broken
    assert sink.events == [changed(1)]
    assert "sink list broke" in caplog.text


def test_a_bug_in_tidying_the_outbox_ends_no_delivery(
    outbox: Outbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread goes on: what is put in after the bug arrives."""
    sink, flushed, waits = ListSink(), Signal(), list[float]()

    def flush() -> None:
        flushed.set()
        if len(waits) == 1:
            raise ZeroDivisionError("bug")

    def wait(signal: Signal, limit_s: float) -> None:
        waits.append(limit_s)
        if len(waits) > 2:
            signal.wait(limit_s)

    monkeypatch.setattr(outbox, "flush", flush)
    clock = iter(range(0, 10_000, 10))
    pace = RetryPolicy(clock=lambda: float(next(clock)), wait=wait)
    delivery = Delivery(outbox, [sink], pace)
    delivery.start()
    assert flushed.wait(10.0)
    outbox.put([changed(1)])
    assert outbox.wait_delivered(10.0, ["list"])
    delivery.close(0.0)
    assert sink.events == [changed(1)]
    assert "the outbox broke" in caplog.text


def test_repeating_faults_are_logged_first_and_now_and_then(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    worker = DeliveryWorker(outbox, ListSink(failures=[SinkError("gone")] * 61))
    outbox.put([changed(1)])
    for _ in range(61):
        worker.deliver_pending()
    assert caplog.text.count("gone") == 2


def test_events_put_while_the_threads_run_arrive(outbox: Outbox) -> None:
    sink = ListSink()
    delivery = Delivery(outbox, [sink])
    delivery.start()
    for number in range(10):
        outbox.put([changed(number)])
    assert sink.wait_for(10)
    delivery.close(drain_s=0.0)
    assert sink.events == [changed(number) for number in range(10)]
    assert sink.closed


def test_a_pause_takes_its_seconds_on_the_given_clock_whatever_is_put(outbox: Outbox) -> None:
    clock, sink = HandClock(), ListSink(failures=[SinkError("no"), SinkError("no"), None])
    waits: list[float] = []

    def wait(signal: Signal, seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            outbox.put([changed(2)])  # wakes the worker before its pause is over
            clock.now_s += 0.25
        elif seconds < 60.0:
            clock.now_s += seconds
        else:
            signal.wait(10.0)

    delivery = Delivery(outbox, [sink], RetryPolicy(clock=clock, wait=wait))
    outbox.put([changed(1)])
    delivery.start()
    assert sink.wait_for(2)
    delivery.close(drain_s=0.0)
    assert waits[:3] == [1.0, 0.75, 5.0]
    assert sink.events == [changed(1), changed(2)]


def test_a_sink_that_hangs_holds_up_no_other_and_is_cut_off_at_the_end(outbox: Outbox) -> None:
    stuck, sink = StuckSink(), ListSink()
    delivery = Delivery(outbox, [stuck, sink])
    delivery.start()
    outbox.put([changed(1)])
    assert stuck.entered.wait(10.0)
    outbox.put([changed(2)])
    assert sink.wait_for(2)
    assert not delivery.close(drain_s=0.0)
    assert outbox.counts().pending == {"list": 0, "stuck": 2}


def test_at_the_end_what_waits_is_delivered_first(outbox: Outbox) -> None:
    sink, other = ListSink(), ListSink("stuck")
    delivery = Delivery(outbox, [sink, other])
    outbox.put([changed(number) for number in range(5)])
    delivery.start()
    assert delivery.close(drain_s=10.0)
    assert len(sink.events) == len(other.events) == 5


def test_at_the_end_a_sink_that_fails_is_not_waited_for(outbox: Outbox) -> None:
    bad, good = ListSink(failures=[SinkError("no")]), ListSink("stuck")
    delivery = Delivery(outbox, [bad, good])
    outbox.put([changed(1)])
    delivery.workers[0].deliver_pending()
    assert not delivery.workers[1].deliver_pending()
    assert not delivery.close(drain_s=600.0)
    assert outbox.counts().pending == {"list": 1, "stuck": 0}


def test_failing_sinks_are_named(outbox: Outbox) -> None:
    delivery = Delivery(outbox, [ListSink(failures=[SinkError("no")]), ListSink("stuck")])
    outbox.put([changed(1)])
    for worker in delivery.workers:
        worker.deliver_pending()
    assert delivery.failing() == {"list": 1}


class Connected(ListSink):
    """A sink with a connection."""

    def __init__(self, failures: Sequence[Exception | None]) -> None:
        super().__init__("list", failures)
        self.resumed: Sequence[StateChanged] = ()

    def resume(self, latest: Sequence[StateChanged]) -> None:
        self.resumed = latest

    def when_ready(self, on_ready: object) -> None:
        self.on_ready = on_ready


def test_a_sink_that_comes_back_is_tried_at_once(outbox: Outbox) -> None:
    sink = Connected([SinkError("no connection"), None])
    resting = Signal()

    def wait(signal: Signal, seconds: float) -> None:
        resting.set()
        signal.wait(seconds)

    outbox.put([changed(1)])
    delivery = Delivery(outbox, [sink], RetryPolicy(backoff_s=(600.0,), wait=wait))
    delivery.start()
    assert resting.wait(10.0)
    assert callable(sink.on_ready)
    sink.on_ready()
    assert sink.wait_for(1)
    delivery.close(drain_s=0.0)


def test_a_sink_that_shows_states_is_told_those_it_already_has(outbox: Outbox) -> None:
    outbox.put([changed(1), changed(2, "bowl")])
    outbox.confirm("list", outbox.pending("list")[0].seq)
    sink = Connected([])
    delivery = Delivery(outbox, [sink])
    delivery.start()
    assert sink.wait_for(1)
    delivery.close(drain_s=0.0)
    assert sink.resumed == (changed(1),)
    assert sink.events == [changed(2, "bowl")]
