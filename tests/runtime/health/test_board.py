"""The board knows whether the device works, and why not."""

from __future__ import annotations

from edge_sim.core.events import EventOrigin, SourceLost, SourceRestored, state_changed
from edge_sim.core.types import State, UnknownReason
from edge_sim.decision.pipeline import Outcome
from edge_sim.runtime.health.status import INFERENCE_BUCKETS_S, StatusBoard, WatchStatus
from edge_sim.runtime.loop import Step
from tests.builders import change, flat_frame, match, observation

LOST = SourceLost("1", "shed", "yard", "2026-01-01T00:00:00.000Z", "no frame for 20 s")
RESTORED = SourceRestored("2", "shed", "yard", "2026-01-01T00:00:20.000Z", 20.0)
CHANGED = state_changed(
    change(State("closed"), State("open")), EventOrigin("shed", "yard", "gate", "fake@1", 1)
)


class Time:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def outcome(state: State, *, index: int = 0, embedded: bool = True) -> Outcome:
    best = match(("open", 0.9), ("closed", 0.1))
    seen = observation(best, index=index)
    return Outcome("gate", None, seen, state, {}, None, embedded)  # type: ignore[arg-type]


def board(time: Time | None = None) -> StatusBoard:
    made = StatusBoard("shed", clock=time or Time())
    made.describe(["yard"], [WatchStatus("gate", "yard", ("open", "closed"))], model="fake@1")
    return made


def look(on: StatusBoard, state: State, *, index: int = 0, embedded: bool = True) -> None:
    step = Step(flat_frame(index=index), (outcome(state, index=index, embedded=embedded),), ())
    on.add_step("yard", step)


def test_before_the_first_picture_it_is_alive_and_not_ready() -> None:
    health = board().health()
    assert health.alive
    assert not health.ready
    assert health.faults == ("source yard: no frame yet",)


def test_a_look_makes_it_ready_and_a_lost_source_unready() -> None:
    seen = board()
    look(seen, State("open"))
    assert seen.health().ready
    seen.add_event(LOST)
    health = seen.health()
    assert (health.alive, health.ready) == (True, False)
    assert health.faults == ("source yard: no frame for 20 s",)
    look(seen, State("open"), index=1)
    assert seen.health().ready
    assert seen.sources[0].losses == 1


def test_a_worker_that_stands_still_is_not_alive() -> None:
    time = Time()
    seen = board(time)
    seen.heartbeat()
    time.now_s += 31.0
    assert not seen.health().alive
    assert "stalled for 31 s" in seen.health().faults[0]
    seen.heartbeat()
    assert seen.health().alive


def test_reads_that_hang_for_good_are_a_reason_to_restart() -> None:
    seen = board()
    seen.add_step("yard", Step(None, (), ()), {"hanging": 3})
    assert not seen.health().alive


def test_time_in_a_state_counts_from_its_change() -> None:
    time = Time()
    seen = board(time)
    look(seen, State("open"))
    time.now_s += 60.0
    look(seen, State("open"), index=1)
    assert seen.in_state_s("gate") == 60.0
    look(seen, State("closed"), index=2)
    assert seen.in_state_s("gate") == 0.0
    seen.restore_state("gate", State("closed"), 500.0)
    assert seen.in_state_s("gate") == 500.0


def test_seconds_in_unknown_add_up_by_reason_and_gaps_do_not_count() -> None:
    seen = board()
    dark = State("unknown", UnknownReason.DARK)
    for index in (0, 10, 20, 10_000):
        look(seen, dark, index=index)
    assert seen.watches[0].unknown_s == {"dark": 10.0 + 10.0 + 60.0}


def test_changes_are_counted_by_where_they_led() -> None:
    seen = board()
    seen.add_event(CHANGED)
    seen.add_event(CHANGED)
    assert seen.watches[0].changes == {("closed", "open"): 2}


def test_inferences_fall_into_their_buckets() -> None:
    seen = board()
    for took_s in (0.0004, 0.0005, 0.3, 7.0):
        seen.add_inference(took_s)
    counts = seen.durations.counts
    assert len(counts) == len(INFERENCE_BUCKETS_S) + 1
    assert (counts[0], counts[-2], counts[-1]) == (2, 1, 1)


def test_events_can_be_followed_and_only_the_last_are_kept() -> None:
    seen = board()
    assert seen.events_after(0, 0.0) == []
    for _ in range(150):
        seen.add_event(RESTORED)
    found = seen.events_after(0, 0.0)
    assert found is not None
    assert [number for number, _ in found] == list(range(51, 151))
    seen.close()
    assert seen.events_after(0, 10.0) is None


def test_a_description_keeps_the_figures_of_what_stays() -> None:
    seen = board()
    look(seen, State("open"), embedded=False)
    fresh = WatchStatus("gate", "yard", ("open", "closed", "ajar"), revision=7)
    seen.describe(["yard", "shed"], [fresh], model="fake@2")
    (gate,) = seen.watches
    assert (gate.observations, gate.skipped, gate.revision) == (1, 1, 7)
    assert gate.states == ("open", "closed", "ajar")
    assert [item.frames for item in seen.sources] == [1, 0]
